// The runner with a store that migrates: orders and who gave them, slices between turns, a store
// that fails in the middle, restarts in each phase, comparisons that come too late.
#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/core/story.h"
#include "bridge/migration_desk.h"
#include "bridge/runner.h"
#include "proto/log_chain.h"
#include "proto/topic.h"
#include "storage/memory_store.h"

namespace latchkey::bridge {

namespace {

using storage::MigrationOrder;
using storage::MigrationPhase;

// A store whose migration is a count of rows. What it says of it is durable at once.
class CountingStore final : public storage::Store {
 public:
  Result<void> Commit(std::span<const storage::Change> changes,
                      storage::Durability durability) override {
    LK_CHECK(Works());
    return inner.Commit(changes, durability);
  }

  Result<void> Sync() override { return inner.Sync(); }

  std::unique_ptr<storage::Reader> Snapshot() const override { return inner.Snapshot(); }

  storage::MigrationStatus Migration() const override { return status; }

  Result<void> Migrate(MigrationOrder order, Timestamp now) override {
    LK_CHECK(Works());
    LK_CHECK(storage::MayMigrate(status, order));
    if (!no_room.empty()) {
      return Fail(v1::REASON_STORE_UNAVAILABLE, no_room);
    }
    status.phase_at = now;
    switch (order) {
      case MigrationOrder::kStart:
        status = {};
        status.schema = 1;
        status.from = 1;
        status.to = 2;
        status.name = "count-up";
        status.phase = MigrationPhase::kBackfill;
        status.rows_expected = rows;
        break;
      case MigrationOrder::kPause:
      case MigrationOrder::kResume:
        status.paused = order == MigrationOrder::kPause;
        break;
      case MigrationOrder::kVerify:
        return Fail(v1::REASON_INTERNAL, "Compare does that");
      case MigrationOrder::kCutOver:
        status.phase = MigrationPhase::kCutOver;
        status.schema = 2;
        break;
      case MigrationOrder::kRollback:
        status.phase = status.phase == MigrationPhase::kCutOver ? MigrationPhase::kVerified
                                                                : MigrationPhase::kNone;
        status.schema = 1;
        break;
      case MigrationOrder::kFinish:
        status.phase = MigrationPhase::kNone;
        break;
    }
    return {};
  }

  Result<bool> Sweep(uint64_t rows_max, Timestamp /*now*/) override {
    if (status.phase != MigrationPhase::kBackfill || status.paused) {
      return false;
    }
    if (!sweep_fails.empty()) {
      status.waits_for = sweep_fails;
      return Fail(v1::REASON_STORE_UNAVAILABLE, sweep_fails);
    }
    status.waits_for.clear();
    ++slices;
    status.rows_done = std::min(status.rows_done + std::min<uint64_t>(rows_max, 10), rows);
    if (status.rows_done == rows) {
      status.phase = MigrationPhase::kFilled;
    }
    return status.phase == MigrationPhase::kBackfill;
  }

  Result<storage::Comparison> Compare(const std::function<bool(uint64_t)>& go_on) const override {
    storage::Comparison found;
    for (; found.compared < rows; ++found.compared) {
      if (!go_on(found.compared)) {
        return Fail(v1::REASON_NOT_ALLOWED, "it was stopped");
      }
    }
    found.differences = differences;
    return found;
  }

  Result<void> Compared(const storage::Comparison& found, Timestamp now) override {
    LK_CHECK(Works());
    LK_CHECK(storage::MayMigrate(status, MigrationOrder::kVerify));
    status.compared = found.compared;
    status.differences = found.differences;
    status.verified_at = now;
    if (status.phase != MigrationPhase::kCutOver) {
      status.phase = found.differences == 0 ? MigrationPhase::kVerified : MigrationPhase::kDiffers;
    }
    return {};
  }

