// The bridge's MQTT 5 connection: one persistent session, what arrives goes into the intake, what
// the runner says goes out.
//
// A message is acknowledged when paho's callback returns, and messages come one after the other. So
// that many commands share a commit, the callback of a command returns while at most
// uncommitted_max inputs wait for theirs; above that it waits, a few seconds at most. What was
// acknowledged and not committed when the bridge is killed was not said HELD: the phone, which has
// no receipt, sends it again.
//
// It asks for all that is new at once, and for what the broker retains part by part, each when the
// last has been shown: a command does not wait behind the state of all cars.
//
// A receipt that is to be said between two connections is said on the next; other words then are
// dropped, as the core says them again itself.
//
// What the plugins say (changed blocks, and answers on the control topic, which need no
// subscription) goes into the intake as it came; their figures go to the figure board.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bridge/figures.h"
#include "bridge/runner.h"

namespace latchkey::bridge {

struct MqttOptions {
  std::string host;
  int port = 0;
  std::string client_id;  // bridge/{name}
  std::string ca_file;    // PEM: the only CA trusted
  std::string certificate_file;
  std::string private_key_file;
  uint64_t uncommitted_max = 512;
  // Of a hand-over. The session is the one that the bridge before has just left, with everything
  // seen: when the broker still has it, it shows what it retains only for what is new among the
  // subscriptions, and BrokerUp says `kept`. For the first connection, begun within kKeptFor.
  bool kept = false;
  std::vector<Publish> words;  // said first, once the broker listens
};

inline constexpr Duration kKeptFor = std::chrono::seconds(10);

// Not copyable. Thread rule: made, started and stopped by one thread; Publisher's calls from any.
class Mqtt final : public Publisher {
 public:
  // `intake` and `figures` outlive it.
  Mqtt(MqttOptions options, Intake& intake, FigureBoard& figures, LogSink log);
  ~Mqtt() override;  // as Stop
  Mqtt(const Mqtt&) = delete;
  Mqtt& operator=(const Mqtt&) = delete;

  // Connects now and again whenever the connection is gone, after 1 s doubling to 30 s. Error
  // REASON_INTERNAL: paho cannot make a client.
  Result<void> Start();
  // Disconnects, keeping the session at the broker; at most about a second.
  void Stop();
  // After Stop: words that the broker did not get; those of Send since then, too. Once.
  std::vector<Publish> TakeUnsaid();

  void Send(const Publish& publish) override;
  size_t backlog() const override;
  void Reconnect() override;

  struct Impl;  // named for paho's callbacks

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace latchkey::bridge
