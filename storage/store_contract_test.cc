// What every store must do, run over each engine, each schema version and each phase of each
// migration.
#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <stdlib.h>

#include "storage/memory_store.h"
#include "storage/rocksdb_store.h"
#include "storage/store.h"

namespace latchkey::storage {

namespace {

CarRef Ref(std::string_view fleet, std::string_view car) {
  return {FleetId::Parse(fleet).value(), CarId::Parse(car).value()};
}

Change State(const CarRef& ref, Group group, std::string payload) {
  return StateRecord{ref, group, {1000}, std::move(payload)};
}

CommandId Id(char fill) {
  return CommandId::FromBytes(std::string(16, fill)).value();
}

Change Held(const CarRef& ref, char fill, uint64_t order) {
  CommandRecord record;
  record.ref = ref;
  record.lane = KeyId::Parse("abcdefghijklmnopqrstuA").value();
  record.id = Id(fill);
  record.order = order;
  record.payload = std::string(1, fill);
  return record;
}

Change Blocked(std::string_view key, std::string_view fleet, std::string_view car, int64_t at) {
  Block block;
  block.scope.key = KeyId::Parse(key).value();
  if (!fleet.empty()) {
    block.scope.fleet = FleetId::Parse(fleet).value();
  }
  if (!car.empty()) {
    block.scope.car = CarId::Parse(car).value();
  }
  block.changed_at = {at};
  block.cause = v1::BLOCK_CAUSE_ADMINISTRATOR;
  return BlockRecord{block};
}

// At which schema version a store is, and how far the migration from there has come.
struct Standing {
  uint32_t schema = 1;
  MigrationPhase phase = MigrationPhase::kNone;
};

constexpr std::array kStandings = {
    Standing{1, MigrationPhase::kNone},     Standing{1, MigrationPhase::kBackfill},
    Standing{1, MigrationPhase::kFilled},   Standing{1, MigrationPhase::kVerified},
    Standing{1, MigrationPhase::kDiffers},  Standing{1, MigrationPhase::kCutOver},
    Standing{2, MigrationPhase::kNone},     Standing{2, MigrationPhase::kBackfill},
    Standing{2, MigrationPhase::kVerified}, Standing{2, MigrationPhase::kCutOver},
    Standing{3, MigrationPhase::kNone}};

// Brings a new store there. One that is to stay in its sweep is paused.
void BringTo(Store& store, MigrationPhase phase) {
  const Timestamp now{1'700'000'000'000};
  const auto order = [&](MigrationOrder one) { REQUIRE(store.Migrate(one, now)); };
  if (phase == MigrationPhase::kNone) {
    return;
  }
  order(MigrationOrder::kStart);
  if (phase == MigrationPhase::kBackfill) {
    order(MigrationOrder::kPause);
    return;
  }
  REQUIRE(store.Sweep(10, now).value() == false);
  if (phase == MigrationPhase::kFilled) {
    return;
  }
  Comparison comparison = store.Compare([](uint64_t) { return true; }).value();
  comparison.differences = phase == MigrationPhase::kDiffers ? 1 : 0;
  REQUIRE(store.Compared(comparison, now));
  if (phase == MigrationPhase::kCutOver) {
    order(MigrationOrder::kCutOver);
  }
}

// A store that can be stopped and started on the same bytes.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual Store& store() = 0;
  // A clean stop and start, or the loss of power, which keeps only what was durable.
  virtual void Restart() = 0;
};

class MemoryEngine final : public Engine {
 public:
  explicit MemoryEngine(const Standing& standing)
      : store_(MemoryOptions{standing.schema, RealMigrations(), {}}) {
    BringTo(store_, standing.phase);
    REQUIRE(store_.Sync());
  }

  Store& store() override { return store_; }

  void Restart() override { store_.Crash(); }

