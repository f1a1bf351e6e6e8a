// Readings of TeslaFi's exports: times without a zone, cars without a name, units.
#include "tools/import/teslafi.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <doctest/doctest.h>

#include "tools/fleet/file.h"
#include "tools/import/plan.h"

namespace latchkey::legacy {

namespace {

Zone ZoneOf(const std::string& name) {
  std::ifstream file("/usr/share/zoneinfo/" + name, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  Result<Zone> zone = Zone::Parse(bytes);
  REQUIRE(zone);
  return *zone;
}

Reading ReadFixture(const std::string& name) {
  const Result<std::string> bytes = fleet::ReadMaybeZipped(std::filesystem::path(LK_SHARED_DATA) /
                                                           "teslafi_export" / (name + ".csv.gz"));
  REQUIRE(bytes);
  Reading reading;
  ReadTeslaFi({name, *bytes}, std::nullopt, reading);
  return reading;
}

Reading ReadText(const std::string& rows, const std::optional<Zone>& zone = std::nullopt) {
  Reading reading;
  ReadTeslaFi({"t.csv",
               "\xEF\xBB\xBF"
               "data_id,Date,vin,state,battery_level,gps_as_of,latitude,"
               "longitude,outside_temp,outside_tempF,speed\n" +
                   rows},
              zone, reading);
  return reading;
}

std::string Times(const Reading& reading) {
  std::string text;
  for (const LegacyRecord& record : reading.records) {
    text += record.vehicle + "@" + std::to_string(record.observed.front().at.ms / 1000) + " ";
  }
  return text;
}

size_t Because(const Reading& reading, const std::string& part) {
  size_t count = 0;
  for (const Refused& refused : reading.refused) {
    count += refused.why.find(part) != std::string::npos ? 1 : 0;
  }
  return count;
}

double Said(const LegacyRecord& record, std::string_view signal) {
  for (const Observed& one : record.observed) {
    if (one.signal == signal) {
      return std::get<double>(one.value);
    }
  }
  return -1;
}

}  // namespace

TEST_CASE("teslafi: every row of the exports has an outcome, and silent rows are not invented") {
  const Reading june = ReadFixture("01_complete__TeslaFi62016");
  CHECK(june.records.size() + june.refused.size() == 999);
  CHECK(june.records.size() == 809);
  const LegacyRecord& first = june.records.front();
  CHECK(first.vehicle == "1YYSA1YYYFF08YYYY");
  CHECK(Said(first, "energy.soc") == 60);
  CHECK(Said(first, "energy.range") == doctest::Approx(154.38 * 1.609344));
  CHECK(Said(first, "body.is_locked") >= 0);
  CHECK(first.changes.count("energy.range: miles to km") == 1);
  CHECK(first.changes.count("location left out: no place on earth, or a receiver without a fix") ==
        1);
  // 07:58:31 seven hours behind UTC.
  CHECK(first.observed.front().at == Timestamp{1466953111000});
  const Reading september = ReadFixture("02_timezone__TeslaFi92019");
  CHECK(september.records.size() == 286);
  CHECK(Because(september, "names no car") == 713);
}

TEST_CASE("teslafi: when summer time ends, the hour that comes twice is told apart by the fixes") {
  const Reading october = ReadFixture("05_dst__TeslaFi102019");
  CHECK(october.records.size() == 64);
  CHECK(october.refused.size() == 154);
  Timestamp before;
  for (const LegacyRecord& record : october.records) {
    CHECK(record.observed.front().at > before);  // although the local clock goes back
    before = record.observed.front().at;
  }
}

TEST_CASE("teslafi: a row without a fix takes its neighbours' offset only when they agree") {
  const std::string before = "1,2020-06-01 12:00:00,A,online,50,1590998400,1,1,,,\n";  // UTC+4
  const std::string silent = "2,2020-06-01 12:01:00,A,online,51,,,,,,\n";
  const std::string after = "3,2020-06-01 12:02:00,A,online,52,1590998520,1,1,,,\n";
  const std::string other = "3,2020-06-01 11:02:00,A,online,52,1590998520,1,1,,,\n";  // UTC+3
  CHECK(Times(ReadText(before + silent + after)) == "A@1590998400 A@1590998460 A@1590998520 ");
  CHECK(Times(ReadText(before + silent + other)) == "A@1590998400 A@1590998520 ");
  CHECK(Because(ReadText(before + silent + other), "several zones") == 1);
  CHECK(Because(ReadText(before + silent), "several zones") == 1);
  CHECK(Times(ReadText(silent, ZoneOf("Asia/Dubai"))) == "A@1590998460 ");
}

TEST_CASE("teslafi: a named zone tells both hours of autumn apart by the order of rows") {
  const Zone berlin = ZoneOf("Europe/Berlin");
  const std::string rows =
      "1,2019-10-27 02:30:00,A,online,50,,,,,,\n2,2019-10-27 02:59:00,A,online,50,,,,,,\n"
      "3,2019-10-27 02:01:00,A,online,50,,,,,,\n4,2019-10-27 03:00:00,A,online,50,,,,,,\n";
  CHECK(Times(ReadText(rows, berlin)) == "A@1572136200 A@1572137940 A@1572138060 A@1572141600 ");
  CHECK(Because(ReadText("1,2019-03-31 02:30:00,A,online,50,,,,,,\n", berlin), "zone") == 1);
}

TEST_CASE("teslafi: rows of two cars stay with their cars, and rows that name none with nobody") {
  const std::string rows =
      "1,2020-06-01 12:00:00,A,online,50,1590998400,1,1,,,20\n"
      "2,2020-06-01 12:01:00,,online,51,1590998460,2,2,,,\n"
      "3,2020-06-01 12:02:00,None,asleep,,,,,,,\n"
      "4,2020-06-01 12:03:00,B,online,80,1590998580,3,3,None,212,\n";
  const Reading reading = ReadText(rows);
  CHECK(Times(reading) == "A@1590998400 B@1590998580 ");
  CHECK(Because(reading, "names no car") == 2);
  CHECK(Said(reading.records[0], "drive.speed") == doctest::Approx(32.18688));
  CHECK(Said(reading.records[1], "climate.outside_temperature") == -1);  // 100 C: left out
  const Plan plan = MakePlan(reading, {*FleetId::Parse("f1"), "import:teslafi", {}});
  for (const PlannedGroup& group : plan.groups) {
    CHECK(group.ref.car.str() == (group.records.front() == 0 ? "A" : "B"));
  }
}

TEST_CASE("teslafi: what is cut off or no export is refused with a reason") {
  CHECK(Because(ReadText("1,2020-06-01 12:00:00,A\n"), "number of cells") == 1);
  CHECK(Because(ReadText("1,\"2020-06-01 12:00:00,A,online,50,1590998400,1,1,,,\n"), "cells") == 1);
  CHECK(Because(ReadText("1,yesterday,A,online,50,1590998400,1,1,,,\n"), "Date") == 1);
  Reading reading;
  ReadTeslaFi({"x", "a,b\n1,2\n"}, std::nullopt, reading);
  CHECK(reading.refused.size() == 1);
}

TEST_CASE("zone: bytes that are no zone are refused") {
  CHECK(!Zone::Parse(""));
  CHECK(!Zone::Parse(std::string(200, '\xff')));
  CHECK(!Zone::Parse("TZif2" + std::string(39, '\x7f')));
}

}  // namespace latchkey::legacy
