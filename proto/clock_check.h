// What the times in a car's messages say of its clock. A car is never asked for its clock, and its
// word would prove nothing: what it says it observed is compared with when that came, by whoever
// receives it (bridge, phone, tap).
//
// One message proves one thing only: what was observed after it came was observed by a clock that
// is ahead. That it was observed long before says nothing: it may have waited in a tunnel. So the
// rest needs messages that follow each other: a clock that is behind shows as a delay that stays
// the same while time passes, a jump as a change of it, and a later message of a group (by its
// sequence) that was observed earlier is a clock that was set back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proto/state.h"
#include "proto/time.h"

namespace latchkey {

enum class ClockWord : uint8_t {
  kRight,  // nothing is known against it
  kAhead,
  kBehind,
};

enum class ClockJump : uint8_t { kNone, kForward, kBack };

// "right", "ahead", "behind".
std::string_view ToText(ClockWord word);

// Messages in a row that must come with one delay before it is taken for the clock's.
inline constexpr int kSteadyMessages = 4;
// A delay that stays the same is a clock behind from here on; below it may be the network.
inline constexpr Duration kClockBehindMin = std::chrono::seconds(30);
// Forward by less may be a delay that ended.
inline constexpr Duration kClockJumpMin = std::chrono::seconds(10);

struct ClockState {
  ClockWord word = ClockWord::kRight;
  Duration by{0};  // how much ahead or behind, as last seen; never negative
  bool operator==(const ClockState&) const = default;
};

// "car's clock is 3 min ahead"; empty: right.
std::string ClockText(const ClockState& state);

// The clock of one car, as one receiver sees it. A value of a few words: there is one per car.
class ClockCheck {
 public:
  // One message of a group, when it came by the receiver's clocks; nullopt as `mono`: not known, or
  // not live (retained, or from the store). `held` is the newest of its group before it. The jump
  // is what this message shows for the first time.
  struct Heard {
    StateVersion version;
    std::optional<StateVersion> held;
    Timestamp received_at;
    std::optional<Instant> mono;
  };

  struct Found {
    ClockJump jump = ClockJump::kNone;
    Duration by{0};        // of the jump
    bool changed = false;  // state() says another word, or the difference has doubled or halved
  };

  Found Take(const Heard& heard);

  ClockState state() const { return state_; }

 private:
  Found Is(const ClockState& state, Found found);
  Found Follow(const Heard& heard);

  ClockState state_;
  Duration told_by_{0};    // state().by when a change was found last
  Timestamp back_from_;    // what was held when a jump back was found last
  Timestamp observed_at_;  // the newest followed
  Instant mono_;           // when that came
  Duration delay_{0};      // of it, by the wall clocks
  int steady_ = 0;         // messages in a row with this delay; 0: none is followed
};

}  // namespace latchkey
