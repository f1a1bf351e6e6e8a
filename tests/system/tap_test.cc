// Taps of operators: what they show, write and share, what they are told they missed, and that the
// right to know the town is not the right to know the street.
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "latchkey/v1/state.pb.h"
#include "proto/area.h"
#include "proto/topic.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;

std::vector<json> Lines(const std::string& text) {
  std::vector<json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    json one = json::parse(line, nullptr, false);
    if (one.is_object()) {
      lines.push_back(std::move(one));
    }
  }
  return lines;
}

void AddOperator(const Cell& cell, const std::string& name, const std::string& groups) {
  const Ran added = cell.Latchkey({"operator", "add", name, "--fleet", "demo", "--groups", groups});
  REQUIRE_MESSAGE(added.exit_code == 0, added.output);
}

// The broker keeps at most so many messages for a client that does not read: few enough to fill.
void KeepFew(const Cell& cell, int messages) {
  const auto path = cell.path() / "broker" / "mosquitto.conf";
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  const std::string name = "max_queued_messages ";
  std::string all = text.str();
  const size_t at = all.find(name);
  REQUIRE(at != std::string::npos);
  all.replace(at, all.find('\n', at) - at, name + std::to_string(messages));
  std::ofstream(path) << all;
}

Publish Place(const CarRef& ref, Group group, uint64_t sequence) {
  constexpr double kLatitude = 48.1374;
  constexpr double kLongitude = 11.5755;
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(UnixMs()));
  state.set_sequence(sequence);
  if (group == Group::kArea) {
    state.mutable_area()->mutable_cell()->set_value(AreaOf(kLatitude, kLongitude));
  } else {
    state.mutable_location()->mutable_latitude()->set_value(kLatitude);
    state.mutable_location()->mutable_longitude()->set_value(kLongitude);
  }
  return {StateTopic(ref, group), state.SerializeAsString(), 1, Retain::kYes, 0};
}

}  // namespace

TEST_CASE("a tap that cannot keep up is told how many messages it missed, and of how many cars") {
  Cell cell;
  KeepFew(cell, 1000);
  cell.StartBroker();
  AddOperator(cell, "ops", "drive");
  std::vector<std::unique_ptr<RawCar>> cars;
  for (const char* name : {"car-1", "car-2", "car-3", "car-4"}) {
    cars.push_back(std::make_unique<RawCar>(cell, "demo", name));
    REQUIRE(cars.back()->PublishSpeed(0) == 0);
  }
  const auto tap =
      cell.StartLatchkey({"--json", "tap", "ops", "--fleet", "demo", "--group", "drive"}, "tap");
  REQUIRE(Eventually([&] { return CountLines(tap->Output(), "\"signals\"") == 4; }));
  tap->Signal(SIGSTOP);
  constexpr int kEach =
      900;  // of all: more than the broker keeps and has on its way for one client
  for (const auto& car : cars) {
    for (int i = 0; i < kEach; ++i) {
      REQUIRE(car->PublishSpeed(static_cast<float>(i % 100)) == 0);
    }
  }
  tap->Signal(SIGCONT);
  // The broker kept some for it; when those are through, what comes next shows the gap.
  int shown = 0;
  REQUIRE(Eventually([&] {
    const int now = CountLines(tap->Output(), "\"signals\"");
    return now > 1000 && std::exchange(shown, now) == now;
  }));
  for (const auto& car : cars) {
    REQUIRE(car->PublishSpeed(1) == 0);
  }
  const int sent = 4 * (kEach + 2);
  json missed;
  CHECK(Eventually([&] {
    int heard = 0;
    for (const json& line : Lines(tap->Output())) {
      heard += line.contains("signals") ? 1 : 0;
      missed = line.value("event", "") == "missed" ? line : missed;
    }
    return !missed.is_null() && heard + missed["messages"].get<int>() == sent;
  }));
  INFO(missed.dump());
  CHECK(missed["cars"].get<int>() >= 1);
  CHECK(missed["messages"].get<int>() > 1000);
  CHECK(CountLines(tap->Output(), "so far: this tap was away or too slow") >= 1);
  CHECK(tap->Stop() == 0);
}

