// Random histories: commits, slices of the sweep, orders, comparisons and losses of power in any
// order, held against a plain model that knows nothing of shapes. What is read is always what the
// model has, and the rows of each shape that is written are exactly those of its records.
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <unistd.h>

#include "proto/log_chain.h"
#include "storage/command_rows.h"
#include "storage/log_rows.h"
#include "storage/memory_store.h"
#include "storage/rocksdb_store.h"
#include "storage/shape.h"

namespace latchkey::storage {

namespace {

constexpr Timestamp kStart{1'700'000'000'000};
constexpr std::string_view kKey = "abcdefghijklmnopqrstuA";

// Records by their kind and key.
class Model {
 public:
  void Apply(const Change& change) {
    std::visit(
        [this](const auto& one) {
          using One = std::decay_t<decltype(one)>;
          if constexpr (std::is_same_v<One, EraseCommand>) {
            records_[Kind::kCommand].erase(EncodeKey(one));
          } else if constexpr (std::is_same_v<One, EraseBlock>) {
            records_[Kind::kBlock].erase(EncodeKey(one));
          } else if constexpr (kErasesRanges<One>) {
            for (const KeyRange& range : RangesOf(one)) {
              auto& of_kind = records_[range.kind];
              of_kind.erase(of_kind.lower_bound(range.begin), of_kind.lower_bound(range.end));
            }
          } else {
            const KeyValue bytes = Encode(one);
            records_[bytes.kind].insert_or_assign(bytes.key, one);
          }
        },
        change);
  }

  const std::map<std::string, Record>& Of(Kind kind) const {
    static const std::map<std::string, Record> none;
    const auto found = records_.find(kind);
    return found == records_.end() ? none : found->second;
  }

  // Rows of a family as schema knows them.
  std::map<std::string, std::string> Rows(Family family) const {
    std::map<std::string, std::string> rows;
    if (family == Family::kCommandStep || family == Family::kCommandMessage) {
      for (const auto& [key, record] : Of(Kind::kCommand)) {
        const auto& command = std::get<CommandRecord>(record);
        const std::optional<PutRow> row = family == Family::kCommandStep
                                              ? std::optional(EncodeStep(command))
                                              : EncodeMessage(command);
        if (row) {
          rows[row->key] = row->value;
        }
      }
    } else if (family == Family::kLogByCar) {
      for (const auto& [key, record] : Of(Kind::kLog)) {
        const auto& log = std::get<LogRecord>(record);
        for (const CarRef& ref : CarsOfLog(log.payload)) {
          rows[LogByCarKey({ref, log.sequence})] = "";
        }
      }
    } else {
      for (const auto& [key, record] : Of(static_cast<Kind>(family))) {
        rows[key] = Encode(record).value;
      }
    }
    return rows;
  }

 private:
  std::map<Kind, std::map<std::string, Record>> records_;
};

// Makes changes of every kind, over few keys, so that they meet.
class Changes {
 public:
  explicit Changes(std::mt19937_64& random) : random_(random) {}

  std::vector<Change> Next() {
    std::vector<Change> changes;
    for (uint64_t count = Pick(4) + 1; count > 0; --count) {
      changes.push_back(One());
    }
    return changes;
  }

 private:
  uint64_t Pick(uint64_t below) { return random_() % below; }

  CarRef Car() {
    constexpr std::array kCars = {"a", "ab", "b", "c-1"};
    return {FleetId::Parse("f").value(), CarId::Parse(kCars.at(Pick(kCars.size()))).value()};
  }

  Timestamp Time() { return {static_cast<int64_t>(Pick(50)) + 1}; }

  CommandId Id() {
    return CommandId::FromBytes(std::string(16, static_cast<char>(Pick(6)))).value();
  }

