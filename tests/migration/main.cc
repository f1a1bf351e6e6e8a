// migration [--act NAME]... [--cars N] [--seed S] [--seconds S] [--kills K] [--per-second N]
// [--keep FOLDER]: a cell of 100,000 cars under live load goes through both migrations of its store
// while the bridge is killed. Acts: live, disk, bug; all of them unless some are named. Exit code
// 0: no command was lost or late, no pairing refused, no state older than before, nothing in the
// store another than it was, the planted bug was caught. How commands fared before and during is
// printed and judged by no one.
#define DOCTEST_CONFIG_IMPLEMENT
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/load/cars.h"
#include "tests/load/world.h"
#include "tests/migration/act.h"
#include "tests/migration/latency.h"

namespace latchkey::migration {

namespace {

using std::chrono::steady_clock;

constexpr size_t kWrongsShown = 40;

struct Act {
  std::string name;
  void (*run)(const Options&, Report&);
  bool needs_mount = false;
};

const std::vector<Act>& Acts() {
  static const std::vector<Act> acts = {
      {"live", MigrateLive}, {"disk", FillDiskMidway, true}, {"bug", CatchPlantedBug}};
  return acts;
}

void Print(const Report& report) {
  for (const auto& [title, text] : report.rows) {
    std::cout << std::left << std::setw(44) << title << text << "\n";
  }
  for (size_t i = 0; i < std::min(report.wrongs.size(), kWrongsShown); ++i) {
    std::cout << "WRONG " << report.wrongs[i] << "\n";
  }
  std::cout << report.wrongs.size() << " wrongs" << std::endl;
}

// True: nothing was wrong.
bool Run(const Act& act, const Options& options) {
  const auto began = steady_clock::now();
  std::cout << "== " << act.name << ": --cars " << options.cars << " --seed " << options.seed
            << " --seconds " << options.seconds << " --kills " << options.kills << std::endl;
  // Without the right to mount there is no small disk to fill: to be said aloud, not by default.
  if (act.needs_mount && std::getenv("LATCHKEY_FAULTS_NO_MOUNT") != nullptr) {
    std::cout << "SKIPPED: LATCHKEY_FAULTS_NO_MOUNT is set" << std::endl;
    return true;
  }
  Report report;
  try {
    act.run(options, report);
  } catch (const std::exception& surprise) {
    report.wrongs.emplace_back(surprise.what());
  }
  report.Row("seconds in all",
             Digits(std::chrono::duration<double>(steady_clock::now() - began).count(), 1));
  Print(report);
  return report.wrongs.empty();
}

// A REQUIRE of tests/support outside a doctest case.
void OnAssert(const doctest::AssertData& assert) {
  std::ostringstream text;
  text << assert.m_file << ":" << assert.m_line << ": " << assert.m_expr << " "
       << assert.m_decomp.c_str();
  throw load::Surprise(text.str());
}

int Usage() {
  std::cerr << "usage: migration [--act live|disk|bug]... [--cars N] [--seed S] [--seconds S]\n"
               "                 [--kills K] [--per-second N] [--keep FOLDER]\n";
  return 2;
}

int Main(const std::vector<std::string>& arguments) {
  if (arguments.size() == 5 && arguments[0] == "--cars") {
    return load::RunCars(
        {arguments[1], arguments[2], std::stoi(arguments[3]), std::stoul(arguments[4])});
  }
  Options options;
  options.seed = std::random_device{}();
  std::vector<Act> chosen;
  for (size_t i = 0; i + 1 < arguments.size(); i += 2) {
    const std::string& name = arguments[i];
    const std::string& value = arguments[i + 1];
    const auto act = std::find_if(Acts().begin(), Acts().end(),
                                  [&](const Act& each) { return each.name == value; });
    if (name == "--act" && act != Acts().end()) {
      chosen.push_back(*act);
    } else if (name == "--cars") {
      options.cars = std::stoul(value);
    } else if (name == "--seed") {
      options.seed = std::stoull(value);
    } else if (name == "--seconds") {
      options.seconds = std::stoi(value);
    } else if (name == "--kills") {
      options.kills = std::stoi(value);
    } else if (name == "--per-second") {
      options.per_second = std::stoi(value);
    } else if (name == "--keep") {
      options.keep = value;
    } else {
      return Usage();
    }
  }
  if (arguments.size() % 2 != 0) {
    return Usage();
  }
  bool good = true;
  for (const Act& act : chosen.empty() ? Acts() : chosen) {
    good = Run(act, options) && good;
  }
  return good ? 0 : 1;
}

}  // namespace

}  // namespace latchkey::migration

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  doctest::Context context;
  context.setAsDefaultForAssertsOutOfTestCases();
  context.setAssertHandler(latchkey::migration::OnAssert);
  try {
    return latchkey::migration::Main({argv + 1, argv + argc});
  } catch (const std::exception& fault) {
    std::cerr << "migration: " << fault.what() << "\n";
    return 2;
  }
}
