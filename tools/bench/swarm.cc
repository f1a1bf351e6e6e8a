// One round: wait for sockets, read and answer all that are ready, then write what has gathered.
#include "tools/bench/swarm.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <utility>

#include <sys/epoll.h>
#include <unistd.h>

namespace latchkey::bench {

namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;
constexpr size_t kBodyBytesMax = 300'000;  // above any message_size_limit that a broker has here
constexpr int kEventsPerRound = 512;
constexpr auto kPingEvery = std::chrono::seconds(1);

double ThreadCpuSeconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

std::string Code(uint8_t reason) {
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "0x%02X", reason);
  return text.data();
}

}  // namespace

Swarm::Swarm(Endpoint endpoint)
    : endpoint_(std::move(endpoint)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      buffer_(kBufferBytes) {
  LK_ASSERT(epoll_ >= 0);
}

Swarm::~Swarm() {
  ::close(epoll_);
}

size_t Swarm::Add(ClientWish wish) {
  clients_.push_back(Client{std::move(wish)});
  Reconnect(clients_.size() - 1);
  return clients_.size() - 1;
}

void Swarm::Subscribe(size_t client, std::string filter, int qos, RetainHandling retained) {
  Client& who = clients_[client];
  who.subscriptions.push_back({std::move(filter), qos, retained});
  if (who.stage == Stage::kIn) {
    SendSubscription(who, who.subscriptions.back());
    Mark(client);
  }
}

std::optional<uint16_t> Swarm::Publish(size_t client, const Message& message) {
  Client& who = clients_[client];
  if (who.stage != Stage::kIn || who.leaving) {
    return std::nullopt;
  }
  uint16_t packet_id = 0;
  if (message.qos > 0) {
    packet_id = NextPacketId(who);
    ++who.unacknowledged;
    ++unacknowledged_;
  }
  AppendPublish({message.topic, message.payload, message.qos, packet_id, message.retain, false,
                 message.expiry_s},
                who.out);
  ++counters_.sent;
  Mark(client);
  return packet_id;
}

void Swarm::Leave(size_t client) {
  Client& who = clients_[client];
  if (who.stage != Stage::kIn) {
    Close(client);
    return;
  }
  AppendDisconnect(who.out);
  who.leaving = true;
  Mark(client);
}

void Swarm::Cut(size_t client) {
  Close(client);
}

void Swarm::Reconnect(size_t client) {
  if (clients_[client].stage == Stage::kOut) {
    clients_[client].stage = Stage::kWaiting;
    waiting_.push_back(client);
  }
}

void Swarm::Move(size_t client, Endpoint endpoint) {
  clients_[client].wish.endpoint = std::move(endpoint);
}

void Swarm::Renew(size_t client, std::string password) {
  clients_[client].wish.password = std::move(password);
}

bool Swarm::Drive(Duration for_at_most) {
  return DriveUntil(for_at_most, [this] { return settled(); });
}

bool Swarm::DriveUntil(Duration for_at_most, const std::function<bool()>& done) {
  const Moment end = std::chrono::steady_clock::now() + for_at_most;
  driving_since_cpu_s_ = ThreadCpuSeconds();
  bool is_done = done();
  while (!is_done && std::chrono::steady_clock::now() < end) {
    Round(1);
    is_done = done();
  }
  FlushAll();
  cpu_s_ += ThreadCpuSeconds() - *driving_since_cpu_s_;
  driving_since_cpu_s_.reset();
  return is_done;
}

void Swarm::Round(int wait_ms) {
  BeginWaiting();
  FlushAll();
  std::array<epoll_event, kEventsPerRound> events{};
  const int count = ::epoll_wait(epoll_, events.data(), kEventsPerRound, wait_ms);
  for (int i = 0; i < count; ++i) {
    Handle(events[static_cast<size_t>(i)].data.u32, events[static_cast<size_t>(i)].events);
  }
  FlushAll();
  PingQuiet();
}

void Swarm::BeginWaiting() {
  // A client that is lost at once and reconnects in its callback waits for the next round.
  for (size_t count = waiting_.size(); count > 0 && connecting_ < connecting_max_; --count) {
    const size_t index = waiting_.front();
    waiting_.pop_front();
    if (clients_[index].stage == Stage::kWaiting) {
      Begin(index);
    }
  }
}

void Swarm::Begin(size_t index) {
  Client& client = clients_[index];
  client.stage = Stage::kConnecting;
  ++connecting_;
  Result<std::unique_ptr<Channel>> channel = Channel::Connect(
      client.wish.endpoint ? *client.wish.endpoint : endpoint_, client.wish.identity);
  if (!channel) {
    Lose(index, {0, channel.error().text});
    return;
  }
  client.channel = std::move(*channel);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT;
  event.data.u32 = static_cast<uint32_t>(index);
  client.polls_write = true;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, client.channel->socket(), &event);
}

