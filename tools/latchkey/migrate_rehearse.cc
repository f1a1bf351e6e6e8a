// latchkey migrate rehearse: a copy of the live store, made by the bridge in no time and linked to
// the same tables, is taken through a whole migration by this process: at the lowest priority, with
// every record read before and after. The copy is removed in the end, however that comes.
#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/freshness.h"
#include "storage/rocksdb_checkpoint.h"
#include "storage/rocksdb_store.h"
#include "tools/latchkey/migrate.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using Json = nlohmann::ordered_json;
using storage::MigrationOrder;
using storage::MigrationPhase;

constexpr int kLowest = 19;
constexpr uint64_t kSliceRows = 2000;
// The live store stops writing below 256 MB: this one long before.
constexpr uint64_t kFreeBytesMin = uint64_t{768} << 20;
constexpr Duration kDrawEvery = std::chrono::milliseconds(200);

volatile std::sig_atomic_t asked_to_stop = 0;

void AskToStop(int /*signal*/) {
  asked_to_stop = 1;
}

// This process and all threads it makes from here on give way to everybody.
void GiveWay() {
  static_cast<void>(::setpriority(PRIO_PROCESS, 0, kLowest));
  constexpr int kWhoProcess = 1;
  constexpr int kIdleClass = 3 << 13;
  static_cast<void>(::syscall(SYS_ioprio_set, kWhoProcess, 0, kIdleClass));
}

// The folder of the copy, gone with this.
class Copy {
 public:
  explicit Copy(std::filesystem::path folder) : folder_(std::move(folder)) {}

  ~Copy() { Remove(); }

  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;

  bool Remove() {
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
    return !error;
  }

  const std::filesystem::path& folder() const { return folder_; }

 private:
  const std::filesystem::path folder_;
};

// Records by kind: how many, and a sum that is another when one of them is.
struct Digest {
  std::array<std::pair<uint64_t, uint64_t>, storage::kKinds.size()> kinds{};
  uint64_t damaged = 0;
  bool operator==(const Digest&) const = default;

  uint64_t records() const {
    uint64_t sum = 0;
    for (const auto& [count, hash] : kinds) {
      sum += count;
    }
    return sum;
  }
};

tl::unexpected<Error> Stopped() {
  return Fail(v1::REASON_DECLINED, "the rehearsal was stopped; the live store is as it was");
}

Result<Digest> ReadAll(const storage::Store& store) {
  Digest digest;
  const auto reader = store.Snapshot();
  const std::hash<std::string> hash;
  for (size_t i = 0; i < storage::kKinds.size(); ++i) {
    if (asked_to_stop != 0) {
      return Stopped();
    }
    LK_CHECK(reader->Scan(
        storage::kKinds.at(i), std::nullopt,
        [&](const storage::Record& record) {
          const storage::KeyValue row = storage::Encode(record);
          ++digest.kinds.at(i).first;
          digest.kinds.at(i).second += hash(row.key + '\0' + row.value);
        },
        [&](std::string_view, const Error&) { ++digest.damaged; }));
  }
  return digest;
}

struct Report {
  storage::MigrationPlan plan;
  storage::MigrationStatus swept;
  storage::Comparison comparison;
  std::vector<std::pair<std::string, double>> seconds;  // by step
  uint64_t records = 0;
  uint64_t damaged = 0;
  uint64_t room_bytes = 0;  // most that it took beside the live store
  std::string error;        // empty: all went well
  bool stopped = false;     // by somebody
};

double SecondsOf(const Report& report, std::string_view step) {
  for (const auto& [name, seconds] : report.seconds) {
    if (name == step) {
      return seconds;
    }
  }
  return 0;
}

// One migration of the copy, from its start to its end.
class Trial {
 public:
  Trial(storage::RocksDbStore& store, const Copy& copy, storage::MigrationPlan plan)
      : store_(store), copy_(copy), watched_(::isatty(STDERR_FILENO) == 1) {
    report_.plan = std::move(plan);
  }

  Report Run() {
    const Result<void> done = AllSteps();
    if (watched_) {
      SayInPlace("");
    }
    if (!done) {
      report_.error = done.error().text;
      report_.stopped = done.error().reason == v1::REASON_DECLINED;
    }
    return report_;
  }

 private:
  Result<void> AllSteps() {
    LK_TRY(const Digest before, Read("read"));
    report_.records = before.records();
    report_.damaged = before.damaged;
    LK_CHECK(Order("start", MigrationOrder::kStart));
    LK_CHECK(Sweep());
    LK_CHECK(Compare());
    LK_CHECK(Order("cutover", MigrationOrder::kCutOver));
    LK_CHECK(Same(before, "after the cut-over"));
    LK_CHECK(Order("rollback", MigrationOrder::kRollback));
    LK_CHECK(Same(before, "after the rollback"));
    LK_CHECK(Order("cutover again", MigrationOrder::kCutOver));
    LK_CHECK(Order("finish", MigrationOrder::kFinish));
    LK_CHECK(Same(before, "after the end"));
    const uint32_t schema = store_.Migration().schema;
    if (schema != report_.plan.to) {
      return Fail(v1::REASON_INTERNAL, "schema " + std::to_string(schema) +
                                           " is in force in the "
                                           "end");
    }
    return {};
  }

