// The legacy systems' fixtures, all of them, into a bridge: totals that add up, a second run that
// changes nothing, an importer that is killed and run again, readings by hand, and a car that an
// imported car's owner enters by invitation.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::string Shared(const std::string& name) {
  return (fs::path(LK_SHARED_DATA) / name).string();
}

const std::vector<std::vector<std::string>>& Imports() {
  static const std::vector<std::vector<std::string>> imports = {
      {"connecteddrive", Shared("bimmer_connected"), "--folders-name-vehicles"},
      {"kamereon", Shared("renault_kamereon")},
      {"teslafi", Shared("teslafi_export/01_complete__TeslaFi62016.csv.gz")},
      {"teslafi", Shared("teslafi_export/01_complete__TeslaFi72016.csv.gz")},
      {"teslafi", Shared("teslafi_export/02_timezone__TeslaFi92019.csv.gz")},
      {"teslafi", Shared("teslafi_export/05_dst__TeslaFi102019.csv.gz")}};
  return imports;
}

std::vector<std::string> Arguments(const std::vector<std::string>& import,
                                   const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"--json", "import"};
  arguments.insert(arguments.end(), import.begin(), import.end());
  arguments.insert(arguments.end(), {"--fleet", "demo"});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

struct Said {
  json totals;
  std::map<std::string, json> records;      // by where
  std::map<std::string, std::string> cars;  // by the vehicle's shown name
};

Said Read(const Ran& ran) {
  REQUIRE_MESSAGE(ran.exit_code == 0, ran.output);
  Said said;
  std::map<std::string, uint64_t> outcomes;
  std::istringstream lines(ran.output);
  for (std::string line; std::getline(lines, line);) {
    const json one = json::parse(line, nullptr, false);
    REQUIRE_MESSAGE(one.is_object(), line);
    if (one.contains("totals")) {
      said.totals = one["totals"];
    } else if (one.contains("record")) {
      CHECK(said.records.emplace(one["record"], one).second);
      ++outcomes[one["outcome"]];
      CHECK((one["outcome"] == "taken" || !one["notes"].empty()));
    } else if (one.contains("vehicle")) {
      said.cars[one["vehicle"]] = one["car"];
    }
  }
  REQUIRE(said.totals.is_object());
  CHECK(said.totals["records"] == said.records.size());
  CHECK(said.totals["taken"] == outcomes["taken"]);
  CHECK(said.totals["changed"] == outcomes["changed"]);
  CHECK(said.totals["unchanged"] == outcomes["unchanged"]);
  CHECK(said.totals["refused"] == outcomes["refused"]);
  return said;
}

// All cars but what changes with the clock.
std::string State(const Cell& cell, const std::vector<std::string>& cars) {
  std::string text;
  for (const std::string& car : cars) {
    json page = json::parse(HttpGet(cell.http_port(), "/v1/cars/demo/" + car).body);
    for (auto& [name, group] : page["groups"].items()) {
      text += car + " " + name + " " + group["observed_at_ms"].dump() + " " +
              group["received_at_ms"].dump() + " " + group["source"].dump();
      for (const json& signal : group["signals"]) {
        text +=
            " " + signal["name"].dump() + signal["value"].dump() + signal["observed_at_ms"].dump();
      }
      text += "\n";
    }
  }
  return text;
}

std::vector<std::string> CarsOf(const Cell& cell) {
  std::vector<std::string> names;
  const json page = json::parse(HttpGet(cell.http_port(), "/v1/cars").body, nullptr, false);
  for (const json& car : page.value("cars", json::array())) {
    names.push_back(car["car"]);
  }
  return names;
}

json Signal(const Cell& cell, const std::string& car, const std::string& group,
            const std::string& name) {
  const json page = json::parse(HttpGet(cell.http_port(), "/v1/cars/demo/" + car).body);
  for (const json& signal : page["groups"][group]["signals"]) {
    if (signal["name"] == group + "." + name) {
      return signal;
    }
  }
  return json::object();
}

}  // namespace

TEST_CASE("every record of every legacy fixture is taken, or refused with its reason, as written") {
  const Cell cell;
  const std::string readme = ReadAll(fs::path(LK_SOURCE_DIR) / "tools" / "import" / "README.md");
  for (const auto& import : Imports()) {
    const Said said = Read(cell.Latchkey(Arguments(import, {"--dry-run"})));
    const std::string name = fs::path(import[1]).filename().string();
    std::string row = "| " + name;
    for (const char* total : {"records", "taken", "changed", "unchanged", "refused"}) {
      row += " | " + said.totals[total].dump();
    }
    CHECK_MESSAGE(readme.find(row + " |") != std::string::npos, row);
    std::map<std::string, std::pair<int, std::string>> reasons;
    for (const auto& [where, record] : said.records) {
      if (record["outcome"] == "refused") {
        REQUIRE(!record["notes"].empty());
        auto& [count, first] = reasons[record["notes"][0].get<std::string>()];
        first = ++count == 1 ? where : first;
      }
    }
    for (const auto& [why, counted] : reasons) {
      MESSAGE(name, ": ", counted.first, " refused: ", why, " (", counted.second, ")");
    }
  }
}

