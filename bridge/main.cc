// latchkey-bridge: arguments, wiring, signals; nothing else.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include <CLI/CLI.hpp>
#include <pthread.h>

#include "bridge/config.h"
#include "bridge/http.h"
#include "bridge/log.h"
#include "bridge/mqtt.h"
#include "bridge/runner.h"
#include "proto/certificate.h"
#include "storage/rocksdb_store.h"

namespace latchkey::bridge {

namespace {

constexpr size_t kIntakeMax = 10000;
constexpr Duration kTurn = std::chrono::milliseconds(200);
constexpr long kSignalWaitNanoseconds = 200'000'000;

void Say(LogEvent::Level level, std::string event,
         std::vector<std::pair<std::string, std::string>> fields) {
  Log(LogEvent{level, std::move(event), std::move(fields)});
}

// {fleet}.pem of a folder. Error REASON_BAD_CERTIFICATE: a file that is not named after a fleet or
// holds no certificate.
Result<FleetCas> ReadFleetCas(const std::filesystem::path& folder) {
  FleetCas cas;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::filesystem::path& path = entry.path();
    if (path.extension() != ".pem") {
      continue;
    }
    const auto fleet = FleetId::Parse(path.stem().string());
    std::ifstream file(path, std::ios::binary);
    const std::string pem{std::istreambuf_iterator<char>(file), {}};
    const Result<std::string> der = PemToDer(pem);
    if (!fleet || !der) {
      return Fail(v1::REASON_BAD_CERTIFICATE,
                  path.string() + " is not a fleet's CA certificate as {fleet}.pem" +
                      (der ? "" : ": " + der.error().text));
    }
    cas.emplace(*fleet, *der);
  }
  if (error) {
    return Fail(v1::REASON_BAD_CERTIFICATE,
                "the folder " + folder.string() + " cannot be read: " + error.message());
  }
  return cas;
}

// Blocks the signals that end us, so that Await gets them; threads made later inherit that.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  static_cast<void>(std::signal(SIGPIPE, SIG_IGN));
  return signals;
}

// Returns when a signal ends us or `failed` is set.
void Await(const sigset_t& signals, const std::atomic<bool>& failed) {
  const timespec wait{0, kSignalWaitNanoseconds};
  while (!failed && sigtimedwait(&signals, nullptr, &wait) < 0) {
  }
}

// The loop on its thread. False: the core was wrong and the process must end.
bool RunLoop(Runner& runner, const std::atomic<bool>& stop) {
  try {
    while (!stop) {
      runner.Turn(kTurn);
    }
    return true;
  } catch (const std::exception& fault) {
    Say(LogEvent::Level::kWarning, "fault", {{"what", fault.what()}});
    return false;
  }
}

Result<int> Run(const Config& config) {
  const sigset_t signals = BlockSignals();
  LK_TRY(FleetCas cas, ReadFleetCas(config.fleets_ca_dir));
  storage::RocksDbOptions store_options;
  store_options.path = config.store_path;
  LK_TRY(const std::unique_ptr<storage::RocksDbStore> store,
         storage::RocksDbStore::Open(store_options));
  Say(LogEvent::Level::kInfo, "bridge_starts",
      {{"name", config.name}, {"fleets", std::to_string(cas.size())}});

  Intake intake(kIntakeMax);
  Mqtt mqtt({config.broker.host, config.broker.port, "bridge/" + config.name, config.broker.ca_file,
             config.broker.certificate_file, config.broker.private_key_file},
            intake, Log);
  Runner runner(Limits{}, std::move(cas), RunnerLimits{}, {intake, *store, mqtt, SystemNow, Log});
  LK_CHECK(runner.Load());
  LK_TRY(std::unique_ptr<Http> http, Http::Listen(config.http.host, config.http.port, *store,
                                                  [&runner] { return runner.status(); }));
  std::atomic<bool> stop = false;
  std::atomic<bool> failed = false;
  std::thread loop([&] { failed = !RunLoop(runner, stop); });
  const Result<void> started = mqtt.Start();
  if (started) {
    Await(signals, failed);
  }

  Say(LogEvent::Level::kInfo, "bridge_stops", {});
  if (failed || !runner.status().store_error.empty()) {
    intake.Abandon();  // nothing will be committed soon: nobody waits for it
  }
  mqtt.Stop();  // first, so that what was acknowledged is in the intake
  stop = true;
  intake.Wake();
  loop.join();
  const bool kept = !failed && runner.Finish();
  http.reset();
  if (!started) {
    return tl::unexpected<Error>(started.error());
  }
  Say(LogEvent::Level::kInfo, "bridge_stopped", {{"all_kept", kept ? "yes" : "no"}});
  return failed ? 1 : 0;
}

int Main(int argc, char** argv) {
  CLI::App app{
      "latchkey-bridge: remembers each car's state and holds commands for cars that are "
      "away"};
  std::string config_path;
  bool check_only = false;
  app.add_option("--config", config_path, "latchkey.toml; `latchkey fleet init` writes one")
      ->required();
  app.add_flag("--check-config", check_only, "check the configuration and say what is wrong");
  CLI11_PARSE(app, argc, argv);
  const Result<Config> config = LoadConfig(config_path);
  if (!config) {
    (void)std::fprintf(stderr, "%s\n", config.error().text.c_str());
    return 2;
  }
  if (check_only) {
    const Result<FleetCas> cas = ReadFleetCas(config->fleets_ca_dir);
    (void)std::fprintf(cas ? stdout : stderr, "%s\n",
                       cas ? (config_path + ": ok").c_str() : cas.error().text.c_str());
    return cas ? 0 : 2;
  }
  OpenLog(config->log_level);
  const Result<int> code = Run(*config);
  if (!code) {
    Say(LogEvent::Level::kWarning, "bridge_cannot_run", {{"why", code.error().text}});
    return 1;
  }
  return *code;
}

}  // namespace

}  // namespace latchkey::bridge

int main(int argc, char** argv) {
  try {
    return latchkey::bridge::Main(argc, argv);
  } catch (const std::exception& error) {
    (void)std::fprintf(stderr, "latchkey-bridge: %s\n", error.what());
    return 1;
  }
}
