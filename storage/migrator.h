// Moves a store from one schema version to the next beside its commits: the life that
// storage/migration.h describes, on any engine of rows (pure).
//
// The store has one writer: a slice of the sweep reads what is there now and writes it in one batch
// with the cursor, so it can neither overwrite what is newer nor bring back what was deleted, and
// needs no tombstones. Every step is one batch, so it is safe to die anywhere: what a start finds
// in `meta` is what holds, and families that this does not need are dropped.
#pragma once

#include <cstdint>
#include <string>

#include "proto/result.h"
#include "proto/time.h"
#include "storage/migration.h"
#include "storage/migrations.h"
#include "storage/rows.h"
#include "storage/schema_state.h"

namespace latchkey::storage {

// Bytes of the old shape that one slice of a sweep reads, about.
inline constexpr uint64_t kSweepBytesMax = uint64_t{256} << 10;

// One thread, the writer's. `rows` and `known` outlive it.
class Migrator {
 public:
  Migrator(RowEngine& rows, const Migrations& known, std::string store)
      : rows_(rows), known_(known), store_(std::move(store)) {}

  // Reads what the store says of itself; a new one begins at version `fresh`. Makes the families
  // that are missing and drops those that nothing needs. Errors REASON_STORE_UNAVAILABLE:
  // ParseSchemaState's, and the engine's.
  Result<void> Load(uint32_t fresh);

  const SchemaState& state() const { return state_; }

  // As Store has them.
  Result<void> Carry(MigrationOrder order, Timestamp now);
  Result<bool> Sweep(uint64_t rows_max, Timestamp now);
  Result<void> Compared(const Comparison& comparison, Timestamp now);

  // Says why the sweep does not go on.
  void Waits(std::string why) { state_.status.waits_for = std::move(why); }

 private:
  Result<void> Start(Timestamp now);
  Result<void> End(uint32_t schema);
  Result<void> Save(SchemaState next, Durability durability, std::vector<RowOp> ops = {});
  Result<void> CheckRoom(const SchemaState& state) const;
  Result<bool> SweepSlice(uint64_t rows_max, Timestamp now);

  RowEngine& rows_;
  const Migrations& known_;
  const std::string store_;
  SchemaState state_;
};

// What could be started, or runs, in a store with this status; nullopt: the newest shape is in
// force. Any thread.
Result<std::optional<MigrationPlan>> PlanOf(const RowEngine& rows, const Migrations& known,
                                            const MigrationStatus& status);

// Compares both shapes of the migration that `rows` say is running. Error REASON_NOT_ALLOWED: none
// is, or it is not filled yet; REASON_CANCELLED: `go_on` said so; those of reading.
Result<Comparison> CompareShapes(const RowReader& rows, const Migrations& known,
                                 const std::string& store,
                                 const std::function<bool(uint64_t compared)>& go_on);

}  // namespace latchkey::storage
