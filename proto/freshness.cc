// The table of freshness, and what in a car's state says that it drives or charges.
#include "proto/freshness.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "proto/result.h"
#include "proto/state.h"

namespace latchkey {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// Below every age.
constexpr Duration kNothing{-1};

struct Row {
  Group group;
  std::array<FreshnessLimits, kCarModeCount> limits;  // by CarMode
};

// proto/README.md section 11 repeats it, freshness_test.cc compares.
constexpr auto kTable = std::to_array<Row>({
    {Group::kBody,
     {{{seconds(60), minutes(10)},
       {minutes(2), minutes(15)},
       {minutes(2), minutes(15)},
       {kNothing, minutes(15)}}}},
    {Group::kEnergy,
     {{{seconds(15), minutes(2)},
       {seconds(60), minutes(10)},
       {minutes(2), hours(1)},
       {kNothing, minutes(15)}}}},
    {Group::kLocation,
     {{{seconds(5), seconds(60)},
       {minutes(2), hours(1)},
       {minutes(2), hours(1)},
       {kNothing, minutes(15)}}}},
    {Group::kClimate,
     {{{seconds(30), minutes(5)},
       {minutes(2), minutes(15)},
       {minutes(2), minutes(15)},
       {kNothing, minutes(15)}}}},
    {Group::kDrive,
     {{{seconds(5), seconds(60)},
       {minutes(2), hours(1)},
       {minutes(2), hours(1)},
       {kNothing, minutes(15)}}}},
    {Group::kService,
     {{{minutes(5), hours(1)},
       {minutes(15), hours(24)},
       {minutes(15), hours(24)},
       {kNothing, hours(24)}}}},
    {Group::kApps,
     {{{hours(1), hours(24 * 7)},
       {hours(1), hours(24 * 7)},
       {hours(1), hours(24 * 7)},
       {kNothing, hours(24 * 7)}}}},
    {Group::kLink,
     {{{seconds(60), minutes(10)},
       {minutes(2), minutes(15)},
       {minutes(2), minutes(15)},
       {kNothing, minutes(15)}}}},
    {Group::kArea,
     {{{minutes(5), minutes(30)},
       {minutes(15), hours(24)},
       {minutes(15), hours(24)},
       {kNothing, hours(1)}}}},
});

static_assert(kTable.size() == kGroupCount, "each group has a row here and in proto/README.md");

constexpr bool InOrder() {
  for (size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<size_t>(kTable[i].group) != i) {
      return false;
    }
  }
  return true;
}

static_assert(InOrder(), "the rows are in the order of the groups: they are found by number");

constexpr int64_t kNeutral = 0;
constexpr int64_t kPark = 126;

bool Drives(const v1::Drive& drive) {
  if (drive.has_is_moving() && drive.is_moving().value()) {
    return true;
  }
  if (drive.has_speed() && drive.speed().value() > 0) {
    return true;
  }
  return drive.has_gear() && drive.gear().value() != kNeutral && drive.gear().value() != kPark;
}

}  // namespace

std::string_view ToText(Freshness freshness) {
  switch (freshness) {
    case Freshness::kLive:
      return "live";
    case Freshness::kRecent:
      return "recent";
    case Freshness::kStale:
      return "stale";
    case Freshness::kNever:
      return "never";
  }
  return "never";
}

std::string_view ToText(CarMode mode) {
  switch (mode) {
    case CarMode::kDriving:
      return "driving";
    case CarMode::kCharging:
      return "charging";
    case CarMode::kParked:
      return "parked";
    case CarMode::kOffline:
      return "offline";
  }
  return "offline";
}

void Motion::Take(Group group, const v1::StateGroup& state) {
  if (group == Group::kDrive) {
    moving = Drives(state.drive());
  } else if (group == Group::kEnergy) {
    charging = state.energy().is_charging().value();
  }
}

CarMode ModeOf(std::optional<bool> online, const Motion& motion) {
  if (!online.value_or(false)) {
    return CarMode::kOffline;
  }
  if (motion.moving) {
    return CarMode::kDriving;
  }
  return motion.charging ? CarMode::kCharging : CarMode::kParked;
}

FreshnessLimits LimitsOf(Group group, CarMode mode) {
  return kTable.at(static_cast<size_t>(group)).limits.at(static_cast<size_t>(mode));
}

Freshness FreshnessOf(Group group, CarMode mode, Duration age) {
  const FreshnessLimits limits = LimitsOf(group, mode);
  if (age <= limits.live) {
    return Freshness::kLive;
  }
  return age <= limits.recent ? Freshness::kRecent : Freshness::kStale;
}

Age AgeAt(const Observation& observation, Group group, CarMode mode, Timestamp now) {
  const Duration ahead = observation.observed_at - observation.received_at;
  if (ahead <= kClockSlack) {
    const Duration age = AgeOf(observation.observed_at, now);
    return {age, FreshnessOf(group, mode, age), Duration(0)};
  }
  const Duration age = AgeOf(observation.received_at, now);
  return {age, std::max(Freshness::kRecent, FreshnessOf(group, mode, age)), ahead};
}

std::vector<std::string> NeverObserved(Group group, const v1::StateGroup* state) {
  std::vector<std::string> names = SignalNames(group);
  if (state == nullptr) {
    return names;
  }
  for (const SignalRow& row : SignalsOf(*state)) {
    std::erase(names, row.name);
  }
  return names;
}

}  // namespace latchkey
