// The life of the two migrations on both engines: orders, sweeps, comparisons, room, damage, and
// what an older release finds.
#include <filesystem>
#include <functional>
#include <memory>
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

CarRef Ref(const std::string& car) {
  return {FleetId::Parse("f").value(), CarId::Parse(car).value()};
}

CommandRecord Command(int number, v1::ReceiptState state = v1::RECEIPT_STATE_HELD) {
  CommandRecord record;
  record.ref = Ref("car" + std::to_string(number % 50));
  record.lane = KeyId::Parse("abcdefghijklmnopqrstuA").value();
  record.id = CommandId::Make(1000 + number, "0123456789");
  record.order = static_cast<uint64_t>(number) + 1;
  record.state = state;
  if (state == v1::RECEIPT_STATE_HELD) {
    record.payload = "signed bytes of " + std::to_string(number);
  }
  return record;
}

// A log whose entries name a car each, or two, or none.
class Log {
 public:
  LogRecord Next(const std::string& car, const std::string& note = "") {
    v1::LogEntry entry;
    entry.set_event("command");
    if (!car.empty()) {
      entry.set_fleet("f");
      entry.set_car(car);
    }
    entry.set_note(note);
    entry.set_salt(std::string(16, 's'));
    LogRecord record;
    record.payload = AppendToLog(head_, entry);
    record.sequence = head_.sequence;
    return record;
  }

 private:
  LogHead head_;
};

// Either engine, with what the two constructors need in common.
struct Options {
  uint32_t schema = 1;
  Migrations migrations = RealMigrations();
  Room room;
};

class Either {
 public:
  explicit Either(bool on_disk, Options options = {}) : options_(std::move(options)) {
    if (on_disk) {
      static int made = 0;
      folder_ = std::filesystem::temp_directory_path() /
                ("lk_migration_" + std::to_string(::getpid()) + "_" + std::to_string(++made));
      Open();
    } else {
      MemoryOptions memory{options_.schema, options_.migrations, [this] { return options_.room; }};
      memory_ = std::make_unique<MemoryStore>(std::move(memory));
    }
  }

  ~Either() {
    disk_.reset();
    if (!folder_.empty()) {
      std::filesystem::remove_all(folder_);
    }
  }

  Either(const Either&) = delete;
  Either& operator=(const Either&) = delete;

  Store& store() { return memory_ ? static_cast<Store&>(*memory_) : *disk_; }

  Store* operator->() { return &store(); }

  void Restart() {
    if (memory_) {
      memory_->Crash();
    } else {
      disk_.reset();
      Open();
    }
  }

  void Order(MigrationOrder order) {
    const Result<void> carried = store().Migrate(order, kStart);
    REQUIRE_MESSAGE(carried.has_value(), (carried ? "" : carried.error().text));
  }

  std::string Refused(MigrationOrder order) {
    const Result<void> carried = store().Migrate(order, kStart);
    REQUIRE_FALSE(carried.has_value());
    return carried.error().text;
  }

  void SweepAll() {
    for (int slices = 0; store().Sweep(64, kStart).value(); ++slices) {
      REQUIRE(slices < 10'000);
    }
  }

  Comparison Verify() {
    const Comparison comparison = store().Compare([](uint64_t) { return true; }).value();
    REQUIRE(store().Compared(comparison, kStart));
    return comparison;
  }

  void Commit(const std::vector<Change>& changes) {
    REQUIRE(store().Commit(changes, Durability::kDurable));
  }

  Options& options() { return options_; }

  MemoryStore& memory() { return *memory_; }

  const std::filesystem::path& folder() const { return folder_; }

 private:
  void Open() {
    RocksDbOptions options;
    options.path = folder_;
    options.fresh_schema = options_.schema;
    options.migrations = options_.migrations;
    options.free_bytes = [this] { return options_.room.free_bytes; };
    options.free_bytes_min = options_.room.free_bytes_min;
    auto opened = RocksDbStore::Open(options);
    REQUIRE_MESSAGE(opened.has_value(), (opened ? "" : opened.error().text));
    disk_ = *std::move(opened);
  }

  Options options_;
  std::filesystem::path folder_;
  std::unique_ptr<MemoryStore> memory_;
  std::unique_ptr<RocksDbStore> disk_;
};

// All commands that are read, as "order:payload:state ".
std::string Commands(const Store& store) {
  std::string text;
  REQUIRE(store.Snapshot()->Scan(
      Kind::kCommand, std::nullopt,
      [&](const Record& record) {
        const auto& command = std::get<CommandRecord>(record);
        text += std::to_string(command.order) + ":" + command.payload + ":" +
                std::to_string(command.state) + " ";
      },
      [&](std::string_view, const Error& error) { text += "DAMAGED " + error.text + " "; }));
  return text;
}

std::string LogOf(const Store& store, const std::string& car, uint64_t from = 0) {
  std::string text;
  REQUIRE(store.Snapshot()->ScanLogOf(
      Ref(car), from,
      [&](const LogRecord& record) {
        text += std::to_string(record.sequence) + " ";
        return true;
      },
      [&](std::string_view key, const Error&) {
        text += "DAMAGED " + std::to_string(ParseLogKey(key).value_or(0)) + " ";
      }));
  return text;
}

}  // namespace

