// The door to paho, its asynchronous C client: the link thread. See mqtt_impl.h.
#include "bridge/mqtt.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>
#include <vector>

#include <MQTTAsync.h>

#include "bridge/mqtt_impl.h"
#include "latchkey/v1/control.pb.h"
#include "proto/blocks.h"
#include "proto/topic.h"
#include "proto/wire.h"

namespace latchkey::bridge {

namespace {

constexpr Duration kStoreWait = std::chrono::seconds(5);    // for room in the intake, for a commit
constexpr Duration kAnswerWait = std::chrono::seconds(20);  // for CONNACK and SUBACK
// Paho's receiving thread closes, when no callback holds it. A connection begun before that ends.
constexpr Duration kCloseWait = std::chrono::seconds(15);
constexpr Duration kIdle = std::chrono::seconds(1);
// Paho looks once a second whether what was on its way at a disconnect has its answer by now.
constexpr Duration kAnswersWait = std::chrono::milliseconds(300);
// A broker without our plugins answers no Echo: what it shows ends with so long a silence.
constexpr Duration kShownSilence = std::chrono::seconds(30);
// Request ids of Echo, which the core never sees, have this bit; its own do not.
constexpr uint64_t kMarkBit = uint64_t{1} << 63;
constexpr size_t kTasksPerRound = 1000;
constexpr int kKeepAliveSeconds = 20;
constexpr int kConnectTimeoutSeconds = 10;
constexpr uint32_t kSessionExpirySeconds = 24 * 3600;
constexpr uint16_t kReceiveMaximum = 1000;

}  // namespace

std::vector<std::string> ShownFilters() {
  std::vector<std::string> filters = {"lk/1/+/+/presence", "lk/1/+/+/keyring"};
  for (const Group group : kGroups) {
    filters.push_back("lk/1/+/+/state/" + std::string(ToText(group)));
  }
  return filters;
}

std::vector<std::string> SubscribedFilters() {
  std::vector<std::string> filters(kFilters.begin(), kFilters.end());
  for (std::string& filter : ShownFilters()) {
    filters.push_back(std::move(filter));
  }
  return filters;
}

void Mqtt::Impl::Ended(const std::string& why) {
  intake.PutAlways(BrokerDown{});
  tasks.PutAlways(Lost{why});
}

void Mqtt::Impl::Arrived(const char* topic, int topic_length, const MQTTAsync_message& message) {
  Publish publish;
  publish.topic =
      topic_length > 0 ? std::string(topic, static_cast<size_t>(topic_length)) : std::string(topic);
  if (message.payloadlen > 0) {
    publish.payload.assign(static_cast<const char*>(message.payload),
                           static_cast<size_t>(message.payloadlen));
  }
  publish.qos = message.qos;
  publish.retain = message.retained != 0 ? Retain::kYes : Retain::kNo;
  if (figures.Take(publish) || IsEnd(publish)) {
    return;
  }
  if (publish.retain == Retain::kYes) {
    retained_at_ms = SystemNow().mono.ms;
  }
  const std::optional<Topic> parsed = ParseTopic(publish.topic);
  const std::optional<uint64_t> ticket = intake.Put(Message{std::move(publish)}, kStoreWait);
  if (!ticket) {
    // The store has been away for long. What is retained is shown again after the next connect.
    ++dropped;
    tasks.PutAlways(Again{});
  } else if (parsed && parsed->kind == TopicKind::kCommand) {
    intake.WaitFinished(*ticket - std::min(*ticket, options.uncommitted_max), kStoreWait);
  }
}

// The answer to an Echo, ours or one of the process before. After the last part the core is told
// here, so that it learns of it behind all that was shown.
bool Mqtt::Impl::IsEnd(const Publish& publish) {
  if (publish.topic != kControlAnswerTopic) {
    return false;
  }
  const auto answer = FromWire<v1::ControlAnswer>(publish.payload, publish.payload.size());
  if (!answer || (answer->request_id() & kMarkBit) == 0) {
    return false;
  }
  if (answer->request_id() == mark) {
    if (shown + 1 == kShownParts) {
      intake.PutAlways(BrokerShown{});
    }
    tasks.PutAlways(Shown{answer->request_id()});
  }
  return true;
}

void Mqtt::Impl::Run() {
  since = connect_at = SystemNow().mono;
  while (!quit || leaving || state == State::kClosing) {
    for (Task& task : tasks.Drain(kTasksPerRound, WaitFor())) {
      Do(std::move(task));
    }
    TakeAnswers();
    const Instant now = SystemNow().mono;
    const Duration lasted = now - since;
    if (leaving && (in_flight == 0 || state != State::kUp || lasted > kAnswersWait)) {
      leaving = false;
      if (state == State::kUp) {
        Close();
      }
    } else if (state == State::kDown && !quit && now >= connect_at) {
      Connect();
    } else if ((state == State::kConnecting || state == State::kSubscribing) &&
               lasted > kAnswerWait) {
      Close();
    } else if (state == State::kClosing && lasted > (quit ? kIdle : kCloseWait)) {
      intake.PutAlways(BrokerDown{});
      Down("closed without an answer");
    }
    ShowNext(now);
    Flush();
  }
}

Duration Mqtt::Impl::WaitFor() const {
  if (state == State::kClosing || leaving) {
    return std::chrono::milliseconds(50);
  }
  if (state == State::kDown) {
    return std::clamp(connect_at - SystemNow().mono, Duration(0), kIdle);
  }
  return kIdle;
}

void Mqtt::Impl::Do(Task task) {
  if (auto* publish = std::get_if<Publish>(&task)) {
    if (state != State::kDown && state != State::kConnecting) {
      Queue(std::move(*publish));  // of kClosing: see Down
    } else if (quit) {
      unsaid.push_back(std::move(*publish));
    } else {
      Owe(std::move(*publish));
    }
  } else if (std::holds_alternative<Connected>(task)) {
    if (state == State::kConnecting) {
      Subscribe();
    }
  } else if (std::holds_alternative<Subscribed>(task)) {
    if (state == State::kSubscribing) {
      state = State::kUp;
      back_off.Reset();
      outgoing.insert(outgoing.begin(), std::make_move_iterator(owed.begin()),
                      std::make_move_iterator(owed.end()));
      owed.clear();
      asked_at = SystemNow().mono;
      Say(LogEvent::Level::kInfo, "mqtt_connected",
          {{"host", options.host}, {"port", std::to_string(options.port)}});
    }
  } else if (std::holds_alternative<Shows>(task)) {
    if (asking && state == State::kUp) {
      AskForEnd();
    }
  } else if (const auto* end = std::get_if<Shown>(&task)) {
    if (mark != 0 && end->mark == mark) {
      PartShown();
    }
  } else if (const auto* lost = std::get_if<Lost>(&task)) {
    Down(lost->why);
  } else if (!std::holds_alternative<Sent>(task)) {  // whose answers Run takes
    quit = quit || std::holds_alternative<Quit>(task);
    if (quit && state == State::kUp) {
      Flush();
      leaving = true;
      wants_sent = true;
      since = SystemNow().mono;
      return;
    }
    if (state == State::kUp || state == State::kSubscribing ||
        (quit && state == State::kConnecting)) {
      Flush();
      Close();
    }
  }
}

void Mqtt::Impl::Connect() {
  figures.Clear();
  MQTTAsync_connectOptions connect = MQTTAsync_connectOptions_initializer5;
  MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
  tls.trustStore = options.ca_file.c_str();
  tls.keyStore = options.certificate_file.c_str();
  tls.privateKey = options.private_key_file.c_str();
  tls.sslVersion = MQTT_SSL_VERSION_TLS_1_2;
  tls.enableServerCertAuth = 1;
  tls.verify = 1;  // the host name too
  tls.disableDefaultTrustStore = 1;
  tls.ssl_error_cb = OnTlsError;
  tls.ssl_error_context = this;
  MQTTProperties properties = MQTTProperties_initializer;
  MQTTProperty expiry{};
  expiry.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL;
  expiry.value.integer4 = kSessionExpirySeconds;
  MQTTProperties_add(&properties, &expiry);
  MQTTProperty receive{};
  receive.identifier = MQTTPROPERTY_CODE_RECEIVE_MAXIMUM;
  receive.value.integer2 = kReceiveMaximum;
  MQTTProperties_add(&properties, &receive);
  connect.MQTTVersion = MQTTVERSION_5;
  connect.cleanstart = 0;
  connect.keepAliveInterval = kKeepAliveSeconds;
  connect.connectTimeout = kConnectTimeoutSeconds;
  connect.maxInflight = static_cast<int>(kInFlightMax);
  connect.ssl = &tls;
  connect.connectProperties = &properties;
  connect.onSuccess5 = OnConnected;
  connect.onFailure5 = OnConnectFailure;
  connect.context = this;
  state = State::kConnecting;
  since = SystemNow().mono;
  const int rc = MQTTAsync_connect(client, &connect);
  MQTTProperties_free(&properties);
  if (rc != MQTTASYNC_SUCCESS) {
    Down("connecting could not begin (" + std::to_string(rc) + ")");
  }
}

// Every time, also into a session that is still there: the broker then shows what it retains, but
// for a session that was kept. That can be millions, and what is new waits behind them: so all that
// is new is asked for at once, and what is retained part by part.
void Mqtt::Impl::Subscribe() {
  state = State::kSubscribing;
  since = SystemNow().mono;
  in_flight = 0;
  answers = 0;
  shown = kept ? kShownParts : 0;
  mark = 0;
  asking = false;
  std::vector<Wish> wishes;
  for (std::string& filter : SubscribedFilters()) {
    wishes.push_back({std::move(filter), Retained::kAll});
    if (wishes.size() > kFilters.size()) {
      wishes.back().retained = kept ? Retained::kOfNew : Retained::kNone;
    }
  }
  MQTTAsync_responseOptions ignored = MQTTAsync_responseOptions_initializer;
  if (MQTTAsync_unsubscribe(client, kFormerFilter, &ignored) != MQTTASYNC_SUCCESS ||
      !AskFor(wishes, OnSubscribed)) {
    Close();
  }
}

bool Mqtt::Impl::AskFor(const std::vector<Wish>& wishes, MQTTAsync_onSuccess5* answered) {
  std::vector<char*> filters;
  std::vector<int> qos(wishes.size(), 1);
  std::vector<MQTTSubscribe_options> ways(wishes.size(), MQTTSubscribe_options_initializer);
  for (size_t i = 0; i < wishes.size(); ++i) {
    filters.push_back(const_cast<char*>(wishes[i].filter.c_str()));
    // Its own words of state it hears: core/last_known.h.
    ways[i].noLocal = wishes[i].filter.find("/state/") == std::string::npos ? 1 : 0;
    ways[i].retainHandling = static_cast<unsigned char>(wishes[i].retained);
  }
  MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
  response.onSuccess5 = answered;
  response.onFailure5 = OnSubscribeFailure;
  response.context = this;
  response.subscribeOptionsCount = static_cast<int>(ways.size());
  response.subscribeOptionsList = ways.data();
  return MQTTAsync_subscribeMany(client, static_cast<int>(filters.size()), filters.data(),
                                 qos.data(), &response) == MQTTASYNC_SUCCESS;
}

// Asks for the next part when the last one has been shown.
void Mqtt::Impl::ShowNext(Instant now) {
  static const std::vector<std::string> parts = ShownFilters();
  if (state != State::kUp || leaving || shown == kShownParts) {
    return;
  }
  if (asking) {
    if (now - asked_at > kAnswerWait) {
      Close();
    }
    return;
  }
  if (mark != 0) {
    if (now - std::max(asked_at, Instant{retained_at_ms}) < kShownSilence) {
      return;
    }
    Say(LogEvent::Level::kWarning, "mqtt_end_not_told",
        {{"filter", parts.at(shown)},
         {"why", "the broker's latchkey_auth does not answer: silence is taken for the end"}});
    if (shown + 1 == kShownParts) {
      intake.PutAlways(BrokerShown{});
    }
    PartShown();
    return;
  }
  asking = true;
  asked_at = now;
  if (!AskFor({{parts.at(shown), Retained::kAll}}, OnShows)) {
    Close();
  }
}

// The answer is queued behind what the broker shows of this part.
void Mqtt::Impl::AskForEnd() {
  asking = false;
  asked_at = SystemNow().mono;
  mark = ++last_mark | kMarkBit;
  v1::Control control;
  control.set_request_id(mark);
  control.mutable_echo();
  outgoing.push_front({std::string(kControlTopic), control.SerializeAsString(), 1, Retain::kNo, 0});
}

void Mqtt::Impl::PartShown() {
  mark = 0;
  ++shown;
}

void Mqtt::Impl::Close() {
  MQTTAsync_disconnectOptions disconnect = MQTTAsync_disconnectOptions_initializer5;
  disconnect.timeout = 200;
  disconnect.onSuccess5 = OnClosed;
  disconnect.onFailure5 = OnCloseFailure;
  disconnect.context = this;
  state = State::kClosing;
  since = SystemNow().mono;
  if (MQTTAsync_disconnect(client, &disconnect) != MQTTASYNC_SUCCESS) {
    intake.PutAlways(BrokerDown{});
    Down("closed");
  }
}

void Mqtt::Impl::Down(const std::string& why) {
  if (state == State::kDown) {
    return;
  }
  for (std::deque<Publish>* words : {&owed, &outgoing, &outgoing_retained}) {
    for (Publish& publish : std::exchange(*words, {})) {
      if (quit) {
        unsaid.push_back(std::move(publish));
      } else {
        Owe(std::move(publish));
      }
    }
  }
  waiting = 0;
  state = State::kDown;
  since = SystemNow().mono;
  connect_at = since + back_off.Next();
  if (!quit) {
    Say(LogEvent::Level::kWarning, "mqtt_disconnected",
        {{"why", why},
         {"again_in_ms", std::to_string((connect_at - since).count())},
         {"words_dropped", std::to_string(dropped.exchange(0))}});
  }
}

void Mqtt::Impl::Queue(Publish publish) {
  (publish.retain == Retain::kYes ? outgoing_retained : outgoing).push_back(std::move(publish));
}

// The connection is not there, and the core did not know when it said this. A receipt is said when
// there is one again, as somebody may have asked for the last time; the rest is dropped: state and
// rings the core says again to a broker that lacks them, commands when it has been shown the car.
void Mqtt::Impl::Owe(Publish publish) {
  const std::optional<Topic> topic = ParseTopic(publish.topic);
  if (topic && topic->kind == TopicKind::kReceipt && owed.size() < kOwedMax) {
    owed.push_back(std::move(publish));
  } else {
    ++dropped;
  }
}

void Mqtt::Impl::TakeAnswers() {
  in_flight -= std::min(in_flight, answers.exchange(0));
}

void Mqtt::Impl::Flush() {
  do {
    TakeAnswers();
    for (std::deque<Publish>* words : {&outgoing, &outgoing_retained}) {
      while (state == State::kUp && !leaving && !words->empty() && in_flight < in_flight_max &&
             SendNow(words->front())) {
        words->pop_front();
      }
    }
    waiting = outgoing.size() + outgoing_retained.size();
    wants_sent = leaving || waiting > 0;
    // What was answered before it was wanted has told nobody.
  } while (state == State::kUp && !leaving && waiting > 0 && answers > 0);
}

bool Mqtt::Impl::SendNow(const Publish& publish) {
  MQTTAsync_message message = MQTTAsync_message_initializer;
  message.payload = const_cast<char*>(publish.payload.data());
  message.payloadlen = static_cast<int>(publish.payload.size());
  message.qos = publish.qos;
  message.retained = publish.retain == Retain::kYes ? 1 : 0;
  if (publish.expiry_s != 0) {
    MQTTProperty expiry{};
    expiry.identifier = MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL;
    expiry.value.integer4 = publish.expiry_s;
    MQTTProperties_add(&message.properties, &expiry);
  }
  MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
  response.onSuccess5 = OnSent;
  response.onFailure5 = OnSendFailure;
  response.context = this;
  const int rc = MQTTAsync_sendMessage(client, publish.topic.c_str(), &message, &response);
  MQTTProperties_free(&message.properties);
  in_flight += rc == MQTTASYNC_SUCCESS ? 1 : 0;
  return rc == MQTTASYNC_SUCCESS;  // else: no free packet id, or the connection is going
}

Mqtt::Mqtt(MqttOptions options, Intake& intake, FigureBoard& figures, LogSink log)
    : impl_(std::make_unique<Impl>(std::move(options), intake, figures, std::move(log))) {}

Mqtt::~Mqtt() {
  Stop();
}

Result<void> Mqtt::Start() {
  const std::string uri =
      "ssl://" + impl_->options.host + ":" + std::to_string(impl_->options.port);
  MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
  const int rc =
      MQTTAsync_createWithOptions(&impl_->client, uri.c_str(), impl_->options.client_id.c_str(),
                                  MQTTCLIENT_PERSISTENCE_NONE, nullptr, &create);
  if (rc != MQTTASYNC_SUCCESS) {
    impl_->client = nullptr;
    return Fail(v1::REASON_INTERNAL,
                "paho cannot make a client for " + uri + " (" + std::to_string(rc) + ")");
  }
  impl_->begun = SystemNow().mono;
  for (const Publish& word : impl_->options.words) {
    impl_->Queue(word);
  }
  MQTTAsync_setCallbacks(impl_->client, impl_.get(), OnLost, OnMessage, nullptr);
  MQTTAsync_setDisconnected(impl_->client, impl_.get(), OnServerDisconnect);
  impl_->thread = std::thread([impl = impl_.get()] { impl->Run(); });
  return {};
}

void Mqtt::Stop() {
  if (impl_->thread.joinable()) {
    impl_->tasks.PutAlways(Quit{});
    impl_->thread.join();
  }
  if (impl_->client != nullptr) {
    MQTTAsync_destroy(&impl_->client);
    impl_->client = nullptr;
  }
}

std::vector<Publish> Mqtt::TakeUnsaid() {
  std::vector<Publish> unsaid = std::exchange(impl_->unsaid, {});
  // What waited for a connection that was not there when Stop came.
  for (std::deque<Publish>* words : {&impl_->owed, &impl_->outgoing, &impl_->outgoing_retained}) {
    std::move(words->begin(), words->end(), std::back_inserter(unsaid));
    words->clear();
  }
  for (Task& task : impl_->tasks.Drain(kOutgoingMax, Duration(0))) {
    if (auto* publish = std::get_if<Publish>(&task)) {
      unsaid.push_back(std::move(*publish));
    }
  }
  return unsaid;
}

void Mqtt::Send(const Publish& publish) {
  if (!impl_->tasks.Put(publish, Duration(0))) {
    ++impl_->dropped;
  }
}

size_t Mqtt::backlog() const {
  return impl_->tasks.size() + impl_->waiting;
}

void Mqtt::Reconnect() {
  impl_->tasks.PutAlways(Again{});
}

}  // namespace latchkey::bridge
