// What the recordings say, by expected.py: a reading that shares no code with tools/fleet.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace latchkey::replay {

// One signal over a whole drive; only good values. Times count from the drive's first row, in
// milliseconds of the recording.
struct Course {
  double last = 0;
  int64_t last_at = 0;
  int64_t widest = 0;                              // longest time without the signal
  std::vector<std::pair<int64_t, double>> values;  // begin of each stretch of equal ones; or empty
};

// How many values of a signal were bad for a reason.
using BadCounts = std::map<std::pair<std::string, std::string>, uint64_t>;

struct ExpectedDrive {
  std::string name;  // as the car names it: the file without its endings
  uint64_t rows = 0;
  int64_t length = 0;
  BadCounts bad;
  std::map<std::string, Course> signals;
};

// All bad values of a drive.
uint64_t SumOf(const BadCounts& bad);

// By name. Throws std::runtime_error when expected.py does not do its work.
std::map<std::string, ExpectedDrive> ReadExpected();

}  // namespace latchkey::replay
