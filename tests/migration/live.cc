// See live.h.
#include "tests/migration/live.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#include "storage/rocksdb_store.h"

namespace latchkey::migration {

namespace {

using load::Expect;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using storage::RocksDbStore;
using testing::Eventually;

constexpr int kDrivers = 22;
constexpr size_t kStillWatched = 40;
constexpr size_t kMovingWatched = 30;
constexpr milliseconds kQuietPatience{600000};
constexpr milliseconds kQuietFor{2500};  // longer than the bridge waits before it reconciles
constexpr double kFewMessages = 100;
constexpr milliseconds kSettlePatience{90000};
constexpr size_t kCommandsMax = size_t{1} << 30;  // it is told when to stop

double Since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

load::WorldOptions WorldOf(const Options& options, int disk_mb) {
  load::WorldOptions world;
  world.preload = load::Preload::kNone;
  world.seed = options.seed + 1;
  world.start_patience = std::chrono::minutes(5);  // a hundred thousand cars are not read at once
  world.load.commands = kCommandsMax;
  world.load.per_second = options.per_second;
  // Longer than the bridge is away at its kills, so that everybody is told in time: it needs some
  // 12 s for 100,000 cars, and some kills come as soon as it is there again.
  const auto away = static_cast<int64_t>(1 + options.cars / 25'000);
  world.load.lifetime_min = std::chrono::seconds(20) * away;
  world.load.lifetime_max = std::chrono::seconds(40) * away;
  if (disk_mb > 0) {
    world.disk = load::Disk::kOwn;
    world.disk_mb = disk_mb;
  }
  return world;
}

// Of a line "name value"; -1: there is none.
double MetricOf(int port, const std::string& name) {
  const std::string page = testing::HttpGet(port, "/metrics").body;
  const size_t at = page.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(page.substr(at + name.size() + 2));
}

// Names of numbers up to `count`, at most `most` of them, the last one among them.
std::vector<std::string> Some(size_t count, size_t most,
                              const std::function<std::string(size_t)>& name) {
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(count, most); ++i) {
    names.push_back(name(count <= most ? i : i * (count - 1) / (most - 1)));
  }
  return names;
}

}  // namespace

Live::Live(const Options& options, int disk_mb, Report& report)
    : options_(options), report_(report), world_(WorldOf(options, disk_mb)), orders_(world_) {
  FillStore(options_.cars, report);
  pairings_ = std::make_unique<Pairings>(
      world_.cell(),
      std::vector<First>{First::kAwake, First::kAwake, First::kAsleep, First::kAsleep},
      disk_mb > 0);
}

Live::~Live() {
  watch_.reset();
  pairings_.reset();
  world_.load().Stop();
  if (!options_.keep.empty()) {
    world_.KeepLogs(options_.keep);
  }
}

void Live::FillStore(size_t count, Report& report) {
  const auto began = steady_clock::now();
  const footprint::Cars cars(LK_SHARED_DATA, world_.cell().FleetCa("demo"));
  storage::RocksDbOptions options;
  options.path = world_.store();
  options.fresh_schema = 1;
  const auto store = RocksDbStore::Open(options);
  Expect(store.has_value(), store ? "" : store.error().text);
  filling_ = Fill(**store, cars, count, load::TrueTime());
  contents_ = std::make_unique<Contents>(**store, filling_.log.sequence);
  report.Row("cars in the store", count);
  report.Row("records written before",
             std::to_string(filling_.records) + ": " + std::to_string(filling_.finished) +
                 " ended commands, " + std::to_string(filling_.held) + " held ones, a log of " +
                 std::to_string(filling_.log.sequence) + ", in " + Digits(Since(began), 1) + " s");
  const std::vector<std::string> still =
      Some(count, kStillWatched, [&](size_t car) { return cars.RefOf(car).car.str(); });
  std::vector<std::string> moving = Some(world_.options().load.cars, kMovingWatched,
                                         [](size_t car) { return load::CarOf(car).car.str(); });
  for (int i = 1; i <= kDrivers; ++i) {
    moving.push_back("drive-" + std::string(i < 10 ? "0" : "") + std::to_string(i));
  }
  watch_ = std::make_unique<Watch>(world_.cell(), still, std::move(moving));
}

void Live::Start() {
  const auto began = steady_clock::now();
  world_.StartAll();
  AwaitQuiet();
  report_.Row("first start until the broker has all", Digits(Since(began), 1) + " s");
  const auto again = steady_clock::now();
  world_.bridge().Kill();
  world_.StartBridge();
  AwaitQuiet();
  settling_ = std::chrono::duration_cast<milliseconds>(steady_clock::now() - again);
  report_.Row("killed, until it has been shown all", Digits(Since(again), 1) + " s");
  const std::string data = LK_SHARED_DATA;
  drivers_ = world_.cell().StartLatchkey(
      {"fleet", "simulate", "--fleet", "demo", "--cars", std::to_string(kDrivers), "--prefix",
       "drive-", "--drives", data + "/bmw_i3", "--drives", data + "/renault_twizy", "--drives",
       data + "/nissan_leaf_leafspy", "--drives", data + "/escooter"},
      "drivers");
  watch_->Start();
  pairings_->Start();
  world_.load().Start();
  Eventually([&] { return world_.load().held() > 0 && pairings_->done() > 0; });
  Expect(world_.load().held() > 0, "no command is held");
  Expect(pairings_->done() > 0, "nobody can pair");
}

// The broker has all that it lacked; it tells the bridge each word of that again, and that has been
// heard: next to nothing comes any more.
void Live::AwaitQuiet() {
  double last = 0;
  auto since = steady_clock::now();
  const bool quiet = Eventually(
      [&] {
        const int port = world_.cell().http_port();
        const bool has_all = MetricOf(port, "latchkey_retained_complete") == 1;
        const double now = MetricOf(port, "latchkey_messages_total");
        if (!has_all || now > last + kFewMessages) {
          last = now;
          since = steady_clock::now();
        }
        return steady_clock::now() - since >= kQuietFor;
      },
      kQuietPatience);
  Expect(quiet, "the bridge does not come to rest after its start");
}

void Live::Restart() {
  const auto killed = steady_clock::now();
  world_.bridge().Kill();
  world_.StartBridge();
  longest_start_s_ = std::max(longest_start_s_, Since(killed));
  outages_.push_back({killed, steady_clock::now() + settling_ + kQuietFor});
  ++kills_;
}

void Live::KillWhile(const std::function<void()>& during) {
  std::thread other(during);
  world_.Wait(world_.Between(0, 15));
  Restart();
  other.join();
}

void Live::Kill() {
  const Standing before = orders_.Now();
  Restart();
  Standing now;
  Eventually([&] { return (now = orders_.Now()).known; });
  // A sweep may have come to its end between the look and the kill, nothing else.
  const bool same =
      now.schema == before.schema && now.paused == before.paused &&
      (now.phase == before.phase || (before.phase == "backfill" && now.phase == "filled"));
  Expect(!before.known || (same && now.done >= before.done),
         "before a kill it stood " + before.text + "and then " + now.text);
}

void Live::End(uint32_t schema) {
  pairings_->Stop();
  world_.load().Halt();
  Eventually([&] { return world_.load().open() == 0; }, kSettlePatience);
  world_.load().Stop();
  watch_->Stop();
  JudgeCommands();
  report_.Row("phones paired, and obeyed", pairings_->done());
  report_.Row("longest pairing",
              Digits(static_cast<double>(pairings_->longest().count()) / 1000, 1) + " s");
  report_.Wrong(pairings_->wrongs());
  report_.Row("looks at what is said of cars",
              std::to_string(watch_->looks()) + " of the bridge, " +
                  std::to_string(watch_->retained()) + " of the broker");
  report_.Wrong(watch_->wrongs());
  report_.Row("kills of the bridge", std::to_string(kills_) + ", it served again after " +
                                         Digits(longest_start_s_, 1) + " s at most");
  if (!drivers_->Running()) {
    report_.wrongs.emplace_back("the drivers have ended");
  }
  JudgeStore(schema);
}

void Live::JudgeCommands() {
  std::ofstream stories;
  if (!options_.keep.empty()) {
    std::filesystem::create_directories(options_.keep);
    stories.open(std::filesystem::path(options_.keep) / "commands.txt");
  }
  const load::Tally tally = Judge(world_, options_.keep.empty() ? nullptr : &stories);
  const auto text = [](size_t number, const char* what) {
    return std::to_string(number) + " " + what;
  };
  report_.Row("commands", text(tally.commands, "sent, ") + text(tally.held, "held, ") +
                              text(tally.done, "done, ") + text(tally.expired, "expired, ") +
                              text(tally.superseded, "superseded, ") +
                              text(tally.failed, "failed, ") + text(tally.refused, "refused, ") +
                              text(tally.untold, "untold"));
  report_.Row("commands lost", tally.lost);
  report_.Row("commands late", tally.late);
  report_.Row("commands twice, unasked, untrue, open",
              std::to_string(tally.twice) + ", " + std::to_string(tally.unasked) + ", " +
                  std::to_string(tally.untrue) + ", " + std::to_string(tally.open));
  if (tally.wrongs() > 0) {
    report_.wrongs.push_back(std::to_string(tally.wrongs()) +
                             " commands lost, late, twice, unasked, untrue or open");
  }
  if (tally.untold > 0) {
    report_.wrongs.push_back(std::to_string(tally.untold) +
                             " commands of which nobody said anything until they expired");
  }
  // Those that were refused for a full disk would have been held.
  const size_t asked_to_hold = tally.held + world_.load().refused_by_store();
  if (tally.commands < 1000 || asked_to_hold * 20 < tally.commands || tally.held == 0 ||
      tally.done == 0) {
    report_.wrongs.emplace_back("too few commands for a load");
  }
}

void Live::JudgeStore(uint32_t schema) {
  const int ended = world_.bridge().Stop();
  Expect(ended == 0, "the bridge ends with " + std::to_string(ended));
  storage::RocksDbOptions options;
  options.path = world_.store();
  const auto store = RocksDbStore::Open(options);
  Expect(store.has_value(), store ? "" : store.error().text);
  const storage::MigrationStatus stands = (*store)->Migration();
  if (stands.schema != schema || stands.phase != storage::MigrationPhase::kNone) {
    report_.wrongs.push_back("the store ends at schema version " + std::to_string(stands.schema));
  }
  report_.Row("schema version at the end", stands.schema);
  report_.Row("records compared with what was written", contents_->records());
  report_.Wrong(contents_->WrongsIn(**store));
}

}  // namespace latchkey::migration
