// Readers of recorded drives: rows of a table with what comes out, then every file there is.
#include "tools/fleet/drive.h"

#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "proto/state.h"
#include "tools/fleet/calendar.h"
#include "tools/fleet/file.h"
#include "tools/fleet/replay.h"

namespace latchkey::fleet {
namespace {

namespace fs = std::filesystem;

// "drive.speed=50@0 ..." in order of reading, then refused values.
std::string Said(const Drive& drive) {
  std::string text;
  for (const Observation& observation : drive.observations) {
    SignalRow row;
    row.value = observation.value;
    text += std::string(observation.signal) + "=" + ValueText(row) + "@" +
            std::to_string(observation.offset.count()) + " ";
  }
  for (const auto& [key, count] : drive.refused) {
    text += "refused " + std::string(key.first) + " " + std::string(ToText(key.second)) + " " +
            std::to_string(count) + " ";
  }
  return text;
}

uint64_t Refused(const Drive& drive, std::string_view signal, Cause cause) {
  const auto found = drive.refused.find({signal, cause});
  return found == drive.refused.end() ? 0 : found->second;
}

const std::string kTwizy =
    "Date,Time,Soc,Speed,Mode,LAT,LON,ALT,GpsSpeed,Temperature,Humidity,Weather,WindSpeedAv,"
    "Traffic,SpeedLimit\n";

// Mean of a signal.
double Mean(const Drive& drive, std::string_view signal) {
  double sum = 0;
  double count = 0;
  for (const Observation& observation : drive.observations) {
    if (observation.signal == signal) {
      sum += observation.value;
      count += 1;
    }
  }
  return count == 0 ? 0 : sum / count;
}

}  // namespace

TEST_CASE("drive: a bad value is refused alone and the rest of its row is kept") {
  const Drive drive =
      ReadDrive(kTwizy +
                    "04/22/2021,08:00:00,50,10,D,33.9,-6.8,100,0,17,60,Clouds,0,0,40\n"
                    "90/02/2032,08:00:01,51,x,D,0.000000,1555,-111,0,17,60,Clouds,0,0,40\n",
                "t", std::nullopt)
          .value();
  CHECK(drive.rows == 2);
  CHECK(Said(drive).find("energy.soc=51@1000") != std::string::npos);
  CHECK(Refused(drive, "drive.speed", Cause::kNotANumber) == 1);
  CHECK(Refused(drive, "location.latitude", Cause::kNoFix) == 1);
  CHECK(Refused(drive, "location.longitude", Cause::kOutOfRange) == 1);
  CHECK(Refused(drive, "location.altitude", Cause::kKnownGlitch) == 1);
  CHECK(Refused(drive, "time", Cause::kBadDate) == 1);
  CHECK(drive.RefusedCount() == 5);
  CHECK(drive.start.ms == 1619078400000);  // Ramadan: Morocco is at UTC
}

TEST_CASE("drive: a row that does not go on in time is refused, and a gap stays a gap") {
  const Drive drive = ReadDrive(kTwizy +
                                    "7/1/2021,10:00:00,50,0,N,,,,0,17,60,Clouds,0,0,40\n"
                                    "7/1/2021,10:00:00,51,0,N,,,,0,17,60,Clouds,0,0,40\n"
                                    "7/1/2021,10:00:40,52,0,N\n",
                                "t", std::nullopt)
                          .value();
  CHECK(Refused(drive, "time", Cause::kNotAfter) == 1);
  CHECK(Refused(drive, "time", Cause::kMissingCells) == 1);
  CHECK(Said(drive).find("energy.soc=52@40000") != std::string::npos);
  CHECK(Said(drive).find("energy.soc=51") == std::string::npos);
}

TEST_CASE("drive: LeafSpy's units become ours") {
  const Drive drive =
      ReadDrive(
          "Date/Time,Lat,Long,Elv,Speed,SOC,Pack Amps,Pack T1 C,Pack T3 C,Ambient,TP-FL,epoch "
          "time,Gear,Est Pwr A/C(50w),Est Pwr Htr(250w)\n"
          "x,34 30.0,-117 15.0,1000,100,869720,55,20,none,50,40,1751256576.729,4,8,1\n",
          "l", std::nullopt)
          .value();
  CHECK(drive.start.ms == 1751256576729);
  CHECK(Mean(drive, "location.latitude") == doctest::Approx(34.5));
  CHECK(Mean(drive, "location.longitude") == doctest::Approx(-117.25));
  CHECK(Mean(drive, "location.altitude") == doctest::Approx(304.8));
  CHECK(Mean(drive, "drive.speed") == doctest::Approx(160.9344));
  CHECK(Mean(drive, "energy.soc") == doctest::Approx(86.972));
  CHECK(Mean(drive, "energy.current") == doctest::Approx(-55));
  CHECK(Mean(drive, "energy.battery_temperature") == doctest::Approx(20));
  CHECK(Mean(drive, "climate.outside_temperature") == doctest::Approx(10));
  CHECK(Mean(drive, "service.tyre_front_left") == doctest::Approx(275.79).epsilon(0.001));
  CHECK(Mean(drive, "drive.gear") == 127);
  CHECK(Mean(drive, "climate.aircon_power") == doctest::Approx(0.4));
  CHECK(Mean(drive, "climate.heating_power") == doctest::Approx(0.25));
  CHECK(drive.RefusedCount() == 0);
}

TEST_CASE("drive: a speed that is refused says nothing about moving either") {
  const Drive drive = ReadDrive(kTwizy +
                                    "7/1/2021,10:00:00,50,0,N,,,,0,17,60,Clouds,0,0,40\n"
                                    "7/1/2021,10:00:01,50,-5,D,,,,0,17,60,Clouds,0,0,40\n"
                                    "7/1/2021,10:00:02,50,9999,D,,,,0,17,60,Clouds,0,0,40\n",
                                "t", std::nullopt)
                          .value();
  CHECK(Refused(drive, "drive.speed", Cause::kOutOfRange) == 2);
  CHECK(Said(drive).find("drive.is_moving=0@0") != std::string::npos);
  CHECK(Said(drive).find("drive.is_moving=0@1000") == std::string::npos);
  CHECK(Said(drive).find("drive.is_moving=1@2000") == std::string::npos);
}

TEST_CASE("drive: what no recorder writes is not read") {
  for (const char* bytes : {"", "\n", "a,b\n1,2\n", "Time [s];Velocity [km/h]\r\n"}) {
    const auto drive = ReadDrive(bytes, "n", std::nullopt);
    REQUIRE(!drive);
    CHECK(drive.error().reason == v1::REASON_MALFORMED);
  }
}

TEST_CASE("drive: every BMW i3 trip reads with its start, and discharging is negative") {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(LK_SHARED_DATA) / "bmw_i3")) {
    if (entry.path().extension() != ".gz") {
      continue;
    }
    ++files;
    const Drive drive = LoadDrive(entry.path()).value();
    INFO(drive.name);
    CHECK(drive.start.ms > 1546300800000);
    CHECK(drive.rows > 4000);
    CHECK(drive.length == Duration(static_cast<int64_t>(drive.rows - 1) * 100));
    CHECK(Mean(drive, "drive.speed") > 5);
    CHECK(Mean(drive, "energy.current") < 0);
    CHECK(Mean(drive, "energy.voltage") > 300);
    CHECK(Refused(drive, "time", Cause::kNotAfter) == 0);
  }
  CHECK(files == 23);
}