 private:
  MemoryStore store_;
};

class RocksDbEngine final : public Engine {
 public:
  explicit RocksDbEngine(const Standing& standing) {
    std::string name = (std::filesystem::temp_directory_path() / "lk_store_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    folder_ = name;
    Open(standing.schema);
    BringTo(*store_, standing.phase);
  }

  ~RocksDbEngine() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }

  Store& store() override { return *store_; }

  void Restart() override {
    const MigrationStatus before = store_->Migration();
    store_.reset();
    Open(0);
    CHECK(store_->Migration().schema == before.schema);
    CHECK(store_->Migration().phase == before.phase);
  }

 private:
  void Open(uint32_t fresh_schema) {
    RocksDbOptions options;
    options.path = folder_ / "store";
    options.free_bytes_min = 0;
    options.fresh_schema = fresh_schema;
    auto opened = RocksDbStore::Open(options);
    REQUIRE_MESSAGE(opened.has_value(), (opened ? "" : opened.error().text));
    store_ = *std::move(opened);
  }

  std::filesystem::path folder_;
  std::unique_ptr<RocksDbStore> store_;
};

std::vector<std::unique_ptr<Engine>> Engines() {
  std::vector<std::unique_ptr<Engine>> engines;
  for (const Standing& standing : kStandings) {
    engines.push_back(std::make_unique<MemoryEngine>(standing));
    engines.push_back(std::make_unique<RocksDbEngine>(standing));
  }
  return engines;
}

std::string Shown(const Record& record) {
  if (const auto* state = std::get_if<StateRecord>(&record)) {
    return state->ref.ToText() + "/" + std::string(ToText(state->group)) + "=" + state->payload;
  }
  if (const auto* ring = std::get_if<RingRecord>(&record)) {
    return ring->ref.ToText() + " v" + std::to_string(ring->version);
  }
  if (const auto* presence = std::get_if<PresenceRecord>(&record)) {
    return presence->ref.ToText() + " present " + presence->payload;
  }
  if (const auto* block = std::get_if<BlockRecord>(&record)) {
    const BlockScope& scope = block->block.scope;
    return scope.key.str() + "@" + scope.fleet.str() + "/" + scope.car.str() + " " +
           std::to_string(block->block.changed_at.ms);
  }
  if (const auto* wake = std::get_if<WakeRecord>(&record)) {
    return wake->ref.ToText() + " woken " + std::to_string(wake->count);
  }
  if (const auto* history = std::get_if<HistoryRecord>(&record)) {
    return history->ref.ToText() + "/" + std::string(ToText(history->group)) + " from " +
           std::to_string(history->begins_at.ms) + " " + history->payload;
  }
  if (const auto* session = std::get_if<SessionRecord>(&record)) {
    return session->ref.ToText() + " since " + std::to_string(session->began_at.ms);
  }
  if (const auto* log = std::get_if<LogRecord>(&record)) {
    return std::to_string(log->sequence) + " " + log->payload;
  }
  const auto& command = std::get<CommandRecord>(record);
  return command.ref.ToText() + " #" + std::to_string(command.order) + " " + command.payload;
}

std::string Read(const Reader& reader, Kind kind, const std::optional<CarRef>& ref = {}) {
  std::string text;
  const Result<void> result = reader.Scan(
      kind, ref, [&](const Record& record) { text += Shown(record) + "; "; },
      [&](std::string_view, const Error& error) { text += "DAMAGED " + error.text; });
  return result ? text : "ERROR " + result.error().text;
}

std::string Read(const Store& store, Kind kind, const std::optional<CarRef>& ref = {}) {
  return Read(*store.Snapshot(), kind, ref);
}

// Log records from `from` on, at most `count`, then what LastLog says.
std::string ReadLog(const Store& store, uint64_t from, size_t count = 100) {
  std::string text;
  const auto damaged = [&](std::string_view key, const Error&) {
    text += "DAMAGED " + std::to_string(ParseLogKey(key).value_or(0)) + "; ";
  };
  const auto reader = store.Snapshot();
  const Result<void> result = reader->ScanLog(
      from,
      [&](const LogRecord& record) {
        text += Shown(record) + "; ";
        return --count > 0;
      },
      damaged);
  CHECK(result.has_value());
  text += "last ";
  const auto last = reader->LastLog(kWholeLog, damaged);
  REQUIRE(last.has_value());
  return text + (*last ? Shown(**last) : "none");
}

}  // namespace