TEST_CASE("migration: split-commands goes from start to finish, both shapes written on the way") {
  for (const bool on_disk : {false, true}) {
    Either store(on_disk);
    std::vector<Change> changes;
    for (int i = 0; i < 300; ++i) {
      changes.emplace_back(Command(i));
    }
    store.Commit(changes);
    const std::string before = Commands(store.store());
    CHECK(store->PlanMigration().value()->name == "split-commands");
    store.Order(MigrationOrder::kStart);
    CHECK(store.Refused(MigrationOrder::kStart).find("finish it or roll it back") !=
          std::string::npos);
    CHECK(store.Refused(MigrationOrder::kCutOver).find("then verify") != std::string::npos);
    CHECK(store->Sweep(100, kStart).value());
    CHECK(store->Migration().rows_done == 100);
    // Steps, ends and what is forgotten, of what is swept and of what is not.
    store.Commit({Command(3, v1::RECEIPT_STATE_DONE), Command(299, v1::RECEIPT_STATE_DONE),
                  EraseCommand{Command(5).ref, Command(5).id}, EraseCar{Ref("car7")},
                  Command(1000)});
    const std::string during = Commands(store.store());
    CHECK(during != before);
    store.SweepAll();
    CHECK(store->Migration().phase == MigrationPhase::kFilled);
    const Comparison comparison = store.Verify();
    CHECK(comparison.differences == 0);
    CHECK(comparison.compared == 300 - 6 - 1 + 1);
    store.Order(MigrationOrder::kCutOver);
    CHECK(store->Migration().schema == 2);
    CHECK(Commands(store.store()) == during);
    store.Commit({Command(4, v1::RECEIPT_STATE_FAILED)});
    const std::string after = Commands(store.store());
    store.Order(MigrationOrder::kRollback);
    CHECK(store->Migration().schema == 1);
    CHECK(store->Migration().phase == MigrationPhase::kVerified);
    CHECK(Commands(store.store()) == after);
    store.Order(MigrationOrder::kCutOver);
    store.Order(MigrationOrder::kFinish);
    CHECK(store->Migration().phase == MigrationPhase::kNone);
    store.Restart();
    CHECK(store->Migration().schema == 2);
    CHECK(Commands(store.store()) == after);
    CHECK(store->PlanMigration().value()->name == "log-by-car");
  }
}

TEST_CASE("migration: log-by-car leads to the records of a car, as they come, change and go") {
  for (const bool on_disk : {false, true}) {
    Either store(on_disk, {2, RealMigrations(), {}});
    Log log;
    std::vector<Change> changes;
    for (int i = 0; i < 200; ++i) {
      changes.emplace_back(log.Next(i % 4 == 0 ? "a" : "b", i % 10 == 0 ? "f/c, gone" : ""));
    }
    store.Commit(changes);
    CHECK(LogOf(store.store(), "c").size() > 200);  // without it: all there are
    store.Order(MigrationOrder::kStart);
    CHECK(store->Sweep(50, kStart).value());
    // 5 and 9 lose their content, 1 to 4 go, two come.
    const auto blank = [&](size_t at) {
      const auto& record = std::get<LogRecord>(changes[at]);
      return LogRecord{record.sequence, EraseLogBody(record.payload).value()};
    };
    store.Commit({blank(4), blank(8), EraseLog{4}, log.Next("a"), log.Next("")});
    store.SweepAll();
    CHECK(store.Verify().differences == 0);
    store.Order(MigrationOrder::kCutOver);
    store.Order(MigrationOrder::kFinish);
    store.Restart();
    CHECK(store->Migration().schema == 3);
    CHECK(!store->PlanMigration().value());
    CHECK(store.Refused(MigrationOrder::kStart).find("nothing to migrate") != std::string::npos);
    CHECK(LogOf(store.store(), "a", 190) == "193 197 201 ");
    CHECK(LogOf(store.store(), "c") ==
          "11 21 31 41 51 61 71 81 91 101 111 121 131 141 151 161 171 181 191 ");
    CHECK(LogOf(store.store(), "d") == "");
    store.Commit({EraseLog{~uint64_t{0}}});
    CHECK(LogOf(store.store(), "a") == "");
  }
}

