// Dumps of an OVMS server as mysqldump prints them, and what is made of each row.
#include "tools/import/ovms.h"

#include <doctest/doctest.h>

#include "tools/import/sql_dump.h"

namespace latchkey::legacy {

namespace {

constexpr const char* kHead =
    "-- MySQL dump 10.13  Distrib 5.7.33, for Linux (x86_64)\n--\n"
    "/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n"
    "/*!40101 SET NAMES utf8 */;\n"
    "DROP TABLE IF EXISTS `ovms_carmessages`;\n"
    "CREATE TABLE `ovms_carmessages` (\n"
    "  `owner` int(10) unsigned NOT NULL DEFAULT '0',\n"
    "  `vehicleid` varchar(32) NOT NULL DEFAULT '' COMMENT 'Unique ID; (car)',\n"
    "  `m_code` char(1) NOT NULL DEFAULT '',\n"
    "  `m_valid` tinyint(1) NOT NULL DEFAULT '1',\n"
    "  `m_msgtime` datetime NOT NULL DEFAULT '0000-00-00 00:00:00',\n"
    "  `m_paranoid` tinyint(1) NOT NULL DEFAULT '0',\n"
    "  `m_ptoken` varchar(32) NOT NULL DEFAULT '',\n"
    "  `m_msg` varchar(255) NOT NULL DEFAULT '',\n"
    "  PRIMARY KEY (`owner`,`vehicleid`,`m_code`)\n"
    ") ENGINE=InnoDB DEFAULT CHARSET=latin1 COMMENT='OVMS: Stores vehicle messages';\n"
    "LOCK TABLES `ovms_carmessages` WRITE;\n"
    "/*!40000 ALTER TABLE `ovms_carmessages` DISABLE KEYS */;\n";

Reading Read(const std::string& dump) {
  Reading reading;
  ReadOvmsDump({"dump.sql", dump}, reading);
  return reading;
}

std::string Rows(const std::string& dump) {
  std::string text;
  ReadSqlDump(
      dump,
      [&](const SqlRow& row) {
        text += row.table + "#" + std::to_string(row.number);
        for (const auto& [column, value] : row.values) {
          text += " " + column + "=" + value.value_or("(null)");
        }
        text += "\n";
      },
      [&](const SqlFault& fault) { text += "fault: " + fault.why + "\n"; });
  return text;
}

double Said(const Reading& reading, std::string_view signal, std::string_view vehicle = "") {
  for (const LegacyRecord& record : reading.records) {
    for (const Observed& one : record.observed) {
      if (one.signal == signal && (vehicle.empty() || record.vehicle == vehicle)) {
        return std::get<double>(one.value);
      }
    }
  }
  return -1000;
}

std::string Why(const Reading& reading, const std::string& where) {
  for (const Refused& refused : reading.refused) {
    if (refused.where == where) {
      return refused.why;
    }
  }
  return "";
}

}  // namespace

TEST_CASE(
    "sql: escapes, NULL, comments, hexadecimal and character sets are read as they are meant") {
  CHECK(Rows("INSERT INTO `t` (`a`,`b`) VALUES (1,'it\\'s; (a) ''q'' \\\\'),(-2.5,NULL);\n") ==
        "t#1 a=1 b=it's; (a) 'q' \\\nt#2 a=-2.5 b=(null)\n");
  CHECK(
      Rows("# c\n/* x; */ INSERT IGNORE INTO t(a) VALUES(0x4142),(_binary 'C'),(x'44'); -- e\n") ==
      "t#1 a=AB\nt#2 a=C\nt#3 a=D\n");
  CHECK(Rows("SET NAMES latin1;\nINSERT INTO t (a) VALUES ('\xFC');\n") == "t#1 a=\xC3\xBC\n");
  CHECK(Rows("/*!50503 SET NAMES utf8mb4 */;\nREPLACE INTO t (a) VALUES ('\xC3\xBC');\n") ==
        "t#1 a=\xC3\xBC\n");
}

TEST_CASE("sql: what cannot be read is said, and what follows is read again") {
  CHECK(Rows("INSERT INTO t (a) VALUES (1),(1,2),(2);INSERT INTO t (a) VALUES (3);") ==
        "t#1 a=1\nfault: row 2 of t has 2 values for 1 known columns\nt#3 a=2\nt#4 a=3\n");
  CHECK(Rows("INSERT INTO t (a) VALUES (1),(NOW()),(2);INSERT INTO t (a) VALUES (3);") ==
        "t#1 a=1\nfault: an INSERT into t cannot be read from here to its end\nt#2 a=3\n");
  CHECK(Rows("INSERT INTO t (a) VALUES (1),('cut").find("fault: an INSERT into t cannot") !=
        std::string::npos);
  CHECK(Rows("INSERT INTO u VALUES (1);").find("0 known columns") != std::string::npos);
}

TEST_CASE("ovms: the rows of a dump become state of their cars, each with its own time") {
  const Reading reading = Read(
      std::string(kHead) +
      "INSERT INTO `ovms_carmessages` VALUES "
      "(1,'DEMO','S',1,'2021-03-04 05:06:07',0,'','87.5,K,230,16,charging,standard,210,190,32,5,"
      "0,0,5,1,0,0,0,-1,0,35,20,0,80,0,0,0,0,0,0,250,2,3.3,360.5,97,0,0,-12.5,0,1,0,24,0'),"
      "(1,'DEMO','L',1,'2021-03-04 05:06:08',0,'','52.5,13.25,270,40,1,1,50,10'),"
      "(1,'DEMO','D',1,'2021-03-04 05:06:08',0,'','13,64,4,20,25,18,120,654321,50,0,11,1,1,1,"
      "12.7,0,12.6,129,30,0.5,21'),"
      "(2,'MILES','S',1,'2021-03-04 05:06:07',0,'','50,M,0,0,done,standard,100,90'),"
      "(2,'MILES','D',1,'2021-03-04 05:06:07',0,'','0,0,5,0,0,0,0,10000,0'),"
      "(2,'MILES','W',1,'2021-03-04 05:06:07',0,'','36,20,36,20,35,20,35,20,1'),"
      "(3,'OLD','L',1,'2021-03-04 05:06:07',0,'','52.5,13.25,270,40,0,0,50'),"
      "(3,'OLD','F',1,'2021-03-04 05:06:07',0,'','3.2.016,VINVINVIN,18,1,TR,o\\'2,15000'),"
      "(3,'OLD','Y',1,'2021-03-04 05:06:07',0,'','4,fl,fr,rl,rr,4,250,251,252,253,1,0,0');\n"
      "/*!40000 ALTER TABLE `ovms_carmessages` ENABLE KEYS */;\nUNLOCK TABLES;\n");
  CHECK(reading.records.size() == 8);
  REQUIRE(reading.refused.size() == 1);
  CHECK(Why(reading, "ovms_carmessages row 7") ==
        "a message without any value; drive.speed left out: the car has no message S to say its "
        "unit; location left out: the receiver had no fix, or an old one");
  CHECK(Said(reading, "energy.soc", "1/DEMO") == 87.5);
  CHECK(Said(reading, "energy.range", "1/DEMO") == 190);
  CHECK(Said(reading, "energy.current", "1/DEMO") == 12.5);
  CHECK(Said(reading, "energy.is_charging", "1/DEMO") == 1);
  CHECK(Said(reading, "energy.is_plugged", "1/DEMO") == 1);
  CHECK(Said(reading, "body.door_front_left_open", "1/DEMO") == 1);
  CHECK(Said(reading, "body.door_front_right_open", "1/DEMO") == 0);
  CHECK(Said(reading, "body.hood_open", "1/DEMO") == 1);
  CHECK(Said(reading, "body.is_locked", "1/DEMO") == 1);
  CHECK(Said(reading, "body.door_rear_left_open", "1/DEMO") == 1);
  CHECK(Said(reading, "climate.is_active", "1/DEMO") == 1);
  CHECK(Said(reading, "drive.odometer", "1/DEMO") == doctest::Approx(65432.1));
  CHECK(Said(reading, "location.latitude", "1/DEMO") == 52.5);
  CHECK(Said(reading, "energy.range", "2/MILES") == doctest::Approx(144.84096));
  CHECK(Said(reading, "drive.odometer", "2/MILES") == doctest::Approx(1609.344));
  CHECK(Said(reading, "service.tyre_front_right", "2/MILES") == doctest::Approx(248.211));
  CHECK(Said(reading, "location.latitude", "3/OLD") == -1000);
  CHECK(Said(reading, "link.signal", "3/OLD") == -77);
  CHECK(Said(reading, "service.tyre_rear_left", "3/OLD") == 252);
  CHECK(reading.records[0].observed.front().at == Timestamp{1614834367000});
  CHECK(reading.not_kept.at("S.7") == 2);
}

TEST_CASE("ovms: a car that is on does not move by that, and what is stale is left out") {
  const Reading reading =
      Read(std::string(kHead) +
           "INSERT INTO `ovms_carmessages` VALUES "
           "(1,'ON','D',1,'2021-03-04 05:06:07',0,'','128,0,4,0,0,0,0,0,0'),"
           "(1,'ON','W',1,'2021-03-04 05:06:07',0,'','36,20,36,20,35,20,35,20,0'),"
           "(1,'ON','S',1,'2021-03-04 05:06:07',0,'','50,K'),"
           "(2,'GO','D',1,'2021-03-04 05:06:07',0,'','0,0,4,0,0,0,0,0,30'),"
           "(2,'GO','Y',1,'2021-03-04 05:06:07',0,'','2,fl,fr,2,250,251,0,0,0'),"
           "(2,'GO','S',1,'2021-03-04 05:06:07',0,'','50,K');\n");
  CHECK(Said(reading, "drive.is_moving", "1/ON") == 0);
  CHECK(Said(reading, "drive.is_moving", "2/GO") == 1);
  CHECK(Said(reading, "service.tyre_front_left") == -1000);
  CHECK(Why(reading, "ovms_carmessages row 2").find("it was old") != std::string::npos);
  CHECK(Why(reading, "ovms_carmessages row 5").find("old, or not valid") != std::string::npos);
}

TEST_CASE("ovms: what a server must not hand on, and what is not readable, is refused by row") {
  const Reading reading = Read(
      std::string(kHead) +
      "INSERT INTO `ovms_carmessages` VALUES "
      "(1,'A','S',1,'2021-03-04 05:06:07',1,'tok','9zQ=='),"
      "(1,'A','D',0,'2021-03-04 05:06:07',0,'','0,0,4'),"
      "(1,'A','L',1,'0000-00-00 00:00:00',0,'','1,1,1,1,1,1,1'),"
      "(1,'A','V',1,'2021-03-04 05:06:07',0,'','C1'),"
      "(1,'GONE','S',1,'2021-03-04 05:06:07',0,'','50,K'),"
      "(1,'A','E',1,'2021-03-04 05:06:07',0,'','TX');\n"
      "INSERT INTO `ovms_cars` (`vehicleid`,`owner`,`carpass`,`deleted`) VALUES "
      "('GONE',1,'s3cret',1),('A',1,'s3cret',0);\n"
      "INSERT INTO `ovms_owners` (`owner`,`mail`,`pass`) VALUES (1,'a@example.org','hash');\n");
  CHECK(reading.records.empty());
  CHECK(reading.refused.size() == 9);
  CHECK(Why(reading, "ovms_carmessages row 1").find("paranoid") != std::string::npos);
  CHECK(Why(reading, "ovms_carmessages row 2").find("not valid") != std::string::npos);
  CHECK(Why(reading, "ovms_carmessages row 3") == "says no time of its own");
  CHECK(Why(reading, "ovms_carmessages row 4").find("carries no state") != std::string::npos);
  CHECK(Why(reading, "ovms_carmessages row 5").find("deleted") != std::string::npos);
  CHECK(Why(reading, "ovms_carmessages row 6").find("paranoid") != std::string::npos);
  CHECK(Why(reading, "ovms_cars row 2").find("not taken over") != std::string::npos);
  CHECK(Why(reading, "ovms_owners row 1").find("a server can grant nothing") != std::string::npos);
  for (const Refused& refused : reading.refused) {
    CHECK(refused.why.find("s3cret") == std::string::npos);
    CHECK(refused.why.find("example.org") == std::string::npos);
  }
  CHECK(Read("hello").refused.at(0).why.find("no rows") != std::string::npos);
}

}  // namespace latchkey::legacy