TEST_CASE("store: records come back by kind in key order, and by car") {
  for (const auto& engine : Engines()) {
    Store& store = engine->store();
    const std::vector<Change> changes = {
        State(Ref("f", "b"), Group::kEnergy, "1"), State(Ref("f", "a"), Group::kBody, "2"),
        State(Ref("f", "a"), Group::kLink, "3"),   State(Ref("f", "ab"), Group::kBody, "4"),
        RingRecord{Ref("f", "a"), 9, {5}, "r"},    PresenceRecord{Ref("f", "a"), {5}, "p"}};
    REQUIRE(store.Commit(changes, Durability::kSoon).has_value());
    CHECK(Read(store, Kind::kState) == "f/a/body=2; f/a/link=3; f/ab/body=4; f/b/energy=1; ");
    CHECK(Read(store, Kind::kState, Ref("f", "a")) == "f/a/body=2; f/a/link=3; ");
    CHECK(Read(store, Kind::kState, Ref("f", "c")) == "");
    CHECK(Read(store, Kind::kRing) == "f/a v9; ");
    CHECK(Read(store, Kind::kPresence) == "f/a present p; ");
    CHECK(Read(store, Kind::kCommand) == "");
  }
}

TEST_CASE("store: a record replaces the one of its key, and a command can be forgotten") {
  for (const auto& engine : Engines()) {
    Store& store = engine->store();
    const CarRef ref = Ref("f", "a");
    REQUIRE(store.Commit(
        std::vector<Change>{State(ref, Group::kBody, "old"), Held(ref, 'x', 1), Held(ref, 'y', 2)},
        Durability::kDurable));
    REQUIRE(store.Commit(
        std::vector<Change>{State(ref, Group::kBody, "new"), EraseCommand{ref, Id('x')}},
        Durability::kDurable));
    CHECK(Read(store, Kind::kState) == "f/a/body=new; ");
    CHECK(Read(store, Kind::kCommand) == "f/a #2 y; ");
  }
}

TEST_CASE("store: what is known of a denied key is kept per scope, replaced and forgotten") {
  constexpr std::string_view kOne = "abcdefghijklmnopqrstuA";
  constexpr std::string_view kOther = "abcdefghijklmnopqrstuQ";
  for (const auto& engine : Engines()) {
    const std::vector<Change> changes = {Blocked(kOne, "", "", 1), Blocked(kOne, "f", "", 2),
                                         Blocked(kOne, "f", "a", 3), Blocked(kOther, "f", "a", 4)};
    REQUIRE(engine->store().Commit(changes, Durability::kDurable));
    engine->Restart();
    Store& store = engine->store();
    const std::string everywhere = std::string(kOne) + "@/ 1; ";
    const std::string fleet = std::string(kOne) + "@f/ 2; ";
    const std::string other = std::string(kOther) + "@f/a 4; ";
    CHECK(Read(store, Kind::kBlock) == everywhere + fleet + std::string(kOne) + "@f/a 3; " + other);
    CHECK(Read(store, Kind::kBlock, Ref("f", "a")) == std::string(kOne) + "@f/a 3; " + other);
    BlockScope scope;
    scope.key = KeyId::Parse(kOne).value();
    scope.fleet = FleetId::Parse("f").value();
    REQUIRE(store.Commit(std::vector<Change>{EraseBlock{scope}, Blocked(kOne, "f", "a", 9)},
                         Durability::kDurable));
    engine->Restart();
    CHECK(Read(engine->store(), Kind::kBlock) ==
          everywhere + std::string(kOne) + "@f/a 9; " + other);
    CHECK(Read(engine->store(), Kind::kCommand) == "");
  }
}

