// latchkey: one command for everything people do with a cell.
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "tools/latchkey/commands.h"
#include "tools/latchkey/key_text.h"

namespace {

std::filesystem::path DefaultData() {
  // No other thread runs yet, and nobody changes the environment.
  const char* data = std::getenv("LATCHKEY_DATA");  // NOLINT(concurrency-mt-unsafe)
  if (data != nullptr && *data != '\0') {
    return data;
  }
  const char* home = std::getenv("HOME");  // NOLINT(concurrency-mt-unsafe)
  return std::filesystem::path(home != nullptr ? home : ".") / ".latchkey";
}

constexpr int kUsage = 2;

}  // namespace

int main(int argc, char** argv) {
  try {
    latchkey::cli::Context context;
    context.data = DefaultData();
    CLI::App app("Latchkey: cars, phones, fleets and the cell they meet in.", "latchkey");
    app.fallthrough();
    app.require_subcommand(1);
    std::string data = context.data.string();
    app.add_option_function<std::string>(
        "--data", [&context](const std::string& path) { context.data = path; },
        "Data folder (default: $LATCHKEY_DATA, else ~/.latchkey; here " + data + ")");
    app.add_flag("--json", context.json, "Print JSON, one object a line");
    app.footer("Exit codes: 0 done, 1 refused or failed, 2 usage, 3 timed out.");
    latchkey::cli::AddFleet(app, context);
    latchkey::cli::AddFleetSimulate(app, context);
    latchkey::cli::AddFleetKeys(app, context);
    latchkey::cli::AddCar(app, context);
    latchkey::cli::AddPhone(app, context);
    latchkey::cli::AddOperator(app, context);
    latchkey::cli::AddCa(app, context);
    latchkey::cli::AddBlock(app, context);
    latchkey::cli::AddImport(app, context);
    latchkey::cli::AddBackup(app, context);
    latchkey::cli::AddRestore(app, context);
    latchkey::cli::AddMigrate(app, context);
    latchkey::cli::AddTap(app, context);
    latchkey::cli::AddStatus(app, context);
    latchkey::cli::AddDoctor(app, context);
    latchkey::cli::AddLog(app, context);
    latchkey::cli::AddUpgrade(app, context);
    latchkey::cli::AddUpgradeBroker(app, context);
    latchkey::cli::AddBench(app, context);
    try {
      std::vector<std::string> arguments =
          latchkey::cli::GuardKeyIds({argv + std::min(argc, 1), argv + argc});
      std::reverse(arguments.begin(), arguments.end());  // as the parser takes them
      app.parse(std::move(arguments));
    } catch (const CLI::ParseError& error) {
      return app.exit(error) == 0 ? 0 : kUsage;
    }
    return context.exit_code;
  } catch (const std::exception& error) {
    std::cerr << "latchkey: a fault of its own: " << error.what() << "; please report it\n";
    return 1;
  }
}
