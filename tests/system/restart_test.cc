// Held commands and last-known values over the death of everything.
#include <map>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

// observed_at_ms by signal, as `phone watch --once --json` says.
std::map<std::string, std::pair<int64_t, int64_t>> Watch(const Cell& cell) {
  std::map<std::string, std::pair<int64_t, int64_t>> seen;
  const Ran watched = cell.Latchkey({"--json", "phone", "watch", "anna", "car-1", "--once"});
  std::istringstream lines(watched.output);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.contains("signal")) {
      seen[json["signal"]] = {json["observed_at_ms"], json["age_ms"]};
    }
  }
  return seen;
}

void KillServices(Cell& cell) {
  cell.bridge().Kill();
  cell.broker().Kill();
}

void CheckSameWithGrownAges(const std::map<std::string, std::pair<int64_t, int64_t>>& before,
                            const std::map<std::string, std::pair<int64_t, int64_t>>& after) {
  for (const auto& [signal, times] : before) {
    CAPTURE(signal);
    REQUIRE(after.count(signal) == 1);
    CHECK(after.at(signal).first == times.first);
    CHECK(after.at(signal).second > times.second);
  }
}

}  // namespace

TEST_CASE("a held lock is done exactly once after bridge, broker and car were killed") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  Process& car = cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  car.Stop();
  const Ran held = cell.Latchkey(
      {"phone", "send", "anna", "car-1", "lock", "--lives", "90s", "--timeout", "15s"});
  INFO(held.output);
  REQUIRE(CountLines(held.output, "HELD") >= 1);
  KillServices(cell);
  cell.StartBroker();
  cell.StartBridge();
  const auto commands = [&] {
    return nlohmann::json::parse(
        HttpGet(cell.http_port(), "/v1/commands?fleet=demo&car=car-1").body, nullptr, false);
  };
  REQUIRE(commands()["commands"].size() == 1);
  CHECK(commands()["commands"][0]["state"] == "HELD");
  cell.StartCar("car-1");
  const bool done = Eventually([&] { return commands()["commands"][0]["state"] == "DONE"; });
  CHECK(done);
  CHECK(CountLines(cell.CarOutput("car-1"), "act lock") == 1);
  // Nor again when the car and the services start once more.
  KillServices(cell);
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("car-1");
  const Ran flash = cell.Latchkey({"phone", "send", "anna", "car-1", "flash", "--wait"});
  INFO(flash.output);
  CHECK(flash.exit_code == 0);
  CHECK(CountLines(cell.CarOutput("car-1"), "act lock") == 1);
}

TEST_CASE("a held flash expires over the killing of everything and the car never sees it") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  Process& car = cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  car.Stop();
  const auto sender = cell.StartLatchkey(
      {"phone", "send", "anna", "car-1", "flash", "--lives", "12s", "--wait", "--timeout", "40s"},
      "sender");
  REQUIRE(Eventually([&] { return CountLines(sender->Output(), "HELD") >= 1; }));
  const int64_t expired_by = UnixMs() + 12500;
  KillServices(cell);
  cell.StartBroker();
  cell.StartBridge();
  REQUIRE(Eventually([&] { return UnixMs() > expired_by; }));
  cell.StartCar("car-1");
  // Not known: a bridge that was killed cannot say that it was never sent.
  CHECK(sender->Wait() == 5);
  INFO(sender->Output());
  CHECK(CountLines(sender->Output(), "EXPIRED") >= 1);
  // After its own restart the bridge does not know whether the command was sent: it leaves the car
  // 10 s beyond the expiry to say otherwise.
  const bool expired = Eventually([&] {
    const auto commands = nlohmann::json::parse(
        HttpGet(cell.http_port(), "/v1/commands?fleet=demo&car=car-1").body, nullptr, false);
    return commands["commands"].size() == 1 && commands["commands"][0]["state"] == "EXPIRED";
  });
  CHECK(expired);
  const Ran lock = cell.Latchkey({"phone", "send", "anna", "car-1", "lock", "--wait"});
  CHECK(lock.exit_code == 0);  // control: the car hears
  CHECK(CountLines(cell.CarOutput("car-1"), "act flash") == 0);
  CHECK(CountLines(cell.CarOutput("car-1"), "act lock") == 1);
}

TEST_CASE("after everything restarts a phone sees the last-known values with their true ages") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  Process& car = cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  REQUIRE(cell.Latchkey({"phone", "send", "anna", "car-1", "lock", "--wait"}).exit_code == 0);
  car.Stop();
  const auto before = Watch(cell);
  REQUIRE(before.count("body.is_locked") == 1);
  REQUIRE(Eventually([&] {
    return HttpGet(cell.http_port(), "/v1/cars/demo/car-1").body.find("body.is_locked") !=
           std::string::npos;
  }));
  SUBCASE("killed") {
    KillServices(cell);
  }
  SUBCASE("stopped, and the broker's memory lost: the bridge says it again") {
    cell.bridge().Stop();
    cell.broker().Stop();
    std::filesystem::remove(cell.path() / "broker" / "mosquitto.db");
  }
  SUBCASE("stopped, and the broker lost both its memory and its rings") {
    cell.bridge().Stop();
    cell.broker().Stop();
    std::filesystem::remove(cell.path() / "broker" / "mosquitto.db");
    std::filesystem::remove(cell.path() / "broker" / "rings.log");
  }
  cell.StartBroker();
  cell.StartBridge();
  std::map<std::string, std::pair<int64_t, int64_t>> after;
  Eventually([&] {
    after = Watch(cell);
    return after.size() >= before.size();
  });
  CheckSameWithGrownAges(before, after);
}

}  // namespace latchkey::testing
