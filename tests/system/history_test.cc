// A recorded drive by history: what the bridge says a signal was at a time is what an independent
// reading of the file says, also after the bridge ended; and people see it as a table, CSV, a
// curve.
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

constexpr const char* kDrive = LK_SHARED_DATA "/renault_twizy/T3_04_22_2021_1.csv.gz";
constexpr int kSpeed = 30;  // the file has a row a second

// The state of charge of every row.
std::vector<double> SocOfRows() {
  const Ran csv = Run({"zcat", kDrive});
  REQUIRE(csv.exit_code == 0);
  std::vector<double> rows;
  std::istringstream lines(csv.output);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream cells(line);
    std::string cell;
    for (int i = 0; i < 3; ++i) {
      std::getline(cells, cell, ',');
    }
    rows.push_back(std::stod(cell));
  }
  return rows;
}

struct Sample {
  int64_t observed_at_ms = 0;
  int64_t received_at_ms = 0;
  double value = 0;
};

std::vector<Sample> SocByHistory(const Cell& cell) {
  const auto json = nlohmann::json::parse(
      HttpGet(cell.http_port(), "/v1/history?fleet=demo&car=twizy&signal=energy.soc").body, nullptr,
      false);
  std::vector<Sample> samples;
  if (json.is_object() && json.contains("samples")) {
    for (const auto& one : json["samples"]) {
      samples.push_back({one["observed_at_ms"], one["received_at_ms"], one["value"]});
    }
  }
  return samples;
}

bool Same(double one, double other) {
  return std::abs(one - other) < 1e-4;  // it travels as a 32-bit float
}

// How many samples are what the file says at their time, when its first row was at `begin`.
size_t Fitting(const std::vector<double>& rows, const std::vector<Sample>& samples, double begin) {
  size_t fitting = 0;
  for (const Sample& sample : samples) {
    const double row = (static_cast<double>(sample.observed_at_ms) - begin) * kSpeed / 1000;
    for (int near = -1; near <= 1; ++near) {
      const auto at = static_cast<int64_t>(std::llround(row)) + near;
      if (at >= 0 && at < static_cast<int64_t>(rows.size()) &&
          Same(rows[static_cast<size_t>(at)], sample.value)) {
        ++fitting;
        break;
      }
    }
  }
  return fitting;
}

// The best of all times at which the drive can have begun.
size_t BestFit(const std::vector<double>& rows, const std::vector<Sample>& samples) {
  const Sample& middle = samples[samples.size() / 2];
  size_t best = 0;
  for (size_t row = 0; row < rows.size(); ++row) {
    if (Same(rows[row], middle.value)) {
      const double begin =
          static_cast<double>(middle.observed_at_ms) - static_cast<double>(row) * 1000 / kSpeed;
      best = std::max(best, Fitting(rows, samples, begin));
    }
  }
  return best;
}

}  // namespace

TEST_CASE("a replayed drive by history is the drive, and people see it") {
  const std::vector<double> rows = SocOfRows();
  REQUIRE(rows.size() == 1049);
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("twizy", {"--replay", kDrive, "--speed", std::to_string(kSpeed)});
  const auto over = [&] {
    const auto json = nlohmann::json::parse(HttpGet(cell.http_port(), "/v1/cars/demo/twizy").body,
                                            nullptr, false);
    if (!json.is_object() || !json["groups"].contains("energy")) {
      return false;
    }
    for (const auto& row : json["groups"]["energy"]["signals"]) {
      if (row["name"] == "energy.soc") {
        return Same(row["value"], rows.back());
      }
    }
    return false;
  };
  REQUIRE(Eventually(over, std::chrono::milliseconds(60000)));
  // What is only in memory is written when the bridge ends.
  CHECK(cell.bridge().Stop() == 0);
  cell.StartBridge();

  const std::vector<Sample> samples = SocByHistory(cell);
  REQUIRE(samples.size() >= 6);
  CHECK(Same(samples.back().value, rows.back()));
  CHECK(BestFit(rows, samples) == samples.size());
  for (const Sample& sample : samples) {
    CHECK(sample.received_at_ms >= sample.observed_at_ms);
  }

  const Ran table = cell.Latchkey({"car", "history", "twizy", "energy.soc", "--fleet", "demo"});
  CHECK(table.exit_code == 0);
  CHECK(table.output.find("79 percent") != std::string::npos);
  CHECK(table.output.find(" ago") != std::string::npos);
  const Ran csv =
      cell.Latchkey({"car", "history", "twizy", "energy.soc", "--fleet", "demo", "--csv"});
  CHECK(csv.output.find("observed_at,observed_at_ms,received_at_ms,value") != std::string::npos);
  const Ran plot = cell.Latchkey(
      {"car", "history", "twizy", "energy.soc", "--fleet", "demo", "--since", "5m", "--plot"});
  CHECK(plot.exit_code == 0);
  CHECK(plot.output.find("percent") != std::string::npos);
  CHECK(plot.output.find("\xe2\xa0") != std::string::npos);
  const Ran list = cell.Latchkey({"car", "history", "twizy", "--fleet", "demo"});
  CHECK(list.output.find("location.latitude") != std::string::npos);
  const Ran none = cell.Latchkey({"car", "history", "twizy", "energy.soh", "--fleet", "demo"});
  CHECK(none.exit_code == 2);
  CHECK(none.output.find("it has") != std::string::npos);
}

}  // namespace latchkey::testing
