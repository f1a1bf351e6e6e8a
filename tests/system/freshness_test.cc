// No value without its age and a word for it, wherever it is shown, and a car's wrong clock is said
// and not believed.
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "latchkey/v1/state.pb.h"
#include "proto/topic.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;

json CarNow(const Cell& cell, const std::string& car) {
  return json::parse(HttpGet(cell.http_port(), "/v1/cars/demo/" + car).body, nullptr, false);
}

int PublishCharge(RawCar& car, int64_t observed_at_ms, uint64_t sequence) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(observed_at_ms));
  state.set_sequence(sequence);
  state.mutable_energy()->mutable_soc()->set_value(60);
  return car.client().Send(
      {StateTopic(car.ref(), Group::kEnergy), state.SerializeAsString(), 1, Retain::kYes, 0});
}

std::vector<json> Lines(const std::string& output) {
  std::vector<json> lines;
  std::istringstream stream(output);
  for (std::string line; std::getline(stream, line);) {
    json one = json::parse(line, nullptr, false);
    if (one.is_object()) {
      lines.push_back(std::move(one));
    }
  }
  return lines;
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE(
    "a car's clock that is ahead is said by HTTP, metrics, log and status, and not believed") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  RawCar car(cell, "demo", "car-1");
  REQUIRE(car.PublishRing({{PrivateKey::Generate().Public(), v1::ROLE_OWNER}}) == 0);
  REQUIRE(car.PublishSpeed(88) == 0);
  REQUIRE(PublishCharge(car, UnixMs() + 180'000, 1) == 0);
  REQUIRE(Eventually([&] { return CarNow(cell, "car-1")["groups"].contains("energy"); }));
  const json now = CarNow(cell, "car-1");
  INFO(now.dump(1));
  CHECK(now["mode"] == "driving");
  CHECK(now["groups"]["drive"]["signals"][0]["freshness"] == "live");
  CHECK(now["clock"]["word"] == "ahead");
  CHECK(now["clock"]["text"].get<std::string>().find("car's clock is ") == 0);
  const json& soc = now["groups"]["energy"]["signals"][0];
  CHECK(soc["freshness"] == "recent");
  CHECK(soc["age_ms"].get<int64_t>() < 60'000);
  CHECK(soc["observed_at_ms"].get<int64_t>() > soc["received_at_ms"].get<int64_t>());
  CHECK(Eventually([&] {
    return Has(HttpGet(cell.http_port(), "/metrics").body,
               "latchkey_car_clocks_wrong{clock=\"ahead\"} 1");
  }));
  CHECK(Has(cell.bridge().Output(), "car_clock"));
  const Ran status = cell.Latchkey({"status"});
  INFO(status.output);
  CHECK(Has(status.output, "1 live"));
  CHECK(Has(status.output, "driving"));
  CHECK(Has(status.output, "car's clock is "));
  CHECK(Has(status.output, "warning: the clock of 1 car is wrong"));
  // So far ahead that nobody takes it: said all the same.
  REQUIRE(PublishCharge(car, UnixMs() + 3 * 3'600'000, 2) == 0);
  CHECK(Eventually([&] { return CarNow(cell, "car-1")["clock"]["by_ms"] > 10'000'000; }));
}

TEST_CASE(
    "a phone shows each value with both times, whether it was retained, and the word for it") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  Process& car = cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  const auto watch = [&] {
    return Lines(cell.Latchkey({"--json", "phone", "watch", "anna", "car-1", "--once"}).output);
  };
  size_t live = 0;
  size_t never = 0;
  for (const json& line : watch()) {
    INFO(line.dump());
    if (line.contains("signal")) {
      CHECK(line["retained"] == true);
      CHECK(line["received_at_ms"].get<int64_t>() >= line["observed_at_ms"].get<int64_t>() - 2000);
      CHECK(line["mode"] == "parked");
      live += line["freshness"] == "live" ? 1 : 0;
    }
    never += line.value("event", "") == "never" && line["freshness"] == "never" ? 1 : 0;
  }
  CHECK(live > 0);
  CHECK(never > 0);
  const Ran text = cell.Latchkey({"phone", "watch", "anna", "car-1", "--once"});
  CHECK(Has(text.output, "live"));
  CHECK(Has(text.output, "(retained)"));
  CHECK(Has(text.output, "never observed: "));
  car.Stop();
  // Nothing is live of a car that is away.
  CHECK(Eventually([&] {
    size_t recent = 0;
    for (const json& line : watch()) {
      if (line.contains("signal")) {
        if (line["freshness"] == "live") {
          return false;
        }
        recent += line["freshness"] == "recent" ? 1 : 0;
      }
    }
    return recent > 0;
  }));
}

}  // namespace latchkey::testing
