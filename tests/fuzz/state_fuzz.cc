// State groups. The first byte, modulo 8, is the group of the topic.
#include <cmath>

#include "proto/state.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {

void Try(std::string_view input) {
  if (input.empty()) {
    return;
  }
  const Group group = kGroups[static_cast<unsigned char>(input[0]) % kGroupCount];
  const Result<v1::StateGroup> state = ParseState(input.substr(1), group);
  if (!state) {
    return;
  }
  Require(VersionOf(*state).observed_at_ms > 0, "what parses has been observed");
  for (const SignalRow& row : SignalsOf(*state)) {
    Require(row.observed_at.ms >= 0 &&
                row.observed_at.ms <= static_cast<int64_t>(state->observed_at_ms()),
            "no signal is newer than its message");
    Require(!row.name.empty(), "a signal has a name");
    if (const auto* number = std::get_if<double>(&row.value)) {
      Require(std::isfinite(*number), "a number is a number");
      Require(PlausibleValue(row.name, *number), "and can be");
    }
    static_cast<void>(ValueText(row));
  }
}

}  // namespace latchkey::fuzz
