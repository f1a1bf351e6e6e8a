// What a tap says of the cars' clocks: one check for each car, so that a clock that is set back or
// forward is told when it happens, and one that is wrong when it becomes so. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "proto/clock_check.h"
#include "proto/message.h"
#include "proto/state.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::cli {

// So many cars are followed; of others only what one message shows is said (tap_show.h).
inline constexpr size_t kClocksFollowedMax = 20'000;

class TapClocks {
 public:
  // A message of a group as a tap hears it, by the tap's clocks.
  struct Heard {
    Group group = Group::kBody;
    StateVersion version;
    Retain retained = Retain::kNo;
    Timestamp at;
    Instant mono;
  };

  struct News {
    ClockCheck::Found found;
    ClockState now;
  };

  explicit TapClocks(size_t cars_max = kClocksFollowedMax) : cars_max_(cars_max) {}

  // What is new about the clock of `car`; nullopt: nothing, or the car is not followed.
  std::optional<News> Take(const std::string& car, const Heard& heard);

 private:
  struct Car {
    ClockCheck check;
    std::array<std::optional<StateVersion>, kGroupCount> newest;
  };

  size_t cars_max_;
  std::map<std::string, Car> cars_;
};

// "12:00:03  demo/F3-17  clock: the car's clock is 3 min ahead" or "... jumped back by 3 min".
std::string ClockNewsText(const std::string& car, const TapClocks::News& news, Timestamp now);
// {"car":"demo/F3-17","event":"clock","clock":"ahead","by_ms":180000,"jump":"back","jump_ms":...}
std::string ClockNewsJson(const std::string& car, const TapClocks::News& news, Timestamp now);

}  // namespace latchkey::cli