  Change One() {
    const std::string text = std::to_string(Pick(1000));
    switch (Pick(16)) {
      case 0:
        return StateRecord{Car(), Pick(2) == 0 ? Group::kBody : Group::kLink, Time(), text};
      case 1:
        return RingRecord{Car(), Pick(9), Time(), text};
      case 2:
        return PresenceRecord{Car(), Time(), text};
      case 3:
        return Blocked();
      case 4:
        return WakeRecord{Car(), Time(), 3, Time()};
      case 5:
        return HistoryRecord{Car(), Group::kBody, Time(), text};
      case 6:
        return EraseHistory{Car(), Group::kBody, Time()};
      case 7:
        return SessionRecord{Car(), Time(), text};
      case 8:
        return EraseSessions{Car(), Time()};
      case 9:
        return EraseCommand{Car(), Id()};
      case 10:
        return Pick(4) == 0 ? Change(EraseCar{Car()}) : Change(Command(text));
      case 11:
        return Pick(4) == 0 ? Change(EraseLog{Pick(sequence_ + 2)}) : Change(Logged(++sequence_));
      case 12:
        return Logged(Pick(sequence_ + 1) + 1);  // in the place of another
      case 13:
        return Logged(++sequence_);
      default:
        return Command(text);
    }
  }

  Change Command(const std::string& text) {
    CommandRecord record;
    record.ref = Car();
    record.lane = KeyId::Parse(kKey).value();
    record.id = Id();
    record.order = Pick(9);
    record.changed_at = Time();
    const bool held = Pick(3) > 0;
    record.state = held ? v1::RECEIPT_STATE_HELD : v1::RECEIPT_STATE_DONE;
    record.payload = held ? (Pick(4) == 0 ? text : "same bytes") : "";
    return record;
  }

  Change Blocked() {
    Block block;
    block.scope.key = KeyId::Parse(kKey).value();
    const CarRef ref = Car();
    block.scope.fleet = ref.fleet;
    block.scope.car = ref.car;
    block.changed_at = Time();
    block.cause = v1::BLOCK_CAUSE_ADMINISTRATOR;
    return Pick(3) == 0 ? Change(EraseBlock{block.scope}) : Change(BlockRecord{block});
  }

  Change Logged(uint64_t sequence) {
    sequence_ = std::max(sequence_, sequence);
    v1::LogEntry entry;
    entry.set_event("command");
    if (Pick(3) > 0) {
      const CarRef ref = Car();
      entry.set_fleet(ref.fleet.str());
      entry.set_car(ref.car.str());
    }
    entry.set_note(Pick(4) == 0 ? "with " + Car().ToText() : "");
    entry.set_salt(std::string(16, 's'));
    LogHead head{sequence - 1, std::string(32, 'h')};
    std::string payload = AppendToLog(head, entry);
    return LogRecord{sequence, Pick(5) == 0 ? EraseLogBody(payload).value() : payload};
  }

