// Thousands of MQTT 5 clients on one thread and one epoll: the load of the benchmark. It is quick
// because words to a client gather in one buffer and leave in one write after each round, and
// nothing is allocated per message. Its own processor time is counted, so that a run can show
// that the broker was what it waited for.
//
// A client says nothing by itself but CONNECT, its subscriptions, PUBACKs and pings; windows and
// paces are the caller's: publish the next one when a callback tells of the last.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"
#include "tools/bench/channel.h"
#include "tools/bench/wire.h"

namespace latchkey::bench {

// Latencies are fractions of a millisecond, which proto's Instant does not hold.
using Moment = std::chrono::steady_clock::time_point;

struct ClientWish {
  std::string client_id;
  std::shared_ptr<const Identity> identity{};  // null: none
  std::optional<std::string> user_name{};
  std::optional<std::string> password{};
  uint16_t keep_alive_s = 60;
  bool clean_start = true;
  uint32_t session_expiry_s = 0;
  uint16_t receive_maximum = 65535;
  std::optional<Endpoint> endpoint{};  // nullopt: the swarm's
};

// A message to publish. Views, read at once.
struct Message {
  std::string_view topic;
  std::string_view payload;
  int qos = 0;  // 0 or 1
  bool retain = false;
  uint32_t expiry_s = 0;  // 0: none
};

// A message that came. Views, as long as the callback runs.
struct Arrived {
  std::string_view topic;
  std::string_view payload;
  int qos = 0;
  bool retain = false;
  Moment at;  // when it was read from the socket
};

// A PUBACK.
struct Acknowledged {
  uint16_t packet_id = 0;
  uint8_t reason = 0;  // 0x80 and above: refused
  Moment at;
};

// Why a client is out: CONNACK's or DISCONNECT's reason code, 0 when the connection just ended.
struct Lost {
  uint8_t reason = 0;
  std::string_view why;
};

// All since the swarm was made.
struct Counters {
  uint64_t sent = 0;          // PUBLISHes written into a client's buffer
  uint64_t received = 0;      // PUBLISHes that came
  uint64_t acknowledged = 0;  // PUBACKs below 0x80
  uint64_t refused = 0;       // PUBACKs from 0x80 on
  uint64_t entered = 0;       // CONNACKs that let in
  uint64_t lost = 0;          // connections that ended or were never made, but for Leave and Cut
  uint64_t refused_subscriptions = 0;
};

// Not thread-safe; one thread owns it. Callbacks run inside Drive; they may call anything but
// Drive.
class Swarm {
 public:
  std::function<void(size_t client, const Arrived&)> on_message;
  std::function<void(size_t client, const Acknowledged&)> on_acknowledged;
  std::function<void(size_t client, Moment)> on_connected;  // CONNACK came
  std::function<void(size_t client, const Lost&)> on_lost;  // not called for Leave and Cut

  explicit Swarm(Endpoint endpoint);
  ~Swarm();
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;

  // Begins to connect at the next Drive. Its index: 0, 1, 2 ...
  size_t Add(ClientWish wish);
  // At once when it is connected, and whenever it connects.
  void Subscribe(size_t client, std::string filter, int qos,
                 RetainHandling retained = RetainHandling::kSend);
  // Leaves with the next round. The packet id, 0 at QoS 0; nullopt: it is not connected.
  std::optional<uint16_t> Publish(size_t client, const Message& message);

  // With DISCONNECT, or as a lost network does; it stays out.
  void Leave(size_t client);
  void Cut(size_t client);
  // One that is out connects again.
  void Reconnect(size_t client);
  // From where it connects next.
  void Move(size_t client, Endpoint endpoint);
  // A new password (a token that would end), used at the next connection.
  void Renew(size_t client, std::string password);

  // How many may be on their way in at once. The default is Mosquitto's own backlog: whoever comes
  // beyond that waits a second for TCP to try again.
  void set_connecting_max(size_t clients) { connecting_max_ = clients; }

