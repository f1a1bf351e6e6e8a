// Readings of Renault's fixtures, and what its cloud said instead of an answer.
#include "tools/import/kamereon.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <doctest/doctest.h>

namespace latchkey::legacy {

namespace {

Reading Read(const std::string& name, const ReaderOptions& options = {}) {
  std::ifstream file(std::filesystem::path(LK_SHARED_DATA) / "renault_kamereon" / name,
                     std::ios::binary);
  REQUIRE(file);
  Reading reading;
  ReadKamereon({name, {std::istreambuf_iterator<char>(file), {}}}, options, reading);
  CHECK(reading.records.size() + reading.refused.size() == 1);
  return reading;
}

Reading ReadText(const std::string& attributes) {
  Reading reading;
  ReadKamereon({"x.json", R"({"data":{"type":"Car","id":"VF1AAAAA555777999","attributes":{)"
                          R"("timestamp":"2020-11-17T09:06:48+01:00",)" +
                              attributes + "}}}"},
               {}, reading);
  return reading;
}

std::optional<double> Said(const Reading& reading, std::string_view signal) {
  for (const LegacyRecord& record : reading.records) {
    for (const Observed& one : record.observed) {
      if (one.signal == signal) {
        return std::get<double>(one.value);
      }
    }
  }
  return std::nullopt;
}

std::string Why(const Reading& reading) {
  return reading.refused.empty() ? "" : reading.refused.front().why;
}

}  // namespace

TEST_CASE("kamereon: battery, place and doors keep their own times") {
  const Reading battery = Read("vehicle_data/battery-status.1.json");
  CHECK(Said(battery, "energy.soc") == 50);
  CHECK(Said(battery, "energy.range") == 128);
  CHECK(Said(battery, "energy.is_plugged") == 0);
  CHECK(Said(battery, "energy.is_charging") == std::nullopt);  // -1.0
  CHECK(battery.records.at(0).observed.at(0).at == Timestamp{1605600408000});
  CHECK(battery.not_kept.count("batteryCapacity") == 1);
  const Reading place = Read("vehicle_data/location.1.json");
  CHECK(Said(place, "location.latitude") == 48.1234567);
  CHECK(place.records.at(0).observed.at(0).at == Timestamp{1582045118000});
  const Reading doors = Read("vehicle_data/lock-status.1.json");
  CHECK(Said(doors, "body.is_locked") == 1);
  CHECK(Said(doors, "body.trunk_open") == 0);
}

TEST_CASE("kamereon: the codes of charging are read by their tenths") {
  CHECK(Said(ReadText(R"("chargingStatus":1.0)"), "energy.is_charging") == 1);
  CHECK(Said(ReadText(R"("chargingStatus":0.2,"batteryLevel":5)"), "energy.is_charging") == 0);
  CHECK(Said(ReadText(R"("chargingStatus":0.0)"), "energy.is_charging") == 0);
  CHECK(Said(ReadText(R"("chargingStatus":-1.1,"batteryLevel":5)"), "energy.is_charging") ==
        std::nullopt);
  CHECK(Said(ReadText(R"("plugStatus":-1,"batteryLevel":5)"), "energy.is_plugged") == std::nullopt);
  CHECK(Said(ReadText(R"("plugStatus":1)"), "energy.is_plugged") == 1);
  // Codes that nobody has explained are not guessed.
  for (const char* code :
       {R"("chargingStatus":0.5,"batteryLevel":5)", R"("chargingStatus":0.25,"batteryLevel":5)",
        R"("chargingStatus":1.1,"batteryLevel":5)", R"("plugStatus":3,"batteryLevel":5)"}) {
    CAPTURE(code);
    const Reading reading = ReadText(code);
    CHECK(Said(reading, "energy.is_charging") == std::nullopt);
    CHECK(Said(reading, "energy.is_plugged") == std::nullopt);
    REQUIRE(reading.records.size() == 1);
    CHECK(reading.records[0].changes.begin()->find("is not known") != std::string::npos);
  }
  CHECK(Said(ReadText(R"("flPressure":2460)"), "service.tyre_front_left") == 246);
}

TEST_CASE("kamereon: what says no time is taken only with a time that people say") {
  CHECK(Why(Read("vehicle_data/cockpit.zoe.json")).find("no time of its own") != std::string::npos);
  const Reading told = Read("vehicle_data/cockpit.zoe.json", {.undated = Timestamp{1605600408000}});
  CHECK(Said(told, "drive.odometer") == 49114.27);
}

TEST_CASE("kamereon: an error is refused in the words of the cloud") {
  CHECK(Why(Read("error/quota_limit.json")) ==
        "upstream said: err.func.wired.overloaded: You have reached your quota limit");
  CHECK(Why(Read("error/access_denied.json")) ==
        "upstream said: err.func.403: Access is denied for this resource");
  CHECK(Why(Read("error/privacy_on.json")).find("Privacy mode currently ON") != std::string::npos);
  CHECK(Why(Read("error/invalid_upstream.json")).find("Invalid response") != std::string::npos);
  CHECK(Why(Read("vehicle_action/horn-lights.horn.json")).find("result of a command") !=
        std::string::npos);
  CHECK(Why(Read("vehicle_gateway/zoe_40.1.json")) != "");
}

TEST_CASE("kamereon: every fixture has an outcome") {
  namespace fs = std::filesystem;
  const fs::path root = fs::path(LK_SHARED_DATA) / "renault_kamereon";
  size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.is_regular_file()) {
      Read(fs::relative(entry.path(), root).string());
      ++files;
    }
  }
  CHECK(files == 67);
}

}  // namespace latchkey::legacy
