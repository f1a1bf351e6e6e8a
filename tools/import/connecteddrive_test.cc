// Readings of ConnectedDrive's fixtures against what a person reads in them.
#include "tools/import/connecteddrive.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <doctest/doctest.h>

#include "tools/import/plan.h"

namespace latchkey::legacy {

namespace {

SourceFile Fixture(const std::string& name) {
  std::ifstream file(std::filesystem::path(LK_SHARED_DATA) / "bimmer_connected" / name,
                     std::ios::binary);
  REQUIRE(file);
  return {name, {std::istreambuf_iterator<char>(file), {}}};
}

Reading Read(const SourceFile& file, const ReaderOptions& options = {}) {
  Reading reading;
  ReadConnectedDrive(file, options, reading);
  return reading;
}

// "58" or "none"; with the time behind an '@'.
std::string Said(const LegacyRecord& record, std::string_view signal) {
  for (const Observed& one : record.observed) {
    if (one.signal == signal) {
      const auto* number = std::get_if<double>(&one.value);
      std::string text =
          number != nullptr ? std::to_string(*number) : std::get<std::string>(one.value);
      text.erase(text.find_last_not_of('0') + 1);
      return text + "@" + std::to_string(one.at.ms);
    }
  }
  return "none";
}

}  // namespace

TEST_CASE("connecteddrive: a status of 2018 is read with its own time, doors by the wheel's side") {
  const Reading reading = Read(Fixture("I01_NOREX/test/status.json"));
  REQUIRE(reading.records.size() == 1);
  const LegacyRecord& i3 = reading.records.front();
  CHECK(i3.vehicle == "I01_NOREX_VIN");
  CHECK(Said(i3, "energy.soc") == "58.@1521125070000");  // 2018-03-15T15:44:30+0100
  CHECK(Said(i3, "energy.range") == "53.@1521125070000");
  CHECK(Said(i3, "energy.is_plugged") == "0.@1521125070000");
  CHECK(Said(i3, "energy.is_charging") == "none");  // INVALID
  CHECK(Said(i3, "drive.odometer") == "16059.@1521125070000");
  CHECK(Said(i3, "location.latitude") == "-65.4321@1521125070000");
  CHECK(Said(i3, "body.is_locked") == "1.@1521125070000");
  CHECK(i3.changes.empty());
  CHECK(reading.not_kept.count("maxRangeElectric") == 1);
  CHECK(reading.not_kept.count("mileage") == 0);

  SourceFile right{"a.json", R"({"vehicleStatus":{"vin":"v1","steering":"RH",
    "updateTime":"2018-03-15T15:44:30+0100","doorDriverFront":"OPEN","doorPassengerFront":"CLOSED"}})"};
  const Reading mirrored = Read(right);
  REQUIRE(mirrored.records.size() == 1);
  CHECK(Said(mirrored.records[0], "body.door_front_right_open") == "1.@1521125070000");
  CHECK(Said(mirrored.records[0], "body.door_front_left_open") == "0.@1521125070000");
}

TEST_CASE("connecteddrive: impossible places are left out and said so; switched off is hidden") {
  const Reading canada = Read(Fixture("F15/test/status.json"));
  REQUIRE(canada.records.size() == 1);
  CHECK(Said(canada.records[0], "location.latitude") == "none");
  CHECK(canada.records[0].changes.count(
            "location left out: no place on earth, or a receiver without a fix") == 1);
  const Reading hidden = Read(Fixture("G31_NBTevo/test/status_position_disabled.json"));
  REQUIRE(hidden.records.size() == 1);
  CHECK(hidden.records[0].location_hidden_at == Timestamp{1520841376000});
}

TEST_CASE("connecteddrive: a map of attributes names no car, and is not given to one") {
  const SourceFile file = Fixture("I01_NBT/test/dynamic.json");
  const Reading nobody = Read(file);
  CHECK(nobody.records.empty());
  REQUIRE(nobody.refused.size() == 1);
  CHECK(nobody.refused[0].why.find("names no vehicle") == 0);
  const Reading named = Read(file, {.undated = {}, .folders_name_vehicles = true});
  REQUIRE(named.records.size() == 1);
  CHECK(named.records[0].vehicle == "I01_NBT");
  CHECK(Said(named.records[0], "energy.soc") == "100.@1519761543000");
  CHECK(Said(named.records[0], "drive.odometer") == "7681.@1519761543000");
  CHECK(Read(Fixture("EntryEvo/test/dynamic.json")).refused.at(0).why.find("not valid JSON") !=
        std::string::npos);
  // Without a time of its own; with the time people say.
  const SourceFile undated = Fixture("unknown_NBT/test/dynamic.json");
  CHECK(Read(undated, {.undated = {}, .folders_name_vehicles = true})
            .refused.at(0)
            .why.find("no time of its own") != std::string::npos);
  const Reading told =
      Read(undated, {.undated = Timestamp{1520000000000}, .folders_name_vehicles = true});
  REQUIRE(told.records.size() == 1);
  CHECK(Said(told.records[0], "drive.odometer") == "1234.@1520000000000");
  CHECK(told.records[0].changes.size() == 1);
}

TEST_CASE("connecteddrive: vehicles of 2021 and states of 2022 are read") {
  const Reading g21 = Read(Fixture("G21/test/vehicles_v2_bmw_0.json"));
  REQUIRE(g21.records.size() == 1);
  CHECK(g21.records[0].vehicle == "some_vin_G21");
  CHECK(Said(g21.records[0], "energy.soc") == "83.@1636921221000");
  CHECK(Said(g21.records[0], "energy.range") == "23.@1636921221000");
  CHECK(Said(g21.records[0], "service.tyre_rear_left") == "300.@1636921221000");
  CHECK(Said(g21.records[0], "drive.odometer") == "27138.@1636921221000");
  const Reading i3 = Read(Fixture(
      "I01_NOREX/bimmer_connected_tests/bmw-eadrax-vcs_v4_vehicles_state_WBY000000NOREXI01.json"));
  REQUIRE(i3.records.size() == 1);
  CHECK(i3.records[0].vehicle == "WBY000000NOREXI01");
  CHECK(Said(i3.records[0], "energy.soc") == "89.@1655907866000");
  CHECK(Said(i3.records[0], "energy.time_to_full") == "119.@1655907866000");
  CHECK(Said(i3.records[0], "body.window_open_max") == "100.@1655907866000");
  CHECK(Said(i3.records[0], "body.is_locked") == "0.@1655907866000");
}

TEST_CASE("connecteddrive: every fixture is one record or several, and every one has an outcome") {
  namespace fs = std::filesystem;
  const fs::path root = fs::path(LK_SHARED_DATA) / "bimmer_connected";
  size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) {
      continue;
    }
    ++files;
    const Reading reading = Read(Fixture(fs::relative(entry.path(), root).string()));
    CHECK_MESSAGE(reading.records.size() + reading.refused.size() >= 1, entry.path().string());
    for (const Refused& refused : reading.refused) {
      CHECK(!refused.why.empty());
    }
  }
  CHECK(files == 97);
}

TEST_CASE("connecteddrive: a file whose inside and name are of two cars is nobody's") {
  const SourceFile file{
      "state_WBY000000NOREXI01.json",
      R"({"vehicleStatus":{"vin":"WBA00000000000F31","updateTime":"2018-03-15T15:44:30Z","mileage":1}})"};
  CHECK(Read(file).refused.at(0).why.find("two vehicles") != std::string::npos);
}

}  // namespace latchkey::legacy