  template <class Does>
  auto Timed(const std::string& step, const Does& does) {
    const auto began = std::chrono::steady_clock::now();
    auto result = does();
    report_.seconds.emplace_back(
        step, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
    report_.room_bytes = std::max(report_.room_bytes, storage::OwnBytes(copy_.folder()));
    return result;
  }

  Result<Digest> Read(const std::string& step) {
    return Timed(step, [&] { return ReadAll(store_); });
  }

  Result<void> Same(const Digest& before, const std::string& when) {
    LK_TRY(const Digest now, Read("read " + when));
    if (now == before) {
      return {};
    }
    return Fail(v1::REASON_INTERNAL, "the records are not what they were before, " + when + ": " +
                                         std::to_string(before.records()) + " before, " +
                                         std::to_string(now.records()) + " now");
  }

  Result<void> Order(const std::string& step, MigrationOrder order) {
    if (asked_to_stop != 0) {
      return Stopped();
    }
    return Timed(step, [&] { return store_.Migrate(order, ReadClocks().wall); });
  }

  Result<void> Sweep() {
    return Timed("sweep", [&]() -> Result<void> {
      const Instant began = ReadClocks().mono;
      for (;;) {
        if (asked_to_stop != 0) {
          return Stopped();
        }
        LK_TRY(const bool more, store_.Sweep(kSliceRows, ReadClocks().wall));
        report_.swept = store_.Migration();
        if (!more) {
          break;
        }
        Draw([&] {
          report_.room_bytes = std::max(report_.room_bytes, storage::OwnBytes(copy_.folder()));
          return "sweeping: " + ProgressText(report_.swept.rows_done, report_.swept.rows_expected,
                                             ReadClocks().mono - began);
        });
      }
      return {};
    });
  }

  Result<void> Compare() {
    Result<storage::Comparison> found = Timed("compare", [&] {
      return store_.Compare([&](uint64_t compared) {
        Draw([&] { return "comparing: " + std::to_string(compared) + " records"; });
        return asked_to_stop == 0;
      });
    });
    if (asked_to_stop != 0) {
      return Stopped();
    }
    LK_TRY(report_.comparison, std::move(found));
    LK_CHECK(store_.Compared(report_.comparison, ReadClocks().wall));
    if (report_.comparison.differences > 0) {
      return Fail(v1::REASON_INTERNAL, std::to_string(report_.comparison.differences) + " of " +
                                           std::to_string(report_.comparison.compared) +
                                           " records are not the same in both schemas");
    }
    return {};
  }

  template <class Line>
  void Draw(const Line& line) {
    const Instant now = ReadClocks().mono;
    if (watched_ && now >= drawn_at_ + kDrawEvery) {
      drawn_at_ = now;
      SayInPlace(line());
    }
  }

  storage::RocksDbStore& store_;
  const Copy& copy_;
  const bool watched_;
  Report report_;
  Instant drawn_at_;
};

Json JsonOf(const Report& report) {
  const double seconds = SecondsOf(report, "sweep");
  Json json = {
      {"name", report.plan.name},
      {"from", report.plan.from},
      {"to", report.plan.to},
      {"ok", report.error.empty()},
      {"error", report.error.empty() ? Json(nullptr) : Json(report.error)},
      {"records", report.records},
      {"rows", report.swept.rows_done},
      {"damaged", report.damaged},
      {"bytes_written", report.swept.bytes_written},
      {"room_bytes", report.room_bytes},
      {"rows_per_second",
       seconds > 0 ? Json(static_cast<double>(report.swept.rows_done) / seconds) : Json(nullptr)},
      {"compared", report.comparison.compared},
      {"differences", report.comparison.differences}};
  json["mismatches"] = Json::array();
  for (const storage::Mismatch& mismatch : report.comparison.mismatches) {
    json["mismatches"].push_back({{"key", mismatch.key}, {"what", mismatch.what}});
  }
  json["seconds"] = Json::object();
  for (const auto& [step, took] : report.seconds) {
    json["seconds"][step] = took;
  }
  return json;
}

std::string SecondsText(double seconds) {
  std::array<char, 32> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%.2f s", seconds));
  return text.data();
}

void SayReport(const Report& report) {
  constexpr size_t kMismatchesShown = 10;
  Say(report.plan.name + ", schema " + std::to_string(report.plan.from) + " to " +
      std::to_string(report.plan.to) + ": " +
      (report.error.empty() ? "all steps went well" : report.error));
  const double seconds = SecondsOf(report, "sweep");
  if (report.swept.rows_done > 0 && seconds > 0) {
    Say("  sweep: " + std::to_string(report.swept.rows_done) + " rows in " + SecondsText(seconds) +
        ", " +
        std::to_string(
            static_cast<uint64_t>(static_cast<double>(report.swept.rows_done) / seconds)) +
        " rows/s alone; beside live traffic it takes longer");
  }
  if (report.comparison.compared > 0) {
    Say("  compare: " + std::to_string(report.comparison.compared) + " records in " +
        SecondsText(SecondsOf(report, "compare")) + ", " +
        std::to_string(report.comparison.differences) + " differ");
  }
  for (size_t i = 0; i < report.comparison.mismatches.size() && i < kMismatchesShown; ++i) {
    const storage::Mismatch& mismatch = report.comparison.mismatches[i];
    Say("    " + Printable(mismatch.key) + ": " + Printable(mismatch.what));
  }
  for (const char* step : {"start", "cutover", "rollback", "finish"}) {
    if (SecondsOf(report, step) > 0) {
      Say("  " + std::string(step) + ": " + SecondsText(SecondsOf(report, step)));
    }
  }
  if (report.error.empty()) {
    Say("  " + std::to_string(report.records) +
        " records, all the same after the cut-over, the rollback and the end" +
        (report.damaged > 0 ? "; " + std::to_string(report.damaged) + " damaged, as before" : ""));
  }
  Say("  room: " + std::to_string((report.room_bytes + (1 << 20) - 1) >> 20) +
      " MB at most beside the live store");
}

Result<void> RollBack(storage::Store& store) {
  for (int steps = 0; steps < 2 && store.Migration().phase != MigrationPhase::kNone; ++steps) {
    LK_CHECK(store.Migrate(MigrationOrder::kRollback, ReadClocks().wall));
  }
  return {};
}

// All migrations that the copy has before it.
Result<std::vector<Report>> TryAll(const Copy& copy) {
  storage::RocksDbOptions options;
  options.path = copy.folder();
  options.free_bytes_min = kFreeBytesMin;
  LK_TRY(const std::unique_ptr<storage::RocksDbStore> store, storage::RocksDbStore::Open(options));
  std::vector<Report> reports;
  if (store->Migration().phase != MigrationPhase::kNone) {
    // A copy of a store that migrates: the rehearsal begins anew.
    LK_CHECK(RollBack(*store));
  }
  for (;;) {
    LK_TRY(const std::optional<storage::MigrationPlan> plan, store->PlanMigration());
    if (!plan) {
      return reports;
    }
    reports.push_back(Trial(*store, copy, *plan).Run());
    if (!reports.back().error.empty()) {
      return reports;
    }
  }
}

Result<bool> RehearseAll(const Context& context) {
  const Folder folder(context.data);
  const FileLock lock(folder.Bridge() / "rehearsal.lock", FileLock::Patience::kTry);
  if (!lock.held()) {
    return Fail(v1::REASON_NOT_ALLOWED, "another rehearsal is on its way: wait for it");
  }
  LK_TRY(const MigrationBridge bridge, MigrationBridge::Open(folder));
  LK_TRY(const Json made, bridge.Order("rehearse"));
  const std::string where = made.value("folder", "");
  if (!std::filesystem::path(where).filename().string().ends_with(".rehearsal")) {
    return Fail(v1::REASON_MALFORMED, "the bridge names no copy to rehearse on");
  }
  Copy copy(where);
  const Result<std::vector<Report>> reports = TryAll(copy);
  const bool removed = copy.Remove();
  if (!removed) {
    Say("the copy in " + where + " cannot be removed: remove it by hand");
  }
  if (!reports) {
    return tl::unexpected<Error>(reports.error());
  }
  const bool ok = !reports->empty() && reports->back().error.empty();
  if (context.json) {
    Json json = {{"ok", ok}, {"store_bytes", made.value("store_bytes", uint64_t{0})}};
    json["migrations"] = Json::array();
    for (const Report& report : *reports) {
      json["migrations"].push_back(JsonOf(report));
    }
    Say(json.dump(-1, ' ', false, Json::error_handler_t::replace));
  } else {
    for (const Report& report : *reports) {
      SayReport(report);
    }
    Say(ok ? "the rehearsal went well; the live store is as it was"
           : "the rehearsal failed; the live store is as it was");
  }
  return ok;
}

}  // namespace

void Rehearse(Context& context) {
  static_cast<void>(std::signal(SIGINT, AskToStop));
  static_cast<void>(std::signal(SIGTERM, AskToStop));
  GiveWay();
  const Result<bool> ok = RehearseAll(context);
  if (!ok) {
    Complain(context, ok.error());
  } else {
    context.exit_code = *ok ? 0 : kMigrateFailed;
  }
}

}  // namespace latchkey::cli