TEST_CASE(
    "migration: a store of schema 1 stays what it was until start, and is so after rollback") {
  for (const bool on_disk : {false, true}) {
    Either store(on_disk);
    store.Commit({Command(1), Command(2, v1::RECEIPT_STATE_DONE)});
    store.Restart();
    CHECK(store->Migration().schema == 1);
    store.Order(MigrationOrder::kStart);
    store.SweepAll();
    store.Verify();
    store.Order(MigrationOrder::kCutOver);
    store.Commit({Command(3)});
    store.Order(MigrationOrder::kRollback);
    store.Order(MigrationOrder::kRollback);
    CHECK(store->Migration().phase == MigrationPhase::kNone);
    CHECK(store->Migration().name == "");
    store.Restart();
    CHECK(Commands(store.store()) == "2:signed bytes of 1:1 3::3 4:signed bytes of 3:1 ");
    if (!on_disk) {
      const MemoryRows& rows = store.memory().rows();
      CHECK(rows.families() == FamiliesOf(1));
      CHECK(rows.Get(Family::kMeta, kMigrationKey).value() == std::nullopt);
      CHECK(rows.Get(Family::kMeta, kSchemaVersionKey).value() == "1");
      for (const int number : {1, 3}) {
        const KeyValue expected = Encode(Command(number));
        CHECK(rows.Get(Family::kCommand, expected.key).value() == expected.value);
      }
    }
    // It begins anew with nothing left of the first.
    store.Order(MigrationOrder::kStart);
    CHECK(store->Migration().rows_done == 0);
    store.SweepAll();
    CHECK(store.Verify().compared == 3);
  }
}

TEST_CASE("migration: a paused sweep stays so over a restart, and both shapes are written") {
  for (const bool on_disk : {false, true}) {
    Either store(on_disk);
    store.Commit({Command(1), Command(2), Command(3)});
    store.Order(MigrationOrder::kStart);
    CHECK(store.Refused(MigrationOrder::kResume).find("not paused") != std::string::npos);
    CHECK(store->Sweep(1, kStart).value());
    store.Order(MigrationOrder::kPause);
    CHECK(store->Sweep(10, kStart).value() == false);
    store.Restart();
    CHECK(store->Migration().paused);
    CHECK(store->Migration().rows_done == 1);
    store.Commit({Command(2, v1::RECEIPT_STATE_DONE)});
    store.Order(MigrationOrder::kResume);
    store.SweepAll();
    CHECK(store.Refused(MigrationOrder::kPause).find("nothing is being moved") !=
          std::string::npos);
    CHECK(store.Verify().differences == 0);
  }
}

TEST_CASE("migration: one field dropped in one record of many is found, and cannot be cut over") {
  for (const bool on_disk : {false, true}) {
    Migrations planted = RealMigrations();
    const auto whole = planted[0].transform;
    planted[0].transform = [whole](std::string_view key, std::string_view value) {
      Result<Record> record = Decode(Kind::kCommand, key, value);
      if (record && std::get<CommandRecord>(*record).order == 77'777) {
        std::get<CommandRecord>(*record).changed_at = {0};
        const KeyValue spoilt = Encode(*record);
        return whole(spoilt.key, spoilt.value);
      }
      return whole(key, value);
    };
    Either store(on_disk, {1, planted, {}});
    const int count = 100'000;
    std::vector<Change> changes;
    for (int i = 0; i < count; ++i) {
      CommandRecord command =
          Command(i, i % 10 == 0 ? v1::RECEIPT_STATE_HELD : v1::RECEIPT_STATE_DONE);
      command.changed_at = {i + 1};
      changes.emplace_back(std::move(command));
      if (changes.size() == 1000) {
        REQUIRE(store->Commit(changes, Durability::kSoon));
        changes.clear();
      }
    }
    store.Order(MigrationOrder::kStart);
    while (store->Sweep(2048, kStart).value()) {
    }
    const Comparison found = store.Verify();
    CHECK(found.compared == count);
    CHECK(found.differences == 1);
    REQUIRE(found.mismatches.size() == 1);
    CHECK(found.mismatches[0].what == "differs in changed_at");
    CHECK(found.mismatches[0].key.find("command f/car26 ") == 0);
    CHECK(store->Migration().phase == MigrationPhase::kDiffers);
    CHECK(store.Refused(MigrationOrder::kCutOver).find("roll back, or verify again") !=
          std::string::npos);
    store.Order(MigrationOrder::kRollback);
  }
}

