// latchkey-bridge: arguments, wiring, signals; nothing else.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <CLI/CLI.hpp>
#include <pthread.h>
#include <unistd.h>

#include "bridge/admin_token.h"
#include "bridge/ca_folder.h"
#include "bridge/config.h"
#include "bridge/contacts_watch.h"
#include "bridge/hand_over.h"
#include "bridge/http.h"
#include "bridge/import_desk.h"
#include "bridge/log.h"
#include "bridge/main_backup.h"
#include "bridge/migration_desk.h"
#include "bridge/mqtt.h"
#include "bridge/notify.h"
#include "bridge/runner.h"
#include "bridge/sms.h"
#include "bridge/sms_gammu.h"
#include "bridge/sms_http.h"
#include "bridge/take_over.h"
#include "proto/certificate.h"
#include "storage/rocksdb_checkpoint.h"
#include "storage/rocksdb_follower.h"
#include "storage/rocksdb_store.h"
#include "storage/store_lock.h"

namespace latchkey::bridge {

namespace {

constexpr size_t kIntakeMax = 10000;
constexpr Duration kTurn = std::chrono::milliseconds(200);
constexpr Duration kLookEvery = std::chrono::seconds(2);  // at folders: the fleets' CAs, contacts
constexpr Duration kErasureWait = std::chrono::seconds(5);
constexpr Duration kImportWait = std::chrono::seconds(15);
constexpr Duration kMigrationWait = std::chrono::seconds(60);  // to begin one in a big store
// Free where the store is, beside what the migration says it needs, for a rehearsal to begin.
constexpr uint64_t kRehearsalReserve = uint64_t{1} << 30;
constexpr Duration kServingWait = std::chrono::minutes(2);  // a successor opens the store
constexpr long kSignalWaitNanoseconds = 200'000'000;

void Say(LogEvent::Level level, std::string event,
         std::vector<std::pair<std::string, std::string>> fields) {
  Log(LogEvent{level, std::move(event), std::move(fields)});
}

std::string ReadText(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// What cannot be read has no row: it is said when it is needed.
std::vector<CertificateEnd> ReadCertificateEnds(const Config& config) {
  std::vector<CertificateEnd> ends;
  const auto add = [&](const std::string& pem, std::string holder, std::string fleet) {
    const Result<std::string> der = PemToDer(pem);
    const Result<Timestamp> end = EndOf(der ? *der : "");
    if (end) {
      ends.push_back({std::move(holder), std::move(fleet), *end});
    }
  };
  add(ReadText(config.broker.certificate_file), "bridge", "");
  add(ReadText(config.broker.ca_file), "broker_ca", "");
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(config.fleets_ca_dir, error)) {
    const std::string fleet = entry.path().stem().string();
    if (entry.path().extension() == ".pem" && FleetId::Parse(fleet)) {
      add(ReadText(entry.path()), "fleet_ca", fleet);
    }
  }
  return ends;
}

Status WholeStatus(const Runner& runner, const FigureBoard& figures, const MigrationDesk& desk,
                   const Config& config) {
  Status status = runner.status();
  status.broker = figures.Show();
  status.comparison = desk.comparison();
  status.certificates = ReadCertificateEnds(config);
  return status;
}

// Blocks the signals that end us, so that Await gets them; threads made later inherit that.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  static_cast<void>(std::signal(SIGPIPE, SIG_IGN));
  return signals;
}

// Returns when a signal ends us, `failed` is set, or the place is asked for (SIGUSR1, by
// ourselves).
void Await(const sigset_t& signals, const std::atomic<bool>& failed,
           const std::atomic<bool>& asked) {
  const timespec wait{0, kSignalWaitNanoseconds};
  while (!failed && !asked) {
    const int signal = sigtimedwait(&signals, nullptr, &wait);
    if (signal == SIGTERM || signal == SIGINT) {
      return;
    }
  }
}

// The loop on its thread. False: the core was wrong and the process must end.
bool RunLoop(Runner& runner, CaFolder& cas, Intake& intake, const std::atomic<bool>& stop) {
  Instant looked = SystemNow().mono;
  try {
    while (!stop) {
      runner.Turn(kTurn);
      const Instant now = SystemNow().mono;
      if (now - looked < kLookEvery) {
        continue;
      }
      looked = now;
      if (std::optional<FleetCas> changed = cas.Poll()) {
        intake.PutAlways(*std::move(changed));
      }
    }
    return true;
  } catch (const std::exception& fault) {
    Say(LogEvent::Level::kWarning, "fault", {{"what", fault.what()}});
    return false;
  }
}

// The gateway that the configuration names.
struct Gateway {
  std::unique_ptr<SmsSender> sender;
  SmsPostDoor post;  // empty: it is told of reports in another way
};

Result<Gateway> OpenGateway(const Config& config, SmsReportSink sink) {
  const Config::Sms& sms = config.sms;
  if (sms.gateway == "gammu") {
    return Gateway{
        std::make_unique<GammuGateway>(
            GammuFolders{sms.outbox_dir, sms.sent_dir, sms.error_dir, sms.inbox_dir}, sink),
        {}};
  }
  if (sms.gateway == "http") {
    LK_TRY(std::string token, ReadSmsToken(sms.token_file));
    const std::string host =
        config.http.host == "::1" ? "[" + config.http.host + "]" : config.http.host;
    const std::string callback =
        "http://" + host + ":" + std::to_string(config.http.port) + "/v1/sms/report";
    auto gateway = std::make_unique<HttpGateway>(
        HttpSmsOptions{.url = sms.url, .token = std::move(token), .callback = callback}, sink);
    SmsPostDoor post = [&taker = *gateway](const SmsPost& report) {
      return taker.TakeReport(report);
    };
    return Gateway{std::move(gateway), std::move(post)};
  }
  return Gateway{std::make_unique<NoSms>(sink), {}};
}

// What HTTP can set going goes through the intake like all that happens.
Result<HttpDoors> OpenDoors(const Config& config, SmsPostDoor sms_post, Intake& intake,
                            ImportDesk& imports) {
  HttpDoors doors;
  doors.sms_post = std::move(sms_post);
  LK_TRY(doors.erase.token,
         AdminToken(std::filesystem::path(config.store_path).parent_path() / kAdminTokenFile));
  const auto last =
      std::make_shared<std::atomic<uint64_t>>(static_cast<uint64_t>(SystemNow().wall.ms));
  doors.erase.begin = [&intake, last](std::variant<CarRef, KeyId> of,
                                      std::string who) -> std::optional<uint64_t> {
    const uint64_t id = ++*last;
    const std::optional<uint64_t> ticket =
        intake.Put(Erasure{id, std::move(of), std::move(who)}, kErasureWait);
    return ticket && intake.WaitFinished(*ticket, kErasureWait) ? std::optional(id) : std::nullopt;
  };
  doors.import = {doors.erase.token, [&intake, &imports](Import import) {
                    return imports.Run(intake, std::move(import), kImportWait);
                  }};
  doors.location_read = [&intake](const CarRef& ref) {
    static_cast<void>(intake.Put(LocationRead{ref}, Duration(0)));
  };
  return doors;
}

// The copy lies beside the store, so that its tables can be linked.
Result<RehearsalCopy> CopyForRehearsal(const storage::RocksDbStore& store, const std::string& path,
                                       const std::string& who) {
  LK_TRY(const std::optional<storage::MigrationPlan> plan, store.PlanMigration());
  if (!plan) {
    return Fail(v1::REASON_NOT_ALLOWED,
                "there is nothing to rehearse: the newest schema is in force");
  }
  const std::string folder = path + ".rehearsal";
  LK_TRY(const uint64_t bytes,
         storage::MakeCheckpoint(store, folder, 2 * plan->bytes + kRehearsalReserve));
  Say(LogEvent::Level::kInfo, "migration_rehearsal",
      {{"who", who}, {"store_bytes", std::to_string(bytes)}});
  return RehearsalCopy{folder, bytes};
}

MigrationOrders OpenMigration(const Config& config, const std::string& token,
                              const storage::RocksDbStore& store, MigrationDesk& desk) {
  return {token,
          [&desk](storage::MigrationOrder order, std::string who) {
            return desk.Order(order, std::move(who), kMigrationWait);
          },
          [&store, path = config.store_path](const std::string& who) {
            return CopyForRehearsal(store, path, who);
          }};
}

// How this process comes to serve.
struct Start {
  bool take_over = false;      // from the bridge that runs
  pid_t stop_old = 0;          // see TakeOverParts
  std::vector<Publish> words;  // that were not said when it served last
};

// How it came to serve no more.
struct Ended {
  int code = 0;
  std::unique_ptr<HandOverDoor> asked;  // by whom the place was asked for; nullptr: by nobody
  HandedOver handed;
};

// Ids of what is asked for from here on: none that was given before is as high.
uint64_t FirstId() {
  return static_cast<uint64_t>(SystemNow().wall.ms);
}

RunnerLimits RunnerLimitsOf(const Config& config) {
  RunnerLimits limits;
  limits.log.keep_bytes = static_cast<uint64_t>(config.log_book.keep_bytes);
  limits.log.keep = std::chrono::hours(24 * config.log_book.keep_days);
  return limits;
}

Limits LimitsOf(const Config& config) {
  Limits limits;
  limits.history_keep = std::chrono::hours(24 * config.history.keep_days);
  limits.sessions_kept = std::chrono::hours(24 * config.links.keep_days);
  limits.history_bytes_per_car = static_cast<uint64_t>(config.history.bytes_per_car);
  return limits;
}

// What whoever started this reads on its standard output, and the log keeps.
void TellPhaseOf(std::string phase, std::vector<std::pair<std::string, std::string>> fields) {
  const LogEvent event{LogEvent::Level::kInfo, std::move(phase), std::move(fields)};
  (void)std::fprintf(stdout, "%s\n", ToLine(event).c_str());
  (void)std::fflush(stdout);
  Log(LogEvent{event.level, "take_over_" + event.event, event.fields});
}

TakeOverParts TakeOverPartsOf(const Config& config, const Start& start, const FleetCas& cas) {
  const std::filesystem::path store = config.store_path;
  return {store,
          start.stop_old,
          [config, cas] { return std::make_unique<Bridge>(LimitsOf(config), cas); },
          [store]() -> Result<std::unique_ptr<storage::Follower>> {
            return storage::RocksDbFollower::Open(store, store.string() + ".follower");
          },
          [store] { return storage::LockHolder(store); },
          SystemNow,
          TellPhaseOf};
}

HandOverDoor::Acts HandOverActsOf(const storage::RocksDbStore& store, const Runner& runner,
                                  std::atomic<bool>& asked) {
  return {[&store] { return store.Flush(); },
          [&runner] {
            const Status now = runner.status();
            return !now.store_error.empty() ? "the store cannot write: " + now.store_error
                   : !now.broker_connected  ? "the broker is not connected: try again when it is"
                                            : std::string();
          },
          [&asked] {
            asked = true;
            ::kill(::getpid(), SIGUSR1);
          }};
}

MqttOptions MqttOptionsOf(const Config& config, HandedOver handed) {
  MqttOptions options;
  options.host = config.broker.host;
  options.port = config.broker.port;
  options.client_id = "bridge/" + config.name;
  options.ca_file = config.broker.ca_file;
  options.certificate_file = config.broker.certificate_file;
  options.private_key_file = config.broker.private_key_file;
  options.kept = handed.kept;
  options.words = std::move(handed.words);
  return options;
}

// Until something ends it. Gives the door when the place was asked for.
std::unique_ptr<HandOverDoor> AwaitEnd(const sigset_t& signals, const std::atomic<bool>& failed,
                                       const TakeOverParts& parts,
                                       const storage::RocksDbStore& store, const Runner& runner) {
  std::atomic<bool> asked = false;
  Result<std::unique_ptr<HandOverDoor>> door =
      HandOverDoor::Listen(parts.store.parent_path(), HandOverActsOf(store, runner, asked));
  if (!door) {
    Say(LogEvent::Level::kWarning, "cannot_be_handed_over", {{"why", door.error().text}});
  }
  Await(signals, failed, asked);
  if (!door) {
    return nullptr;
  }
  (*door)->Close();
  return asked ? *std::move(door) : nullptr;
}

// Serves from the opening of the store to its closing.
Result<Ended> Serve(const Config& config, const Start& start, const sigset_t& signals) {
  CaFolder ca_folder(config.fleets_ca_dir, Log);
  LK_TRY(FleetCas cas, ca_folder.Read());
  storage::RocksDbOptions store_options;
  store_options.path = config.store_path;
  const TakeOverParts take_over = TakeOverPartsOf(config, start, cas);
  Taken taken;
  taken.handed.words = start.words;
  if (start.take_over) {
    LK_CHECK(storage::RocksDbStore::MayOpen(store_options));
    LK_TRY(taken, TakeOver(take_over));
  }
  LK_TRY(const std::unique_ptr<storage::RocksDbStore> store,
         storage::RocksDbStore::Open(store_options));
  Say(LogEvent::Level::kInfo, "bridge_starts",
      {{"name", config.name}, {"fleets", std::to_string(cas.size())}});

  FigureBoard figures;
  Intake intake(kIntakeMax);
  Mqtt mqtt(MqttOptionsOf(config, taken.handed), intake, figures, Log);
  LK_TRY(const Gateway gateway,
         OpenGateway(config, [&intake](SmsReport report) { intake.PutAlways(std::move(report)); }));
  ImportDesk imports(FirstId());
  MigrationDesk migrations(FirstId(), *store, intake);
  Runner runner(
      LimitsOf(config), std::move(cas), RunnerLimitsOf(config),
      {intake, *store, mqtt, SystemNow, Log, gateway.sender.get(),
       [&imports](const ImportAnswer& answer) { imports.Answered(answer); }, migrations.door()});
  LK_CHECK(runner.LoadRest(std::move(taken.core)));
  const auto status = [&] { return WholeStatus(runner, figures, migrations, config); };
  LK_TRY(HttpDoors doors, OpenDoors(config, gateway.post, intake, imports));
  BackupDesk backups(MakerOf(config, *store, runner, intake), FirstId());
  doors.backup = {doors.erase.token, &backups};
  doors.migration = OpenMigration(config, doors.erase.token, *store, migrations);
  LK_TRY(std::unique_ptr<Http> http,
         Http::Listen(config.http.host, config.http.port, *store, status, doors));
  const ContactsWatch contacts(config.sms, kLookEvery, intake);
  std::atomic<bool> stop = false;
  std::atomic<bool> failed = false;
  std::thread loop([&] { failed = !RunLoop(runner, ca_folder, intake, stop); });
  Result<void> started = mqtt.Start();
  if (started && start.take_over) {
    started = Serves(taken, [&runner] { return runner.status().broker_connected; }, take_over);
  }
  Ended ended;
  if (started) {
    NotifyManager("READY=1");
    ended.asked = AwaitEnd(signals, failed, take_over, *store, runner);
  }

  Say(LogEvent::Level::kInfo, "bridge_stops", {});
  backups.Stop();
  migrations.Close();
  std::thread closing([&http] { http.reset(); });  // who still asks is answered meanwhile
  if (failed || !runner.status().store_error.empty()) {
    intake.Abandon();  // nothing will be committed soon: nobody waits for it
  }
  mqtt.Stop();  // first, so that what was acknowledged is in the intake
  stop = true;
  intake.Wake();
  loop.join();
  const bool kept = !failed && runner.Finish();
  closing.join();
  if (!started) {
    return tl::unexpected<Error>(started.error());
  }
  Say(LogEvent::Level::kInfo, "bridge_stopped", {{"all_kept", kept ? "yes" : "no"}});
  ended.code = failed ? 1 : 0;
  ended.handed = {kept && runner.status().gauges.broker_has_all, mqtt.TakeUnsaid()};
  return ended;
}

Result<int> Run(const Config& config, Start start) {
  const sigset_t signals = BlockSignals();
  for (;;) {
    LK_TRY(Ended ended, Serve(config, start, signals));
    if (ended.asked == nullptr) {
      return ended.code;
    }
    const std::string successor = std::to_string(ended.asked->successor());
    ended.asked->Give(ended.handed);
    if (ended.asked->AwaitServing(kServingWait)) {
      NotifyManager("MAINPID=" + successor);
      Say(LogEvent::Level::kInfo, "handed_over", {{"to_pid", successor}});
      return 0;
    }
    Say(LogEvent::Level::kWarning, "takes_back", {{"from_pid", successor}});
    start = {false, 0, std::move(ended.handed.words)};
  }
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
  Start start;
  app.add_flag("--take-over", start.take_over,
               "take over from the bridge that runs, without an outage; `latchkey upgrade bridge` "
               "does this and shows it");
  app.add_option(
         "--stop-old", start.stop_old,
         "with --take-over: end this process, which has the store, when it cannot hand over")
      ->needs("--take-over");
  CLI11_PARSE(app, argc, argv);
  const Result<Config> config = LoadConfig(config_path);
  if (!config) {
    (void)std::fprintf(stderr, "%s\n", config.error().text.c_str());
    return 2;
  }
  if (check_only) {
    const Result<FleetCas> cas = CaFolder(config->fleets_ca_dir, Log).Read();
    (void)std::fprintf(cas ? stdout : stderr, "%s\n",
                       cas ? (config_path + ": ok").c_str() : cas.error().text.c_str());
    return cas ? 0 : 2;
  }
  OpenLog(config->log_level);
  const bool takes_over = start.take_over;
  const Result<int> code = Run(*config, std::move(start));
  if (!code) {
    if (takes_over) {
      TellPhaseOf("failed", {{"why", code.error().text}});
    }
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
