// How values are shown: never without their times, their age and the word for it.
#include "tools/latchkey/show.h"

#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

namespace latchkey::cli {

namespace {

constexpr Timestamp kNow{1'760'000'000'000};
const SignalRow kSoc{"energy.soc", "Vehicle.Soc", "percent", 87.5, kNow - Duration(3000)};

Moment At(Duration received_ago, bool retained) {
  return {kNow, kNow - received_ago, Group::kEnergy, CarMode::kParked, retained};
}

}  // namespace

TEST_CASE("show: a row says value, word, age, when it was observed and when it was received") {
  const std::string row = RowText(kSoc, At(Duration(2000), false));
  CHECK(row.find("energy.soc") == 0);
  CHECK(row.find("87.5 percent") != std::string::npos);
  CHECK(row.find("live    3 s ago") != std::string::npos);
  CHECK(row.find("observed " + DateText(kNow - Duration(3000))) != std::string::npos);
  CHECK(row.find("received " + ClockText(kNow - Duration(2000))) != std::string::npos);
  CHECK(row.find("retained") == std::string::npos);
  CHECK(RowText(kSoc, At(Duration(2000), true)).find("(retained)") != std::string::npos);
}

TEST_CASE("show: a value of the future counts from when it came, and says why") {
  const SignalRow soon{"energy.soc", "", "", 87.5, kNow + Duration(178'000)};
  const Moment moment = At(Duration(2000), false);
  CHECK(
      RowText(soon, moment).find("recent  2 s ago, by when it came: car's clock is 3 min ahead") !=
      std::string::npos);
  const auto json = RowJson(soon, moment);
  CHECK(json["age_ms"] == 2000);
  CHECK(json["freshness"] == "recent");
}

TEST_CASE("show: a row as JSON has both times and the word") {
  const auto json = RowJson(kSoc, At(Duration(2000), true));
  CHECK(json["signal"] == "energy.soc");
  CHECK(json["observed_at_ms"] == (kNow - Duration(3000)).ms);
  CHECK(json["received_at_ms"] == (kNow - Duration(2000)).ms);
  CHECK(json["age_ms"] == 3000);
  CHECK(json["freshness"] == "live");
  CHECK(json["retained"] == true);
}

TEST_CASE("show: what a car puts into a name cannot command the terminal") {
  const SignalRow bad{"extra\x1b[2J", "", "", std::string("\x1b]0;x"), kNow};
  CHECK(RowText(bad, At(Duration(0), false)).find('\x1b') == std::string::npos);
}

}  // namespace latchkey::cli
