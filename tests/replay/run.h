// One replay: the cell, the process with all cars, and who is killed when. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <sys/types.h>

#include "tests/replay/course.h"
#include "tests/replay/held.h"
#include "tests/support/cell.h"

namespace latchkey::replay {

struct Options {
  uint64_t seed = 0;
  int cars = 66;
  double speed = 20;
  int kills = 0;     // of the broker, and as many of the bridge
  std::string keep;  // folder for the logs; empty: they go
};

// When a service was not there.
struct Outage {
  bool broker = false;
  int64_t killed_ms = 0;
  int64_t back_ms = 0;
};

class Run {
 public:
  // Starts broker, bridge and cars. Throws std::runtime_error when a car does not come.
  Run(const Options& options, const std::map<std::string, ExpectedDrive>& expected);
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  // Kills as planned until the last drive is over.
  void Drive();

  testing::Cell& cell() { return cell_; }

  const std::vector<Driver>& drivers() const { return drivers_; }

  const std::vector<Outage>& outages() const { return outages_; }

  std::vector<std::string> CarNames() const;

  // With what the clock has drifted meanwhile.
  Timing TimingNow() const;

  // When a car's history may lack something: a crash of the bridge takes at most a minute, any
  // crash the time until car and bridge are back; and what was queued meanwhile is sampled first,
  // so that the next sample comes an interval later.
  Times Excused(const std::string& car, int64_t interval_ms) const;

  // Messages that the bridge has taken, over all its lives.
  uint64_t messages() const { return messages_ended_ + messages_; }

  // CPU time of "broker", "bridge" and "cars" while Drive ran, and how long that was.
  std::map<std::string, double> cpu_seconds() const;

  double seconds() const { return seconds_; }

  void KeepLogs() const;

 private:
  struct Kill {
    int64_t after_ms = 0;
    int64_t down_ms = 0;
    bool broker = false;
  };

  void WaitForCars(const std::map<std::string, ExpectedDrive>& expected);
  int64_t LastEnd() const;
  std::vector<Kill> Plan(int64_t length_ms);
  void Do(const Kill& kill);
  void Look();
  void LookAtClock();
  void LookAt(const std::string& who, pid_t pid);

  Options options_;
  std::mt19937_64 random_;
  testing::Cell cell_;
  std::unique_ptr<testing::Process> cars_;
  std::vector<Driver> drivers_;
  std::vector<Outage> outages_;
  uint64_t messages_ = 0;
  uint64_t messages_ended_ = 0;
  std::map<std::pair<std::string, pid_t>, std::pair<double, double>> cpu_;  // first and last seen
  double seconds_ = 0;
  int64_t clock_least_ = INT64_MAX;
  int64_t clock_most_ = INT64_MIN;
};

}  // namespace latchkey::replay
