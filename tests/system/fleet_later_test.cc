// A fleet that is added while everything runs; and what the bridge tells of certificates.
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proto/topic.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

TEST_CASE("a fleet added while the bridge runs is served by it without a restart") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  const Ran made = cell.Latchkey({"fleet", "init", "later"});
  INFO(made.output);
  REQUIRE(made.exit_code == 0);
  // Mosquitto reads the CAs it lets connect when it starts.
  cell.broker().Stop();
  cell.StartBroker();
  const PrivateKey owner = PrivateKey::Generate();
  RawCar car(cell, "later", "car-1");
  REQUIRE(car.PublishRing({{owner.Public(), v1::ROLE_OWNER}}) == 0);
  const auto shown = [&] {
    return nlohmann::json::parse(HttpGet(cell.http_port(), "/v1/cars/later/car-1").body, nullptr,
                                 false);
  };
  CHECK(Eventually([&] { return shown().value("ring_version", nlohmann::json()) == 1; }));
  const int64_t not_after = Certificate::FromDer(car.certificate_der())->not_after.ms;
  CHECK(shown()["certificate_not_after_ms"] == not_after);
  CHECK(cell.bridge().Running());
  const std::string metrics = HttpGet(cell.http_port(), "/metrics").body;
  // The raw car's certificate is for 30 days.
  CHECK(CountLines(metrics, "latchkey_certificates_expiring_30d 1") == 1);
}

}  // namespace latchkey::testing
