// What a newcomer does: a car comes online, a phone pairs, sees the state, and flashes the lights.
#include <vector>

#include <doctest/doctest.h>

#include "proto/crypto.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

TEST_CASE("a phone pairs, sees every value with its age, and flashes the lights") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  CHECK(CountLines(cell.CarOutput("car-1"), "pairing: latchkey://pair?") >= 1);

  Ran watched;
  CHECK(Eventually([&] {
    watched = cell.Latchkey({"phone", "watch", "anna", "car-1", "--once"});
    return watched.exit_code == 0 && watched.output.find("observed ") != std::string::npos;
  }));
  INFO(watched.output);
  CHECK(watched.output.find("online") != std::string::npos);
  CHECK(watched.output.find(" ago") != std::string::npos);

  const Ran flash = cell.Latchkey({"phone", "send", "anna", "car-1", "flash", "--wait"});
  INFO(flash.output);
  CHECK(flash.exit_code == 0);
  CHECK(CountLines(flash.output, "DONE") == 1);
  CHECK(CountLines(flash.output, " ms") >= 1);
  CHECK(CountLines(cell.CarOutput("car-1"), "act flash") == 1);

  const Ran status = cell.Latchkey({"status"});
  INFO(status.output);
  CHECK(status.exit_code == 0);
  CHECK(status.output.find("car-1") != std::string::npos);
}

TEST_CASE("every action has a name, and an online car ends each") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  for (const char* action : {"horn", "unlock", "lock", "windows-down", "windows-up", "find",
                             "climate-off", "charge-stop", "charge-start", "refresh"}) {
    CAPTURE(action);
    const Ran sent =
        cell.Latchkey({"phone", "send", "anna", "car-1", action, "--wait", "--timeout", "20s"});
    INFO(sent.output);
    CHECK(sent.exit_code == 0);
    CHECK(CountLines(sent.output, "DONE") == 1);
  }
  const std::string guest = PrivateKey::Generate().Public().ToPoint();
  const std::string guest_id = PublicKey::FromPoint(guest)->Id().str();
  const std::vector<std::vector<std::string>> with_arguments = {
      {"climate-on", "target_temperature=21", "minutes=10"},
      {"departure-schedule", "departure=07:30,mon-fri,21"},
      {"charge-limit", "percent=80"},
      {"charge-schedule", "window=22:00-06:00,daily"},
      {"send-destination", "leg=48.137,11.575,Marienplatz,drive", "leg=48.14,11.56,,walk"},
      {"install-app", "app_id=org.example.radio", "version=1"},
      {"remove-app", "app_id=org.example.radio"},
      {"restart-telematics"},
      {"add-key", "key=" + Base64UrlEncode(guest), "role=guest", "label=guest"},
      {"remove-key", "key_id=" + guest_id},
      {"privacy-mode", "enabled=true"},
  };
  for (const auto& action : with_arguments) {
    CAPTURE(action[0]);
    std::vector<std::string> words = {"phone", "send", "anna", "car-1", action[0]};
    for (size_t i = 1; i < action.size(); ++i) {
      words.insert(words.end(), {"--arg", action[i]});
    }
    words.insert(words.end(), {"--wait", "--timeout", "20s"});
    const Ran sent = cell.Latchkey(words);
    INFO(sent.output);
    CHECK(sent.exit_code == 0);
    CHECK(CountLines(sent.output, "DONE") == 1);
  }
  const Ran state = cell.Latchkey({"phone", "watch", "anna", "car-1", "--once"});
  INFO(state.output);
  CHECK(state.output.find("energy.charge_limit") != std::string::npos);
  const Ran none = cell.Latchkey({"phone", "send", "anna", "car-1", "self-destruct", "--wait"});
  CHECK(none.exit_code != 0);
}

}  // namespace latchkey::testing
