// latchkey bench: Latchkey and its baselines on the same work, in ratios.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <sys/utsname.h>

#include "tools/bench/cases.h"
#include "tools/bench/process.h"
#include "tools/bench/report.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

struct BenchOptions {
  std::vector<std::string> cases;
  bench::Wish wish;
  std::string keep;
  std::string plugins;
  bool check = false;
  bool list = false;
};

// The value of the first line "KEY<space>: VALUE" of a file of /proc.
std::string FirstValue(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (line.compare(0, key.size(), key) == 0 && colon != std::string::npos) {
      return line.substr(std::min(line.find_first_not_of(' ', colon + 1), line.size()));
    }
  }
  return "unknown";
}

void DescribeMachine(bench::Report& report, const bench::Wish& wish) {
  utsname system{};
  ::uname(&system);
  report.Machine("processor", FirstValue("/proc/cpuinfo", "model name") + ", " +
                                  std::to_string(bench::ProcessorCount()) + " cores");
  report.Machine("memory", FirstValue("/proc/meminfo", "MemTotal"));
  report.Machine("system", std::string(system.sysname) + " " + system.release);
  report.Machine("open files", std::to_string(bench::AllowFiles()) + " a process");
#ifdef __OPTIMIZE__
  report.Machine("built", "compiler " __VERSION__ ", optimized");
#else
  report.Machine("built", "compiler " __VERSION__ ", NOT optimized: figures of CPU say little");
#endif
  report.Machine("run", wish.quick ? "quick: figures are rough" : "full");
}

void ListCases(const Context& context) {
  for (const bench::Case& each : bench::Cases()) {
    if (context.json) {
      Say(nlohmann::ordered_json{{"case", each.name}, {"what", each.what}}.dump());
    } else {
      Say(std::string(each.name) + std::string(12 - std::min<size_t>(11, each.name.size()), ' ') +
          std::string(each.what));
    }
  }
}

// Those named, in the order of the list; all when none is named.
Result<std::vector<const bench::Case*>> Chosen(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (bench::FindCase(name) == nullptr) {
      return Fail(v1::REASON_MALFORMED,
                  "there is no case \"" + name + "\": see latchkey bench --list");
    }
  }
  std::vector<const bench::Case*> chosen;
  for (const bench::Case& each : bench::Cases()) {
    if (names.empty() || std::find(names.begin(), names.end(), each.name) != names.end()) {
      chosen.push_back(&each);
    }
  }
  return chosen;
}

void Bench(Context& context, BenchOptions options) {
  if (options.list) {
    ListCases(context);
    return;
  }
  const Result<std::vector<const bench::Case*>> chosen = Chosen(options.cases);
  if (!chosen) {
    Complain(context, chosen.error(), 2);
    return;
  }
  options.wish.place = {options.keep, options.plugins};
  bench::Report report;
  DescribeMachine(report, options.wish);
  for (const bench::Case* each : *chosen) {
    const double began = bench::MonotonicSeconds();
    std::cerr << "latchkey bench: " << each->name << ": " << each->what << std::endl;
    if (const Result<void> ran = each->run(options.wish, report); !ran) {
      report.Note(each->name, "did not run to its end: " + ran.error().text,
                  bench::Validity::kInvalid);
      Complain(context, ran.error());
    }
    const auto took = static_cast<int>(bench::MonotonicSeconds() - began);
    report.Note(each->name, "took " + std::to_string(took) + " s", bench::Validity::kInformation);
  }
  if (context.json) {
    Say(report.json());
  } else {
    Say(report.text());
  }
  const std::vector<std::string> missed = report.missed();
  for (const std::string& text : missed) {
    std::cerr << "latchkey bench: missed: " << text << "\n";
  }
  if (options.check && !missed.empty()) {
    context.exit_code = 1;
  }
}

}  // namespace

void AddBench(CLI::App& app, Context& context) {
  CLI::App* bench = app.add_subcommand(
      "bench", "Measure Latchkey against a bare broker and others on this machine, in ratios");
  const auto options = std::make_shared<BenchOptions>();
  bench->add_option("CASE", options->cases, "which cases (default: all, see --list)");
  bench->add_flag("--list", options->list, "what cases there are");
  bench->add_flag("--quick", options->wish.quick,
                  "all within 3 minutes, for CI: that everything runs, figures are rough");
  bench->add_option("--rounds", options->wish.rounds, "how often each subject has its turn");
  bench->add_option("--pairings", options->wish.pairings, "the most pairings of a car and a key")
      ->check(CLI::Range(size_t{1}, size_t{1'000'000}));
  bench->add_option("--cars", options->wish.cars, "the most cars that connect")
      ->check(CLI::Range(size_t{1}, size_t{19'700}));
  bench->add_flag("--check", options->check, "exit code 1 when a target is missed");
  bench->add_option("--keep", options->keep, "work in a folder below DIR and leave it there");
  bench->add_option("--plugin-dir", options->plugins, "folder of the broker's plugins");
  bench->footer(
      "Starts brokers, a bridge and clients of its own on free ports of loopback, and stops them;\n"
      "it touches no cell. A full run takes an hour and a half, and an otherwise idle machine.\n"
      "A case that could not measure says so (NOT VALID); its targets are then not judged.\n"
      "Exit codes: 0 ran, 1 a case did not run or with --check a target was missed, 2 usage.\n"
      "Example:\n  latchkey bench throughput flash --rounds 5 --check\n");
  bench->callback([&context, options] { Bench(context, *options); });
}

}  // namespace latchkey::cli
