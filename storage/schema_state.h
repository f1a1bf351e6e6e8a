// What a store says of itself in its family `meta` (pure): the schema version whose shape is read,
// and the migration that runs.
//
//   schema_version  decimal digits: the version whose shape is read
//   migration       v1.Migration; there only while one runs
//
// Software that does not know either refuses the store. A version of its own for "the oldest
// software that may read this" would add nothing: an older one refuses every version above its own
// and every family it does not know, and a shape of the version it knows is whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "storage/migration.h"
#include "storage/migrations.h"
#include "storage/rows.h"

namespace latchkey::storage {

inline constexpr std::string_view kSchemaVersionKey = "schema_version";
inline constexpr std::string_view kMigrationKey = "migration";

struct SchemaState {
  MigrationStatus status;  // schema 0: nothing is said, the store is new
  std::string cursor;      // key that was swept last
  uint64_t bytes_expected = 0;
  const MigrationSteps* steps = nullptr;  // of the migration that runs

  // The families that its shape, or its two, are in.
  FamilySet families() const;
};

// What the two values say; nullopt: there is none. `store` names it in texts. Errors
// REASON_STORE_UNAVAILABLE: newer software wrote it, or it cannot be read; the text says what to
// do.
Result<SchemaState> ParseSchemaState(const std::optional<std::string>& version,
                                     const std::optional<std::string>& migration,
                                     const Migrations& known, const std::string& store);
// Likewise, out of `meta`.
Result<SchemaState> ReadSchemaState(const RowReader& rows, const Migrations& known,
                                    const std::string& store);
// Writes both; what is not the case any more is deleted.
std::vector<RowOp> EncodeSchemaState(const SchemaState& state);

// "the store in /x was written by newer software (...): ..."
std::string NewerText(const std::string& store, const std::string& what, const Migrations& known);

}  // namespace latchkey::storage
