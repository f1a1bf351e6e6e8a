// The tools' door to paho. The C client is used and not its C++ wrapper: the wrapper hides which
// filter of a SUBACK was refused and loses MQTT 5 options when its structures are copied.
//
// Thread rule: paho's threads run the callbacks below; they only put events into the queue, and end
// a connection that came after nobody wanted it any more. A callback waits only when the queue is
// full, briefly, and then gives the message back to paho, which calls again: the loop that empties
// the queue may itself need paho's lock.
#include "tools/mqtt/link.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>

#include <MQTTAsync.h>

#include "proto/no_delay.h"
#include "tools/mqtt/callbacks.h"
#include "tools/mqtt/session.h"

namespace latchkey::tools {

namespace {

constexpr int kConnectTimeoutSeconds = 10;
constexpr int kDisconnectTimeoutMs = 1000;
constexpr auto kFullWait = std::chrono::milliseconds(100);
constexpr auto kDisconnectWait = std::chrono::seconds(2);

// What a CONNACK's code says of the broker; 0: there was no CONNACK. MQTT 5.0 section 3.2.2.2:
// server unavailable, busy, use another, moved; 3.1.1: unavailable.
BrokerEnd EndOf(int answer) {
  const bool busy =
      answer == 3 || answer == 0x88 || answer == 0x89 || answer == 0x9c || answer == 0x9d;
  return answer == 0 ? BrokerEnd::kUnreachable : busy ? BrokerEnd::kBusy : BrokerEnd::kRefused;
}

void Start(Session& session);

// Paho is done with a connection: the one that is wanted since can begin.
void Closed(Session& session) {
  bool start = false;
  {
    const std::scoped_lock lock(session.mutex);
    session.disconnected = true;
    start = session.connecting && !session.pending;
    session.pending = session.pending || start;
  }
  session.closed.notify_all();
  if (start) {
    Start(session);
  }
}

// Ends our own Disconnect, well or badly.
template <class Response>
void OnClosed(void* context, Response* /*response*/) {
  Guarded([context] { Closed(SessionOf(context)); });
}

void Close(Session& session) {
  MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer;
  if (session.options.mqtt_version == 5) {
    options = MQTTAsync_disconnectOptions_initializer5;
    options.onSuccess5 = OnClosed;
    options.onFailure5 = OnClosed;
  } else {
    options.onSuccess = OnClosed;
    options.onFailure = OnClosed;
  }
  options.context = &session;
  options.timeout = kDisconnectTimeoutMs;
  if (MQTTAsync_disconnect(session.client, &options) != MQTTASYNC_SUCCESS) {
    OnClosed<MQTTAsync_successData>(&session, nullptr);
  }
}

// Topic Alias Maximum of a CONNACK; 0: none is said (paho then gives a negative number).
uint16_t AliasesMaxOf(MQTTAsync_successData5* response) {
  const int value = response == nullptr
                        ? 0
                        : MQTTProperties_getNumericValue(&response->properties,
                                                         MQTTPROPERTY_CODE_TOPIC_ALIAS_MAXIMUM);
  return static_cast<uint16_t>(std::clamp(value, 0, 65535));
}

uint16_t AliasesMaxOf(MQTTAsync_successData* /*response*/) {
  return 0;
}

template <class Success>
void OnConnectSuccess(void* context, Success* response) {
  Guarded([context, response] {
    Session& session = SessionOf(context);
    LinkEvent event = session.Event(LinkEvent::Kind::kConnected);
    bool wanted = false;
    {
      const std::scoped_lock lock(session.mutex);
      wanted = session.connecting;
      session.pending = false;
      session.connecting = false;
      session.connected = wanted;
      session.disconnected = false;
      session.aliases = TopicAliases(AliasesMaxOf(response));
      session.brokers.Served();
      event.broker = session.brokers.current();
    }
    if (wanted) {
      SendAtOnceTo(static_cast<uint16_t>(event.broker.port));
      session.queue.Put(std::move(event));
    } else {
      Close(session);
    }
  });
}

template <class Failure>
void OnConnectFailure(void* context, Failure* response) {
  Guarded([context, response] {
    Session& session = SessionOf(context);
    const int answer = AnswerOf(response);
    const auto kind = answer > 0 ? LinkEvent::Kind::kRefused : LinkEvent::Kind::kDisconnected;
    LinkEvent event = session.Event(kind);
    {
      const std::scoped_lock lock(session.mutex);
      session.pending = false;
      session.connected = false;
      if (!std::exchange(session.connecting, false)) {
        return;
      }
      event.try_now = session.brokers.Ended(EndOf(answer), Session::MonoNow());
    }
    event.reason_code = answer;
    event.text = TextOf(response != nullptr ? response->message : nullptr,
                        answer > 0 ? "the broker refuses the connection"
                                   : "no connection could be made (network or TLS)");
    session.queue.Put(std::move(event));
  });
}

// Session::pending is set. What comes of it is an event.
void Start(Session& session) {
  const LinkOptions& options = session.options;
  const bool v5 = options.mqtt_version == 5;
  MQTTAsync_connectOptions connect = MQTTAsync_connectOptions_initializer;
  if (v5) {
    connect = MQTTAsync_connectOptions_initializer5;
    connect.cleanstart = 1;
    connect.onSuccess5 = OnConnectSuccess;
    connect.onFailure5 = OnConnectFailure;
  } else {
    connect.cleansession = 1;
    connect.onSuccess = OnConnectSuccess;
    connect.onFailure = OnConnectFailure;
  }
  connect.MQTTVersion = v5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
  connect.context = &session;
  connect.connectTimeout = kConnectTimeoutSeconds;
  connect.keepAliveInterval = static_cast<int>(
      std::chrono::duration_cast<std::chrono::seconds>(options.keep_alive).count());
  if (!options.user_name.empty()) {
    connect.username = options.user_name.c_str();
    connect.binarypwd.data = session.password.data();
    connect.binarypwd.len = static_cast<int>(session.password.size());
  }
  MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
  tls.trustStore = options.ca_file.c_str();
  tls.keyStore = options.certificate_file.empty() ? nullptr : options.certificate_file.c_str();
  tls.privateKey = options.private_key_file.empty() ? nullptr : options.private_key_file.c_str();
  tls.sslVersion = MQTT_SSL_VERSION_TLS_1_2;
  tls.enableServerCertAuth = 1;
  tls.verify = 1;  // the host name too
  tls.disableDefaultTrustStore = 1;
  connect.ssl = &tls;
  // Paho would go through a list by itself, without a word about who failed: it is given one.
  std::string uri;
  {
    const std::scoped_lock lock(session.mutex);
    uri = "ssl://" + session.brokers.current().ToText();
  }
  char* uri_text = uri.data();
  connect.serverURIs = &uri_text;
  connect.serverURIcount = 1;
  const int started =
      session.client == nullptr ? MQTTASYNC_FAILURE : MQTTAsync_connect(session.client, &connect);
  if (started != MQTTASYNC_SUCCESS) {
    session.Lost(0, "paho could not start connecting (" + std::to_string(started) + ")");
  }
}

void OnLost(void* context, char* cause) {
  Guarded([context, cause] {
    SessionOf(context).Lost(0, TextOf(cause, "connection lost"));
    Closed(SessionOf(context));
  });
}

void OnServerDisconnect(void* context, MQTTProperties* /*properties*/, MQTTReasonCodes reason) {
  Guarded([context, reason] {
    SessionOf(context).Lost(static_cast<int>(reason),
                            TextOf(MQTTReasonCode_toString(reason), "the broker disconnected"),
                            reason != MQTTREASONCODE_SESSION_TAKEN_OVER);
    Closed(SessionOf(context));
  });
}

// 0: none (paho then gives a negative number).
uint32_t ExpiryOfMessage(MQTTProperties& properties) {
  const auto value =
      MQTTProperties_getNumericValue(&properties, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL);
  return value > 0 ? static_cast<uint32_t>(value) : 0;
}

// 1: taken, and paho's copy is freed; 0: paho keeps it and calls again.
int OnMessage(void* context, char* topic, int topic_length, MQTTAsync_message* message) {
  bool taken = false;
  Guarded([&] {
    Session& session = SessionOf(context);
    LinkEvent event = session.Event(LinkEvent::Kind::kMessage);
    event.message.topic = topic_length > 0 ? std::string(topic, static_cast<size_t>(topic_length))
                                           : std::string(topic);
    if (message->payloadlen > 0) {
      event.message.payload.assign(static_cast<const char*>(message->payload),
                                   static_cast<size_t>(message->payloadlen));
    }
    event.message.qos = message->qos;
    event.message.retain = message->retained != 0 ? Retain::kYes : Retain::kNo;
    event.message.expiry_s = ExpiryOfMessage(message->properties);
    taken = session.queue.PutWithin(kFullWait, std::move(event));
  });
  if (!taken) {
    return 0;
  }
  MQTTAsync_freeMessage(&message);
  MQTTAsync_free(topic);
  return 1;
}

}  // namespace

struct Inbox::Impl {
  explicit Impl(size_t capacity) : queue(capacity) {}

