// How far a value can be trusted by its age: one plain word, by what the car was doing when last
// heard of and by the group the value belongs to. Position and speed of a driving car are history
// after a minute; the apps on its dashboard are not.
//
// The limits are one table, in freshness.cc and in proto/README.md alike. A car that is not
// connected has no live values, however new they are: nothing says that they still hold.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "latchkey/v1/state.pb.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey {

// From the best to the worst: values compare.
enum class Freshness : uint8_t {
  kLive,    // as good as now
  kRecent,  // true a moment ago
  kStale,   // only history
  kNever,   // never observed
};
inline constexpr size_t kFreshnessCount = 4;

enum class CarMode : uint8_t { kDriving, kCharging, kParked, kOffline };
inline constexpr size_t kCarModeCount = 4;

// "live", "recent", "stale", "never".
std::string_view ToText(Freshness freshness);
// "driving", "charging", "parked", "offline".
std::string_view ToText(CarMode mode);

// What a car last said that tells driving and charging from standing. What was said counts until
// something else is said, however old it is: that can only make values look older than they are.
struct Motion {
  bool moving = false;
  bool charging = false;

  // Reads groups drive and energy; another group changes nothing.
  void Take(Group group, const v1::StateGroup& state);
  bool operator==(const Motion&) const = default;
};

// Offline wins over driving, driving over charging. `online` is nullopt when no presence is known:
// then the car counts as offline.
CarMode ModeOf(std::optional<bool> online, const Motion& motion);

// Ages up to and with these. `live` is below 0 where nothing is.
struct FreshnessLimits {
  Duration live;
  Duration recent;
  bool operator==(const FreshnessLimits&) const = default;
};

FreshnessLimits LimitsOf(Group group, CarMode mode);
Freshness FreshnessOf(Group group, CarMode mode, Duration age);

// A time observed this much beyond its receiver's clock is no clock's fault but the network's and
// the rounding's; beyond that the car's clock is ahead of the receiver's.
inline constexpr Duration kClockSlack = std::chrono::seconds(2);

// How old a value is.
struct Age {
  Duration age{0};  // never negative
  Freshness freshness = Freshness::kStale;
  // The car's clock was this much ahead of its receiver's. Then the time of observation is not
  // believed: `age` counts from receiving, and `freshness` is kRecent at best. 0: it was not.
  Duration ahead{0};
  bool operator==(const Age&) const = default;
};

// `received_at` is by the clock that `now` is by.
struct Observation {
  Timestamp observed_at;
  Timestamp received_at;
};

Age AgeAt(const Observation& observation, Group group, CarMode mode, Timestamp now);

// Names of the signals of `group` that `state` does not have ("energy.soh"): never observed, or no
// longer known. Without a state: all of them. Apps and extra signals have no list to be absent
// from.
std::vector<std::string> NeverObserved(Group group, const v1::StateGroup* state);

}  // namespace latchkey