  std::mt19937_64& random_;
  uint64_t sequence_ = 0;
};

// What is read, against the model.
void CheckRead(const Store& store, const Model& model) {
  const auto reader = store.Snapshot();
  const auto damaged = [](std::string_view, const Error& error) { FAIL(error.text); };
  for (const Kind kind : kKinds) {
    std::vector<Record> expected;
    for (const auto& [key, record] : model.Of(kind)) {
      expected.push_back(record);
    }
    std::vector<Record> read;
    REQUIRE(reader->Scan(
        kind, std::nullopt, [&](const Record& record) { read.push_back(record); }, damaged));
    REQUIRE((read == expected));
  }
  const CarRef ref{FleetId::Parse("f").value(), CarId::Parse("a").value()};
  std::vector<uint64_t> read;
  REQUIRE(reader->ScanLogOf(
      ref, 3,
      [&](const LogRecord& record) {
        const std::vector<CarRef> cars = CarsOfLog(record.payload);
        if (std::find(cars.begin(), cars.end(), ref) != cars.end()) {
          read.push_back(record.sequence);
        }
        return true;
      },
      damaged));
  std::vector<uint64_t> expected;
  for (const auto& [key, value] : model.Rows(Family::kLogByCar)) {
    const LogName name = ParseLogByCarKey(key).value();
    if (name.ref == ref && name.sequence >= 3) {
      expected.push_back(name.sequence);
    }
  }
  REQUIRE(read == expected);
}

// The rows themselves: of families that only the new shape has as far as the sweep has come.
void CheckRows(const MemoryStore& store, const Model& model) {
  const MigrationStatus status = store.Migration();
  const bool runs = status.phase != MigrationPhase::kNone;
  const MemoryRows& rows = store.rows();
  FamilySet whole = FamiliesOf(status.schema);
  if (runs) {
    whole = FamiliesOf(status.from).With(FamiliesOf(status.to));
  }
  REQUIRE(rows.families() == whole);
  if (status.phase == MigrationPhase::kBackfill) {
    whole = FamiliesOf(status.from);
  }
  for (const Family family : kFamilies) {
    if (whole.Has(family) && family != Family::kMeta) {
      std::map<std::string, std::string> found;
      REQUIRE(rows.Each(family, "", "", [&](std::string_view key, std::string_view value) {
        found.emplace(key, value);
        return true;
      }));
      REQUIRE((found == model.Rows(family)));
    }
  }
}

struct Seen {
  std::set<std::pair<uint32_t, MigrationPhase>> phases;
  int cut_over = 0;
  int back = 0;
  int finished = 0;
  int crashed = 0;
};

// What leads on from a phase.
MigrationOrder Onwards(MigrationPhase phase) {
  switch (phase) {
    case MigrationPhase::kNone:
      return MigrationOrder::kStart;
    case MigrationPhase::kBackfill:
      return MigrationOrder::kResume;
    case MigrationPhase::kFilled:
    case MigrationPhase::kDiffers:
      return MigrationOrder::kVerify;
    case MigrationPhase::kVerified:
      return MigrationOrder::kCutOver;
    case MigrationPhase::kCutOver:
      return MigrationOrder::kFinish;
  }
  return MigrationOrder::kStart;
}

// An order that may or may not be possible now: the store and MayMigrate agree.
void Orders(Store& store, std::mt19937_64& random, Seen& seen) {
  const MigrationStatus before = store.Migration();
  const MigrationOrder order =
      random() % 2 == 0 ? Onwards(before.phase) : static_cast<MigrationOrder>(random() % 7);
  if (order == MigrationOrder::kFinish && random() % 3 > 0) {
    return;
  }
  const bool may = MayMigrate(before, order).has_value();
  if (order == MigrationOrder::kVerify) {
    const auto comparison = store.Compare([](uint64_t) { return true; });
    REQUIRE(comparison.has_value() == may);
    if (comparison) {
      REQUIRE(comparison->differences == 0);
      REQUIRE(comparison->damaged == 0);
      REQUIRE(store.Compared(*comparison, kStart));
    }
    return;
  }
  const bool newest = order == MigrationOrder::kStart && before.schema == kSchemaVersionMax;
  REQUIRE(store.Migrate(order, kStart).has_value() == (may && !newest));
  seen.cut_over += may && order == MigrationOrder::kCutOver ? 1 : 0;
  seen.back +=
      may && before.phase == MigrationPhase::kCutOver && order == MigrationOrder::kRollback ? 1 : 0;
  seen.finished += may && order == MigrationOrder::kFinish ? 1 : 0;
}

// To the newest version, whatever is going on.
void DriveToEnd(Store& store) {
  for (int steps = 0; steps < 10'000; ++steps) {
    const MigrationStatus status = store.Migration();
    switch (status.phase) {
      case MigrationPhase::kNone:
        if (status.schema == kSchemaVersionMax) {
          return;
        }
        REQUIRE(store.Migrate(MigrationOrder::kStart, kStart));
        break;
      case MigrationPhase::kBackfill:
        if (status.paused) {
          REQUIRE(store.Migrate(MigrationOrder::kResume, kStart));
        }
        REQUIRE(store.Sweep(7, kStart).has_value());
        break;
      case MigrationPhase::kFilled:
      case MigrationPhase::kDiffers: {
        const Comparison comparison = store.Compare([](uint64_t) { return true; }).value();
        REQUIRE(comparison.differences == 0);
        REQUIRE(store.Compared(comparison, kStart));
        break;
      }
      case MigrationPhase::kVerified:
        REQUIRE(store.Migrate(MigrationOrder::kCutOver, kStart));
        break;
      case MigrationPhase::kCutOver:
        REQUIRE(store.Migrate(MigrationOrder::kFinish, kStart));
        break;
    }
  }
  FAIL("it does not come to an end");
}

// What a loss of power may leave: the model after so many writes that are not durable.
class Past {
 public:
  void Note(const MemoryStore& store, const Model& model) {
    if (store.pending() == 0) {
      kept_.clear();
    }
    kept_[store.pending()] = model;
  }