  storage::MemoryStore inner;
  storage::MigrationStatus status;
  uint64_t rows = 1000;
  uint64_t differences = 0;
  uint64_t slices = 0;
  bool failing = false;
  std::string no_room;
  std::string sweep_fails;

 private:
  Result<void> Works() const {
    return failing ? Result<void>(Fail(v1::REASON_STORE_UNAVAILABLE, "the disk is gone"))
                   : Result<void>();
  }
};

class NoPublisher final : public Publisher {
 public:
  void Send(const Publish& /*publish*/) override {}

  size_t backlog() const override { return waiting; }

  void Reconnect() override {}

  size_t waiting = 0;
};

struct World {
  explicit World(CountingStore& store_given) : store(store_given) { REQUIRE(runner.Load()); }

  void Turn() {
    runner.Turn(Duration(0));
    now.mono = now.mono + Duration(2);
    now.wall = now.wall + Duration(2);
  }

  // Orders, turns once, and gives the answer back.
  Result<void> Asks(MigrationOrder order) {
    const uint64_t id = ++last_id;
    intake.PutAlways(MigrationRequest{id, order, "alice"});
    Turn();
    const auto found = answers.find(id);
    return found == answers.end() ? Result<void>(Fail(v1::REASON_EXPIRED, "no answer"))
                                  : found->second.done;
  }

  void Finds(uint64_t differences) {
    storage::Comparison found;
    found.compared = 1000;
    found.differences = differences;
    intake.PutAlways(ComparisonEnd{comparison, found});
    Turn();
  }

  MigrationPhase phase() const { return runner.status().migration.status.phase; }

  // Turns until the phase is another one.
  void Passes(MigrationPhase from) {
    for (int turn = 0; turn < 100'000 && store.status.phase == from; ++turn) {
      Turn();
    }
    Turn();
  }

  // Notes of the log's entries of an event; the log is checked to be one chain.
  std::vector<std::string> Log(const std::string& event = "migration") {
    std::vector<std::string> notes;
    LogHead head;
    REQUIRE(store.Snapshot()->ScanLog(
        0,
        [&](const storage::LogRecord& record) {
          const Result<LogLink> link = OpenLogRecord(record.payload);
          REQUIRE(link);
          CHECK(CheckFollows(head, *link));
          head = link->head;
          if (link->entry && link->entry->event() == event) {
            notes.push_back((link->entry->who().empty() ? "" : link->entry->who() + ": ") +
                            link->entry->note());
          }
          return true;
        },
        [](std::string_view, const Error& error) { FAIL(error.text); }));
    return notes;
  }

