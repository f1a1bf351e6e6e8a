// The subcommands of `latchkey`, one file each; main.cc adds them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace latchkey::cli {

// Global options and the exit code: 0 done, 1 refused or failed, 2 usage, 3 timed out waiting; for
// commands to cars also 4 and 5 (receipts.h).
struct Context {
  std::filesystem::path data;  // --data, LATCHKEY_DATA, else ~/.latchkey
  bool json = false;           // --json
  // `phone --broker`: HOST:PORT of listeners for phones, in the order in which they are tried.
  std::vector<std::string> phone_brokers = {};
  int exit_code = 0;
};

void AddFleet(CLI::App& app, Context& context);  // fleet.cc: fleet init
void AddFleetSimulate(
    CLI::App& app,
    Context& context);  // fleet_simulate.cc: fleet simulate (adds to the `fleet` subcommand)
void AddFleetKeys(CLI::App& app, Context& context);  // fleet_keys.cc: fleet key, give, take
void AddBlock(CLI::App& app, Context& context);      // block.cc: block add, lift, list
void AddCar(CLI::App& app, Context& context);        // car.cc: car add, car run
void AddPhone(CLI::App& app, Context& context);      // phone.cc: all of `phone`
void AddOperator(CLI::App& app, Context& context);   // operator.cc: operator add
void AddCa(CLI::App& app, Context& context);         // ca.cc: ca list, revoke, crl, serve
void AddImport(CLI::App& app, Context& context);     // import.cc: one per legacy system
void AddBackup(CLI::App& app, Context& context);     // backup.cc: make, list, verify
void AddRestore(CLI::App& app, Context& context);    // restore.cc
void AddMigrate(CLI::App& app, Context& context);    // migrate.cc
void AddTap(CLI::App& app, Context& context);        // tap.cc
void AddLog(CLI::App& app, Context& context);        // log.cc: show, follow, export, verify
void AddStatus(CLI::App& app, Context& context);     // status.cc
void AddUpgrade(CLI::App& app, Context& context);    // upgrade.cc: upgrade bridge
void AddUpgradeBroker(
    CLI::App& app,
    Context& context);  // upgrade_broker.cc: upgrade broker (adds to the `upgrade` subcommand)
void AddDoctor(CLI::App& app, Context& context);  // doctor.cc
void AddBench(CLI::App& app, Context& context);   // bench.cc

}  // namespace latchkey::cli
