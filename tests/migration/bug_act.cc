// Migrations with a planted bug: a field of one record of all is dropped on the way. The comparison
// must name that record, alone, and there must be no cutting over.
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "storage/rocksdb_store.h"
#include "tests/load/cars.h"
#include "tests/load/world.h"
#include "tests/migration/act.h"
#include "tests/migration/filling.h"

namespace latchkey::migration {

namespace {

using load::Expect;
using storage::CommandRecord;
using storage::MigrationOrder;
using storage::MigrationPhase;
using storage::RocksDbStore;

constexpr uint64_t kSlice = 5000;
constexpr size_t kSlicesMax = 100'000;

// Carries out orders and expects them to be carried out.
void Order(storage::Store& store, MigrationOrder order) {
  const Result<void> done = store.Migrate(order, load::TrueTime());
  Expect(done.has_value(), done ? "" : done.error().text);
}

void SweepAll(storage::Store& store) {
  for (size_t i = 0; i < kSlicesMax; ++i) {
    const Result<bool> more = store.Sweep(kSlice, load::TrueTime());
    Expect(more.has_value(), more ? "" : more.error().text);
    if (!*more) {
      return;
    }
  }
  Expect(false, "the sweep has no end");
}

storage::Comparison CompareAll(storage::Store& store) {
  Result<storage::Comparison> comparison = store.Compare([](uint64_t) { return true; });
  Expect(comparison.has_value(), comparison ? "" : comparison.error().text);
  const Result<void> kept = store.Compared(*comparison, load::TrueTime());
  Expect(kept.has_value(), kept ? "" : kept.error().text);
  return std::move(*comparison);
}

class BugAct {
 public:
  BugAct(const Options& options, Report& report)
      : options_(options), report_(report), random_(options.seed), cell_({"demo"}) {}

  void Play() {
    FillStore();
    // Fields of a command, and which commands have them.
    PlantInCommand("reason", &HasReason,
                   [](CommandRecord& command) { command.reason = v1::REASON_UNSPECIFIED; });
    PlantInCommand("changed_at", &HasReason,
                   [](CommandRecord& command) { command.changed_at = command.received_at; });
    PlantInCommand("order", &HasReason, [](CommandRecord& command) { command.order = 0; });
    PlantInCommand("payload", &IsHeld, [](CommandRecord& command) { command.payload.clear(); });
    MigrateWell(2);
    PlantInLog();
    MigrateWell(3);
    report_.Row("schema version at the end", Open(storage::RealMigrations())->Migration().schema);
  }

 private:
  using Has = bool (*)(const CommandRecord&);

  static bool HasReason(const CommandRecord& command) {
    return command.reason == v1::REASON_EXPIRED;
  }

  static bool IsHeld(const CommandRecord& command) {
    return command.state == v1::RECEIPT_STATE_HELD;
  }

  std::unique_ptr<RocksDbStore> Open(storage::Migrations migrations) const {
    storage::RocksDbOptions options;
    options.path = folder_.path() / "store";
    options.fresh_schema = 1;
    options.migrations = std::move(migrations);
    auto store = RocksDbStore::Open(options);
    Expect(store.has_value(), store ? "" : store.error().text);
    return std::move(*store);
  }

  void FillStore() {
    const footprint::Cars cars(LK_SHARED_DATA, cell_.FleetCa("demo"));
    const auto store = Open(storage::RealMigrations());
    filling_ = Fill(*store, cars, options_.cars, load::TrueTime());
    contents_ = std::make_unique<Contents>(*store, filling_.log.sequence);
    report_.Row("records", filling_.records);
  }

  // One of those that have it, each as likely.
  CommandRecord PickOne(Has has) {
    std::vector<CommandRecord> all;
    const auto store = Open(storage::RealMigrations());
    const Result<void> read = store->Snapshot()->Scan(
        storage::Kind::kCommand, std::nullopt,
        [&](const storage::Record& record) {
          const auto& command = std::get<CommandRecord>(record);
          if (has(command)) {
            all.push_back(command);
          }
        },
        [](std::string_view, const Error&) {});
    Expect(read.has_value() && !all.empty(), "there is no such command");
    return all[random_() % all.size()];
  }