  CountingStore& store;
  Now now{kStoryStart, {0}};
  Intake intake{1000};
  NoPublisher publisher;
  std::map<uint64_t, MigrationAnswer> answers;
  std::map<uint64_t, std::string> compared;
  uint64_t last_id = 0;
  uint64_t comparison = 100;
  int stopped = 0;
  std::vector<std::string> said;
  Runner runner{
      Limits(),
      FleetCas{},
      RunnerLimits(),
      {intake, store, publisher, [this] { return now; },
       [this](const LogEvent& event) { said.push_back(event.event); }, nullptr, nullptr,
       MigrationDoor{[this](const MigrationAnswer& answer) { answers.emplace(answer.id, answer); },
                     [this] { return Result<uint64_t>(++comparison); }, [this] { ++stopped; },
                     [this](uint64_t id, const Result<void>& kept) {
                       compared[id] = kept ? "kept" : kept.error().text;
                     }}}};
};

int Count(const std::vector<std::string>& words, const std::string& word) {
  return static_cast<int>(std::count(words.begin(), words.end(), word));
}

}  // namespace

TEST_CASE("migrating: from start to finish, each order and each phase is in the log") {
  CountingStore store;
  World w(store);
  CHECK(w.Asks(MigrationOrder::kStart));
  w.Passes(MigrationPhase::kBackfill);
  CHECK(w.phase() == MigrationPhase::kFilled);
  CHECK(w.Asks(MigrationOrder::kVerify));
  CHECK(w.answers.at(w.last_id).comparison == w.comparison);
  w.Finds(0);
  CHECK(w.phase() == MigrationPhase::kVerified);
  CHECK(w.compared.at(w.comparison) == "kept");
  CHECK(w.Asks(MigrationOrder::kCutOver));
  CHECK(w.Asks(MigrationOrder::kRollback));
  CHECK(w.phase() == MigrationPhase::kVerified);
  CHECK(w.Asks(MigrationOrder::kCutOver));
  CHECK(w.Asks(MigrationOrder::kFinish));
  CHECK(w.phase() == MigrationPhase::kNone);
  CHECK(w.Log() == std::vector<std::string>{
                       "alice: asked for: start",
                       "both shapes are written: count-up, schema 1 to 2; about 1000 rows to sweep",
                       "filled: count-up, schema 1 to 2; 1000 rows swept, 0 damaged",
                       "alice: asked for: verify count-up, schema 1 to 2",
                       "verified: count-up, schema 1 to 2; 1000 records are the same in both "
                       "shapes",
                       "alice: asked for: cutover count-up, schema 1 to 2",
                       "cut over: schema 2 is read, both are written",
                       "alice: asked for: rollback count-up, schema 1 to 2",
                       "rolled back: schema 1 is read again, both are written",
                       "alice: asked for: cutover count-up, schema 1 to 2",
                       "cut over: schema 2 is read, both are written",
                       "alice: asked for: finish count-up, schema 1 to 2",
                       "finished: count-up, schema 1 to 2; schema 2 is the only one"});
}

TEST_CASE("migrating: an order that is not allowed is answered, and is not in the log") {
  CountingStore store;
  World w(store);
  const Result<void> refused = w.Asks(MigrationOrder::kCutOver);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == v1::REASON_NOT_ALLOWED);
  CHECK(w.Log().empty());
  CHECK(Count(w.said, "migration_refused") == 1);
  // No room is another matter: it was asked for, and the log says what came of it.
  store.no_room = "needs 812 MB, 400 MB are free";
  const Result<void> late = w.Asks(MigrationOrder::kStart);
  REQUIRE_FALSE(late);
  CHECK(late.error().reason == v1::REASON_STORE_UNAVAILABLE);
  CHECK(w.Log() == std::vector<std::string>{
                       "alice: asked for: start",
                       "alice: start was not carried out: needs 812 MB, 400 MB are free"});
}

TEST_CASE("migrating: paused it stands still, over a restart, and goes on when told to") {
  CountingStore store;
  {
    World w(store);
    CHECK(w.Asks(MigrationOrder::kStart));
    w.Turn();
    CHECK(w.Asks(MigrationOrder::kPause));
  }
  const uint64_t done = store.status.rows_done;
  CHECK(done < store.rows);
  World w(store);
  for (int turn = 0; turn < 100; ++turn) {
    w.Turn();
  }
  CHECK(store.status.rows_done == done);
  CHECK(w.runner.status().migration.status.paused);
  CHECK_FALSE(w.runner.status().migration.rows_per_second);
  CHECK(w.Asks(MigrationOrder::kResume));
  w.Passes(MigrationPhase::kBackfill);
  CHECK(w.phase() == MigrationPhase::kFilled);
}