void Swarm::Watch(size_t index) {
  Client& client = clients_[index];
  const bool write = client.channel->wants_write();
  if (write != client.polls_write) {
    epoll_event event{};
    event.events = write ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.u32 = static_cast<uint32_t>(index);
    client.polls_write = write;
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, client.channel->socket(), &event);
  }
}

void Swarm::Handle(size_t index, uint32_t events) {
  Client& client = clients_[index];
  if (!client.channel) {
    return;  // it went while others of this round were handled
  }
  if (client.stage == Stage::kConnecting) {
    const Phase phase = client.channel->Step();
    if (phase == Phase::kClosed) {
      Lose(index, {0, client.channel->why()});
      return;
    }
    if (phase == Phase::kOpen) {
      Greet(index);
    }
    Watch(index);
    return;
  }
  if ((events & EPOLLOUT) != 0) {
    Mark(index);
  }
  if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) {
    Read(index);
  }
}

void Swarm::Greet(size_t index) {
  Client& client = clients_[index];
  const ClientWish& wish = client.wish;
  client.stage = Stage::kGreeting;
  AppendConnect({wish.client_id, wish.user_name, wish.password, wish.keep_alive_s, wish.clean_start,
                 wish.session_expiry_s, wish.receive_maximum},
                client.out);
  Mark(index);
}

void Swarm::Read(size_t index) {
  Client& client = clients_[index];
  for (bool more = true; more;) {
    const size_t held = client.held.size();
    std::memcpy(buffer_.data(), client.held.data(), held);
    const std::span<char> room = std::span(buffer_).subspan(held);
    const Moved moved = client.channel->Read(room);
    more = moved.bytes == room.size();
    const std::string_view bytes(buffer_.data(), held + moved.bytes);
    const std::optional<size_t> taken = Take(index, bytes, std::chrono::steady_clock::now());
    if (!taken || !client.channel) {
      return;
    }
    client.held.assign(bytes.substr(*taken));
    if (moved.closed) {
      Lose(index, {0, client.channel->why()});
      return;
    }
  }
  Watch(index);
}

std::optional<size_t> Swarm::Take(size_t index, std::string_view bytes, Moment at) {
  size_t taken = 0;
  while (true) {
    const CutOff first = FirstPacket(bytes.substr(taken), kBodyBytesMax);
    if (first.cut == Cut::kMore) {
      return taken;
    }
    if (first.cut == Cut::kBroken || !TakePacket(index, first.packet, at)) {
      if (clients_[index].channel) {
        Lose(index, {0, "the server's bytes are no MQTT"});
      }
      return std::nullopt;
    }
    taken += first.bytes;
  }
}

// False: the connection is over, or what came is no MQTT.
bool Swarm::TakePacket(size_t index, const Packet& packet, Moment at) {
  Client& client = clients_[index];
  if (packet.type == PacketType::kPublish) {
    const std::optional<PublishWords> publish = ReadPublish(packet);
    if (!publish) {
      return false;
    }
    ++counters_.received;
    if (publish->qos > 0) {
      AppendPublishAcknowledged(publish->packet_id, client.out);
      Mark(index);
    }
    if (on_message) {
      on_message(index, {publish->topic, publish->payload, publish->qos, publish->retain, at});
    }
    return client.channel != nullptr;
  }
  if (packet.type == PacketType::kConnectAcknowledged) {
    return Enter(index, packet, at);
  }
  if (packet.type == PacketType::kDisconnect) {
    const uint8_t reason = packet.body.empty() ? uint8_t{0} : static_cast<uint8_t>(packet.body[0]);
    Lose(index, {reason, "DISCONNECT"});
    return false;
  }
  if (packet.type == PacketType::kPingResponse) {
    return true;
  }
  const std::optional<Answer> answer = ReadAnswer(packet);
  if (!answer) {
    return false;
  }
  const bool refused = answer->reason >= 0x80U;
  if (packet.type == PacketType::kSubscribeAcknowledged) {
    client.unanswered -= client.unanswered > 0 ? 1 : 0;
    unanswered_ -= unanswered_ > 0 ? 1 : 0;
    counters_.refused_subscriptions += refused ? 1 : 0;
    if (refused && first_trouble_.empty()) {
      first_trouble_ = "client " + client.wish.client_id + ": SUBACK " + Code(answer->reason);
    }
    return true;
  }
  if (client.unacknowledged > 0) {
    --client.unacknowledged;
    --unacknowledged_;
  }
  ++(refused ? counters_.refused : counters_.acknowledged);
  if (refused && first_trouble_.empty()) {
    first_trouble_ = "client " + client.wish.client_id + ": PUBACK " + Code(answer->reason);
  }
  if (on_acknowledged) {
    on_acknowledged(index, {answer->packet_id, answer->reason, at});
  }
  return client.channel != nullptr;
}

