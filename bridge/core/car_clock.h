// Which cars' clocks are wrong, as the times in their messages say (proto/clock_check.h): counted,
// told in the log, and kept for who asks. Nothing is decided by it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "bridge/core/bridge.h"
#include "bridge/core/step.h"
#include "proto/clock_check.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::bridge {

// So many are kept by name; the rest is only counted.
inline constexpr size_t kWrongClocksMax = 1000;
// Lines of the log in a minute: when the clock of this machine is wrong, all cars' seem to be.
inline constexpr size_t kClockLinesPerMinute = 30;

// Not copyable; one thread. `counters` outlives it.
class CarClocks {
 public:
  explicit CarClocks(Counters& counters)
      : counters_(counters), wrong_(std::make_shared<WrongClocks>()) {}

  CarClocks(const CarClocks&) = delete;
  CarClocks& operator=(const CarClocks&) = delete;

  // A message of state of `ref`, for the check that is kept for it.
  void Heard(const CarRef& ref, ClockCheck& check, const ClockCheck::Heard& heard, Effects& out);

  // The car is forgotten with its check.
  void Forget(const CarRef& ref, const ClockCheck& check);

  size_t ahead() const { return ahead_; }

  size_t behind() const { return behind_; }

  // As they are now; changes of a tenth are left out.
  const std::shared_ptr<const WrongClocks>& wrong() const { return wrong_; }

 private:
  void Count(ClockWord word, bool more);
  void Keep(const CarRef& ref, const ClockState& state, Timestamp now);
  void Tell(const CarRef& ref, const ClockCheck::Found& found, const ClockState& state,
            Timestamp now, Effects& out);

  Counters& counters_;
  size_t ahead_ = 0;
  size_t behind_ = 0;
  // Shown to other threads as it was when they asked: replaced whole, never changed.
  std::shared_ptr<const WrongClocks> wrong_;
  std::optional<Timestamp> minute_;  // when the minute that is counted began, by the wall clock
  size_t lines_ = 0;                 // in it
  uint64_t left_out_ = 0;            // lines
};

}  // namespace latchkey::bridge
