// State groups. The first byte, modulo the number of groups, is the group of the topic.
#include <cmath>

#include "proto/clock_check.h"
#include "proto/freshness.h"
#include "proto/state.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {

void Try(std::string_view input) {
  if (input.empty()) {
    return;
  }
  const Group group = kGroups[static_cast<unsigned char>(input[0]) % kGroupCount];
  const Result<v1::StateGroup> state = ParseState(input.substr(1), group);
  const Result<void> checked = CheckState(input.substr(1), group);
  Require(checked.has_value() == state.has_value(),
          "the short way to the verdict gives the same one");
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
  Motion motion;
  motion.Take(group, *state);
  const Timestamp now{1'760'000'000'000};
  const Timestamp observed_at{VersionOf(*state).observed_at_ms};
  const Age age = AgeAt({observed_at, now}, group, ModeOf(true, motion), now);
  Require(age.age >= Duration(0), "an age is never negative");
  Require(age.freshness != Freshness::kLive || age.ahead == Duration(0),
          "what was observed in the future is not live");
  Require(NeverObserved(group, &*state).size() <= SignalNames(group).size(),
          "what is absent has a name");
  ClockCheck check;
  check.Take({VersionOf(*state), std::nullopt, now, Instant{1000}});
  Require((check.state().word == ClockWord::kAhead) == (age.ahead > Duration(0)),
          "freshness and clock check agree on the future");
}

}  // namespace latchkey::fuzz
