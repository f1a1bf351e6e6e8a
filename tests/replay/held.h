// What of each car's state is held where: by the bridge's HTTP answer, by the store's records once
// the bridge has ended, by the broker's retained messages. And whether it is what a drive says.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/replay/expected.h"
#include "tests/support/cell.h"

namespace latchkey::replay {

struct Held {
  double value = 0;  // yes is 1
  int64_t observed_at_ms = 0;
};

struct HeldCar {
  std::map<std::string, Held> signals;         // those that are numbers, or yes and no
  std::map<std::string, std::string> sources;  // by group
};

// By name of the car.
using View = std::map<std::string, HeldCar>;

// Each throws std::runtime_error when there is no answer at all; what is missing in one is missing
// in the view.
View ByHttp(const testing::Cell& cell, const std::vector<std::string>& cars);
View ByStore(const testing::Cell& cell);
View ByBroker(const testing::Cell& cell);

// One car of the replay.
struct Driver {
  std::string car;
  const ExpectedDrive* drive = nullptr;
  int64_t started_ms = 0;  // Unix time of the drive's first row
  BadCounts refused;       // as the car tool says
};

// How recorded times become times of the replay.
struct Timing {
  double speed = 1;
  double tolerance_ms = 0;

  double At(const Driver& driver, int64_t offset) const {
    return static_cast<double>(driver.started_ms) + static_cast<double>(offset) / speed;
  }
};

// As one travels: some signals are 32-bit floats.
bool SameValue(const std::string& signal, double expected, double held);

struct Verdict {
  size_t compared = 0;              // values, each with its time
  std::vector<std::string> wrongs;  // in words
};

// Signal by signal, in both directions: what is held and no drive says is wrong, too. `where` is
// for the words.
Verdict Compare(const std::string& where, const View& view, const std::vector<Driver>& drivers,
                const Timing& timing);

}  // namespace latchkey::replay