  Model After(size_t pending) const { return std::prev(kept_.upper_bound(pending))->second; }

 private:
  std::map<size_t, Model> kept_;
};

void RunInMemory(uint64_t seed, int steps, Seen& seen) {
  std::mt19937_64 random(seed);
  MemoryStore store(MemoryOptions{1, RealMigrations(), {}});
  Changes changes(random);
  Model model;
  Past past;
  past.Note(store, model);
  for (int step = 0; step < steps; ++step) {
    CAPTURE(seed);
    CAPTURE(step);
    const uint64_t what = random() % 100;
    if (what < 60) {
      const std::vector<Change> batch = changes.Next();
      REQUIRE(store.Commit(batch, what < 10 ? Durability::kDurable : Durability::kSoon));
      for (const Change& change : batch) {
        model.Apply(change);
      }
    } else if (what < 80) {
      REQUIRE(store.Sweep(random() % 5 + 1, kStart));
    } else if (what < 95) {
      Orders(store, random, seen);
    } else {
      const size_t kept = random() % (store.pending() + 1);
      store.Crash(kept);
      model = past.After(kept);
      ++seen.crashed;
    }
    past.Note(store, model);
    seen.phases.insert({store.Migration().schema, store.Migration().phase});
    CheckRead(store, model);
    CheckRows(store, model);
  }
  DriveToEnd(store);
  CheckRead(store, model);
  CheckRows(store, model);
}

void RunOnDisk(uint64_t seed, int steps, Seen& seen) {
  std::mt19937_64 random(seed);
  RocksDbOptions options;
  options.path = std::filesystem::temp_directory_path() /
                 ("lk_histories_" + std::to_string(::getpid()) + "_" + std::to_string(seed));
  options.free_bytes_min = 0;
  options.fresh_schema = 1;
  std::unique_ptr<RocksDbStore> store = RocksDbStore::Open(options).value();
  Changes changes(random);
  Model model;
  for (int step = 0; step < steps; ++step) {
    CAPTURE(seed);
    CAPTURE(step);
    const uint64_t what = random() % 100;
    if (what < 60) {
      const std::vector<Change> batch = changes.Next();
      REQUIRE(store->Commit(batch, Durability::kSoon));
      for (const Change& change : batch) {
        model.Apply(change);
      }
    } else if (what < 80) {
      REQUIRE(store->Sweep(random() % 5 + 1, kStart));
    } else if (what < 97) {
      Orders(*store, random, seen);
    } else {
      const MigrationStatus before = store->Migration();
      store.reset();
      store = RocksDbStore::Open(options).value();
      REQUIRE(store->Migration().schema == before.schema);
      REQUIRE(store->Migration().phase == before.phase);
      REQUIRE(store->Migration().rows_done == before.rows_done);
      ++seen.crashed;
    }
    seen.phases.insert({store->Migration().schema, store->Migration().phase});
    CheckRead(*store, model);
  }
  DriveToEnd(*store);
  store.reset();
  store = RocksDbStore::Open(options).value();
  CheckRead(*store, model);
  store.reset();
  std::filesystem::remove_all(options.path);
}

}  // namespace

TEST_CASE("histories: in memory, with losses of power, what is read is what the model has") {
  Seen seen;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    RunInMemory(seed, 400, seen);
  }
  CHECK(seen.phases.size() == 3 + 2 * 4);  // no difference is ever found
  CHECK(seen.cut_over > 60);
  CHECK(seen.back > 20);
  CHECK(seen.finished > 20);
  CHECK(seen.crashed > 500);
}

TEST_CASE("histories: on disk, with restarts, what is read is what the model has") {
  Seen seen;
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    RunOnDisk(seed, 400, seen);
  }
  CHECK(seen.phases.size() > 5);
  CHECK(seen.cut_over > 0);
  CHECK(seen.crashed > 5);
}

}  // namespace latchkey::storage