TEST_CASE("a tap shows the cars of which something is true, and writes files that are put aside") {
  Cell cell;
  cell.StartBroker();
  AddOperator(cell, "ops", "drive,energy");
  RawCar fast(cell, "demo", "F3-fast");
  RawCar slow(cell, "demo", "F3-slow");
  RawCar other(cell, "demo", "A1-fast");
  REQUIRE(fast.PublishSpeed(90) == 0);
  REQUIRE(slow.PublishSpeed(10) == 0);
  REQUIRE(other.PublishSpeed(90) == 0);
  const Ran shown = cell.Latchkey({"--json", "tap", "ops", "--fleet", "demo", "--car", "F3-*",
                                   "--where", "drive.speed>50", "--for", "2s"});
  INFO(shown.output);
  CHECK(shown.exit_code == 0);
  const std::vector<json> lines = Lines(shown.output);
  REQUIRE(!lines.empty());
  for (const json& line : lines) {
    CHECK(line["car"] == "demo/F3-fast");
  }
  const std::filesystem::path file = cell.path() / "fleet.jsonl";
  const auto tap =
      cell.StartLatchkey({"--json", "tap", "ops", "--fleet", "demo", "--group", "drive", "--output",
                          file.string(), "--rotate", "1kB", "--keep", "2"},
                         "tap");
  REQUIRE(Eventually([&] { return Lines(ReadAll(file)).size() == 3; }));
  for (int i = 0; i < 30; ++i) {
    REQUIRE(fast.PublishSpeed(static_cast<float>(i)) == 0);
  }
  CHECK(Eventually([&] { return std::filesystem::exists(file.string() + ".2"); }));
  CHECK(tap->Stop() == 0);
  CHECK_FALSE(std::filesystem::exists(file.string() + ".3"));
  for (const std::string& name : {file.string(), file.string() + ".1", file.string() + ".2"}) {
    CHECK(std::filesystem::file_size(name) <= 1000);
    CHECK(!Lines(ReadAll(name)).empty());
  }
  CHECK(cell.Latchkey({"tap", "ops", "--fleet", "demo", "--where", "drive.sped>1"}).exit_code == 2);
}

TEST_CASE("taps that share a name share the messages, each of which one of them gets") {
  Cell cell;
  cell.StartBroker();
  AddOperator(cell, "ops", "drive");
  RawCar car(cell, "demo", "car-1");
  std::vector<std::unique_ptr<Process>> taps;
  for (const char* name : {"tap-1", "tap-2"}) {
    taps.push_back(cell.StartLatchkey(
        {"--json", "tap", "ops", "--fleet", "demo", "--group", "drive", "--share", "team"}, name));
  }
  const auto heard = [&] {
    return CountLines(taps[0]->Output(), "\"signals\"") +
           CountLines(taps[1]->Output(), "\"signals\"");
  };
  // Both are there when both have got something.
  REQUIRE(Eventually([&] {
    REQUIRE(car.PublishSpeed(1) == 0);
    return CountLines(taps[0]->Output(), "\"signals\"") > 0 &&
           CountLines(taps[1]->Output(), "\"signals\"") > 0;
  }));
  const int before = heard();
  for (int i = 0; i < 50; ++i) {
    REQUIRE(car.PublishSpeed(2) == 0);
  }
  CHECK(Eventually([&] { return heard() >= before + 50; }));
  CHECK(heard() <= before + 51);
  CHECK(CountLines(taps[0]->Output(), "\"missed\"") == 0);
}

TEST_CASE("who may know the area does not learn the location; who may know that, knows both") {
  Cell cell;
  cell.StartBroker();
  AddOperator(cell, "town", "area");
  AddOperator(cell, "street", "location");
  RawCar car(cell, "demo", "car-1");
  REQUIRE(car.client().Send(Place(car.ref(), Group::kLocation, 1)) == 0);
  REQUIRE(car.client().Send(Place(car.ref(), Group::kArea, 1)) == 0);
  const auto hears = [&](const std::string& name) {
    std::string groups;
    for (const json& line :
         Lines(cell.Latchkey({"--json", "tap", name, "--fleet", "demo", "--for", "1s"}).output)) {
      groups += line.contains("group") ? line["group"].get<std::string>() + " " : "";
    }
    return groups;
  };
  CHECK(hears("town") == "area ");
  const std::string both = hears("street");
  CHECK(both.find("area") != std::string::npos);
  CHECK(both.find("location") != std::string::npos);
  const Ran refused = cell.Latchkey(
      {"tap", "town", "--fleet", "demo", "--group", "location", "--car", "car-1", "--for", "2s"});
  INFO(refused.output);
  CHECK(refused.exit_code == 1);
  CHECK(refused.output.find("may not see location, only area") != std::string::npos);
  // A cell that is a position in disguise does not pass.
  Publish fine = Place(car.ref(), Group::kArea, 2);
  v1::StateGroup state;
  REQUIRE(state.ParseFromString(fine.payload));
  state.mutable_area()->mutable_cell()->set_value("48.1374,11.5755");
  fine.payload = state.SerializeAsString();
  CHECK(car.client().Send(fine) != 0);
}

}  // namespace latchkey::testing
