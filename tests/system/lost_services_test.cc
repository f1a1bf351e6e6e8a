// The live path needs the broker alone: with the bridge stopped a phone pairs and commands; with it
// back, the store has caught up.
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/cell.h"

namespace latchkey::testing {

TEST_CASE("with the bridge stopped a new phone pairs and flashes; with it back it has caught up") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  const std::string first = cell.QrText("car-1");
  CHECK(cell.bridge().Stop() == 0);

  const Ran flash = cell.Latchkey({"phone", "send", "anna", "car-1", "flash", "--wait"});
  INFO(flash.output);
  CHECK(flash.exit_code == 0);

  // A new code is on the screen after each pairing.
  cell.StartCar("car-1", {"--offer"});
  REQUIRE(cell.QrText("car-1") != first);
  cell.Pair("bob", "car-1");
  const Ran lock = cell.Latchkey({"phone", "send", "bob", "car-1", "lock", "--wait"});
  INFO(lock.output);
  CHECK(lock.exit_code == 0);
  CHECK(CountLines(cell.CarOutput("car-1"), "act lock") == 1);

  cell.StartBridge();
  std::string body;
  const bool caught_up = Eventually([&] {
    body = HttpGet(cell.http_port(), "/v1/cars/demo/car-1").body;
    const auto json = nlohmann::json::parse(body, nullptr, false);
    if (!json.is_object() || !json["ring_version"].is_number() || !json["groups"].is_object() ||
        !json["groups"].contains("body")) {
      return false;
    }
    for (const auto& row : json["groups"]["body"]["signals"]) {
      if (row["name"] == "body.is_locked" && row["value"] == true) {
        return json["ring_version"] >= 3 && json["online"] == true;
      }
    }
    return false;
  });
  CAPTURE(body);
  CHECK(caught_up);
}

}  // namespace latchkey::testing
