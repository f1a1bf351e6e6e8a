// A recorded drive at high speed: what the bridge holds at the end equals the last good values of
// the file, by a reading of its own.
#include <cmath>
#include <map>
#include <sstream>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

constexpr const char* kDrive = LK_SHARED_DATA "/renault_twizy/T3_04_22_2021_1.csv.gz";

struct Range {
  std::string signal;
  double least;
  double most;
};

const std::map<std::string, Range>& Columns() {
  static const std::map<std::string, Range> columns = {
      {"Soc", {"energy.soc", 0, 100}},
      {"Speed", {"drive.speed", 0, 200}},
      {"Temperature", {"climate.outside_temperature", -60, 60}},
      {"Humidity", {"climate.humidity", 0, 100}},
      {"LAT", {"location.latitude", -90, 90}},
      {"LON", {"location.longitude", -180, 180}},
  };
  return columns;
}

std::vector<std::string> Cells(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream stream(line);
  for (std::string cell; std::getline(stream, cell, ',');) {
    cells.push_back(cell);
  }
  return cells;
}

// The last good value of each signal.
std::map<std::string, double> LastGood(const std::string& csv) {
  std::map<std::string, double> last;
  std::istringstream lines(csv);
  std::string line;
  std::getline(lines, line);
  const std::vector<std::string> header = Cells(line);
  while (std::getline(lines, line)) {
    const std::vector<std::string> cells = Cells(line);
    for (size_t i = 0; i < std::min(cells.size(), header.size()); ++i) {
      const auto column = Columns().find(header[i]);
      if (column == Columns().end() || cells[i].empty()) {
        continue;
      }
      char* end = nullptr;
      const double value = std::strtod(cells[i].c_str(), &end);
      const Range& range = column->second;
      const bool place = range.signal.rfind("location.", 0) == 0;
      if (*end == '\0' && value >= range.least && value <= range.most && !(place && value == 0)) {
        last[range.signal] = value;
      }
    }
  }
  return last;
}

std::map<std::string, double> Held(int port) {
  std::map<std::string, double> held;
  const auto json =
      nlohmann::json::parse(HttpGet(port, "/v1/cars/demo/twizy").body, nullptr, false);
  if (!json.is_object() || !json["groups"].is_object()) {
    return held;
  }
  for (const auto& [name, group] : json["groups"].items()) {
    for (const auto& row : group["signals"]) {
      if (row["value"].is_number()) {
        held[row["name"]] = row["value"];
      }
    }
  }
  return held;
}

}  // namespace

TEST_CASE("after a replayed drive the bridge holds the last good value of every signal") {
  const Ran csv = Run({"zcat", kDrive});
  REQUIRE(csv.exit_code == 0);
  const std::map<std::string, double> last = LastGood(csv.output);
  REQUIRE(last.size() == Columns().size());
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("twizy", {"--replay", kDrive, "--speed", "1000"});
  std::map<std::string, double> held;
  const auto equal = [&] {
    held = Held(cell.http_port());
    for (const auto& [signal, value] : last) {
      // Some travel as 32-bit floats.
      if (held.count(signal) == 0 ||
          std::abs(held[signal] - value) > 1e-6 * std::abs(value) + 1e-9) {
        return false;
      }
    }
    return true;
  };
  CHECK(Eventually(equal, std::chrono::milliseconds(60000)));
  for (const auto& [signal, value] : last) {
    CAPTURE(signal);
    CHECK(held[signal] == doctest::Approx(value).epsilon(1e-6));
  }
}

}  // namespace latchkey::testing
