// Privacy mode, chosen in the car: from then on nobody learns where it is, and what broker and
// bridge knew of it is gone, also from the files of the store; with the mode off it is told again.
#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "latchkey/v1/state.pb.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kDrive = LK_SHARED_DATA "/renault_twizy/T3_04_22_2021_1.csv.gz";
constexpr const char* kCar = "twizy";

std::vector<double> LatitudesByHistory(const Cell& cell) {
  const json history = json::parse(
      HttpGet(cell.http_port(), "/v1/history?fleet=demo&car=twizy&signal=location.latitude").body,
      nullptr, false);
  std::vector<double> values;
  if (history.is_object() && history.contains("samples")) {
    for (const json& sample : history["samples"]) {
      values.push_back(sample["value"]);
    }
  }
  return values;
}

// How many files below `folder` hold one of these numbers, as protobuf writes them.
size_t FilesWith(const fs::path& folder, const std::vector<double>& numbers) {
  size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) {
      continue;
    }
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    for (const double number : numbers) {
      std::string needle(sizeof number, '\0');
      std::memcpy(needle.data(), &number, sizeof number);
      if (bytes.find(needle) != std::string::npos) {
        ++count;
        break;
      }
    }
  }
  return count;
}

// Lines of a tap after the first `from` that say a place.
int PlacesTapped(const std::string& output, size_t from) {
  int places = 0;
  std::istringstream lines(output.substr(std::min(from, output.size())));
  for (std::string line; std::getline(lines, line);) {
    const json one = json::parse(line, nullptr, false);
    const bool place = one.is_object() && one.contains("group") &&
                       (one["group"] == "location" || one["group"] == "area");
    places += place && !one["signals"].empty() ? 1 : 0;
  }
  return places;
}

json PlaceOf(const Cell& cell, const std::string& group) {
  const json now = json::parse(HttpGet(cell.http_port(), std::string("/v1/cars/demo/") + kCar).body,
                               nullptr, false);
  const bool there = now.is_object() && now.contains("groups") && now["groups"].contains(group);
  return there ? now["groups"][group]["signals"] : json::array();
}

// Does the broker retain a place of the car? Whatever it retains for the group must be readable.
bool Retained(const Cell& cell, Group group) {
  RawClient reader(cell.WithCertificate(BridgeIdentity{"reader"}, cell.CellCa(), "bridge/reader"));
  REQUIRE(reader.Connect() == 0);
  const CarRef ref{FleetId::Parse("demo").value(), CarId::Parse(kCar).value()};
  REQUIRE(reader.Subscribe(StateTopic(ref, group)) == 1);
  REQUIRE(reader.Ping());
  const auto message = reader.Next(std::chrono::milliseconds(300));
  if (!message) {
    return false;
  }
  const Result<v1::StateGroup> state = ParseState(message->payload, group);
  REQUIRE(state);
  return !HidesPlace(group, *state);
}

bool Hidden(const Cell& cell) {
  return Eventually([&] {
    return PlaceOf(cell, "location").empty() && PlaceOf(cell, "area").empty() &&
           !Retained(cell, Group::kLocation) && !Retained(cell, Group::kArea);
  });
}

}  // namespace

TEST_CASE("in privacy mode nobody learns where a car is, and what was known of it is gone") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  RawCar other(cell, "demo", "other-1");
  REQUIRE(other.PublishSpeed(1) == 0);
  const std::vector<std::string> drive = {"--offer", "--replay", kDrive, "--speed", "5", "--loop"};
  cell.StartCar(kCar, drive);
  cell.Pair("anna", kCar);
  const Ran added = cell.Latchkey(
      {"operator", "add", "ops", "--fleet", "demo", "--groups", "location,area,drive"});
  REQUIRE_MESSAGE(added.exit_code == 0, added.output);
  const auto tap = cell.StartLatchkey({"--json", "tap", "ops", "--fleet", "demo"}, "tap");
  REQUIRE(Eventually([&] { return PlacesTapped(tap->Output(), 0) >= 6; }));
  REQUIRE(Eventually([&] { return !PlaceOf(cell, "location").empty(); }));
  CHECK(Retained(cell, Group::kLocation));
  CHECK(cell.bridge().Stop() == 0);  // what is only in memory is written
  const fs::path store = cell.path() / "bridge" / "store";
  cell.StartBridge();
  const std::vector<double> known = LatitudesByHistory(cell);
  REQUIRE(known.size() >= 2);
  CHECK(FilesWith(store, known) > 0);

  const auto privacy = [&](const char* enabled) {
    return cell
        .Latchkey({"phone", "send", "anna", kCar, "privacy-mode", "--arg", enabled, "--wait"})
        .exit_code;
  };
  REQUIRE(privacy("enabled=true") == 0);
  CHECK(Hidden(cell));
  const size_t from = tap->Output().size();
  const int drives = CountLines(tap->Output(), "\"drive\"");
  REQUIRE(Eventually([&] { return CountLines(tap->Output(), "\"drive\"") >= drives + 5; }));
  CHECK(PlacesTapped(tap->Output(), from) == 0);
  CHECK(LatitudesByHistory(cell).empty());
  const std::string watched =
      cell.Latchkey({"--json", "phone", "watch", "anna", kCar, "--once"}).output;
  CHECK(watched.find("drive.speed") != std::string::npos);
  std::istringstream lines(watched);
  for (std::string line; std::getline(lines, line);) {
    const json one = json::parse(line, nullptr, false);
    const bool place = one.is_object() && one.value("signal", "").rfind("location.", 0) == 0;
    CHECK_FALSE((place && one.contains("value")));
  }
  const std::string exported = cell.Latchkey({"car", "export", kCar, "--fleet", "demo"}).output;
  CHECK(exported.find("drive.speed") != std::string::npos);
  CHECK(exported.find("latitude") == std::string::npos);
  CHECK(exported.find("area.cell") == std::string::npos);

  // Whoever starts again: it stays so.
  cell.bridge().Kill();
  cell.StartBridge();
  CHECK(Hidden(cell));
  cell.broker().Kill();
  cell.StartBroker();
  REQUIRE(Eventually([&] { return CountLines(tap->Output(), "\"drive\"") >= drives + 10; }));
  CHECK(Hidden(cell));
  cell.StartCar(kCar, drive);
  CHECK(Hidden(cell));
  CHECK(PlacesTapped(tap->Output(), from) == 0);

  // Nor is it in any file once the store was rewritten, as it is when something is erased.
  other.client().Disconnect();
  REQUIRE(Eventually([&] {
    return cell.Latchkey({"car", "erase", "other-1", "--fleet", "demo", "--yes"}).exit_code == 0;
  }));
  CHECK(cell.bridge().Stop() == 0);
  cell.StartBridge();
  CHECK(cell.bridge().Stop() == 0);
  CHECK(FilesWith(store, known) == 0);
  cell.StartBridge();

  REQUIRE(privacy("enabled=false") == 0);
  const auto told = [&] {
    return PlacesTapped(tap->Output(), from) > 0 && !PlaceOf(cell, "location").empty() &&
           Retained(cell, Group::kLocation);
  };
  CHECK(Eventually(told));
}

}  // namespace latchkey::testing
