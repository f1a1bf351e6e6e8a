// A few phones that send a command to their cars every now and then, and how long each took to be
// there: what people feel of a broker that is busy with something else.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"
#include "tools/bench/crowd.h"
#include "tools/bench/entrance.h"
#include "tools/bench/swarm.h"

namespace latchkey::bench {

// One thread.
class Probes {
 public:
  // The `count` cars of the crowd from `first` on, and their phones. Connects nobody yet. Error
  // REASON_BAD_CERTIFICATE. The crowd must outlive it.
  static Result<std::unique_ptr<Probes>> Make(const Crowd& crowd, const Entrance& entrance,
                                              size_t first, size_t count);

  // Until all are in and subscribed; who is lost on the way comes again. False: `patience` is over.
  bool Connect(Duration patience);

  // Milliseconds from the phone's publish to the car, of each command, one every `every`, until
  // `done` says so. Commands are signed before their time is taken. What is not there after 10 s,
  // or was on its way when a connection was lost, is in lost().
  std::vector<double> Run(Duration every, const std::function<bool()>& done);

  size_t lost() const { return lost_; }

 private:
  struct Pair {
    const BenchCar* car = nullptr;
    const BenchPhone* phone = nullptr;
    std::string topic;
    Moment sent_at{};
    bool waits = false;  // a command is on its way
  };

  explicit Probes(Endpoint endpoint) : swarm_(std::move(endpoint)) {}

  bool Send(size_t index);
  void Return();

  Swarm swarm_;
  std::vector<Pair> pairs_;
  std::vector<size_t> out_;  // clients that are to connect again
  Moment return_at_{};
  size_t lost_ = 0;
};

}  // namespace latchkey::bench
