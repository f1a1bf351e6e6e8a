// When departure and charging schedules mean: the car's local time, as UTC and a fixed offset.
// Pure.
#pragma once

#include <optional>
#include <string>

#include "latchkey/v1/command.pb.h"
#include "proto/time.h"

namespace latchkey::car {

// How long before a departure the car begins to precondition.
inline constexpr Duration kPreconditionAhead = std::chrono::minutes(20);

struct PlannedDeparture {
  Timestamp at;
  float target_temperature = 0;  // degrees Celsius; 0: as last set
  bool operator==(const PlannedDeparture&) const = default;
};

// The first departure later than `after`. One without weekdays is the first such time after
// `set_at`, and no other. nullopt: none.
std::optional<PlannedDeparture> NextDeparture(const v1::DepartureSchedule& schedule,
                                              Timestamp set_at, Timestamp after,
                                              Duration utc_offset);

// Is `now` inside one of the windows? False when there are none.
bool InChargeWindow(const v1::ChargeSchedule& schedule, Timestamp now, Duration utc_offset);

// The next begin or end of a window after `now`; nullopt: there are no windows.
std::optional<Timestamp> NextChargeEdge(const v1::ChargeSchedule& schedule, Timestamp now,
                                        Duration utc_offset);

// "07:30", local.
std::string LocalTimeText(Timestamp at, Duration utc_offset);

}  // namespace latchkey::car