TEST_CASE("migration: a comparison finds what is missing, damaged and left over in the new shape") {
  Either store(false);
  std::vector<Change> changes;
  for (int i = 0; i < 5; ++i) {
    changes.emplace_back(Command(i));
  }
  store.Commit(changes);
  store.Order(MigrationOrder::kStart);
  store.SweepAll();
  // As a wrong migration could leave them: rows of 0 changed behind its back.
  PutRow step = EncodeStep(Command(0));
  step.value.back() = static_cast<char>(step.value.back() ^ 1);
  store.memory().PutRaw(step);
  store.memory().PutRaw(EncodeStep(Command(1, v1::RECEIPT_STATE_DONE)));
  store.memory().PutRaw(EncodeStep(Command(100)));
  store.memory().PutRaw(*EncodeMessage(Command(101)));
  const Comparison found = store.Verify();
  std::string text;
  for (const Mismatch& one : found.mismatches) {
    text += one.what + "; ";
  }
  CHECK(text ==
        "damaged in the new shape: the checksum does not fit: the record is damaged; damaged in "
        "the new shape: its signed bytes are not those of its step; only in the new shape; only in "
        "the new shape; ");
  CHECK(found.differences == 4);
}

TEST_CASE("migration: a comparison finds what log-by-car lacks, has too much, or has wrongly") {
  Either store(false, {2, RealMigrations(), {}});
  Log log;
  std::vector<Change> changes;
  for (int i = 0; i < 100; ++i) {
    changes.emplace_back(log.Next(i % 2 == 0 ? "a" : "b"));
  }
  store.Commit(changes);
  store.Order(MigrationOrder::kStart);
  store.SweepAll();
  CHECK(store.Verify().compared == 100);
  // As a wrong migration could leave it.
  store.memory().PutRaw(PutRow{Family::kLogByCar, LogByCarKey({Ref("a"), 2}), ""});
  store.memory().PutRaw(PutRow{Family::kLogByCar, LogByCarKey({Ref("c"), 200}), ""});
  store.memory().PutRaw(PutRow{Family::kLogByCar, "f", ""});
  store.memory().PutRaw(
      KeyValue{Kind::kLog, LogKey(50), Encode(LogRecord{50, log.Next("c").payload}).value});
  const Comparison found = store.Verify();
  std::string text;
  for (const Mismatch& one : found.mismatches) {
    text += one.key + " " + one.what + "; ";
  }
  CHECK(text ==
        "log 50 missing in the new shape for f/c; log_by_car 66 its key is not a car and a "
        "sequence; log_by_car f/a 2 leads to a record that does not name the car; log_by_car f/b "
        "50 leads to a record that does not name the car; log_by_car f/c 200 only in the new "
        "shape; ");
  CHECK(found.compared == 100);
  CHECK(found.differences == 5);
}

TEST_CASE("migration: a damaged row of the old shape is left, counted, and no difference") {
  Either store(false);
  store.Commit({Command(1), Command(2), Command(3)});
  KeyValue damaged = Encode(Command(2));
  damaged.value[5] = static_cast<char>(damaged.value[5] ^ 1);
  store.memory().PutRaw(damaged);
  store.Order(MigrationOrder::kStart);
  store.SweepAll();
  CHECK(store->Migration().damaged == 1);
  CHECK(store->Migration().rows_done == 3);
  const Comparison found = store.Verify();
  CHECK(found.damaged == 1);
  CHECK(found.compared == 2);
  CHECK(found.differences == 0);
  CHECK(store.memory().rows().Get(Family::kCommand, damaged.key).value() == damaged.value);
}

TEST_CASE("migration: which cars a damaged record of the log named is forgotten with it") {
  Either store(false, {3, RealMigrations(), {}});
  Log log;
  store.Commit({log.Next("a"), log.Next("b"), log.Next("a")});
  KeyValue damaged = Encode(LogRecord{1, "x"});
  damaged.value.back() = static_cast<char>(damaged.value.back() ^ 1);
  store.memory().PutRaw(damaged);
  CHECK(LogOf(store.store(), "a") == "DAMAGED 1 3 ");
  const MemoryRows& rows = store.memory().rows();
  CHECK(rows.SizeOf(Family::kLogByCar).rows == 3);
  SUBCASE("when the log goes on in its place") {
    store.Commit({LogRecord{1, log.Next("c").payload}});
    CHECK(LogOf(store.store(), "a") == "3 ");
    CHECK(LogOf(store.store(), "c") == "1 ");
    CHECK(rows.SizeOf(Family::kLogByCar).rows == 3);
  }
  SUBCASE("when it is forgotten") {
    store.Commit({EraseLog{1}});
    CHECK(LogOf(store.store(), "a") == "3 ");
    CHECK(rows.SizeOf(Family::kLogByCar).rows == 2);
  }
}

