// The words of `phone send`, one row per case.
#include "tools/latchkey/args.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "proto/command.h"
#include "proto/crypto.h"
#include "proto/types.h"
#include "tests/support/wire_fixtures.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

TEST_CASE("args: every action of the schema can be named with hyphens or underscores") {
  for (const ActionFacts& action : ActionTable()) {
    std::string hyphened(action.name);
    for (char& c : hyphened) {
      c = c == '_' ? '-' : c;
    }
    CHECK(ActionName(hyphened) == action.name);
    CHECK(ActionsText().find(hyphened) != std::string::npos);
  }
  CHECK(ActionName("flash") == "flash_lights");
  CHECK(ActionName("horn") == "sound_horn");
}

TEST_CASE("args: arguments become the action's fields, anything else is refused") {
  const std::string key = Base64UrlEncode(PrivateKey::Generate().Public().ToPoint());

  struct Row {
    std::string action;
    std::vector<std::string> args;
    std::string said;
  };

  const std::vector<Row> rows = {
      {"flash", {}, "allowed"},
      {"flash", {"speed=1"}, "REASON_MALFORMED"},
      {"toggle", {}, "REASON_UNKNOWN_ACTION"},
      {"climate-on", {"target_temperature=21", "minutes=10"}, "allowed"},
      {"climate-on", {"minutes=ten"}, "REASON_MALFORMED"},
      {"charge-limit", {}, "REASON_MALFORMED"},
      {"charge-limit", {"percent=80"}, "allowed"},
      {"departure-schedule", {"departure=07:30,mon-fri,21"}, "allowed"},
      {"departure-schedule", {"departure=07:30 mo-fr 21C"}, "allowed"},
      {"departure-schedule", {"departure=07:30 21.5°C"}, "allowed"},
      {"departure-schedule", {"departure=25:00"}, "REASON_MALFORMED"},
      {"departure-schedule", {"departure="}, "REASON_MALFORMED"},
      {"departure-schedule", {"departure=07:30 mon 21 22"}, "REASON_MALFORMED"},
      {"departure-schedule", {"departure=07:30 mon warm"}, "REASON_MALFORMED"},
      {"departure-schedule", {"departure=07:30 C"}, "REASON_MALFORMED"},
      {"departure-schedule", {}, "allowed"},
      {"charge-schedule", {"window=22:00-06:00,daily"}, "allowed"},
      {"charge-schedule", {"window=22:00-06:00 sa+su"}, "allowed"},
      {"charge-schedule", {"window="}, "REASON_MALFORMED"},
      {"charge-schedule", {"window=22:00"}, "REASON_MALFORMED"},
      {"charge-schedule", {"window=22:00-06:00,someday"}, "REASON_MALFORMED"},
      {"send-destination", {"leg=48.1,11.5,Office,drive", "leg=48.2,11.6"}, "allowed"},
      {"send-destination", {"leg=48.1"}, "REASON_MALFORMED"},
      {"send-destination", {"leg=48.1,11.5,Office,fly"}, "REASON_MALFORMED"},
      {"add-key", {"key=" + key, "role=guest", "label=Ben", "until=24h"}, "allowed"},
      {"add-key", {"key=AAAA", "role=guest"}, "REASON_MALFORMED"},
      {"add-key", {"key=" + key}, "REASON_MALFORMED"},
      {"add-key", {"key=" + key, "role=king"}, "REASON_MALFORMED"},
      {"remove-key", {"key_id=abcdefghijklmnopqrstuv"}, "allowed"},
      {"install-app", {"app_id=org.example.app", "version=1.2"}, "allowed"},
      {"cancel", {"command_id=01a1fe6f-84cd-7bfa-958b-d1c09cb29acb"}, "allowed"},
      {"cancel", {"command_id=01a1fe6f"}, "REASON_MALFORMED"},
      {"cancel", {}, "REASON_MALFORMED"},
      {"privacy-mode", {"enabled=true"}, "allowed"},
      {"privacy-mode", {"enabled=perhaps"}, "REASON_MALFORMED"},
      {"privacy-mode", {"enabled"}, "REASON_MALFORMED"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.action);
    CHECK(testing::Said(MakeAction(row.action, row.args, testing::kNow)) == row.said);
  }
}

TEST_CASE("args: schedules, legs and keys keep what was written") {
  const v1::Command departure =
      MakeAction("departure-schedule", {"departure=07:30,mon-fri,21"}, testing::kNow).value();
  CHECK(departure.departure_schedule().departures(0).minute_of_day() == 450);
  CHECK(departure.departure_schedule().departures(0).weekdays() == 0x1f);
  const v1::Command said =
      MakeAction("departure-schedule", {"departure=07:05  tu+sun, 21.5C", "departure=23:59 16"},
                 testing::kNow)
          .value();
  CHECK(said.departure_schedule().departures(0).minute_of_day() == 425);
  CHECK(said.departure_schedule().departures(0).weekdays() == 0x42);
  CHECK(said.departure_schedule().departures(0).target_temperature() == 21.5F);
  CHECK(said.departure_schedule().departures(1).weekdays() == 0);
  CHECK(said.departure_schedule().departures(1).target_temperature() == 16);
  const v1::Command window =
      MakeAction("charge-schedule", {"window=22:00-06:00,sat+mon"}, testing::kNow).value();
  CHECK(window.charge_schedule().windows(0).start_minute() == 1320);
  CHECK(window.charge_schedule().windows(0).weekdays() == 0x21);
  const v1::Command wrapped =
      MakeAction("charge-schedule", {"window=22:00-06:00,fri-mon"}, testing::kNow).value();
  CHECK(wrapped.charge_schedule().windows(0).weekdays() == 0x71);
  const v1::Command legs =
      MakeAction("send-destination", {"leg=48.1,11.5,Office,walk"}, testing::kNow).value();
  CHECK(legs.send_destination().legs(0).name() == "Office");
  CHECK(legs.send_destination().legs(0).mode() == v1::TRAVEL_MODE_WALK);
  const std::string key = Base64UrlEncode(PrivateKey::Generate().Public().ToPoint());
  const v1::Command add =
      MakeAction("add-key", {"key=" + key, "role=guest", "until=1h"}, testing::kNow).value();
  CHECK(add.add_key().key().not_after_ms() ==
        static_cast<uint64_t>((testing::kNow + std::chrono::hours(1)).ms));
  CHECK(KeyFromWire(add.add_key().key()).value().permissions == PermissionsOf(v1::ROLE_GUEST));
}

TEST_CASE("args: lengths of time are read with their unit, nothing else") {
  CHECK(ParseDuration("500ms").value() == Duration(500));
  CHECK(ParseDuration("30").value() == Duration(30'000));
  CHECK(ParseDuration("10m").value() == Duration(600'000));
  for (const char* bad : {"", "s", "-1s", "0s", "10 s", "1y", "99999999999h"}) {
    CAPTURE(bad);
    CHECK(testing::Said(ParseDuration(bad)) == "REASON_MALFORMED");
  }
}

}  // namespace latchkey::cli