TEST_CASE("drive: every Twizy trip reads, its glitches counted to the number") {
  int files = 0;
  uint64_t dates = 0;
  uint64_t fixes = 0;
  uint64_t altitudes = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(LK_SHARED_DATA) / "renault_twizy")) {
    ++files;
    const Drive drive = LoadDrive(entry.path()).value();
    INFO(drive.name);
    CHECK(drive.length == Duration(static_cast<int64_t>(drive.rows - 1) * 1000));
    CHECK(Mean(drive, "location.latitude") == doctest::Approx(33.98).epsilon(0.01));
    dates += Refused(drive, "time", Cause::kBadDate);
    fixes += Refused(drive, "location.latitude", Cause::kNoFix);
    altitudes += Refused(drive, "location.altitude", Cause::kKnownGlitch);
  }
  CHECK(files == 9);
  CHECK(dates == 44);
  CHECK(fixes == 4);
  CHECK(altitudes == 111);
}

TEST_CASE("drive: the LeafSpy log and every e-scooter trip read") {
  const Drive leaf =
      LoadDrive(fs::path(LK_SHARED_DATA) / "nissan_leaf_leafspy" / "Log_rows1-579.csv.gz").value();
  CHECK(leaf.rows == 579);
  CHECK(leaf.RefusedCount() == 0);
  CHECK(Mean(leaf, "energy.current") < 0);
  CHECK(Mean(leaf, "location.longitude") == doctest::Approx(-117.8).epsilon(0.01));
  uint64_t texts = 0;
  const auto scooters = LoadDrives(fs::path(LK_SHARED_DATA) / "escooter").value();
  CHECK(scooters.size() == 12);
  for (const Drive& drive : scooters) {
    texts += Refused(drive, "location.latitude", Cause::kNotANumber);
  }
  CHECK(texts == 1);
}