  // Handles what comes, until nothing is on its way (all in who want in, every subscription and
  // QoS 1 message answered) or the time is over. True: nothing is on its way.
  bool Drive(Duration for_at_most);
  // Until `done`, which is asked after every round and at least every millisecond; false: the time
  // was over first.
  bool DriveUntil(Duration for_at_most, const std::function<bool()>& done);

  const Counters& counters() const { return counters_; }

  size_t size() const { return clients_.size(); }

  size_t connected() const { return connected_; }

  bool IsConnected(size_t client) const { return clients_[client].stage == Stage::kIn; }

  // Nothing is on its way: what Drive waits for.
  bool settled() const {
    return waiting_.empty() && connecting_ == 0 && unacknowledged_ == 0 && unanswered_ == 0 &&
           dirty_.empty();
  }

  // QoS 1 messages without a PUBACK: of all clients, and of this one.
  size_t unacknowledged() const { return unacknowledged_; }

  size_t Unacknowledged(size_t client) const { return clients_[client].unacknowledged; }

  // On the wire above TCP.
  uint64_t bytes_in() const;
  uint64_t bytes_out() const;
  // Processor time that its thread has spent in Drive.
  double cpu_seconds() const;

  // What went wrong first, for people: "client lk-phone: CONNACK 0x87". Empty: nothing.
  const std::string& first_trouble() const { return first_trouble_; }

  // "TLSv1.3 TLS_AES_256_GCM_SHA384" of a connected client.
  std::string Cipher(size_t client) const;

 private:
  enum class Stage : uint8_t { kOut, kWaiting, kConnecting, kGreeting, kIn };

  struct Subscription {
    std::string filter;
    int qos = 0;
    RetainHandling retained = RetainHandling::kSend;
  };

  struct Client {
    ClientWish wish;
    std::unique_ptr<Channel> channel{};
    Stage stage = Stage::kOut;
    bool dirty = false;        // in dirty_
    bool leaving = false;      // DISCONNECT is in `out`: closed when it is gone
    bool polls_write = false;  // epoll looks for room to write, too
    uint16_t last_packet_id = 0;
    size_t unacknowledged = 0;
    size_t unanswered = 0;  // SUBSCRIBEs
    size_t out_at = 0;      // of `out`, written so far
    std::string out{};
    std::string held{};  // the beginning of a packet
    std::vector<Subscription> subscriptions{};
    Moment spoke_at{};
  };

  void Round(int wait_ms);
  void BeginWaiting();
  void Begin(size_t index);
  void Handle(size_t index, uint32_t events);
  void Greet(size_t index);
  void Read(size_t index);
  // What is whole in `bytes` is handled; how much that was. nullopt: the connection is over.
  std::optional<size_t> Take(size_t index, std::string_view bytes, Moment at);
  bool TakePacket(size_t index, const Packet& packet, Moment at);
  bool Enter(size_t index, const Packet& packet, Moment at);
  void SendSubscription(Client& client, const Subscription& subscription);
  uint16_t NextPacketId(Client& client);
  void Mark(size_t index);
  void FlushAll();
  void Flush(size_t index);
  void Watch(size_t index);
  void Close(size_t index);
  void Lose(size_t index, const Lost& lost);
  void PingQuiet();

  Endpoint endpoint_;
  int epoll_ = -1;
  std::deque<Client> clients_;
  std::deque<size_t> waiting_;
  std::vector<size_t> dirty_;
  std::vector<size_t> flushing_;
  std::vector<char> buffer_;
  Counters counters_;
  size_t connecting_max_ = 100;
  size_t connecting_ = 0;
  size_t connected_ = 0;
  size_t unacknowledged_ = 0;
  size_t unanswered_ = 0;
  uint64_t past_bytes_in_ = 0;  // of connections that are over
  uint64_t past_bytes_out_ = 0;
  double cpu_s_ = 0;
  std::optional<double> driving_since_cpu_s_;
  Moment pinged_at_{};
  std::string first_trouble_;
};

}  // namespace latchkey::bench
