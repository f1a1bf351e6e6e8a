// latchkey fleet simulate: many reference cars in one process, each replaying a recorded drive.
#include <algorithm>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include "tools/fleet/file.h"
#include "tools/fleet/fleet.h"
#include "tools/latchkey/ca_inventory.h"
#include "tools/latchkey/car.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

struct SimulateOptions {
  std::string fleet;
  int cars = 20;
  std::string prefix = "demo-";
  std::vector<std::string> drives;  // folders
  bool once = false;
  double speed = 1;
  std::string copy_shift = "97s";
  std::string length;
};

// "demo-01"; three digits and more only when needed.
std::string NameOf(const std::string& prefix, int number) {
  std::string digits = std::to_string(number);
  return prefix + (digits.size() < 2 ? "0" : "") + digits;
}

// Each car has a socket and a lock: as many open files as the system lets this process have.
void AllowFiles() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);  // when it fails the limit stays as it is
  }
}

class Simulation {
 public:
  Simulation(Context& context, SimulateOptions options)
      : context_(context), options_(std::move(options)) {}

  Result<void> Run() {
    const Folder folder(context_.data);
    for (const std::string& folder_of_drives : options_.drives) {
      LK_TRY(std::vector<fleet::Drive> drives, fleet::LoadDrives(folder_of_drives));
      std::move(drives.begin(), drives.end(), std::back_inserter(drives_));
    }
    LK_TRY(const Duration copy_shift, ParseDuration(options_.copy_shift));
    const Duration shift = options_.once ? Duration(0) : copy_shift;
    std::optional<Duration> length;
    if (!options_.length.empty()) {
      LK_TRY(length, ParseDuration(options_.length));
    }
    AllowFiles();
    for (int i = 0; i < options_.cars; ++i) {
      LK_CHECK(AddOne(folder, i, shift));
    }
    Loop loop(cars_, inbox_);
    if (!loop.Run(length)) {
      return Fail(v1::REASON_STORE_UNAVAILABLE, cars_.failure());
    }
    return {};
  }

 private:
  Result<void> AddOne(const Folder& folder, int number, Duration shift) {
    const size_t index = names_.size();
    const std::string name = NameOf(options_.prefix, number + 1);
    LK_TRY(const CarRef ref, ParseCar(options_.fleet, name));
    if (!HasCarFiles(folder, ref)) {
      LK_CHECK(AddCarFiles(folder, ref, kCarDays));
    }
    LK_TRY(std::unique_ptr<car::CarClient> client, OpenCar(folder, ref, index, inbox_));
    const fleet::Drive& drive = drives_[index % drives_.size()];
    const int copy = static_cast<int>(index / drives_.size());
    const Now now = ReadClocks();
    const fleet::AtEnd at_end = options_.once ? fleet::AtEnd::kStop : fleet::AtEnd::kLoop;
    fleet::Replay replay(drive, {options_.speed, at_end, copy, shift * copy}, now);
    names_.push_back(name);
    SayBegin(name, replay, now.wall);
    cars_.Add(std::move(client), std::move(replay));
    return {};
  }

  // What a car replays from when on, and what of the drive is refused.
  void SayBegin(const std::string& car, const fleet::Replay& replay, Timestamp at) const {
    std::string text =
        replay.source() + ", " + std::to_string(replay.drive().RefusedCount()) + " values refused";
    nlohmann::ordered_json refused = nlohmann::ordered_json::array();
    for (const auto& [key, count] : replay.drive().refused) {
      const std::string_view reason = fleet::ToText(key.second);
      refused.push_back({{"signal", key.first}, {"reason", reason}, {"count", count}});
      text += (refused.size() == 1 ? ": " : ", ") + std::to_string(count) + " of " +
              std::string(key.first) + " " + std::string(reason);
    }
    if (context_.json) {
      Say(nlohmann::ordered_json{{"at_ms", at.ms},
                                 {"car", car},
                                 {"event", text},
                                 {"drive", replay.drive().name},
                                 {"refused", refused}}
              .dump());
    } else {
      Event(car, text, at);
    }
  }

  void Event(const std::string& car, const std::string& text, Timestamp at) const {
    if (context_.json) {
      Say(nlohmann::ordered_json{{"at_ms", at.ms}, {"car", car}, {"event", text}}.dump());
    } else {
      Say(DateText(at) + " " + car + " " + text);
    }
  }

  Context& context_;
  SimulateOptions options_;
  std::vector<fleet::Drive> drives_;
  std::vector<std::string> names_;
  tools::Inbox inbox_;
  fleet::Fleet cars_{std::random_device{}(), [this](const fleet::Said& said, const Now& now) {
                       const std::string text = EventText(said.effect);
                       if (!text.empty()) {
                         Event(names_[said.car], text, now.wall);
                       }
                     }};
};

}  // namespace

void AddFleetSimulate(CLI::App& app, Context& context) {
  CLI::App* simulate = app.get_subcommand("fleet")->add_subcommand(
      "simulate", "Run many cars until Ctrl-C, each replaying a recorded drive; adds missing cars");
  const auto options = std::make_shared<SimulateOptions>();
  simulate->add_option("--fleet", options->fleet, "Their fleet")->required();
  simulate->add_option("--cars", options->cars, "How many (default 20)")
      ->check(CLI::Range(1, 9999));
  simulate->add_option("--prefix", options->prefix,
                       "Names are the prefix and a number (default demo-)");
  simulate
      ->add_option("--drives", options->drives,
                   "Folder of recorded drives, used in turn; several: one after the other")
      ->required()
      ->check(CLI::ExistingDirectory);
  simulate->add_option("--speed", options->speed, "Replay this many times as fast (default 1)")
      ->check(CLI::Range(0.01, 1000.0));
  simulate->add_flag("--once", options->once,
                     "Every drive from its first row to its last: then the car stays as it is");
  simulate->add_option("--offset-copies", options->copy_shift,
                       "The n-th copy of a drive begins n times this far into it (default 97s)");
  simulate->add_option("--for", options->length, "End after this time, for example 30s or 5m");
  simulate->callback([&context, options] {
    Simulation simulation(context, *options);
    const Result<void> ran = simulation.Run();
    if (!ran) {
      Complain(context, ran.error());
    }
  });
}

}  // namespace latchkey::cli