TEST_CASE("drive: the drives that ship are read whole") {
  const auto drives = LoadDrives(fs::path(LK_SOURCE_DIR) / "tools" / "fleet" / "drives").value();
  REQUIRE(drives.size() == 3);
  CHECK(drives[2].name == "TripA04");
  CHECK(drives[2].start.ms == 1561709610000);  // 2019-06-28 10:13:30 in Munich
}

TEST_CASE("drive: the time of a replay is now, its gaps are scaled, a copy says so") {
  Drive drive;
  drive.name = "d";
  drive.length = Duration(10000);
  drive.observations = {{Duration(0), "drive.speed", 1},
                        {Duration(4000), "drive.speed", 2},
                        {Duration(10000), "drive.speed", 3}};
  const Now start{{1700000000000}, {1000}};
  const auto after = [&start](int64_t ms) {
    return Now{start.wall + Duration(ms), start.mono + Duration(ms)};
  };
  Replay replay(drive, {2, AtEnd::kLoop, 0, Duration(0)}, start);
  std::vector<car::Observe> due;
  replay.Due(after(0), due);
  REQUIRE(due.size() == 1);
  CHECK(due[0].source == "replay:d");
  CHECK(replay.NextAt() == Instant{3000});
  replay.Due(after(2500), due);
  REQUIRE(due.size() == 2);
  CHECK(due[1].observed_at.ms == 1700000002000);
  replay.Due(after(5500), due);  // the last row, and half a second later the first again
  CHECK(due.size() == 4);
  Replay copy(drive, {1, AtEnd::kStop, 2, Duration(14000)}, start);
  CHECK(copy.source() == "replay:d (copy 2, shifted 4 s)");
  due.clear();
  copy.Due(after(20000), due);
  CHECK(due.size() == 2);
  CHECK(!copy.NextAt());
}

TEST_CASE("drive: rows that are replayed fast go on in time though two clocks are read apart") {
  Drive drive;
  drive.name = "d";
  drive.length = Duration(100);
  drive.observations = {{Duration(0), "drive.speed", 1}, {Duration(100), "drive.speed", 2}};
  const Now start{{1700000000000}, {1000}};
  Replay replay(drive, {200, AtEnd::kStop, 0, Duration(0)}, start);
  std::vector<car::Observe> due;
  replay.Due(start, due);
  REQUIRE(due.size() == 1);
  // A millisecond later by one clock, and none by the other.
  replay.Due({start.wall, start.mono + Duration(2)}, due);
  REQUIRE(due.size() == 2);
  CHECK(due[1].observed_at == due[0].observed_at);
  // A clock that is set back by much is believed.
  Replay other(drive, {1, AtEnd::kStop, 0, Duration(0)}, start);
  due.clear();
  other.Due(start, due);
  other.Due({start.wall - Duration(5000), start.mono + Duration(100)}, due);
  REQUIRE(due.size() == 2);
  CHECK(due[1].observed_at.ms == start.wall.ms - 5000);
}

}  // namespace latchkey::fleet
