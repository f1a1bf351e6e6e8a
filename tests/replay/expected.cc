// Runs expected.py and takes its JSON.
#include "tests/replay/expected.h"

#include <chrono>
#include <filesystem>
#include <numeric>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "tests/support/process.h"

namespace latchkey::replay {

namespace {

constexpr std::chrono::milliseconds kReadPatience{180000};

ExpectedDrive FromJson(const nlohmann::json& json) {
  ExpectedDrive drive;
  drive.name = std::filesystem::path(std::string(json.at("file"))).filename().string();
  drive.name.resize(drive.name.find('.'));
  drive.rows = json.at("rows");
  drive.length = json.at("length_ms");
  for (const auto& bad : json.at("bad")) {
    drive.bad[{bad.at("signal"), bad.at("reason")}] = bad.at("count");
  }
  for (const auto& [name, signal] : json.at("signals").items()) {
    Course& course = drive.signals[name];
    course.last = signal.at("last");
    course.last_at = signal.at("offset_ms");
    course.widest = signal.at("widest_ms");
    for (const auto& value : signal.at("values")) {
      course.values.emplace_back(value.at(0), value.at(1));
    }
  }
  return drive;
}

}  // namespace

uint64_t SumOf(const BadCounts& bad) {
  return std::accumulate(bad.begin(), bad.end(), uint64_t{0},
                         [](uint64_t sum, const auto& each) { return sum + each.second; });
}

std::map<std::string, ExpectedDrive> ReadExpected() {
  const testing::TempDir folder;
  testing::Process reader({"python3", LK_SOURCE_DIR "/tests/replay/expected.py", LK_SHARED_DATA},
                          folder.path() / "expected.json");
  const int exit_code = reader.Wait(kReadPatience);
  const std::string output = reader.Output();
  const auto json = nlohmann::json::parse(output, nullptr, false);
  if (exit_code != 0 || !json.is_object()) {
    throw std::runtime_error("expected.py: " + output.substr(0, 2000));
  }
  std::map<std::string, ExpectedDrive> drives;
  for (const auto& each : json.at("drives")) {
    ExpectedDrive drive = FromJson(each);
    const std::string name = drive.name;
    if (!drives.emplace(name, std::move(drive)).second) {
      throw std::runtime_error("two drives of the name " + name);
    }
  }
  return drives;
}

}  // namespace latchkey::replay
