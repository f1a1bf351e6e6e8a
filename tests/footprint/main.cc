// footprint: bytes per car on disk and in memory, measured and not estimated. --help says how.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/footprint/bridge_side.h"
#include "tests/footprint/cell_side.h"

namespace latchkey::footprint {

namespace {

constexpr const char* kHelp =
    "footprint [--cars N] [--driving N] [--connections N] [--visitors N]\n"
    "          [--part bridge|cell|broker] [--json] [--check]\n"
    "Bytes per car, in memory and on disk, of the bridge and of the broker.\n"
    "  --cars N         how many cars there are (1000)\n"
    "  --driving N      of them, for an hour of simulated time (a tenth)\n"
    "  --connections N  cars that are connected to the broker at once, at the end (1000)\n"
    "  --visitors N     cars that each connect to the broker once (all)\n"
    "  --part PART      only the bridge in this process, only the cell of real processes, or of\n"
    "                   that only the broker\n"
    "  --json           figures by name, bytes and seconds, instead of a table\n"
    "  --check          exit code 1 when a figure is above its bound (storage/README.md)\n";

struct Wish {
  size_t cars = 1000;
  size_t connections = 1000;
  std::optional<size_t> driving;
  std::optional<size_t> visitors;
  std::string part;
  bool json = false;
  bool check = false;
  bool help = false;
  std::string load;  // of a child: only opens this store
};

// Upper bounds, with room for another machine: what grows beyond them is a leak or a mistake.
struct Bound {
  const char* key;
  double most;
};

constexpr Bound kBounds[] = {
    {"bridge.just_spoke.memory_per_car", 16384},
    {"bridge.parked.memory_per_car", 8192},
    {"bridge.driving_more.memory_per_car", 65536},
    {"disk.parked.compacted_per_car", 8192},
    {"disk.an_hour_more.compacted_per_car", 65536},
    {"load.memory_per_car", 6144},
    {"crosscheck.latchkey_bridge_percent_of_this", 200},
    {"broker.state_per_car", 16384},
    {"broker.ring_per_car", 8192},
    {"broker.presence_per_car", 16384},
    {"broker.per_connected_car", 262144},
};

std::optional<Wish> Parse(const std::vector<std::string>& arguments) {
  Wish wish;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    if (name == "--json") {
      wish.json = true;
    } else if (name == "--check") {
      wish.check = true;
    } else if (name == "--help") {
      wish.help = true;
    } else if (i + 1 == arguments.size()) {
      return std::nullopt;
    } else if (name == "--part") {
      wish.part = arguments[++i];
    } else if (name == "--load") {
      wish.load = arguments[++i];
    } else {
      const std::string& text = arguments[++i];
      if (text.empty() || text.size() > 7 || text.find_first_not_of("0123456789") != text.npos) {
        return std::nullopt;
      }
      const size_t count = std::stoul(text);
      if (name == "--cars" && count >= 100 && count <= 1'000'000) {
        wish.cars = count;
      } else if (name == "--driving" && count > 0) {
        wish.driving = count;
      } else if (name == "--connections") {
        wish.connections = count;
      } else if (name == "--visitors") {
        wish.visitors = count;
      } else {
        return std::nullopt;
      }
    }
  }
  const bool known =
      wish.part.empty() || wish.part == "bridge" || wish.part == "cell" || wish.part == "broker";
  return known && wish.driving.value_or(1) <= wish.cars ? std::optional(wish) : std::nullopt;
}

// Figures by name, as a child prints them.
nlohmann::ordered_json ToJson(const Report& report) {
  nlohmann::ordered_json json;
  for (const Figure& figure : report.figures()) {
    json[figure.key] = figure.unit == "s" ? figure.value : std::round(figure.value);
  }
  return json;
}

// A store is loaded in a process that has done nothing else.
void LoadInChild(const std::filesystem::path& store, Report& report) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const testing::Ran ran =
      testing::Run({self, "--load", store.string()}, std::chrono::milliseconds(300'000));
  LK_ASSERT(ran.exit_code == 0);
  const auto figures = nlohmann::ordered_json::parse(ran.output);
  for (const auto& [key, value] : figures.items()) {
    report.Put(key, value.get<double>(), key.find("seconds") != key.npos ? "s" : "bytes");
  }
}

void Print(const Wish& wish, const Report& report) {
  std::printf("%zu cars, of which %zu drive for an hour\n", wish.cars,
              wish.driving.value_or(wish.cars / 10));
  for (const Figure& figure : report.figures()) {
    std::printf("%-58s | ", figure.key.c_str());
    if (figure.unit == "s") {
      std::printf("%12.2f s\n", figure.value);
    } else {
      std::printf("%12.0f %s\n", figure.value, figure.unit.c_str());
    }
  }
}

std::optional<double> ValueOf(const Report& report, const std::string& key) {
  std::optional<double> value;
  for (const Figure& figure : report.figures()) {
    value = figure.key == key ? std::optional(figure.value) : value;
  }
  return value;
}

// How many are above their bound, or missing.
int Check(const Report& report, const std::string& part) {
  int wrong = 0;
  for (const Bound& bound : kBounds) {
    const std::string key = bound.key;
    const bool of_cell = key.rfind("broker.", 0) == 0;
    if ((!part.empty() && key.rfind("crosscheck.", 0) == 0) || (part == "bridge" && of_cell) ||
        (part == "cell" && !of_cell) || (part == "broker" && !of_cell)) {
      continue;
    }
    const std::optional<double> value = ValueOf(report, key);
    if (!value || *value > bound.most) {
      ++wrong;
      std::printf("TOO MUCH: %s is %.0f, at most %.0f is expected\n", bound.key, value.value_or(-1),
                  bound.most);
    }
  }
  return wrong;
}

// The real latchkey-bridge against the bridge in this process, RocksDB's memory with both.
void CrossCheck(Report& report) {
  const auto here = ValueOf(report, "bridge.just_spoke.resident_with_rocksdb_per_car");
  const auto there = ValueOf(report, "latchkey_bridge.state_and_ring_per_car");
  if (here && there && *here > 0) {
    report.Put("crosscheck.latchkey_bridge_percent_of_this", *there / *here * 100, "%");
  }
}

int Run(const Wish& wish) {
  Report report;
  if (!wish.load.empty()) {
    MeasureLoad(wish.load, report);
    std::cout << ToJson(report).dump() << "\n";
    return 0;
  }
  RaiseFileLimit();
  testing::Cell cell;
  const tools::Issued ca = cell.FleetCa("demo");
  const Cars cars(LK_SHARED_DATA, ca);
  if (wish.part.empty() || wish.part == "bridge") {
    const std::filesystem::path store = cell.path() / "footprint";
    MeasureBridge(cars, ca, {wish.cars, wish.driving.value_or(wish.cars / 10), store}, report);
    LoadInChild(store, report);
  }
  if (wish.part != "bridge") {
    const BridgeToo bridge = wish.part == "broker" ? BridgeToo::kNo : BridgeToo::kYes;
    MeasureCell(cell, cars,
                {wish.cars, wish.connections, wish.visitors.value_or(wish.cars), bridge}, report);
  }
  CrossCheck(report);
  if (wish.json) {
    std::cout << ToJson(report).dump(2) << "\n";
  } else {
    Print(wish, report);
  }
  return wish.check && Check(report, wish.part) > 0 ? 1 : 0;
}

}  // namespace

}  // namespace latchkey::footprint

int main(int argc, char** argv) {
  const auto wish = latchkey::footprint::Parse({argv + 1, argv + argc});
  if (!wish || wish->help) {
    std::fputs(latchkey::footprint::kHelp, wish ? stdout : stderr);
    return wish ? 0 : 2;
  }
  // What the tests' support expects stands in a test case; a failure there ends the program.
  doctest::Context context;
  context.setAsDefaultForAssertsOutOfTestCases();
  context.setAssertHandler([](const doctest::AssertData& data) {
    throw std::runtime_error(std::string(data.m_file) + ":" + std::to_string(data.m_line) + ": " +
                             data.m_expr);
  });
  try {
    return latchkey::footprint::Run(*wish);
  } catch (const std::exception& fault) {
    std::cerr << "footprint: " << fault.what() << "\n";
    return 1;
  }
}
