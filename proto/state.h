// State groups: checking them, which of two is newer, and every signal as a row with its own time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "latchkey/v1/state.pb.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey {

inline constexpr size_t kStateBytesMax = 16384;
inline constexpr int kExtraSignalsMax = 256;
inline constexpr int kAppsMax = 64;
inline constexpr size_t kSignalTextBytesMax = 256;
inline constexpr size_t kSourceBytesMax = 128;
inline constexpr Duration kStateAheadMax = std::chrono::minutes(5);

// Which of two messages of one group is newer: time first, then sequence.
struct StateVersion {
  int64_t observed_at_ms = 0;
  uint64_t sequence = 0;
  auto operator<=>(const StateVersion&) const = default;
};

StateVersion VersionOf(const v1::StateGroup& state);

// A location or an area without a signal: so a car says in privacy mode that its place is not
// known.
bool HidesPlace(Group group, const v1::StateGroup& state);

// What is held of a group, as the next message of it is compared with it.
struct HeldState {
  StateVersion version;
  Timestamp received_at;  // by the holder's clock
  // Of messages that the car made before this one: observed up to here by a clock that was ahead.
  int64_t void_until_ms = 0;
};

// Does `next` take the place of what is held? By time, then sequence; but what was observed by a
// clock that was ahead (after it was received) gives way to what the car made after it and observed
// after it had been received, and a place to the later word that it is hidden. Times of what gave
// way so do not count any more.
bool Replaces(Group group, const v1::StateGroup& next, const HeldState& held);
// What is held once `next` is taken. `before`: what it takes the place of; nullptr: nothing.
HeldState TakenAt(Timestamp now, const v1::StateGroup& next, const HeldState* before);

// Parses bytes of topic state/{group}. Errors: REASON_TOO_LARGE, REASON_MALFORMED (does not parse,
// group is not the topic's, observed_at_ms 0, an age above observed_at_ms, a text too long, an
// extra signal that has a field of its own), REASON_IMPOSSIBLE_VALUE (a value out of its range:
// NaN, latitude 91, soc 101, an area that is no cell of proto/area.h ...).
Result<v1::StateGroup> ParseState(std::string_view bytes, Group group);

// The same checks, with the same errors, for who needs no more than to know.
Result<void> CheckState(std::string_view bytes, Group group);

// One signal, ready to show.
struct SignalRow {
  std::string name;  // "energy.soc"; an extra signal: its VSS path
  std::string vss;   // empty when VSS has none
  std::string unit;  // empty when it has none
  std::variant<bool, double, int64_t, std::string> value;
  Timestamp observed_at;
};

// All signals of a group in field order.
std::vector<SignalRow> SignalsOf(const v1::StateGroup& state);
// Names of all signals of a group that have a field of their own ("energy.soc"), in field order.
std::vector<std::string> SignalNames(Group group);
// The value as people read it, without unit: "87.5", "yes", "LTE".
std::string ValueText(const SignalRow& row);

// Age at `now`: never negative; a time ahead of now is 0.
Duration AgeOf(Timestamp observed_at, Timestamp now);
// "3 s", "4 min", "2 h 10 min", "5 d".
std::string AgeText(Duration age);

// Can `value` be what the signal with this name ("location.latitude") measures? Used by parsers and
// by replay. Finite and within the range of the table in state_ranges.cc; a latitude or longitude
// of exactly 0 is refused, for receivers without a fix report it. A name without a range: any
// finite value.
bool PlausibleValue(std::string_view signal, double value);

}  // namespace latchkey