  Queue queue;
  // What callbacks point at; kept for the life of the queue, so that a callback that is late for
  // its link finds it. Touched by the loop's thread only.
  std::vector<std::shared_ptr<Session>> sessions;
};

Inbox::Inbox(size_t capacity) : impl_(std::make_shared<Impl>(capacity)) {}

Inbox::~Inbox() = default;

std::optional<LinkEvent> Inbox::Wait(Duration timeout) {
  std::optional<LinkEvent> event = impl_->queue.Take(timeout);
  if (event && event->kind == LinkEvent::Kind::kConnected) {
    for (const std::shared_ptr<Session>& session : impl_->sessions) {
      if (session->index == event->link && session->options.served) {
        session->options.served(event->broker);
      }
    }
  }
  return event;
}

void Inbox::Wake() {
  impl_->queue.Wake();
}

Link::Link(size_t index, LinkOptions options, Inbox& inbox) : impl_(std::make_shared<Impl>()) {
  impl_->inbox = inbox.impl_;
  impl_->session = std::make_shared<Session>(inbox.impl_->queue, index, std::move(options));
  inbox.impl_->sessions.push_back(impl_->session);
  Session& session = *impl_->session;
  const bool v5 = session.options.mqtt_version == 5;
  const std::string uri = "ssl://" + session.brokers.current().ToText();
  MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer;
  create.MQTTVersion = v5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
  const int made =
      MQTTAsync_createWithOptions(&session.client, uri.c_str(), session.options.client_id.c_str(),
                                  MQTTCLIENT_PERSISTENCE_NONE, nullptr, &create);
  if (made != MQTTASYNC_SUCCESS) {
    session.client = nullptr;  // Connect says so
    return;
  }
  MQTTAsync_setCallbacks(session.client, &session, OnLost, OnMessage, nullptr);
  if (v5) {
    MQTTAsync_setDisconnected(session.client, &session, OnServerDisconnect);
  }
}

// A connection that is still being made ends with the client, under paho's lock.
Link::~Link() {
  Disconnect();
  Session& session = *impl_->session;
  std::unique_lock lock(session.mutex);
  session.closed.wait_for(lock, kDisconnectWait, [&session] { return session.disconnected; });
  lock.unlock();
  MQTTAsync_destroy(&session.client);
}

// Who is told of an end may be here before paho is done with the callback that told it; what it
// does after that would fall on the new connection, which it would call failed and yet make. So
// paho is asked something first, for which it takes the lock that it holds until it is done.
void Link::Connect() {
  Session& session = *impl_->session;
  static_cast<void>(MQTTAsync_isConnected(session.client));  // which may be none
  {
    const std::scoped_lock lock(session.mutex);
    if (session.connecting || session.connected) {
      return;
    }
    session.connecting = true;
    session.closing = false;
    session.password = session.options.password ? session.options.password() : "";
    if (session.pending || !session.disconnected) {
      return;  // the one that paho is still making will do; or it is still ending the last
    }
    session.pending = true;
  }
  Start(session);
}

void Link::Disconnect() {
  Session& session = *impl_->session;
  {
    const std::scoped_lock lock(session.mutex);
    session.closing = true;
    session.connecting = false;
    if (!session.connected) {
      return;
    }
    session.connected = false;
  }
  Close(session);
}

}  // namespace latchkey::tools
