// Whether a signal's history is the course of the drive: no sample that is not in the file at its
// time, and never long behind what the file says, but for what a kill takes.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/replay/held.h"

namespace latchkey::replay {

struct Sample {
  int64_t observed_at_ms = 0;
  int64_t received_at_ms = 0;
  double value = 0;
};

// As the bridge answers, oldest first.
std::vector<Sample> HistoryOf(const testing::Cell& cell, const std::string& car,
                              const std::string& signal);

// Unix times in milliseconds, begin and end.
using Times = std::vector<std::pair<int64_t, int64_t>>;

struct HistoryVerdict {
  size_t samples = 0;
  size_t judged_s = 0;   // seconds of the replay for which history was asked what it says
  size_t excused_s = 0;  // and those that a kill may have taken
  std::vector<std::string> wrongs;
};

// Each sample is a value that the file has at the time of the sample. At each second of the drive
// that is not in `excused`, the last sample until then has a value that the file had at most
// `behind_ms` before; the end of the drive is such a second.
HistoryVerdict JudgeHistory(const Driver& driver, const std::string& signal,
                            const std::vector<Sample>& samples, const Timing& timing,
                            int64_t behind_ms, const Times& excused);

}  // namespace latchkey::replay