TEST_CASE("migrating: a sweep goes on by itself after a restart of the bridge, in each phase") {
  CountingStore store;
  {
    World w(store);
    CHECK(w.Asks(MigrationOrder::kStart));
    w.Turn();
  }
  for (int restart = 0; restart < 20; ++restart) {
    World w(store);
    CHECK(Count(w.said, "migration_goes_on") == 1);
    const uint64_t before = store.status.rows_done;
    for (int turn = 0; turn < 5; ++turn) {
      w.Turn();
    }
    CHECK(store.status.rows_done > before);
  }
  World(store).Passes(MigrationPhase::kBackfill);
  CHECK(World(store).phase() == MigrationPhase::kFilled);
  {
    World w(store);
    CHECK(w.Asks(MigrationOrder::kVerify));
  }
  // The comparison went with the bridge; it is asked for again.
  World w(store);
  CHECK(w.phase() == MigrationPhase::kFilled);
  CHECK(w.Asks(MigrationOrder::kVerify));
  w.Finds(0);
  CHECK(World(store).phase() == MigrationPhase::kVerified);
  CHECK(w.Asks(MigrationOrder::kCutOver));
  CHECK(World(store).phase() == MigrationPhase::kCutOver);
}

TEST_CASE("migrating: a store that fails in the middle is waited for, and orders are answered") {
  CountingStore store;
  World w(store);
  CHECK(w.Asks(MigrationOrder::kStart));
  w.Turn();
  store.failing = true;
  const Result<void> refused = w.Asks(MigrationOrder::kPause);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == v1::REASON_STORE_UNAVAILABLE);
  CHECK_FALSE(w.runner.status().store_error.empty());
  const uint64_t done = store.status.rows_done;
  const Result<void> again = w.Asks(MigrationOrder::kPause);
  REQUIRE_FALSE(again);
  CHECK(again.error().text.find("cannot write") != std::string::npos);
  CHECK(store.status.rows_done == done);  // no slice while the store fails
  store.failing = false;
  w.now.mono = w.now.mono + std::chrono::seconds(20);
  w.Turn();
  CHECK(w.runner.status().store_error.empty());
  // Neither order was carried out later.
  CHECK_FALSE(store.status.paused);
  w.Passes(MigrationPhase::kBackfill);
  CHECK(w.phase() == MigrationPhase::kFilled);
}

TEST_CASE("migrating: a disk that is full stops the sweep alone, which says so and goes on later") {
  CountingStore store;
  World w(store);
  CHECK(w.Asks(MigrationOrder::kStart));
  store.sweep_fails = "needs 812 MB, 400 MB are free";
  for (int turn = 0; turn < 400; ++turn) {
    w.Turn();
  }
  CHECK(w.runner.status().migration.status.waits_for == store.sweep_fails);
  CHECK_FALSE(w.runner.status().migration.left);
  CHECK(Count(w.said, "migration_waits") == 1);
  CHECK(w.runner.status().store_error.empty());
  store.sweep_fails.clear();
  w.now.mono = w.now.mono + std::chrono::seconds(15);
  w.Passes(MigrationPhase::kBackfill);
  CHECK(w.phase() == MigrationPhase::kFilled);
  CHECK(Count(w.said, "migration_waits_no_more") == 1);
}

TEST_CASE("migrating: what was compared before a rollback counts for nothing afterwards") {
  CountingStore store;
  World w(store);
  CHECK(w.Asks(MigrationOrder::kStart));
  w.Passes(MigrationPhase::kBackfill);
  CHECK(w.Asks(MigrationOrder::kVerify));
  const uint64_t old = w.comparison;
  CHECK(w.Asks(MigrationOrder::kRollback));
  CHECK(w.stopped == 1);
  CHECK(w.Asks(MigrationOrder::kStart));
  w.Passes(MigrationPhase::kBackfill);
  w.Finds(0);
  CHECK(w.phase() == MigrationPhase::kFilled);
  CHECK(w.compared.at(old) != "kept");
}

TEST_CASE("migrating: records that differ are told, and cannot be cut over") {
  CountingStore store;
  World w(store);
  CHECK(w.Asks(MigrationOrder::kStart));
  w.Passes(MigrationPhase::kBackfill);
  CHECK(w.Asks(MigrationOrder::kVerify));
  w.Finds(3);
  CHECK(w.phase() == MigrationPhase::kDiffers);
  CHECK_FALSE(w.Asks(MigrationOrder::kCutOver));
  CHECK(w.Log().back() == "differs: count-up, schema 1 to 2; 3 of 1000 records are not the same");
}

