// The runner migrates the store beside everything else: it carries out what administrators order,
// keeps what a comparison found, and sweeps a slice between turns when the pace allows it. What is
// ordered and what is reached are entries of the log; an order is in it before it is carried out.
#include <algorithm>
#include <chrono>
#include <utility>

#include "bridge/core/migration_log.h"
#include "bridge/runner.h"

namespace latchkey::bridge {

namespace {

using storage::MigrationOrder;
using storage::MigrationPhase;

constexpr Duration kTellEvery = std::chrono::milliseconds(200);
constexpr Duration kBackOffFirst = std::chrono::seconds(1);
constexpr Duration kBackOffMost = std::chrono::seconds(15);

std::string CountOf(uint64_t count) {
  return std::to_string(count);
}

}  // namespace

// After a start, and after a failure of the store.
void Runner::GoOnMigrating() {
  ReadMigration();
  const storage::MigrationStatus& status = migrating_.figures.status;
  if (status.phase != MigrationPhase::kNone) {
    Say(LogEvent::Level::kInfo, "migration_goes_on",
        {{"name", status.name},
         {"phase", std::string(storage::MigrationPhaseName(status.phase))},
         {"paused", status.paused ? "yes" : "no"},
         {"rows_done", CountOf(status.rows_done)},
         {"rows_expected", CountOf(status.rows_expected)}});
  }
  migrating_.rate.Forget();
  migrating_.back_off = Duration(0);
  TellMigration();
}

void Runner::Migrate() {
  while (!migrating_.orders.empty() && !failure_) {
    const MigrationRequest request = std::move(migrating_.orders.front());
    migrating_.orders.pop_front();
    CarryOut(request);
  }
  while (!migrating_.ends.empty() && !failure_) {
    const ComparisonEnd end = std::move(migrating_.ends.front());
    migrating_.ends.pop_front();
    Keep(end);
  }
  if (!failure_) {
    Sweep();
  }
  if (parts_.clock().mono >= migrating_.told_at + kTellEvery) {
    TellMigration();
  }
}

// Those that came in a turn that was not kept.
void Runner::RefuseOrders(const std::string& why) {
  for (const MigrationRequest& request : std::exchange(migrating_.orders, {})) {
    Refuse(request, why);
  }
}

void Runner::Refuse(const MigrationRequest& request, const std::string& why) {
  parts_.migration.answered(
      {request.id, Fail(v1::REASON_STORE_UNAVAILABLE, "the store cannot write: " + why), 0});
}

void Runner::CarryOut(const MigrationRequest& request) {
  const Result<uint64_t> done = Obey(request);
  if (!done) {
    Say(LogEvent::Level::kWarning, "migration_refused",
        {{"order", std::string(storage::MigrationOrderName(request.order))},
         {"who", request.who},
         {"why", done.error().text}});
  }
  ReadMigration();
  TellMigration();
  parts_.migration.answered(
      {request.id, done ? Result<void>() : tl::unexpected<Error>(done.error()), done.value_or(0)});
}

// The id of a comparison; 0: the order is none for one.
Result<uint64_t> Runner::Obey(const MigrationRequest& request) {
  const storage::MigrationStatus before = parts_.store.Migration();
  LK_CHECK(storage::MayMigrate(before, request.order));
  LK_CHECK(Enter(OrderEntry(request.order, request.who, before, parts_.clock().wall)));
  Say(LogEvent::Level::kInfo, "migration_order",
      {{"order", std::string(storage::MigrationOrderName(request.order))}, {"who", request.who}});
  if (request.order == MigrationOrder::kVerify) {
    LK_TRY(migrating_.comparison, parts_.migration.compare());
    return migrating_.comparison;
  }
  if (request.order == MigrationOrder::kRollback || request.order == MigrationOrder::kFinish) {
    migrating_.comparison = 0;
    parts_.migration.stop_comparing();
  }
  const Result<void> done = parts_.store.Migrate(request.order, parts_.clock().wall);
  if (!done) {
    LK_CHECK(
        Enter(FailureEntry(request.order, request.who, done.error().text, parts_.clock().wall)));
    return tl::unexpected<Error>(done.error());
  }
  migrating_.rate.Forget();
  migrating_.back_off = Duration(0);
  const storage::MigrationStatus after = parts_.store.Migration();
  if (after.phase != before.phase) {
    // The order is carried out, whatever becomes of this entry.
    static_cast<void>(Enter(PhaseEntry(before, after, parts_.clock().wall)));
    Say(LogEvent::Level::kInfo, "migration_phase",
        {{"phase", std::string(storage::MigrationPhaseName(after.phase))},
         {"schema", CountOf(after.schema)}});
  }
  return uint64_t{0};
}

// An entry of the log, on the disk.
Result<void> Runner::Enter(v1::LogEntry entry) {
  if (failure_) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, failure_->why);
  }
  std::vector<storage::Change> changes;
  log_book_.Add(std::move(entry), changes);
  const Result<void> committed = Commit(changes, storage::Durability::kDurable);
  if (!committed) {
    Failed({}, committed.error());
  }
  return committed;
}