TEST_CASE("store: the log is read from a sequence on, ends where it is told, forgets its oldest") {
  for (const auto& engine : Engines()) {
    CHECK(ReadLog(engine->store(), 0) == "last none");
    const std::vector<Change> changes = {LogRecord{1, "a"}, LogRecord{2, "b"}, LogRecord{255, "c"},
                                         LogRecord{256, "d"}, LogRecord{257, "e"}};
    REQUIRE(engine->store().Commit(changes, Durability::kDurable));
    engine->Restart();
    CHECK(ReadLog(engine->store(), 0) == "1 a; 2 b; 255 c; 256 d; 257 e; last 257 e");
    CHECK(ReadLog(engine->store(), 2, 2) == "2 b; 255 c; last 257 e");
    CHECK(ReadLog(engine->store(), 258) == "last 257 e");
    for (const auto& [through, sequence] :
         {std::pair<uint64_t, uint64_t>{256, 256}, {255, 255}, {254, 2}, {1, 1}, {0, 0}}) {
      const auto last = engine->store().Snapshot()->LastLog(through, [](auto, auto) {});
      REQUIRE(last.has_value());
      CHECK((*last ? (*last)->sequence : 0) == sequence);
    }
    REQUIRE(engine->store().Commit(std::vector<Change>{EraseLog{255}, LogRecord{258, "f"}},
                                   Durability::kDurable));
    CHECK(ReadLog(engine->store(), 0) == "256 d; 257 e; 258 f; last 258 f");
    engine->Restart();
    CHECK(ReadLog(engine->store(), 1) == "256 d; 257 e; 258 f; last 258 f");
    REQUIRE(engine->store().Commit(std::vector<Change>{EraseLog{300}}, Durability::kSoon));
    CHECK(ReadLog(engine->store(), 0) == "last none");
  }
}

TEST_CASE("store: how often a car was woken is kept per car") {
  for (const auto& engine : Engines()) {
    REQUIRE(engine->store().Commit(std::vector<Change>{WakeRecord{Ref("f", "a"), {1}, 1, {1}},
                                                       WakeRecord{Ref("f", "b"), {1}, 5, {1}},
                                                       WakeRecord{Ref("f", "a"), {1}, 2, {9}}},
                                   Durability::kDurable));
    engine->Restart();
    CHECK(Read(engine->store(), Kind::kWake) == "f/a woken 2; f/b woken 5; ");
    CHECK(Read(engine->store(), Kind::kWake, Ref("f", "b")) == "f/b woken 5; ");
  }
}

TEST_CASE("store: history is in order of time per group, and its oldest is forgotten") {
  for (const auto& engine : Engines()) {
    const CarRef ref = Ref("f", "a");
    const CarRef other = Ref("f", "ab");
    const auto chunk = [](const CarRef& car, Group group, int64_t at, std::string payload) {
      return HistoryRecord{car, group, {at}, std::move(payload)};
    };
    REQUIRE(engine->store().Commit(
        std::vector<Change>{chunk(ref, Group::kBody, 300, "c"), chunk(ref, Group::kBody, 255, "a"),
                            chunk(ref, Group::kBody, 256, "b"), chunk(ref, Group::kDrive, 1, "d"),
                            chunk(other, Group::kBody, 2, "e"), chunk(ref, Group::kBody, 300, "C")},
        Durability::kSoon));
    CHECK(Read(engine->store(), Kind::kHistory, ref) ==
          "f/a/body from 255 a; f/a/body from 256 b; f/a/body from 300 C; f/a/drive from 1 d; ");
    // Of one commit: what it puts first it forgets, what it puts afterwards it keeps.
    REQUIRE(engine->store().Commit(std::vector<Change>{chunk(ref, Group::kBody, 299, "x"),
                                                       EraseHistory{ref, Group::kBody, {300}},
                                                       chunk(ref, Group::kBody, 100, "late")},
                                   Durability::kDurable));
    engine->Restart();
    CHECK(Read(engine->store(), Kind::kHistory) ==
          "f/a/body from 100 late; f/a/body from 300 C; f/a/drive from 1 d; f/ab/body from 2 e; ");
    REQUIRE(engine->store().Commit(std::vector<Change>{EraseHistory{ref, Group::kBody, {0}}},
                                   Durability::kSoon));
    CHECK(Read(engine->store(), Kind::kHistory, other) == "f/ab/body from 2 e; ");
  }
}

