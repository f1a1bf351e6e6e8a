// Cars with a phone each, and an operator's tap, that keep one server as busy as it can be: the
// work of the throughput case. What is published is real state, as a car in use has it.
//
// The loop is closed: a message that has come makes the next one leave. So the server always has a
// bounded number of messages to do, nothing is lost for want of room, and a figure of what was
// delivered is one of what was published.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "proto/result.h"
#include "proto/time.h"
#include "tools/bench/swarm.h"

namespace latchkey::bench {

enum class Path : uint8_t {
  kPairs,  // each car to its phone
  kTap,    // all cars to one tap
};

struct Work {
  Path path = Path::kPairs;
  int qos = 0;
};

// "pairs, QoS 1".
std::string ToText(const Work& work);

// Who takes part. Clients are ready for Swarm::Add; cars[i] writes for phones[i].
struct PairsWish {
  pid_t server = -1;                   // whose processor time is asked for
  std::vector<std::string> car_names;  // "fleet/car", as in topics
  std::vector<ClientWish> cars;
  std::vector<ClientWish> phones;
  ClientWish tap;
};

// What a server did in a while.
struct Window {
  uint64_t messages = 0;  // delivered
  double wall_s = 0;
  double server_cpu_s = 0;
  double own_cpu_s = 0;  // of the generator

  // Delivered messages by each second of the server's processor, of the generator's, of the clock.
  double per_server_cpu_s() const;
  double per_own_cpu_s() const;
  double per_wall_s() const;

  // Share of the time in which each was at work.
  double server_busy() const { return wall_s > 0 ? server_cpu_s / wall_s : 0; }

  double own_busy() const { return wall_s > 0 ? own_cpu_s / wall_s : 0; }
};

// One thread.
class Pairs {
 public:
  // Waits until all are in and subscribed. Error REASON_STORE_UNAVAILABLE: somebody is not let in;
  // the text says what went wrong first.
  static Result<std::unique_ptr<Pairs>> Connect(PairsWish wish);

  // Works for `warm_up` and then for `measured`, which is what is told; afterwards nothing is on
  // its way. Error REASON_STORE_UNAVAILABLE: a message was refused or did not come, or a client
  // was lost.
  Result<Window> Run(const Work& work, Duration warm_up, Duration measured);

  size_t pairs() const { return car_names_.size(); }

  const Swarm& swarm() const { return *swarm_; }

  // Bytes of a message's payload.
  size_t payload_bytes(Path path) const;

 private:
  Pairs() = default;
  void Send(const Work& work, size_t car);
  Result<void> Check(const Work& work) const;

  pid_t server_ = -1;
  std::unique_ptr<Swarm> swarm_;
  std::vector<std::string> car_names_;
  std::vector<std::string> energy_topics_;
  std::vector<std::string> drive_topics_;
  std::string energy_;
  std::string drive_;
  size_t next_car_ = 0;
};

// The payloads, and what they were made of: observed `now`.
std::string EnergyState(Timestamp now);
std::string DriveState(Timestamp now);

}  // namespace latchkey::bench