TEST_CASE("every legacy fixture is imported once, however often and however it is interrupted") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  // A dry run asks nobody and changes nothing.
  const Said dry = Read(cell.Latchkey(Arguments(Imports()[2], {"--dry-run"})));
  CHECK(dry.totals["records"] == 999);
  CHECK(CarsOf(cell).empty());

  // The longest one is killed as soon as the bridge holds something of it.
  const auto importer = cell.StartLatchkey(Arguments(Imports()[2]), "importer");
  CHECK(Eventually([&] { return !CarsOf(cell).empty() || !importer->Running(); }));
  importer->Kill();

  std::vector<Said> first;
  for (const auto& import : Imports()) {
    first.push_back(Read(cell.Latchkey(Arguments(import))));
  }
  CHECK(first[2].totals["refused"] == 190);
  CHECK(first[2].totals["records"] == 999);
  CHECK(first[0].totals["records"].get<int>() >= 97);
  CHECK(first[1].totals["records"] == 67);
  CHECK(first[4].totals["refused"] == 713);
  CHECK(first[5].totals["refused"] == 154);
  for (size_t i = 0; i < first.size(); ++i) {
    MESSAGE(Imports()[i][0], " ", fs::path(Imports()[i][1]).filename().string(), " ",
            first[i].totals.dump());
  }

  // What a person reads in the files.
  const std::string i3 = first[0].cars.at("...REXI01");
  CHECK(Signal(cell, i3, "energy", "soc")["value"] == 89);
  CHECK(Signal(cell, i3, "energy", "soc")["observed_at_ms"] == 1655907866000);
  CHECK(Signal(cell, i3, "drive", "odometer")["value"] == 79165);
  CHECK(Signal(cell, "I01_NOREX_VIN", "drive", "odometer")["value"] == 16059);
  CHECK(Signal(cell, "F15_VIN", "location", "latitude").empty());
  CHECK(Signal(cell, "F15_VIN", "body", "is_locked")["value"] == false);
  CHECK(Signal(cell, "some_vin_G21", "service", "tyre_rear_left")["value"] == 300);
  const std::string zoe = first[1].cars.at("...777999");
  CHECK(Signal(cell, zoe, "energy", "range")["value"] == 128);
  CHECK(Signal(cell, zoe, "energy", "range")["observed_at_ms"] == 1605600408000);
  const std::string tesla = first[5].cars.at("...08YYYY");
  CHECK(Signal(cell, tesla, "energy", "soc")["value"] == 87);
  CHECK(Signal(cell, tesla, "drive", "odometer")["value"].get<double>() ==
        doctest::Approx(75077.428831 * 1.609344));
  const json page = json::parse(HttpGet(cell.http_port(), "/v1/cars/demo/" + tesla).body);
  CHECK(page["groups"]["energy"]["source"] == "import:teslafi");
  CHECK(page["groups"]["energy"]["freshness"] == "stale");
  CHECK(page["clock"].is_null());
  CHECK(first[0].records.at("EntryEvo/test/dynamic.json")["notes"][0].get<std::string>().find(
            "not valid JSON") != std::string::npos);
  CHECK(first[1].records.at("error/quota_limit.json")["notes"][0] ==
        "upstream said: err.func.wired.overloaded: You have reached your quota limit");

  // Again: nothing is taken, nothing changes; nor does the broker bring anything back otherwise.
  const std::string before = State(cell, CarsOf(cell));
  for (size_t i = 0; i < Imports().size(); ++i) {
    const Said again = Read(cell.Latchkey(Arguments(Imports()[i])));
    CHECK(again.totals["taken"] == 0);
    CHECK(again.totals["changed"] == 0);
    CHECK(again.totals["records"] == first[i].totals["records"]);
    CHECK(again.totals["refused"] == first[i].totals["refused"]);
  }
  CHECK(State(cell, CarsOf(cell)) == before);
  cell.bridge().Kill();
  cell.StartBridge();
  CHECK(State(cell, CarsOf(cell)) == before);
  // Each run that came to its end is in the log, once; the killed one may have come to it.
  const int ends =
      CountLines(cell.Latchkey({"log", "--event", "imported"}).output, "import:teslafi");
  CHECK(ends >= 8);
  CHECK(ends <= 9);
  // Each that began, too, the killed one with them.
  CHECK(CountLines(cell.Latchkey({"log", "--event", "import_begins"}).output, "import:teslafi") ==
        9);
  // People read every reason.
  std::vector<std::string> people = Arguments(Imports()[1]);
  people.erase(people.begin());
  const Ran text = cell.Latchkey(people);
  CHECK(text.output.find("You have reached your quota limit\n    error/quota_limit.json") !=
        std::string::npos);
  CHECK(text.output.find("VF1AAAAA555777999") == std::string::npos);
}