TEST_CASE("store: sessions are in order of time per car, and the oldest are forgotten") {
  for (const auto& engine : Engines()) {
    const auto session = [](std::string_view car, int64_t at) {
      return SessionRecord{Ref("f", car), {at}, "s"};
    };
    REQUIRE(engine->store().Commit(
        std::vector<Change>{session("a", 256), session("a", 255), session("b", 1)},
        Durability::kDurable));
    engine->Restart();
    CHECK(Read(engine->store(), Kind::kSession) == "f/a since 255; f/a since 256; f/b since 1; ");
    REQUIRE(engine->store().Commit(std::vector<Change>{EraseSessions{Ref("f", "a"), {256}}},
                                   Durability::kDurable));
    engine->Restart();
    CHECK(Read(engine->store(), Kind::kSession) == "f/a since 256; f/b since 1; ");
  }
}

TEST_CASE("store: a car that is erased leaves nothing but the log, and no other car is touched") {
  constexpr std::string_view kKey = "abcdefghijklmnopqrstuA";
  for (const auto& engine : Engines()) {
    std::vector<Change> changes = {Blocked(kKey, "f", "", 1), LogRecord{1, "log"}};
    for (const std::string_view car : {"a", "a-1", "ab"}) {
      const CarRef ref = Ref("f", car);
      const std::vector<Change> of_car = {State(ref, Group::kBody, "s"),
                                          RingRecord{ref, 1, {5}, "r"},
                                          PresenceRecord{ref, {5}, "p"},
                                          Held(ref, 'x', 1),
                                          Blocked(kKey, "f", car, 2),
                                          WakeRecord{ref, {1}, 1, {1}},
                                          HistoryRecord{ref, Group::kBody, {1}, "h"},
                                          SessionRecord{ref, {1}, "s"}};
      changes.insert(changes.end(), of_car.begin(), of_car.end());
    }
    REQUIRE(engine->store().Commit(changes, Durability::kSoon));
    REQUIRE(engine->store().Commit(
        std::vector<Change>{HistoryRecord{Ref("f", "a"), Group::kBody, {2}, "h"},
                            EraseCar{Ref("f", "a")}},
        Durability::kDurable));
    engine->Restart();
    for (const Kind kind : kKinds) {
      if (kind != Kind::kLog) {
        CHECK(Read(engine->store(), kind, Ref("f", "a")) == "");
        CHECK(Read(engine->store(), kind, Ref("f", "a-1")) != "");
        CHECK(Read(engine->store(), kind, Ref("f", "ab")) != "");
      }
    }
    CHECK(ReadLog(engine->store(), 0) == "1 log; last 1 log");
    CHECK(Read(engine->store(), Kind::kBlock).find("@f/ 1") != std::string::npos);
  }
}

TEST_CASE("store: changes of one commit apply in order") {
  for (const auto& engine : Engines()) {
    Store& store = engine->store();
    const CarRef ref = Ref("f", "a");
    REQUIRE(store.Commit(
        std::vector<Change>{Held(ref, 'x', 1), EraseCommand{ref, Id('x')}, Held(ref, 'y', 2),
                            EraseCommand{ref, Id('y')}, Held(ref, 'y', 3)},
        Durability::kSoon));
    CHECK(Read(store, Kind::kCommand) == "f/a #3 y; ");
  }
}

