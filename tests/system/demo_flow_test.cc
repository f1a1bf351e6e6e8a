// What a newcomer does: a car comes online, a phone pairs, sees the state, and flashes the lights.
#include <doctest/doctest.h>

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

TEST_CASE("every action has a name, and an online car ends each that needs no argument") {
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
  const Ran none = cell.Latchkey({"phone", "send", "anna", "car-1", "self-destruct", "--wait"});
  CHECK(none.exit_code != 0);
}

}  // namespace latchkey::testing