TEST_CASE("migration: too little room is said with figures, commits go on, and room heals it") {
  for (const bool on_disk : {false, true}) {
    Either store(on_disk);
    std::vector<Change> changes;
    for (int i = 0; i < 20'000; ++i) {
      changes.emplace_back(Command(i));
    }
    store.Commit(changes);
    store.options().room = {uint64_t{1} << 20, 0};
    CHECK(store.Refused(MigrationOrder::kStart).find("1 MB are free where the store") !=
          std::string::npos);
    CHECK(store->Migration().phase == MigrationPhase::kNone);
    store.options().room.free_bytes = uint64_t{1} << 30;
    store.Order(MigrationOrder::kStart);
    CHECK(store->Sweep(100, kStart).value());
    store.options().room.free_bytes = uint64_t{1} << 20;
    const Result<bool> refused = store->Sweep(100, kStart);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().reason == v1::REASON_STORE_UNAVAILABLE);
    CHECK(store->Migration().waits_for.find("make room, it goes on by itself") !=
          std::string::npos);
    CHECK(store->Migration().rows_done == 100);
    store.Commit({Command(7, v1::RECEIPT_STATE_DONE)});
    store.options().room.free_bytes = uint64_t{1} << 30;
    CHECK(store->Sweep(100, kStart).value());
    CHECK(store->Migration().waits_for == "");
    while (store->Sweep(2048, kStart).value()) {
    }
    CHECK(store.Verify().differences == 0);
  }
}

TEST_CASE("migration: a comparison can be ended, and one of a migration that is over is refused") {
  Either store(false);
  std::vector<Change> changes;
  for (int i = 0; i < 1000; ++i) {
    changes.emplace_back(Command(i));
  }
  store.Commit(changes);
  CHECK(store->Compare([](uint64_t) { return true; }).error().reason == v1::REASON_NOT_ALLOWED);
  store.Order(MigrationOrder::kStart);
  CHECK(store->Compare([](uint64_t) { return true; }).error().reason == v1::REASON_NOT_ALLOWED);
  store.SweepAll();
  uint64_t seen = 0;
  const auto ended = store->Compare([&](uint64_t compared) {
    seen = compared;
    return compared < 300;
  });
  CHECK(ended.error().reason == v1::REASON_CANCELLED);
  CHECK(seen >= 300);
  CHECK(seen < 500);
  const Comparison comparison = store->Compare([](uint64_t) { return true; }).value();
  store.Order(MigrationOrder::kRollback);
  CHECK_FALSE(store->Compared(comparison, kStart));
  REQUIRE(store->Migrate(MigrationOrder::kStart, kStart + Duration(1)));
  store.SweepAll();
  CHECK(store->Compared(comparison, kStart).error().text.find("is over") != std::string::npos);
  CHECK(store->Migration().phase == MigrationPhase::kFilled);
}

TEST_CASE("migration: after the cut-over a comparison changes the counts alone") {
  Either store(false);
  store.Commit({Command(1), Command(2)});
  store.Order(MigrationOrder::kStart);
  store.SweepAll();
  store.Verify();
  store.Order(MigrationOrder::kCutOver);
  store.memory().PutRaw(EncodeStep(Command(9)));
  CHECK(store.Verify().differences == 1);
  CHECK(store->Migration().phase == MigrationPhase::kCutOver);
  CHECK(store->Migration().differences == 1);
  store.Order(MigrationOrder::kRollback);
  CHECK(store->Migration().phase == MigrationPhase::kDiffers);
}

TEST_CASE("migration: a step of a command does not write its signed bytes again") {
  Either store(false, {2, RealMigrations(), {}});
  store.Commit({Command(1)});
  CommandRecord delivered = Command(1);
  delivered.state = v1::RECEIPT_STATE_DELIVERED;
  const auto bytes = [&] { return store.memory().rows().SizeOf(Family::kCommandMessage).bytes; };
  const uint64_t before = bytes();
  store.Commit({delivered});
  CHECK(bytes() == before);
  CHECK(Commands(store.store()) == "2:signed bytes of 1:2 ");
  delivered.payload = "other bytes";
  store.Commit({delivered});
  CHECK(Commands(store.store()) == "2:other bytes:2 ");
  store.Commit({Command(1, v1::RECEIPT_STATE_DONE)});
  CHECK(bytes() == 0);
  CHECK(Commands(store.store()) == "2::3 ");
}

}  // namespace latchkey::storage
