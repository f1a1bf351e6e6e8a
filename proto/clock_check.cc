// See clock_check.h.
#include "proto/clock_check.h"

#include <algorithm>

#include "proto/freshness.h"

namespace latchkey {
namespace {

// Messages that come closer than this are one burst: they show nothing of a clock's pace.
constexpr Duration kPaceMin = std::chrono::seconds(1);

bool Alike(Duration a, Duration b) {
  return std::max(a, b) - std::min(a, b) <= kClockSlack;
}

}  // namespace

std::string_view ToText(ClockWord word) {
  switch (word) {
    case ClockWord::kRight:
      return "right";
    case ClockWord::kAhead:
      return "ahead";
    case ClockWord::kBehind:
      return "behind";
  }
  return "right";
}

std::string ClockText(const ClockState& state) {
  if (state.word == ClockWord::kRight) {
    return "";
  }
  return "car's clock is " + AgeText(state.by) + " " + std::string(ToText(state.word));
}

ClockCheck::Found ClockCheck::Is(const ClockState& state, Found found) {
  const bool wrong = state.word != ClockWord::kRight;
  const bool much_other = state.by >= told_by_ * 2 || state.by * 2 <= told_by_;
  if (state.word != state_.word || (wrong && much_other)) {
    told_by_ = state.by;
    found.changed = true;
  }
  state_ = state;
  return found;
}

ClockCheck::Found ClockCheck::Take(const Heard& heard) {
  const Timestamp observed_at{heard.version.observed_at_ms};
  Found found;
  if (heard.mono && heard.held && heard.version.sequence > heard.held->sequence) {
    const Timestamp held_at{heard.held->observed_at_ms};
    // What is held stays until the clock has caught up: it proves one jump, in whichever group.
    if (held_at - observed_at > kClockSlack && held_at - back_from_ > kClockSlack) {
      found.jump = ClockJump::kBack;
      found.by = held_at - observed_at;
      back_from_ = held_at;
      steady_ = 0;
    }
  }
  const Duration ahead = observed_at - heard.received_at;
  if (ahead > kClockSlack) {
    // The jump that brought it here is told as being ahead.
    steady_ = 0;
    return Is({ClockWord::kAhead, ahead}, found);
  }
  if (!heard.mono) {
    return found;
  }
  const Found followed = Follow(heard);
  if (found.jump == ClockJump::kNone) {
    found = followed;
  } else {
    found.changed = followed.changed;
  }
  return found;
}

// A live message that was observed before it came.
ClockCheck::Found ClockCheck::Follow(const Heard& heard) {
  const Timestamp observed_at{heard.version.observed_at_ms};
  const Duration delay = heard.received_at - observed_at;
  const Duration observed_passed = observed_at - observed_at_;
  const Duration passed = *heard.mono - mono_;
  Found found;
  if (steady_ > 0 && observed_passed <= Duration(0)) {
    return found;  // another group that was observed before
  }
  if (steady_ > 0 && passed < kPaceMin && Alike(delay, delay_)) {
    return found;
  }
  const bool forward = steady_ >= kSteadyMessages && observed_passed - passed > kClockJumpMin;
  const bool same = steady_ > 0 && Alike(observed_passed, passed) && Alike(delay, delay_);
  if (forward) {
    found.jump = ClockJump::kForward;
    found.by = observed_passed - passed;
  }
  if (!same) {
    delay_ = delay;
  }
  steady_ = same ? std::min(steady_ + 1, kSteadyMessages) : 1;
  observed_at_ = observed_at;
  mono_ = *heard.mono;
  // What came at once was observed by a clock that is not behind.
  if (delay <= kClockBehindMin) {
    return steady_ >= kSteadyMessages || state_.word == ClockWord::kBehind
               ? Is({ClockWord::kRight, Duration(0)}, found)
               : found;
  }
  return steady_ >= kSteadyMessages ? Is({ClockWord::kBehind, delay}, found) : found;
}

}  // namespace latchkey
