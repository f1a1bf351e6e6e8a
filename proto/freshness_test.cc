// Freshness: the table at its edges and as proto/README.md has it, what a car does, how old a value
// is when clocks differ, and what was never observed.
#include "proto/freshness.h"

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "proto/state.h"

namespace latchkey {

namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

constexpr Timestamp kNow{1'760'000'000'000};

v1::StateGroup DriveOf(const std::string& what) {
  v1::StateGroup state;
  v1::Drive& drive = *state.mutable_drive();
  if (what == "moving") {
    drive.mutable_is_moving()->set_value(true);
  } else if (what == "still") {
    drive.mutable_is_moving()->set_value(false);
    drive.mutable_speed()->set_value(0);
  } else if (what == "fast") {
    drive.mutable_speed()->set_value(0.5F);
  } else {
    drive.mutable_gear()->set_value(std::stoll(what));
  }
  return state;
}

CarMode ModeWith(std::optional<bool> online, const std::string& drive, bool charging) {
  Motion motion;
  motion.Take(Group::kDrive, DriveOf(drive));
  v1::StateGroup energy;
  energy.mutable_energy()->mutable_is_charging()->set_value(charging);
  motion.Take(Group::kEnergy, energy);
  v1::StateGroup body;
  body.mutable_body()->mutable_is_locked()->set_value(true);
  motion.Take(Group::kBody, body);
  return ModeOf(online, motion);
}

std::vector<std::string> Cells(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream stream(line);
  for (std::string cell; std::getline(stream, cell, '|');) {
    const size_t from = cell.find_first_not_of(' ');
    const size_t to = cell.find_last_not_of(' ');
    cells.push_back(from == std::string::npos ? "" : cell.substr(from, to - from + 1));
  }
  return cells;
}

std::string TextOf(Duration age) {
  if (age < Duration(0)) {
    return "-";
  }
  const int64_t seconds = age.count() / 1000;
  if (seconds <= 60) {
    return std::to_string(seconds) + " s";
  }
  return seconds <= 3600 ? std::to_string(seconds / 60) + " min"
                         : std::to_string(seconds / 3600) + " h";
}

}  // namespace

TEST_CASE("freshness: the table of proto/README.md is the table that counts") {
  std::ifstream file(std::string(LK_SOURCE_DIR) + "/proto/README.md");
  std::map<std::string, std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> cells = Cells(line);
    if (cells.size() == 6 && cells[1].size() > 2 && cells[1].front() == '`') {
      rows[cells[1].substr(1, cells[1].size() - 2)] = cells;
    }
  }
  for (const Group group : kGroups) {
    CAPTURE(ToText(group));
    const auto row = rows.find(std::string(ToText(group)));
    REQUIRE(row != rows.end());
    for (size_t i = 0; i < kCarModeCount; ++i) {
      const FreshnessLimits limits = LimitsOf(group, static_cast<CarMode>(i));
      CHECK(row->second[i + 2] == TextOf(limits.live) + ", " + TextOf(limits.recent));
      CHECK(limits.live < limits.recent);
    }
  }
}

TEST_CASE("freshness: a value is live and recent up to its limits and stale above them") {
  CHECK(FreshnessOf(Group::kLocation, CarMode::kDriving, 0ms) == Freshness::kLive);
  CHECK(FreshnessOf(Group::kLocation, CarMode::kDriving, 5s) == Freshness::kLive);
  CHECK(FreshnessOf(Group::kLocation, CarMode::kDriving, 5001ms) == Freshness::kRecent);
  CHECK(FreshnessOf(Group::kLocation, CarMode::kDriving, 60s) == Freshness::kRecent);
  CHECK(FreshnessOf(Group::kLocation, CarMode::kDriving, 60001ms) == Freshness::kStale);
  CHECK(FreshnessOf(Group::kLocation, CarMode::kParked, 60001ms) == Freshness::kLive);
}

TEST_CASE("freshness: a car that is offline has nothing live, however new") {
  for (const Group group : kGroups) {
    CHECK(FreshnessOf(group, CarMode::kOffline, 0ms) == Freshness::kRecent);
  }
  CHECK(FreshnessOf(Group::kBody, CarMode::kOffline, 16min) == Freshness::kStale);
}

TEST_CASE("freshness: offline wins over driving, driving over charging") {
  CHECK(ModeWith(false, "moving", true) == CarMode::kOffline);
  CHECK(ModeWith(std::nullopt, "moving", true) == CarMode::kOffline);
  CHECK(ModeWith(true, "moving", true) == CarMode::kDriving);
  CHECK(ModeWith(true, "fast", false) == CarMode::kDriving);
  CHECK(ModeWith(true, "127", false) == CarMode::kDriving);
  CHECK(ModeWith(true, "-1", false) == CarMode::kDriving);
  CHECK(ModeWith(true, "126", false) == CarMode::kParked);
  CHECK(ModeWith(true, "0", true) == CarMode::kCharging);
  CHECK(ModeWith(true, "still", true) == CarMode::kCharging);
  CHECK(ModeWith(true, "still", false) == CarMode::kParked);
  CHECK(ModeOf(true, Motion{}) == CarMode::kParked);
}

TEST_CASE("freshness: the age counts from observing, whatever the network took") {
  CHECK(AgeAt({kNow - 90s, kNow - 1s}, Group::kDrive, CarMode::kDriving, kNow) ==
        Age{90s, Freshness::kStale, 0ms});
  CHECK(AgeAt({kNow - 2s, kNow - 1s}, Group::kDrive, CarMode::kDriving, kNow) ==
        Age{2s, Freshness::kLive, 0ms});
  CHECK(AgeAt({kNow, kNow}, Group::kDrive, CarMode::kDriving, kNow - 1h) ==
        Age{0ms, Freshness::kLive, 0ms});  // the receiver's clock was set back
}

TEST_CASE("freshness: what was observed in the future counts from when it came, recent at best") {
  CHECK(AgeAt({kNow + 2s, kNow}, Group::kBody, CarMode::kParked, kNow) ==
        Age{0ms, Freshness::kLive, 0ms});
  CHECK(AgeAt({kNow + 2001ms, kNow}, Group::kBody, CarMode::kParked, kNow) ==
        Age{0ms, Freshness::kRecent, 2001ms});
  CHECK(AgeAt({kNow + 3min, kNow - 20min}, Group::kBody, CarMode::kParked, kNow) ==
        Age{20min, Freshness::kStale, 23min});
}

TEST_CASE("freshness: signals that are absent were never observed") {
  CHECK(NeverObserved(Group::kLocation, nullptr).size() == 4);
  v1::StateGroup state;
  state.set_observed_at_ms(1000);
  state.mutable_location()->mutable_latitude()->set_value(48);
  state.mutable_location()->mutable_longitude()->set_value(16);
  CHECK(NeverObserved(Group::kLocation, &state) ==
        std::vector<std::string>{"location.altitude", "location.heading"});
  CHECK(NeverObserved(Group::kApps, nullptr).empty());
}

TEST_CASE("freshness: words") {
  CHECK(ToText(Freshness::kLive) == "live");
  CHECK(ToText(Freshness::kRecent) == "recent");
  CHECK(ToText(Freshness::kStale) == "stale");
  CHECK(ToText(Freshness::kNever) == "never");
  CHECK(ToText(CarMode::kDriving) == "driving");
  CHECK(ToText(CarMode::kCharging) == "charging");
  CHECK(ToText(CarMode::kParked) == "parked");
  CHECK(ToText(CarMode::kOffline) == "offline");
}

}  // namespace latchkey
