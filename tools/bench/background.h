// Load beside what is measured: cars that say their state at a steady rate, each to its phone, from
// a process of its own, so that it does not stand in the way of what times the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include <sys/types.h>

#include "proto/result.h"
#include "proto/time.h"
#include "tools/bench/entrance.h"

namespace latchkey::bench {

struct BackgroundWish {
  const Entrance* entrance = nullptr;
  const Crowd* crowd = nullptr;
  size_t first = 0;  // pairs of the crowd from here on
  size_t pairs = 0;
  double per_second = 0;  // messages of all cars together
};

// A child of this process, which must have no threads when it starts. One thread.
class Background {
 public:
  // All counted since it began to send.
  struct Counts {
    uint64_t sent = 0;
    uint64_t received = 0;  // by the phones
    double cpu_s = 0;
    uint64_t late = 0;  // messages that left more than 50 ms after their time
  };

  // Waits until all are in and it sends. Errors REASON_STORE_UNAVAILABLE: no process, or some do
  // not get in within a minute; those of Entrance.
  static Result<std::unique_ptr<Background>> Start(const BackgroundWish& wish);
  ~Background();  // ends it
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  Counts counts() const;

 private:
  struct Shared;

  explicit Background(Shared* shared) : shared_(shared) {}

  Result<void> AwaitSending();
  static void Run(const BackgroundWish& wish, Shared& shared);

  pid_t pid_ = -1;
  Shared* shared_;  // memory that both processes see
};

// A drive group as a car says it, observed at `at`: what a car that drives says most often.
std::string NumberedState(uint64_t sequence, Timestamp at);

}  // namespace latchkey::bench