TEST_CASE("migrating: live inputs that wait go before the next slice, yet it never starves") {
  CountingStore store;
  store.rows = 1'000'000;
  World w(store);
  CHECK(w.Asks(MigrationOrder::kStart));
  w.Turn();
  w.publisher.waiting = 1000;
  const uint64_t before = store.slices;
  for (int turn = 0; turn < 500; ++turn) {  // a second
    w.Turn();
  }
  CHECK(store.slices - before >= 4);
  CHECK(store.slices - before <= 8);
}

TEST_CASE("migrating: how far it is, how fast and how long still") {
  CountingStore store;
  store.rows = 100'000;
  World w(store);
  CHECK(w.Asks(MigrationOrder::kStart));
  CHECK_FALSE(w.runner.status().migration.rows_per_second);
  for (int turn = 0; turn < 2500; ++turn) {
    w.Turn();
  }
  const MigrationFigures figures = w.runner.status().migration;
  REQUIRE(figures.rows_per_second);
  REQUIRE(figures.left);
  const double left = static_cast<double>(figures.status.rows_expected - figures.status.rows_done) /
                      *figures.rows_per_second;
  CHECK(static_cast<double>(figures.left->count()) / 1000 == doctest::Approx(left).epsilon(0.05));
  CHECK(figures.slices > 0);
}

TEST_CASE(
    "migration desk: orders are answered, and a comparison runs beside the loop until its end") {
  CountingStore store;
  store.status.phase = MigrationPhase::kFilled;
  store.status.schema = 1;
  Intake intake{10};
  MigrationDesk desk(1000, store, intake);
  const MigrationDoor door = desk.door();
  CHECK_FALSE(desk.Order(MigrationOrder::kPause, "alice", Duration(1)));  // nobody answers
  CHECK(intake.Drain(10, Duration(0)).size() == 1);
  CHECK(desk.comparison().id == 0);

  const Result<uint64_t> id = door.compare();
  REQUIRE(id);
  CHECK(*id > 1000);
  std::vector<Input> ended;
  for (int tries = 0; tries < 100 && ended.empty(); ++tries) {
    ended = intake.Drain(1, std::chrono::milliseconds(100));
  }
  REQUIRE(ended.size() == 1);
  const auto& end = std::get<ComparisonEnd>(ended.front());
  CHECK(end.id == *id);
  REQUIRE(end.found);
  CHECK(end.found->compared == store.rows);
  CHECK(desk.comparison().running);  // until what it found is kept
  door.compared(*id, Result<void>());
  CHECK_FALSE(desk.comparison().running);
  CHECK(desk.comparison().error.empty());

  // One that is stopped has no result; the desk's end waits for it.
  store.rows = ~uint64_t{0};
  const Result<uint64_t> second = door.compare();
  REQUIRE(second);
  CHECK(door.compare() == second);
  door.stop_comparing();
  ended.clear();
  for (int tries = 0; tries < 100 && ended.empty(); ++tries) {
    ended = intake.Drain(1, std::chrono::milliseconds(100));
  }
  REQUIRE(ended.size() == 1);
  CHECK_FALSE(std::get<ComparisonEnd>(ended.front()).found);
}

TEST_CASE("migration desk: its end stops a comparison that would take for ever") {
  CountingStore store;
  store.rows = ~uint64_t{0};
  Intake intake{10};
  MigrationDesk desk(1, store, intake);
  REQUIRE(desk.door().compare());
  // Nobody waits for an order any more.
  desk.Close();
  const auto began = std::chrono::steady_clock::now();
  CHECK_FALSE(desk.Order(MigrationOrder::kPause, "alice", std::chrono::minutes(1)));
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(30));
  CHECK_FALSE(desk.door().compare());
}

}  // namespace latchkey::bridge
