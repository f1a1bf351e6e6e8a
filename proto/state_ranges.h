// What each signal can be: its range, by its name.
#pragma once

#include <string_view>

namespace latchkey {

// Both ends are possible values.
struct SignalRange {
  std::string_view signal;  // "location.latitude"
  double min;
  double max;
};

// nullptr: the signal has no range.
const SignalRange* FindRange(std::string_view signal);

// Is `value` finite and within `range` (nullptr: any)? A latitude or longitude of exactly 0 is not
// plausible: receivers without a fix report it.
bool Plausible(const SignalRange* range, double value);

}  // namespace latchkey
