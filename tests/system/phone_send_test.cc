// What `latchkey phone send` tells a script: a code for each way a command can end; and that each
// action can be sent as people write it.
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proto/types.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

constexpr int kRefused = 1;
constexpr int kUsage = 2;
constexpr int kTimedOut = 3;
constexpr int kUnknown = 5;

bool CarIs(const Cell& cell, bool online) {
  return Eventually([&] {
    return nlohmann::json::parse(HttpGet(cell.http_port(), "/v1/cars/demo/car-1").body, nullptr,
                                 false)["online"] == online;
  });
}

Ran Send(const Cell& cell, const std::string& phone, std::vector<std::string> words) {
  words.insert(words.begin(), {"phone", "send", phone, "car-1"});
  return cell.Latchkey(words);
}

}  // namespace

TEST_CASE("each way a command can end has its exit code") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  const auto expect = [&](int code, const std::string& line, const std::string& phone,
                          const std::vector<std::string>& words) {
    const Ran ran = Send(cell, phone, words);
    INFO(ran.output);
    CHECK(ran.exit_code == code);
    CHECK(CountLines(ran.output, line) == 1);
  };
  expect(0, "DONE  (car)", "anna", {"flash", "--wait"});
  expect(kUsage, "no action \"fly\"", "anna", {"fly"});
  expect(kUsage, "write phone, car and action", "anna", {});
  expect(kRefused, "not sent: ", "anna", {"lock", "--lives", "2h"});
  REQUIRE(cell.Latchkey({"phone", "init", "bob"}).exit_code == 0);
  const nlohmann::json key =
      nlohmann::json::parse(cell.Latchkey({"--json", "phone", "key", "bob"}).output);
  const Ran shared =
      cell.Latchkey({"--json", "phone", "share", "anna", "car-1", key["link"].get<std::string>(),
                     "--may", "signal", "--sees", "body"});
  INFO(shared.output);
  REQUIRE(shared.exit_code == 0);
  const size_t at = shared.output.find("latchkey://invite");
  REQUIRE(at != std::string::npos);
  REQUIRE(cell.Latchkey({"phone", "accept", "bob",
                         shared.output.substr(at, shared.output.find('"', at) - at)})
              .exit_code == 0);
  expect(kRefused, "REFUSED  (car)  not_permitted: ", "bob", {"unlock", "--wait"});

  cell.StartCar("car-1").Stop();
  REQUIRE(CarIs(cell, false));
  expect(0, "HELD  (bridge)", "anna", {"lock", "--no-wait"});
  expect(kTimedOut, "no outcome in time; the command may still act until it expires", "anna",
         {"lock", "--wait", "--timeout", "2s"});
  // It went to sleep a moment ago: the server cannot rule out that it had the command before.
  expect(kUnknown, "EXPIRED  (bridge)  expired: ", "anna", {"flash", "--lives", "2s", "--wait"});
  const auto older =
      cell.StartLatchkey({"phone", "send", "anna", "car-1", "lock", "--wait"}, "older");
  REQUIRE(Eventually([&] { return CountLines(older->Output(), "HELD") == 1; }));
  expect(0, "HELD  (bridge)", "anna", {"unlock"});
  CHECK(older->Wait() == kUnknown);
  CHECK(CountLines(older->Output(), "SUPERSEDED  (bridge)  superseded: ") == 1);
  cell.bridge().Stop();
  expect(kUnknown, "whether it has acted is not known", "anna",
         {"flash", "--lives", "1s", "--wait"});
}

TEST_CASE("every action can be sent as people write it") {
  Cell cell;
  cell.StartBroker();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  const std::string other = Base64UrlEncode(PrivateKey::Generate().Public().ToPoint());
  const std::string id = PublicKey::FromPoint(*Base64UrlDecode(other))->Id().str();
  const std::vector<std::vector<std::string>> all = {
      {"flash-lights"},
      {"sound-horn"},
      {"find"},
      {"lock"},
      {"unlock"},
      {"windows-up"},
      {"windows-down"},
      {"climate-on", "--arg", "target_temperature=21.5", "--arg", "minutes=15"},
      {"climate-off"},
      {"departure-schedule", "--departure", "07:30 mo-fr 21C", "--departure", "10:00 sa+su"},
      {"departure-schedule"},
      {"charge-start"},
      {"charge-stop"},
      {"charge-limit", "--arg", "percent=80"},
      {"charge-schedule", "--window", "22:00-06:00 daily", "--window", "12:00-14:00 sat+sun"},
      {"charge-schedule"},
      {"send-destination", "--leg", "48.1402,11.5600,Park and ride,drive", "--leg",
       "48.1374,11.5755,Marienplatz,transit", "--leg", "48.1351,11.5820,Office,walk"},
      {"install-app", "--arg", "app_id=org.example.app", "--arg", "version=1.2"},
      {"remove-app", "--arg", "app_id=org.example.app"},
      {"restart-telematics"},
      {"refresh"},
      {"add-key", "--arg", "key=" + other, "--arg", "role=guest"},
      {"remove-key", "--arg", "key_id=" + id},
      {"privacy-mode", "--arg", "enabled=true"},
      {"cancel", "--arg", "command_id=01a1fe6f-84cd-7bfa-958b-d1c09cb29acb"},
  };
  for (std::vector<std::string> words : all) {
    CAPTURE(words.front());
    words.insert(words.end(), {"--wait", "--timeout", "20s"});
    const Ran ran = Send(cell, "anna", words);
    INFO(ran.output);
    CHECK(ran.exit_code == 0);
    CHECK(CountLines(ran.output, "DONE  (car)") == 1);
  }
  const Ran wrong = Send(cell, "anna", {"lock", "--leg", "1,2"});
  CHECK(wrong.exit_code == kUsage);
  CHECK(CountLines(wrong.output, "lock does not take --arg leg=1,2") == 1);
}

TEST_CASE("a car begins to warm for a departure it was told while it slept") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  cell.StartCar("car-1").Stop();
  REQUIRE(CarIs(cell, false));
  const int64_t minute = (UnixMs() / 60000 + 10) % 1440;  // UTC, as the car's clock
  const auto two = [](int64_t number) { return (number < 10 ? "0" : "") + std::to_string(number); };
  const std::string at = two(minute / 60) + ":" + two(minute % 60);
  const Ran sent = Send(cell, "anna", {"departure-schedule", "--departure", at + " daily 21C"});
  INFO(sent.output);
  REQUIRE(sent.exit_code == 0);
  cell.StartCar("car-1", {"--utc-offset", "0"});
  CHECK(Eventually([&] {
    return CountLines(cell.CarOutput("car-1"), "act by schedule: precondition for " + at) == 1;
  }));
}

}  // namespace latchkey::testing