  void PlantInCommand(const std::string& field, Has has,
                      const std::function<void(CommandRecord&)>& drop) {
    const CommandRecord victim = PickOne(has);
    storage::Migrations migrations = storage::RealMigrations();
    migrations[0].transform = [victim, drop, right = migrations[0].transform](
                                  std::string_view key, std::string_view value) {
      const Result<storage::Record> record = storage::Decode(storage::Kind::kCommand, key, value);
      if (record && std::get<CommandRecord>(*record).id == victim.id &&
          std::get<CommandRecord>(*record).ref == victim.ref) {
        CommandRecord wrong = victim;
        drop(wrong);
        const storage::KeyValue bytes = storage::Encode(wrong);
        return right(bytes.key, bytes.value);
      }
      return right(key, value);
    };
    Catch("field " + field + " of one command", std::move(migrations), victim.id.ToText());
  }

  // The index of the log by car lacks one record of one car.
  void PlantInLog() {
    const uint64_t victim = 1 + random_() % filling_.log.sequence;
    storage::Migrations migrations = storage::RealMigrations();
    migrations[1].transform = [victim, right = migrations[1].transform](std::string_view key,
                                                                        std::string_view value) {
      auto rows = right(key, value);
      if (rows && storage::ParseLogKey(key) == victim) {
        rows->clear();
      }
      return rows;
    };
    Catch("car of one record of the log", std::move(migrations), std::to_string(victim));
  }

  // `name`: what the comparison has to name.
  void Catch(const std::string& what, storage::Migrations migrations, const std::string& name) {
    const auto store = Open(std::move(migrations));
    Order(*store, MigrationOrder::kStart);
    SweepAll(*store);
    const storage::Comparison comparison = CompareAll(*store);
    const Result<void> cut = store->Migrate(MigrationOrder::kCutOver, load::TrueTime());
    const std::string named =
        comparison.mismatches.empty()
            ? "nothing"
            : comparison.mismatches.front().key + ": " + comparison.mismatches.front().what;
    const bool caught = comparison.differences == 1 &&
                        store->Migration().phase == MigrationPhase::kDiffers &&
                        named.find(name) != std::string::npos;
    report_.Row("dropped: " + what, std::to_string(comparison.differences) + " difference in " +
                                        std::to_string(comparison.compared) + ": " + named);
    if (!caught || cut) {
      report_.wrongs.push_back("dropped: " + what + " of " + name + ": the comparison says " +
                               named + (cut ? ", and it was cut over" : ""));
    }
    Order(*store, MigrationOrder::kRollback);
    report_.Wrong(contents_->WrongsIn(*store));
  }

  void MigrateWell(uint32_t schema) {
    const auto store = Open(storage::RealMigrations());
    Order(*store, MigrationOrder::kStart);
    SweepAll(*store);
    const storage::Comparison comparison = CompareAll(*store);
    Expect(comparison.differences == 0 && comparison.compared > 0,
           "without a bug there are " + std::to_string(comparison.differences) + " differences");
    Order(*store, MigrationOrder::kCutOver);
    Order(*store, MigrationOrder::kFinish);
    Expect(store->Migration().schema == schema, "it is not of the next version");
    report_.Row("without a bug, to version " + std::to_string(schema),
                std::to_string(comparison.compared) + " compared, no difference");
    report_.Wrong(contents_->WrongsIn(*store));
  }

  Options options_;
  Report& report_;
  std::mt19937_64 random_;
  testing::Cell cell_;  // for its fleet's CA
  testing::TempDir folder_;
  Filling filling_;
  std::unique_ptr<Contents> contents_;
};

}  // namespace

void CatchPlantedBug(const Options& options, Report& report) {
  BugAct(options, report).Play();
}

}  // namespace latchkey::migration
