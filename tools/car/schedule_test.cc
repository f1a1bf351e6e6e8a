// Departure times and charging windows: when they are, and what the car does at them, once each.
#include "tools/car/schedule.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/car_story.h"

namespace latchkey::car {
namespace {

using latchkey::testing::kSecond;
using std::chrono::hours;
using std::chrono::minutes;

constexpr uint32_t kMonday = 1;
constexpr uint32_t kTuesday = 2;
constexpr uint32_t kSunday = 64;
constexpr uint32_t kDaily = 127;

// 2023-11-13, a Monday, 00:00 UTC.
constexpr Timestamp kWeek{1'699'833'600'000};

Timestamp On(int day, int hour, int minute = 0) {
  return kWeek + hours(24 * day + hour) + minutes(minute);
}

v1::Command Departs(uint32_t minute, uint32_t weekdays, float target = 0.0F) {
  v1::Command action;
  v1::Departure* departure = action.mutable_departure_schedule()->add_departures();
  departure->set_minute_of_day(minute);
  departure->set_weekdays(weekdays);
  departure->set_target_temperature(target);
  return action;
}

v1::Command Charges(uint32_t start, uint32_t end, uint32_t weekdays) {
  v1::Command action;
  v1::ChargeWindow* window = action.mutable_charge_schedule()->add_windows();
  window->set_start_minute(start);
  window->set_end_minute(end);
  window->set_weekdays(weekdays);
  return action;
}

// What the body did while time passed until `at`, at the car's own deadlines.
std::string Until(Story& s, Timestamp at) {
  std::string acts;
  s.Heard();
  for (int i = 0; i < 100000 && s.now_.wall < at; ++i) {
    const auto next = s.car_->NextDeadline();
    const Duration most = at - s.now_.wall;
    const Duration wait = next ? std::clamp(*next - s.now_.mono, Duration(1), most) : most;
    s.Passes(wait);
    const std::string heard = s.Heard();
    const size_t begin = heard.find("act:");
    if (begin != std::string::npos) {
      acts += LocalTimeText(s.now_.wall, minutes(s.utc_offset_minutes_)) + " " +
              heard.substr(begin + 4, heard.find(" write") - begin - 4) + "\n";
    }
  }
  return acts;
}

void Plugs(Story& s, double plugged) {
  s.Gives(Observe{"energy.is_plugged", plugged, s.now_.wall, ""});
}

double Signal(const Story& s, std::string_view name) {
  const auto value = s.car_->board().Find(name);
  return value ? std::get<double>(*value) : -1.0;
}

}  // namespace

TEST_CASE("schedule: the next departure is the first on one of its days, strictly later") {
  const auto next = [](const v1::Command& action, Timestamp after, Duration offset) {
    const auto found = NextDeparture(action.departure_schedule(), kWeek, after, offset);
    return found ? found->at : Timestamp{};
  };
  const v1::Command monday = Departs(450, kMonday);
  CHECK(next(monday, On(0, 0), Duration(0)) == On(0, 7, 30));
  CHECK(next(monday, On(0, 7, 30) - Duration(1), Duration(0)) == On(0, 7, 30));
  CHECK(next(monday, On(0, 7, 30), Duration(0)) == On(7, 7, 30));
  CHECK(next(monday, On(6, 23), Duration(0)) == On(7, 7, 30));
  CHECK(next(Departs(450, kMonday | kTuesday), On(0, 8), Duration(0)) == On(1, 7, 30));
  CHECK(next(Departs(0, kSunday), On(6, 0), Duration(0)) == On(13, 0));
  // 00:30 on Monday in Vienna is 23:30 on Sunday in UTC.
  CHECK(next(Departs(30, kMonday), On(5, 0), hours(1)) == On(6, 23, 30));
  CHECK(next(Departs(1410, kSunday), On(6, 0), -hours(5)) == On(7, 4, 30));
  CHECK(next({}, On(0, 0), Duration(0)) == Timestamp{});
}

TEST_CASE(
    "schedule: a departure without weekdays is once, at the next such time after it was set") {
  const v1::Command once = Departs(450, 0, 21.0F);
  const auto& schedule = once.departure_schedule();
  CHECK(NextDeparture(schedule, On(0, 7), On(0, 7), Duration(0)) ==
        PlannedDeparture{On(0, 7, 30), 21.0F});
  CHECK(NextDeparture(schedule, On(0, 7, 30), On(0, 7, 30), Duration(0)) ==
        PlannedDeparture{On(1, 7, 30), 21.0F});
  CHECK_FALSE(NextDeparture(schedule, On(0, 7), On(0, 7, 30), Duration(0)));
  CHECK_FALSE(NextDeparture(schedule, On(0, 7), On(5, 0), Duration(0)));
}

TEST_CASE(
    "schedule: windows hold from begin to just before end, over midnight and the week's end") {
  struct Case {
    const char* what;
    v1::Command action;
    Timestamp now;
    bool inside;
    Timestamp edge;
  };

  const v1::Command night = Charges(1320, 360, kSunday);  // Sunday 22:00 to Monday 6:00
  const std::vector<Case> cases = {
      {"before", night, On(6, 22) - Duration(1), false, On(6, 22)},
      {"begin", night, On(6, 22), true, On(7, 6)},
      {"midnight", night, On(7, 0), true, On(7, 6)},
      {"end", night, On(7, 6), false, On(13, 22)},
      {"of the week before", night, On(0, 5), true, On(0, 6)},
      {"a whole day", Charges(600, 600, kMonday), On(1, 9, 59), true, On(1, 10)},
      {"day", Charges(600, 660, kDaily), On(3, 10, 30), true, On(3, 11)},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    const auto& schedule = c.action.charge_schedule();
    CHECK(InChargeWindow(schedule, c.now, Duration(0)) == c.inside);
    CHECK(NextChargeEdge(schedule, c.now, Duration(0)) == c.edge);
    CHECK(InChargeWindow(schedule, c.now - hours(2), hours(2)) == c.inside);
    CHECK(NextChargeEdge(schedule, c.now - hours(2), hours(2)) == c.edge - hours(2));
  }
  CHECK_FALSE(InChargeWindow({}, kWeek, Duration(0)));
  CHECK_FALSE(NextChargeEdge({}, kWeek, Duration(0)));
}

TEST_CASE("schedule: the car preconditions 20 minutes before each departure, until it") {
  Story s(On(0, 0));
  s.utc_offset_minutes_ = 60;
  s.Boots();
  s.Arrives(s.Seals(Departs(450, kMonday | kTuesday, 21.5F), 'a', hours(20)));
  CHECK(Until(s, On(0, 6, 15)) == "07:10 by schedule: precondition for 07:30\n");
  CHECK(Signal(s, "climate.is_active") == 1.0);
  CHECK(Signal(s, "climate.target_temperature") == 21.5);
  Until(s, On(0, 6, 31));
  CHECK(Signal(s, "climate.is_active") == 0.0);
  CHECK(Until(s, On(5, 0)) == "07:10 by schedule: precondition for 07:30\n");
  CHECK(s.car_->counters().acted_by_schedule == 2);
}

TEST_CASE(
    "schedule: it writes before it preconditions, and a crash in between does not repeat it") {
  Story s(On(0, 7));
  s.Arrives(s.Seals(Departs(450, kDaily), 'a', hours(20)));
  s.Heard();
  s.crash_before_ = [](const Effect& effect) { return std::holds_alternative<Act>(effect); };
  s.Passes(minutes(10));
  CHECK(s.Heard().find("act") == std::string::npos);
  s.crash_before_ = nullptr;
  s.Boots();
  CHECK(s.Heard().find("act") == std::string::npos);
  CHECK(Until(s, On(0, 9)) == "");
  CHECK(Until(s, On(1, 9)) == "07:10 by schedule: precondition for 07:30\n");
}

TEST_CASE("schedule: a reboot neither repeats a departure nor misses the end of its climate") {
  Story s(On(0, 7));
  s.Arrives(s.Seals(Departs(450, 0), 'a', hours(20)));
  CHECK(Until(s, On(0, 7, 15)) == "07:10 by schedule: precondition for 07:30\n");
  s.Boots();
  CHECK(s.Heard().find("act") == std::string::npos);
  CHECK(Signal(s, "climate.is_active") == 1.0);
  CHECK(Until(s, On(0, 7, 30)) == "");
  CHECK(Signal(s, "climate.is_active") == 0.0);
  s.Boots();
  CHECK(Until(s, On(3, 0)) == "");
}

TEST_CASE(
    "schedule: a car that boots late preconditions for what is left, and not for what passed") {
  Story s(On(0, 5));
  s.Arrives(s.Seals(Departs(450, 0), 'a', hours(20)));
  const std::string stored = s.stored_;
  s.now_.wall = On(0, 7, 25);
  s.Boots();
  CHECK(s.Heard().find("act:by schedule: precondition for 07:30") != std::string::npos);
  s.stored_ = stored;
  s.now_.wall = On(0, 7, 30);
  s.Boots();
  CHECK(s.Heard().find("act") == std::string::npos);
}

TEST_CASE("schedule: an empty schedule ends preconditioning, and a factory reset all schedules") {
  Story s(On(0, 5));
  s.Arrives(s.Seals(Departs(450, kDaily), 'a', hours(20)));
  v1::Command none;
  none.mutable_departure_schedule();
  s.Passes(kSecond);
  s.Arrives(s.Seals(none, 'b', hours(20)));
  CHECK(Until(s, On(2, 0)) == "");
  s.Arrives(s.Seals(Departs(450, kDaily), 'c', hours(20)));
  s.Gives(FactoryReset{});
  CHECK(Until(s, On(4, 0)) == "");
}

TEST_CASE("schedule: a car that does not know the time acts on no schedule, and waits for none") {
  Story s(On(0, 7));
  s.Arrives(s.Seals(Departs(450, kDaily), 'a', hours(20)));
  s.now_.wall = {1000};
  s.Boots();
  s.Heard();
  s.now_.mono = s.now_.mono + minutes(15);
  s.Gives(Tick{});
  CHECK(s.Heard().find("act") == std::string::npos);
  s.now_.wall = On(0, 7, 16);
  s.Gives(Tick{});
  CHECK(s.Heard().find("act:by schedule: precondition for 07:30") != std::string::npos);
}

TEST_CASE("schedule: a car that sleeps preconditions without waking to the network") {
  Story s(On(0, 7));
  s.Arrives(s.Seals(Departs(450, kDaily), 'a', hours(20)));
  Options options;
  options.ref = s.fleet_car_.ref;
  options.certificate_der = s.fleet_car_.certificate_der;
  s.car_.emplace(std::move(options), CopyOf(s.fleet_car_.key),
                 LoadMemory(s.stored_, s.fleet_car_.ref).value());
  s.connects_ = 0;
  s.Passes(kSecond);
  CHECK(Until(s, On(0, 8)) == "07:10 by schedule: precondition for 07:30\n");
  CHECK(s.connects_ == 0);
}

TEST_CASE("schedule: a person's climate that runs longer is not cut short by a departure") {
  Story s(On(0, 7));
  s.Arrives(s.Seals(Departs(450, kDaily), 'a', hours(20)));
  v1::Command climate;
  climate.mutable_climate_on()->set_minutes(60);
  s.Arrives(s.Seals(climate, 'b'));
  Until(s, On(0, 7, 45));
  CHECK(Signal(s, "climate.is_active") == 1.0);
  Until(s, On(0, 8, 1));
  CHECK(Signal(s, "climate.is_active") == 0.0);
}

TEST_CASE("schedule: the car charges inside its windows only, when it is plugged") {
  Story s(On(0, 20));
  Plugs(s, 1);
  s.Gives(Observe{"energy.is_charging", 1.0, s.now_.wall, ""});
  s.Heard();
  s.Arrives(s.Seals(Charges(1320, 360, kDaily), 'a', hours(20)));
  CHECK(s.Heard().find("act:by schedule: stop charging") != std::string::npos);
  CHECK(Signal(s, "energy.is_charging") == 0.0);
  CHECK(Until(s, On(2, 0)) ==
        "22:00 by schedule: charge\n06:00 by schedule: stop charging\n22:00 by schedule: charge\n");
  Plugs(s, 0);
  CHECK(Signal(s, "energy.is_charging") == 0.0);
  CHECK(Until(s, On(2, 5)) == "");
  Plugs(s, 1);
  CHECK(Signal(s, "energy.is_charging") == 1.0);
}

TEST_CASE("schedule: what a person asks for holds until the next edge of a window") {
  Story s(On(0, 20));
  Plugs(s, 1);
  s.Arrives(s.Seals(Charges(1320, 360, kDaily), 'a', hours(20)));
  v1::Command start;
  start.mutable_charge_start();
  s.Arrives(s.Seals(start, 'b'));
  CHECK(Until(s, On(0, 21)) == "");
  CHECK(Signal(s, "energy.is_charging") == 1.0);
  Until(s, On(0, 23));
  v1::Command stop;
  stop.mutable_charge_stop();
  s.Arrives(s.Seals(stop, 'c'));
  CHECK(Until(s, On(1, 5)) == "");
  CHECK(Signal(s, "energy.is_charging") == 0.0);
}

TEST_CASE("schedule: without windows again the car charges when it is plugged") {
  Story s(On(0, 20));
  Plugs(s, 1);
  s.Arrives(s.Seals(Charges(1320, 360, kDaily), 'a', hours(20)));
  v1::Command none;
  none.mutable_charge_schedule();
  s.Passes(kSecond);
  s.Arrives(s.Seals(none, 'b', hours(20)));
  CHECK(Signal(s, "energy.is_charging") == 1.0);
  CHECK(Until(s, On(3, 0)) == "");
}

TEST_CASE("schedule: a reboot inside a window acts again only when something changed") {
  Story s(On(0, 20));
  Plugs(s, 1);
  s.Arrives(s.Seals(Charges(1320, 360, kDaily), 'a', hours(20)));
  Until(s, On(0, 23));
  s.Boots();
  Plugs(s, 1);
  CHECK(s.Heard().find("act") == std::string::npos);
  CHECK(Signal(s, "energy.is_charging") == 1.0);
  s.now_.wall = On(1, 7);
  s.Boots();
  CHECK_MESSAGE(s.Heard().find("act") == std::string::npos, "whether it is plugged is not known");
  Plugs(s, 1);
  CHECK(s.Heard().find("act:by schedule: stop charging") != std::string::npos);
}

}  // namespace latchkey::car
