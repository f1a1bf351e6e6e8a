// A migration takes a store from one schema version to the next beside live traffic: both shapes
// are written from its begin to its end, a cursor that survives everything sweeps what was there
// before, a verifier compares both, one write makes the new shape the one that is read, and until
// `finish` one write takes that back. This is its life as plain code: which order is allowed when,
// and what to do instead. Where the rows are moved is storage/migrator.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::storage {

enum class MigrationPhase : uint8_t {
  kNone,      // no migration: one shape
  kBackfill,  // both shapes are written; the cursor sweeps; reads are of the old one
  kFilled,    // everything is in both shapes; reads are of the old one; not compared yet
  kVerified,  // compared record by record, no difference: may be cut over
  kDiffers,   // compared, and not equal: cannot be cut over; roll back, or verify again
  kCutOver,   // reads are of the new shape; both are still written: can be rolled back
};

std::string_view MigrationPhaseName(MigrationPhase phase);  // "none" "backfill" "filled" ...

// What an administrator may ask for.
enum class MigrationOrder : uint8_t {
  kStart,  // none -> backfill: room is checked, families are made, both shapes are written
  kPause,  // the sweep stops; both shapes are still written
  kResume,
  kVerify,    // filled, differs, verified or cut over: compare (again)
  kCutOver,   // verified -> cut over, one durable write
  kRollback,  // backfill, filled, verified, differs -> none; cut over -> verified, one durable
              // write
  kFinish,    // cut over -> none at the new version; what only the old shape needs is dropped
};

std::string_view MigrationOrderName(MigrationOrder order);  // "start" "cutover" ...

// A record that is not the same in both shapes.
struct Mismatch {
  std::string key;   // printable
  std::string what;  // "missing in the new shape", "differs in payload", "only in the new shape"
};

// How a migration stands. Durable but for what is marked.
struct MigrationStatus {
  uint32_t schema = 0;  // version whose shape is read
  uint32_t from = 0;    // of the migration that runs, else 0
  uint32_t to = 0;
  std::string name;  // of the migration that runs, else of none
  MigrationPhase phase = MigrationPhase::kNone;
  bool paused = false;
  uint64_t rows_done = 0;      // swept
  uint64_t rows_expected = 0;  // about: what there was to sweep at the start
  uint64_t bytes_written = 0;  // by the sweep
  // Rows of the old shape that do not decode, by the sweep, then by the last verification: they are
  // left as they are, and go with the old shape.
  uint64_t damaged = 0;
  Timestamp started_at;
  Timestamp phase_at;     // when `phase` was reached
  Timestamp verified_at;  // 0: never
  uint64_t compared = 0;  // records, by the last verification
  uint64_t differences = 0;
  std::vector<Mismatch> mismatches;  // the first 100
  // Not durable: why the sweep does not go on though it is not paused ("needs 812 MB, 400 MB are
  // free: make room, it goes on by itself"); empty: it does.
  std::string waits_for;
};

// What can be done with a store of this version: the migrations this software has, in order.
struct MigrationPlan {
  uint32_t from = 0;
  uint32_t to = 0;
  std::string name;     // "split-commands"
  std::string summary;  // one sentence: what moves and why
  uint64_t rows = 0;    // about, to sweep
  uint64_t bytes = 0;   // about, of what is swept; as much room is needed again, with a reserve
};

inline constexpr size_t kMismatchesMax = 100;

// The result of a comparison of one moment.
struct Comparison {
  // Of which migration; `started_at` tells it from one of the same name before a rollback.
  uint32_t from = 0;
  uint32_t to = 0;
  Timestamp started_at;
  uint64_t compared = 0;  // records; those that are damaged in the old shape do not count
  uint64_t damaged = 0;   // in the old shape: there is nothing to compare with
  uint64_t differences = 0;
  std::vector<Mismatch> mismatches;  // the first kMismatchesMax
};

// Whether the order is allowed now, and if not, in words what to do instead. Error
// REASON_NOT_ALLOWED.
Result<void> MayMigrate(const MigrationStatus& status, MigrationOrder order);

}  // namespace latchkey::storage
