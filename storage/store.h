// The store as the bridge sees it: apply a batch, read records. Everything an engine must offer, no
// more; each implementation passes storage/store_contract_test.cc.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "proto/result.h"
#include "storage/migration.h"
#include "storage/records.h"
#include "storage/rows.h"

namespace latchkey::storage {

// As LastLog's `through`: all there are.
inline constexpr uint64_t kWholeLog = ~uint64_t{0};

// A point-in-time view. Safe to use from any thread, beside the writer.
class Reader {
 public:
  virtual ~Reader() = default;
  // Calls `visit` for each record of a kind in key order, `ref` alone or all cars. A record that
  // does not decode is given to `damaged` (its key and why) and skipped: never served.
  virtual Result<void> Scan(
      Kind kind, const std::optional<CarRef>& ref, const std::function<void(const Record&)>& visit,
      const std::function<void(std::string_view key, const Error&)>& damaged) const = 0;
  // Log records from a sequence on, in order, until `visit` returns false. A damaged one is given
  // to `damaged` and skipped, as in Scan.
  virtual Result<void> ScanLog(
      uint64_t from, const std::function<bool(const LogRecord&)>& visit,
      const std::function<void(std::string_view key, const Error&)>& damaged) const = 0;

  // As ScanLog, of the records that name this car (proto/log_chain.h, CarsNamed), and maybe of
  // others: a store of a schema version below 3 gives them all. Who asks looks at each.
  virtual Result<void> ScanLogOf(
      const CarRef& /*ref*/, uint64_t from, const std::function<bool(const LogRecord&)>& visit,
      const std::function<void(std::string_view key, const Error&)>& damaged) const {
    return ScanLog(from, visit, damaged);
  }

  // The last log record up to and with `through` that can be read; nullopt: there is none. Damaged
  // ones on the way there are given to `damaged`, the last first.
  virtual Result<std::optional<LogRecord>> LastLog(
      uint64_t through,
      const std::function<void(std::string_view key, const Error&)>& damaged) const = 0;
};

// Thread rule: Commit and Sync from one thread (the runner); Snapshot from any.
class Store {
 public:
  virtual ~Store() = default;
  // All changes or none. Error REASON_STORE_UNAVAILABLE with what to do (disk full, I/O error);
  // nothing of the batch is then promised.
  virtual Result<void> Commit(std::span<const Change> changes, Durability durability) = 0;
  // Makes all committed changes durable.
  virtual Result<void> Sync() = 0;
  virtual std::unique_ptr<Reader> Snapshot() const = 0;

  // --- Migrations (storage/migration.h). An engine without them has the defaults.

  // How it stands; from any thread.
  virtual MigrationStatus Migration() const { return {}; }

  // What may be migrated next, with its size; nullopt: the newest shape is in force. Any thread.
  virtual Result<std::optional<MigrationPlan>> PlanMigration() const { return std::nullopt; }

  // Carries out an order but kVerify (see Compare), durably. Writer's thread. Errors: the order is
  // not allowed now (MayMigrate), REASON_STORE_UNAVAILABLE with the room that is needed.
  virtual Result<void> Migrate(MigrationOrder /*order*/, Timestamp /*now*/) {
    return NoMigrations();
  }

  // Sweeps at most `rows_max` rows more, with the cursor in the same batch. Writer's thread. True:
  // there is more. Error REASON_STORE_UNAVAILABLE: too little room or a write that failed; it is
  // in `waits_for` then and the next call tries again. Does nothing outside kBackfill or paused.
  virtual Result<bool> Sweep(uint64_t /*rows_max*/, Timestamp /*now*/) { return false; }

  // Compares all records of both shapes on one snapshot; any thread, beside the writer; ends early
  // with an error when `go_on` says false (called often; `compared` so far).
  virtual Result<Comparison> Compare(
      const std::function<bool(uint64_t compared)>& /*go_on*/) const {
    return NoMigrations();
  }

  // Keeps what Compare found: kVerified or kDiffers, or after the cut-over only the counts.
  // Writer's thread. A comparison of a migration that is over is refused.
  virtual Result<void> Compared(const Comparison& /*comparison*/, Timestamp /*now*/) {
    return NoMigrations();
  }

  // Rewrites what is kept, so that nothing is left of what was erased or replaced before. Takes
  // long and as much room again as the store has. From any thread, beside the writer; an engine
  // that keeps nothing of the past has nothing to do. Error REASON_STORE_UNAVAILABLE.
  virtual Result<void> Scrub() const { return {}; }

 private:
  static tl::unexpected<Error> NoMigrations() {
    return Fail(v1::REASON_NOT_ALLOWED, "this store has no migrations");
  }
};

}  // namespace latchkey::storage
