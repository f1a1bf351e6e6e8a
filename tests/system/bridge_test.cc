// The bridge as a service: health, metrics, a clean stop, and a start that keeps what it knew.
#include <doctest/doctest.h>

#include "tests/support/cell.h"

namespace latchkey::testing {

TEST_CASE("the bridge says how it is, stops cleanly and keeps its state over a restart") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  RawCar car(cell, "demo", "car-1");
  const PrivateKey phone = PrivateKey::Generate();
  REQUIRE(car.PublishRing({{phone.Public(), v1::ROLE_OWNER}}) == 0);
  REQUIRE(car.PublishSpeed(88) == 0);
  const auto stored = [&] {
    const std::string body = HttpGet(cell.http_port(), "/v1/cars/demo/car-1").body;
    return body.find("88") != std::string::npos && body.find("drive.speed") != std::string::npos;
  };
  REQUIRE(Eventually(stored));
  CHECK(HttpGet(cell.http_port(), "/healthz").status == 200);
  CHECK(HttpGet(cell.http_port(), "/readyz").status == 200);
  CHECK(HttpGet(cell.http_port(), "/v1/cars/demo/none").status == 404);
  const std::string metrics = HttpGet(cell.http_port(), "/metrics").body;
  CHECK(metrics.find("latchkey_mqtt_connected 1") != std::string::npos);
  CHECK(metrics.find("latchkey_cars_online 1") != std::string::npos);
  CHECK(metrics.find("latchkey_state_stored_total") != std::string::npos);

  cell.broker().Stop();
  CHECK(Eventually([&] { return HttpGet(cell.http_port(), "/readyz").status == 503; }));
  CHECK(HttpGet(cell.http_port(), "/healthz").status == 200);
  CHECK(stored());
  cell.StartBroker();
  CHECK(Eventually([&] { return HttpGet(cell.http_port(), "/readyz").status == 200; }));

  CHECK(cell.bridge().Stop() == 0);
  cell.StartBridge();
  CHECK(stored());
  cell.bridge().Kill();
  cell.StartBridge();
  CHECK(stored());
}

TEST_CASE("a configuration with an unknown key is refused with its name") {
  const Cell cell;
  const std::string good = (cell.path() / "bridge" / "latchkey.toml").string();
  CHECK(Run({LK_BINARY_DIR "/bin/latchkey-bridge", "--config", good, "--check-config"}).exit_code ==
        0);
  const std::string bad = (cell.path() / "test" / "bad.toml").string();
  Run({"sh", "-c", "sed 's/^port/prot/' " + good + " > " + bad});
  const Ran checked =
      Run({LK_BINARY_DIR "/bin/latchkey-bridge", "--config", bad, "--check-config"});
  CHECK(checked.exit_code != 0);
  CHECK(checked.output.find("prot") != std::string::npos);
}

}  // namespace latchkey::testing