TEST_CASE("store: a snapshot does not see what is committed after it") {
  for (const auto& engine : Engines()) {
    Store& store = engine->store();
    REQUIRE(store.Commit(std::vector<Change>{Held(Ref("f", "a"), 'x', 1)}, Durability::kSoon));
    const std::unique_ptr<Reader> before = store.Snapshot();
    REQUIRE(store.Commit(std::vector<Change>{Held(Ref("f", "a"), 'y', 2)}, Durability::kSoon));
    CHECK(Read(*before, Kind::kCommand) == "f/a #1 x; ");
    CHECK(Read(store, Kind::kCommand) == "f/a #1 x; f/a #2 y; ");
  }
}

TEST_CASE("store: what is durable is there after a restart, with all that was committed before") {
  for (const auto& engine : Engines()) {
    REQUIRE(engine->store().Commit(std::vector<Change>{State(Ref("f", "a"), Group::kBody, "s")},
                                   Durability::kSoon));
    REQUIRE(engine->store().Commit(std::vector<Change>{Held(Ref("f", "a"), 'x', 1)},
                                   Durability::kDurable));
    engine->Restart();
    CHECK(Read(engine->store(), Kind::kState) == "f/a/body=s; ");
    CHECK(Read(engine->store(), Kind::kCommand) == "f/a #1 x; ");
    REQUIRE(engine->store().Commit(std::vector<Change>{Held(Ref("f", "a"), 'y', 2)},
                                   Durability::kSoon));
    REQUIRE(engine->store().Sync());
    engine->Restart();
    CHECK(Read(engine->store(), Kind::kCommand) == "f/a #1 x; f/a #2 y; ");
  }
}

TEST_CASE("store: an empty commit is a question whether the store can write") {
  for (const auto& engine : Engines()) {
    CHECK(engine->store().Commit({}, Durability::kDurable).has_value());
  }
}

TEST_CASE("memory store: a crash loses what was not durable, whole commits at a time") {
  MemoryStore store;
  REQUIRE(store.Commit(std::vector<Change>{Held(Ref("f", "a"), 'x', 1)}, Durability::kDurable));
  REQUIRE(store.Commit(
      std::vector<Change>{Held(Ref("f", "a"), 'y', 2), EraseCommand{Ref("f", "a"), Id('x')}},
      Durability::kSoon));
  CHECK(Read(store, Kind::kCommand) == "f/a #2 y; ");
  store.Crash();
  CHECK(Read(store, Kind::kCommand) == "f/a #1 x; ");
}

TEST_CASE("memory store: damaged records of the log are skipped, and those at its end named") {
  MemoryStore store;
  REQUIRE(store.Commit(std::vector<Change>{LogRecord{1, "a"}, LogRecord{2, "b"}, LogRecord{3, "c"},
                                           LogRecord{4, "d"}},
                       Durability::kSoon));
  for (const uint64_t sequence : {1, 3, 4}) {
    KeyValue raw = Encode(LogRecord{sequence, "x"});
    raw.value.back() = static_cast<char>(raw.value.back() ^ 1);
    store.PutRaw(raw);
  }
  CHECK(ReadLog(store, 0) ==
        "DAMAGED 1; 2 b; DAMAGED 3; DAMAGED 4; last DAMAGED 4; DAMAGED 3; 2 b");
}

TEST_CASE("memory store: a damaged record is reported and skipped") {
  MemoryStore store;
  REQUIRE(store.Commit(std::vector<Change>{Held(Ref("f", "a"), 'x', 1)}, Durability::kSoon));
  KeyValue raw = Encode(StateRecord{Ref("f", "a"), Group::kBody, {1}, "s"});
  raw.value.back() = static_cast<char>(raw.value.back() ^ 1);
  store.PutRaw(raw);
  CHECK(Read(store, Kind::kState) == "DAMAGED the checksum does not fit: the record is damaged");
  CHECK(Read(store, Kind::kCommand) == "f/a #1 x; ");
}

}  // namespace latchkey::storage
