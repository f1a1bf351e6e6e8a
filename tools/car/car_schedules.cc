// The car acts on its schedules by itself, also asleep and without a connection: it preconditions
// before a departure, and charges inside its windows. As with commands it writes what it begins,
// acts, and writes what it did: after a crash in between it does not begin again.
#include <algorithm>
#include <string>

#include "tools/car/car.h"
#include "tools/car/schedule.h"

namespace latchkey::car {
namespace {

// A clock that is set is noticed so soon.
constexpr Duration kLookAgain{60000};

}  // namespace

void Car::ReadSchedules() {
  // Of the car's own memory: bytes that do not parse are no schedule.
  if (!departures_.ParseFromString(memory_.departures)) {
    departures_.Clear();
  }
  if (!charge_schedule_.ParseFromString(memory_.charge_windows)) {
    charge_schedule_.Clear();
  }
}

void Car::ActOnSchedules(Effects& out) {
  const bool any = departures_.departures_size() > 0 || charge_schedule_.windows_size() > 0 ||
                   memory_.charge_plan != ChargePlan::kFree;
  if (any && TimeKnown()) {
    Precondition(out);
    ChargeInWindows(out);
  }
}

// A departure that has passed while the car was off is not made up for.
void Car::Precondition(Effects& out) {
  const auto next = NextDeparture(departures_, memory_.departures_set_at,
                                  std::max(memory_.departures_handled, time_), UtcOffset());
  if (!next || time_ < next->at - kPreconditionAhead) {
    return;
  }
  memory_.departures_handled = next->at;
  Save(out);
  ++counters_.acted_by_schedule;
  out.push_back(Act{"by schedule: precondition for " + LocalTimeText(next->at, UtcOffset())});
  Put("climate.is_active", 1);
  if (next->target_temperature != 0.0F) {
    Put("climate.target_temperature", static_cast<double>(next->target_temperature));
  }
  memory_.climate_ends_at = std::max(memory_.climate_ends_at.value_or(next->at), next->at);
  Save(out);
}

// At the edges only: in between, what a person asked for holds.
void Car::ChargeInWindows(Effects& out) {
  const auto is = [this](std::string_view signal) {
    const auto value = board_.Find(signal);
    return value && std::get<double>(*value) != 0.0;
  };
  const bool known = board_.Find("energy.is_plugged").has_value();
  const bool plugged = is("energy.is_plugged");
  ChargePlan plan = ChargePlan::kFree;
  if (charge_schedule_.windows_size() > 0) {
    if (!known) {
      return;
    }
    const bool inside = InChargeWindow(charge_schedule_, time_, UtcOffset());
    plan = plugged && inside ? ChargePlan::kCharge : ChargePlan::kWait;
  }
  if (plan == memory_.charge_plan) {
    return;
  }
  memory_.charge_plan = plan;
  const bool charge = plan != ChargePlan::kWait && plugged;
  Save(out);
  if (!known || charge == is("energy.is_charging")) {
    return;
  }
  ++counters_.acted_by_schedule;
  out.push_back(Act{charge ? "by schedule: charge" : "by schedule: stop charging"});
  Put("energy.is_charging", charge ? 1 : 0);
  Save(out);
}

std::optional<Timestamp> Car::NextScheduled() const {
  if (!TimeKnown()) {
    return std::nullopt;
  }
  std::optional<Timestamp> next = NextChargeEdge(charge_schedule_, time_, UtcOffset());
  const auto departure = NextDeparture(departures_, memory_.departures_set_at,
                                       std::max(memory_.departures_handled, time_), UtcOffset());
  if (departure) {
    const Timestamp begin = departure->at - kPreconditionAhead;
    next = next ? std::min(*next, begin) : begin;
  }
  return next ? std::optional(std::min(*next, time_ + kLookAgain)) : std::nullopt;
}

}  // namespace latchkey::car