// An input that is stepped once more after a failure of the store is taken once.
void Runner::Take(const ComparisonEnd& end) {
  const auto known = [&](const ComparisonEnd& one) { return one.id == end.id; };
  if (std::none_of(migrating_.ends.begin(), migrating_.ends.end(), known)) {
    migrating_.ends.push_back(end);
  }
}

void Runner::Keep(const ComparisonEnd& end) {
  if (end.id != migrating_.comparison) {
    parts_.migration.compared(
        end.id, Fail(v1::REASON_NOT_ALLOWED, "what was compared is over: it was rolled back"));
    return;
  }
  if (!end.found) {
    Say(LogEvent::Level::kWarning, "comparison_ended_early", {{"why", end.found.error().text}});
    parts_.migration.compared(end.id, tl::unexpected<Error>(end.found.error()));
    return;
  }
  const Result<void> kept = parts_.store.Compared(*end.found, parts_.clock().wall);
  ReadMigration();
  TellMigration();
  parts_.migration.compared(end.id, kept);
  if (!kept) {
    Say(LogEvent::Level::kWarning, "comparison_not_kept", {{"why", kept.error().text}});
    return;
  }
  const storage::MigrationStatus& status = migrating_.figures.status;
  Say(end.found->differences == 0 ? LogEvent::Level::kInfo : LogEvent::Level::kWarning,
      "migration_compared",
      {{"phase", std::string(storage::MigrationPhaseName(status.phase))},
       {"records", CountOf(end.found->compared)},
       {"differences", CountOf(end.found->differences)}});
  static_cast<void>(Enter(ComparedEntry(*end.found, status, parts_.clock().wall)));
}

bool Runner::Sweeps() const {
  const storage::MigrationStatus& status = migrating_.figures.status;
  return status.phase == MigrationPhase::kBackfill && !status.paused && !failure_;
}

// nullopt: it does not.
std::optional<Duration> Runner::SweepsIn() const {
  if (!Sweeps()) {
    return std::nullopt;
  }
  return std::max(migrating_.next_at - parts_.clock().mono, Duration(0));
}

void Runner::Sweep() {
  const Instant now = parts_.clock().mono;
  if (!Sweeps() || now < migrating_.retry_at) {
    return;
  }
  const MigrationPace::Slice slice =
      migrating_.pace.Next({parts_.intake.size(), parts_.publisher.backlog()}, now);
  migrating_.next_at = now + slice.wait;
  if (slice.rows == 0) {
    return;
  }
  const auto began = std::chrono::steady_clock::now();
  const Result<bool> more = parts_.store.Sweep(slice.rows, parts_.clock().wall);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  MigrationFigures& figures = migrating_.figures;
  ++figures.slices;
  figures.slice_seconds_sum += seconds;
  const storage::MigrationStatus before = std::move(figures.status);
  ReadMigration();
  if (!more) {
    migrating_.back_off = std::clamp(migrating_.back_off * 2, kBackOffFirst, kBackOffMost);
    migrating_.retry_at = parts_.clock().mono + migrating_.back_off;
    migrating_.next_at = migrating_.retry_at;
    migrating_.rate.Forget();
    if (before.waits_for.empty()) {
      Say(LogEvent::Level::kWarning, "migration_waits", {{"why", more.error().text}});
    }
    TellMigration();
    return;
  }
  if (migrating_.back_off > Duration(0)) {
    migrating_.back_off = Duration(0);
    Say(LogEvent::Level::kInfo, "migration_waits_no_more", {});
  }
  const Instant done = parts_.clock().mono;
  migrating_.pace.Swept(slice.rows, seconds, done);
  migrating_.next_at = done;
  migrating_.rate.Note(figures.status.rows_done, done);
  if (!unsynced_) {
    unsynced_ = true;
    synced_at_ = done;
  }
  if (figures.status.phase != before.phase) {
    Say(LogEvent::Level::kInfo, "migration_phase",
        {{"phase", std::string(storage::MigrationPhaseName(figures.status.phase))},
         {"rows_done", CountOf(figures.status.rows_done)}});
    static_cast<void>(Enter(PhaseEntry(before, figures.status, parts_.clock().wall)));
    TellMigration();
  }
}

void Runner::ReadMigration() {
  migrating_.figures.status = parts_.store.Migration();
}

void Runner::TellMigration() {
  const Instant now = parts_.clock().mono;
  migrating_.told_at = now;
  MigrationFigures& figures = migrating_.figures;
  figures.share = Sweeps() ? migrating_.pace.share(now) : 0;
  figures.rows_per_second = Sweeps() ? migrating_.rate.PerSecond() : std::nullopt;
  figures.left = Sweeps() && figures.status.waits_for.empty()
                     ? migrating_.rate.Left(figures.status.rows_done, figures.status.rows_expected)
                     : std::nullopt;
  const std::scoped_lock lock(mutex_);
  status_.migration = figures;
}

}  // namespace latchkey::bridge