bool Swarm::Enter(size_t index, const Packet& packet, Moment at) {
  Client& client = clients_[index];
  const std::optional<Answer> answer = ReadAnswer(packet);
  if (!answer || client.stage != Stage::kGreeting) {
    return false;
  }
  if (answer->reason != 0) {
    Lose(index, {answer->reason, "CONNACK"});
    return false;
  }
  client.stage = Stage::kIn;
  client.spoke_at = at;
  --connecting_;
  ++connected_;
  ++counters_.entered;
  for (const Subscription& subscription : client.subscriptions) {
    SendSubscription(client, subscription);
  }
  Mark(index);
  if (on_connected) {
    on_connected(index, at);
  }
  return client.channel != nullptr;
}

void Swarm::SendSubscription(Client& client, const Subscription& subscription) {
  AppendSubscribe(
      {NextPacketId(client), subscription.filter, subscription.qos, subscription.retained},
      client.out);
  ++client.unanswered;
  ++unanswered_;
}

uint16_t Swarm::NextPacketId(Client& client) {
  client.last_packet_id = static_cast<uint16_t>(client.last_packet_id + 1);
  if (client.last_packet_id == 0) {
    client.last_packet_id = 1;
  }
  return client.last_packet_id;
}

void Swarm::Mark(size_t index) {
  if (!clients_[index].dirty) {
    clients_[index].dirty = true;
    dirty_.push_back(index);
  }
}

void Swarm::FlushAll() {
  // What callbacks of Lose say meanwhile leaves with the next round.
  std::swap(flushing_, dirty_);
  for (const size_t index : flushing_) {
    clients_[index].dirty = false;
    if (clients_[index].channel) {
      Flush(index);
    }
  }
  flushing_.clear();
}

void Swarm::Flush(size_t index) {
  Client& client = clients_[index];
  if (client.out_at < client.out.size()) {
    const Moved moved = client.channel->Write(std::string_view(client.out).substr(client.out_at));
    if (moved.closed) {
      Lose(index, {0, client.channel->why()});
      return;
    }
    client.spoke_at = std::chrono::steady_clock::now();
    client.out_at += moved.bytes;
  }
  if (client.out_at == client.out.size()) {
    client.out.clear();
    client.out_at = 0;
    if (client.leaving) {
      Close(index);
      return;
    }
  }
  Watch(index);
}

void Swarm::Close(size_t index) {
  Client& client = clients_[index];
  connecting_ -= client.stage == Stage::kConnecting || client.stage == Stage::kGreeting ? 1 : 0;
  connected_ -= client.stage == Stage::kIn ? 1 : 0;
  unacknowledged_ -= client.unacknowledged;
  unanswered_ -= client.unanswered;
  if (client.channel) {
    past_bytes_in_ += client.channel->bytes_in();
    past_bytes_out_ += client.channel->bytes_out();
  }
  client.channel.reset();
  client.stage = Stage::kOut;
  client.leaving = false;
  client.unacknowledged = 0;
  client.unanswered = 0;
  client.out.clear();
  client.out_at = 0;
  client.held.clear();
}

void Swarm::Lose(size_t index, const Lost& lost) {
  const std::string why(lost.why);  // it may lie in the channel
  Close(index);
  ++counters_.lost;
  if (first_trouble_.empty()) {
    first_trouble_ = "client " + clients_[index].wish.client_id + ": " +
                     (why.empty() ? "the server hung up" : why) +
                     (lost.reason == 0 ? "" : " " + Code(lost.reason));
  }
  if (on_lost) {
    on_lost(index, {lost.reason, why});
  }
}

void Swarm::PingQuiet() {
  const Moment now = std::chrono::steady_clock::now();
  if (now - pinged_at_ < kPingEvery) {
    return;
  }
  pinged_at_ = now;
  for (size_t index = 0; index < clients_.size(); ++index) {
    Client& client = clients_[index];
    const auto quiet_max = std::chrono::milliseconds(client.wish.keep_alive_s * 700);
    if (client.stage == Stage::kIn && client.wish.keep_alive_s > 0 &&
        now - client.spoke_at > quiet_max) {
      AppendPingRequest(client.out);
      Mark(index);
    }
  }
}

uint64_t Swarm::bytes_in() const {
  uint64_t bytes = past_bytes_in_;
  for (const Client& client : clients_) {
    bytes += client.channel ? client.channel->bytes_in() : 0;
  }
  return bytes;
}

uint64_t Swarm::bytes_out() const {
  uint64_t bytes = past_bytes_out_;
  for (const Client& client : clients_) {
    bytes += client.channel ? client.channel->bytes_out() : 0;
  }
  return bytes;
}

double Swarm::cpu_seconds() const {
  return cpu_s_ + (driving_since_cpu_s_ ? ThreadCpuSeconds() - *driving_since_cpu_s_ : 0);
}

std::string Swarm::Cipher(size_t client) const {
  return clients_[client].channel ? clients_[client].channel->Cipher() : "";
}

}  // namespace latchkey::bench