TEST_CASE("a dump of an OVMS server: what a car says itself stays, the rest goes to the broker") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  RawCar car(cell, "demo", "DEMO");
  CHECK(car.PublishSpeed(12) == 0);
  REQUIRE(Eventually([&] { return !CarsOf(cell).empty(); }));
  const fs::path dump = cell.path() / "ovms.sql";
  std::ofstream(dump, std::ios::binary)
      << "/*!40101 SET NAMES utf8 */;\nCREATE TABLE `ovms_carmessages` (`owner` int(10), "
         "`vehicleid` varchar(32), `m_code` char(1), `m_valid` tinyint(1), `m_msgtime` datetime, "
         "`m_paranoid` tinyint(1), `m_ptoken` varchar(32), `m_msg` varchar(255));\n"
         "INSERT INTO `ovms_carmessages` VALUES (1,'DEMO','S',1,'2021-03-04 05:06:07',0,'','87.5,K,"
         "0,0,done,standard,200,190'),(1,'DEMO','D',1,'2021-03-04 05:06:07',0,'','0,0,4,0,0,0,0,"
         "654321,0'),(2,'TWIN','S',1,'2021-03-04 05:06:07',0,'','50,K,0,0,done,standard,9,9'),(3,"
         "'TWIN','S',1,'2021-03-04 05:06:07',0,'','60,K,0,0,done,standard,9,9');\n"
         "INSERT INTO `ovms_owners` (`owner`,`mail`) VALUES (1,'a@example.org');\n";
  const std::vector<std::string> import = Arguments({"ovms-sql", dump.string()});
  const Said said = Read(cell.Latchkey(import));
  CHECK(said.totals["taken"].get<int>() + said.totals["changed"].get<int>() == 2);
  CHECK(said.totals["refused"] == 3);
  CHECK(Signal(cell, "DEMO", "energy", "soc")["value"] == 87.5);
  CHECK(Signal(cell, "DEMO", "energy", "soc")["observed_at_ms"] == 1614834367000);
  CHECK(Signal(cell, "DEMO", "body", "is_locked")["value"] == true);
  CHECK(Signal(cell, "DEMO", "drive", "speed")["value"] == 12);
  CHECK(Signal(cell, "DEMO", "drive", "odometer").empty());  // the car's own word is newer
  CHECK(CarsOf(cell) == std::vector<std::string>{"DEMO"});
  // Who subscribes gets what was imported, retained, from the broker.
  RawClient reader(cell.WithCertificate(BridgeIdentity{"reader"}, cell.CellCa(), "bridge/reader"));
  REQUIRE(reader.Connect() == 0);
  CHECK(Eventually([&] {
    REQUIRE(reader.Subscribe("lk/1/demo/DEMO/state/energy") == 1);
    return reader.Next(std::chrono::milliseconds(300)).has_value();
  }));
  const Said again = Read(cell.Latchkey(import));
  CHECK(again.totals["unchanged"] == 2);
  CHECK(again.totals["refused"] == 3);
}

TEST_CASE(
    "the owner of an imported car enters by the printed invitation, once, when the car agrees") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  const fs::path folder = cell.path() / "letters";
  const std::vector<std::string> import =
      Arguments(Imports()[1], {"--provision", "--invitations", folder.string()});
  const Said said = Read(cell.Latchkey(import));
  const std::string car = said.cars.at("...777999");
  const fs::path letter = folder / ("demo-" + car + ".txt");
  struct stat facts = {};
  REQUIRE(::stat(letter.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777U) == 0600U);
  REQUIRE(::stat(folder.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777U) == 0700U);
  CHECK(ReadAll(folder / ("demo-" + car + ".html")).find("<svg") != std::string::npos);
  std::string link = ReadAll(letter);
  link.erase(link.find_last_not_of('\n') + 1);
  // Run again: the car keeps its identity and its invitation.
  const std::string memory = ReadAll(cell.path() / "cars" / "demo" / car / "memory.bin");
  Read(cell.Latchkey(import));
  CHECK(ReadAll(cell.path() / "cars" / "demo" / car / "memory.bin") == memory);

  cell.StartCar(car);
  REQUIRE(cell.Latchkey({"phone", "init", "anna"}).exit_code == 0);
  REQUIRE(cell.Latchkey({"phone", "init", "mallory"}).exit_code == 0);
  const Ran paired = cell.Latchkey({"phone", "pair", "anna", link});
  CHECK_MESSAGE(paired.exit_code == 0, paired.output);
  const Ran late = cell.Latchkey({"phone", "pair", "mallory", link});
  CHECK_MESSAGE(late.exit_code != 0, late.output);
  CHECK(cell.Latchkey({"phone", "send", "anna", car, "lock", "--wait"}).exit_code == 0);
}

}  // namespace latchkey::testing
