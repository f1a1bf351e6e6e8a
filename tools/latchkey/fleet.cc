// latchkey fleet init: a cell, its fleets, and what broker and bridge need to start.
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/latchkey/cell.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

struct InitOptions {
  std::string fleet;
  CellWish wish;
  std::string plugins;
};

// Beside the program as built (bin/latchkey, plugins/), else as installed.
fs::path DefaultPlugins() {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  const fs::path beside = program.parent_path().parent_path() / "plugins";
  return fs::exists(beside, ignored) ? beside : fs::path("/usr/lib/latchkey");
}

void SayNext(const Folder& folder, const Cell& cell, const FleetId& fleet) {
  const std::string data = folder.root().string();
  Say("cell " + cell.name + " at " + cell.host + ": phones " + std::to_string(cell.phone_port) +
      ", cars and operators " + std::to_string(cell.car_port) +
      ", bridge HTTP 127.0.0.1:" + std::to_string(cell.http_port));
  Say("fleet " + fleet.str() + ": CA in " + folder.Fleet(fleet).string());
  Say("next (a broker and a bridge that run already must be restarted):");
  Say("  export LATCHKEY_DATA=" + data);
  Say("  mosquitto -c " + (FirstBroker(folder, cell) / "mosquitto.conf").string());
  Say("  latchkey-bridge --config " + (folder.Bridge() / "latchkey.toml").string());
  Say("  latchkey car add my-car --fleet " + fleet.str());
  Say("  latchkey car run my-car --fleet " + fleet.str() + " --offer");
  Say("  latchkey phone init anna");
}

void Init(Context& context, InitOptions options) {
  const Result<FleetId> fleet = ParseFleet(options.fleet);
  if (!fleet) {
    Complain(context, fleet.error());
    return;
  }
  if (fleet->str() == "bridge" || fleet->str() == "administrator" || fleet->str() == "peer") {
    Complain(context, {v1::REASON_NOT_ALLOWED, "fleet \"" + fleet->str() +
                                                   "\" would share client ids with the " +
                                                   fleet->str() + ": choose another name"});
    return;
  }
  std::error_code ignored;
  options.wish.plugins =
      fs::absolute(options.plugins.empty() ? DefaultPlugins() : fs::path(options.plugins), ignored)
          .lexically_normal();
  const Folder folder(context.data);
  const Result<Cell> cell = MakeCell(folder, *fleet, options.wish, ReadClocks().wall);
  if (!cell) {
    Complain(context, cell.error());
    return;
  }
  for (const char* plugin : {"latchkey_auth.so", "latchkey_guard.so"}) {
    if (!fs::exists(options.wish.plugins / plugin, ignored)) {
      std::cerr << "latchkey: warning: " << (options.wish.plugins / plugin).string()
                << " is not there, the broker will not start: build it or name its folder with "
                   "--plugin-dir\n";
    }
  }
  if (context.json) {
    const nlohmann::ordered_json json = {{"cell", cell->name},
                                         {"host", cell->host},
                                         {"phone_port", cell->phone_port},
                                         {"car_port", cell->car_port},
                                         {"http_port", cell->http_port},
                                         {"fleet", fleet->str()},
                                         {"data", folder.root().string()}};
    Say(json.dump());
    return;
  }
  SayNext(folder, *cell, *fleet);
}

}  // namespace

void AddFleet(CLI::App& app, Context& context) {
  CLI::App* fleet =
      app.add_subcommand("fleet", "Fleets: make one, simulate cars, give and take keys");
  fleet->require_subcommand(1);
  CLI::App* init = fleet->add_subcommand(
      "init", "Make a cell and a fleet in the data folder; with another fleet: add it");
  const auto options = std::make_shared<InitOptions>();
  init->add_option("FLEET", options->fleet, "Name of the fleet: a-z, 0-9, '-'")->required();
  init->add_option("--cell", options->wish.name, "Name of the cell (default: local)");
  init->add_option("--host", options->wish.host, "Address of the broker (default: 127.0.0.1)");
  init->add_option("--phone-port", options->wish.phone_port, "Port for phones; 0: kept or free");
  init->add_option("--car-port", options->wish.car_port, "Port for cars; 0: kept or free");
  init->add_option("--http-port", options->wish.http_port, "Bridge's HTTP; 0: kept or free");
  init->add_option("--plugin-dir", options->plugins, "Folder of the broker's plugins");
  init->footer("Example:\n  latchkey fleet init demo --plugin-dir build/release/plugins\n");
  init->callback([&context, options] { Init(context, *options); });
}

}  // namespace latchkey::cli
