// A car is exported and erased: nothing of it is left in the files of the store, at the broker and
// in the log, which stays one chain; and the car itself, which owns its keys, can come back.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proto/topic.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kCar = "gone-car-77";

// Which files below `folder` hold `text`.
std::string FilesWith(const fs::path& folder, const std::string& text) {
  std::string found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) {
      continue;
    }
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    if (bytes.find(text) != std::string::npos) {
      found += entry.path().filename().string() + " ";
    }
  }
  return found;
}

// What the broker retains of a car, by topic.
std::string Retained(const Cell& cell, const std::string& car) {
  RawClient reader(cell.WithCertificate(BridgeIdentity{"reader"}, cell.CellCa(), "bridge/reader"));
  REQUIRE(reader.Connect() == 0);
  REQUIRE(reader.Subscribe("lk/1/demo/" + car + "/#") == 1);
  REQUIRE(reader.Ping());
  std::string topics;
  while (const auto message = reader.Next(std::chrono::milliseconds(200))) {
    topics += message->topic + " ";
  }
  return topics;
}

}  // namespace

TEST_CASE("what is kept of a car is exported as one JSON and erased without a trace") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("stays-1");
  Process& car = cell.StartCar(kCar, {"--offer"});
  cell.Pair("anna", kCar);
  REQUIRE(cell.Latchkey({"phone", "send", "anna", kCar, "lock", "--wait"}).exit_code == 0);
  REQUIRE(cell.Latchkey({"car", "sms", kCar, "--fleet", "demo", "--number", "+436601234567"})
              .exit_code == 0);
  const std::string page = std::string("/v1/cars/demo/") + kCar;
  REQUIRE(Eventually([&] { return HttpGet(cell.http_port(), page).status == 200; }));
  const std::vector<std::string> erase = {"--json",  "car",  "erase", kCar,
                                          "--fleet", "demo", "--yes"};

  const Ran online = cell.Latchkey(erase);
  INFO(online.output);
  CHECK(online.exit_code != 0);
  CHECK(online.output.find("is online") != std::string::npos);
  car.Stop();
  REQUIRE(Eventually([&] {
    return json::parse(HttpGet(cell.http_port(), page).body, nullptr, false)
               .value("online", true) == false;
  }));

  const Ran exported = cell.Latchkey({"car", "export", kCar, "--fleet", "demo"});
  const json kept = json::parse(exported.output, nullptr, false);
  REQUIRE_MESSAGE(kept.is_object(), exported.output);
  CHECK(kept["state"].size() >= 3);
  CHECK(kept["ring"].size() == 1);
  CHECK(kept["commands"].size() >= 1);
  CHECK(kept["contact"]["number"] == "+436601234567");
  CHECK(kept["log"].size() >= 4);
  CHECK(exported.output.find("relay") == std::string::npos);
  // Reading where a car is is in the log.
  CHECK(Eventually([&] {
    return CountLines(cell.Latchkey({"log", "--event", "location_read"}).output, kCar) >= 1;
  }));

  const Ran erased = cell.Latchkey(erase);
  INFO(erased.output);
  REQUIRE(erased.exit_code == 0);
  const json said = json::parse(erased.output, nullptr, false);
  CHECK(said["log_entries"].get<int>() >= 4);
  CHECK(said["contact"] == true);
  CHECK(said["known_again"] == false);
  CHECK(HttpGet(cell.http_port(), page).status == 404);
  CHECK(Retained(cell, kCar) == "");
  CHECK(Retained(cell, "stays-1") != "");
  CHECK(cell.Latchkey({"car", "export", kCar, "--fleet", "demo"}).exit_code != 0);
  const Ran log = cell.Latchkey({"log", "--last", "1000"});
  CHECK(log.output.find(kCar) == std::string::npos);
  CHECK(CountLines(log.output, "was erased") >= 4);
  CHECK(CountLines(log.output, "all that was kept of it") == 1);
  const Ran verified = cell.Latchkey({"log", "--verify"});
  CHECK_MESSAGE(verified.exit_code == 0, verified.output);

  // In no file of the store, once it was opened again; nor does a broker that starts bring it back.
  cell.bridge().Stop();
  cell.broker().Stop();
  cell.StartBroker();
  cell.StartBridge();
  CHECK(Retained(cell, kCar) == "");
  cell.bridge().Stop();
  CHECK(FilesWith(cell.path() / "bridge" / "store", kCar) == "");
  CHECK(FilesWith(cell.path() / "bridge" / "contacts", "+436601234567") == "");
  CHECK(FilesWith(cell.path() / "bridge" / "store", "stays-1") != "");
  CHECK(FilesWith(cell.path() / "broker", kCar).find("rings.log") == std::string::npos);

  // The pairing is the car's: it comes back with it.
  cell.StartBridge();
  cell.StartCar(kCar);
  CHECK(cell.Latchkey({"phone", "send", "anna", kCar, "lock", "--wait"}).exit_code == 0);
}

TEST_CASE("what is kept of a phone's key is exported and erased; rings are the cars' to write") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  REQUIRE(cell.Latchkey({"phone", "send", "anna", "car-1", "lock", "--wait"}).exit_code == 0);
  const std::string key = cell.PhoneKey("anna").Public().Id().str();
  REQUIRE(Eventually([&] {
    const json kept =
        json::parse(cell.Latchkey({"phone", "export", "anna"}).output, nullptr, false);
    return kept.is_object() && kept["rings"].size() == 1 && kept["log"].size() >= 3;
  }));
  const Ran erased = cell.Latchkey({"--json", "phone", "erase", key, "--yes"});
  INFO(erased.output);
  REQUIRE(erased.exit_code == 0);
  const json said = json::parse(erased.output, nullptr, false);
  CHECK(said["log_entries"].get<int>() >= 3);
  CHECK(said["on_rings"] == 1);
  CHECK(cell.Latchkey({"log", "--last", "1000"}).output.find(key) == std::string::npos);
  CHECK(cell.Latchkey({"log", "--verify"}).exit_code == 0);
  CHECK(cell.Latchkey({"phone", "erase", "nobody", "--yes"}).exit_code != 0);
}

}  // namespace latchkey::testing
