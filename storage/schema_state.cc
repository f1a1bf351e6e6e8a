// See schema_state.h.
#include "storage/schema_state.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "latchkey/v1/migration.pb.h"
#include "storage/shape.h"

namespace latchkey::storage {

namespace {

tl::unexpected<Error> Unreadable(const std::string& store, const std::string& what) {
  return Fail(v1::REASON_STORE_UNAVAILABLE,
              what + " of " + store +
                  " cannot be read: restore a backup, or move the folder away and start anew");
}

std::optional<MigrationPhase> PhaseFromWire(v1::MigrationPhase phase) {
  switch (phase) {
    case v1::MIGRATION_PHASE_BACKFILL:
      return MigrationPhase::kBackfill;
    case v1::MIGRATION_PHASE_FILLED:
      return MigrationPhase::kFilled;
    case v1::MIGRATION_PHASE_VERIFIED:
      return MigrationPhase::kVerified;
    case v1::MIGRATION_PHASE_DIFFERS:
      return MigrationPhase::kDiffers;
    case v1::MIGRATION_PHASE_CUT_OVER:
      return MigrationPhase::kCutOver;
    case v1::MIGRATION_PHASE_UNSPECIFIED:
    case v1::MigrationPhase_INT_MIN_SENTINEL_DO_NOT_USE_:
    case v1::MigrationPhase_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return std::nullopt;
}

v1::MigrationPhase PhaseToWire(MigrationPhase phase) {
  switch (phase) {
    case MigrationPhase::kNone:
      break;
    case MigrationPhase::kBackfill:
      return v1::MIGRATION_PHASE_BACKFILL;
    case MigrationPhase::kFilled:
      return v1::MIGRATION_PHASE_FILLED;
    case MigrationPhase::kVerified:
      return v1::MIGRATION_PHASE_VERIFIED;
    case MigrationPhase::kDiffers:
      return v1::MIGRATION_PHASE_DIFFERS;
    case MigrationPhase::kCutOver:
      return v1::MIGRATION_PHASE_CUT_OVER;
  }
  return v1::MIGRATION_PHASE_UNSPECIFIED;
}

Timestamp TimeOf(uint64_t ms) {
  return Timestamp{static_cast<int64_t>(ms)};
}

SchemaState StateOf(const v1::Migration& wire, MigrationPhase phase) {
  SchemaState state;
  MigrationStatus& status = state.status;
  status.from = wire.from();
  status.to = wire.to();
  status.name = wire.name();
  status.phase = phase;
  status.paused = wire.paused();
  status.rows_done = wire.rows_done();
  status.rows_expected = wire.rows_expected();
  status.bytes_written = wire.bytes_written();
  status.damaged = wire.damaged();
  status.started_at = TimeOf(wire.started_at_ms());
  status.phase_at = TimeOf(wire.phase_at_ms());
  status.verified_at = TimeOf(wire.verified_at_ms());
  status.compared = wire.compared();
  status.differences = wire.differences();
  for (const v1::MigrationMismatch& one : wire.mismatches()) {
    status.mismatches.push_back({one.key(), one.what()});
  }
  state.cursor = wire.cursor();
  state.bytes_expected = wire.bytes_expected();
  return state;
}

v1::Migration WireOf(const SchemaState& state) {
  const MigrationStatus& status = state.status;
  const auto ms = [](Timestamp time) { return static_cast<uint64_t>(time.ms); };
  v1::Migration wire;
  wire.set_from(status.from);
  wire.set_to(status.to);
  wire.set_name(status.name);
  wire.set_phase(PhaseToWire(status.phase));
  wire.set_paused(status.paused);
  wire.set_cursor(state.cursor);
  wire.set_rows_done(status.rows_done);
  wire.set_rows_expected(status.rows_expected);
  wire.set_bytes_expected(state.bytes_expected);
  wire.set_bytes_written(status.bytes_written);
  wire.set_damaged(status.damaged);
  wire.set_started_at_ms(ms(status.started_at));
  wire.set_phase_at_ms(ms(status.phase_at));
  wire.set_verified_at_ms(ms(status.verified_at));
  wire.set_compared(status.compared);
  wire.set_differences(status.differences);
  for (const Mismatch& one : status.mismatches) {
    v1::MigrationMismatch& added = *wire.add_mismatches();
    added.set_key(one.key);
    added.set_what(one.what);
  }
  return wire;
}

}  // namespace

FamilySet SchemaState::families() const {
  return status.phase == MigrationPhase::kNone
             ? FamiliesOf(status.schema)
             : FamiliesOf(status.from).With(FamiliesOf(status.to));
}

std::string NewerText(const std::string& store, const std::string& what, const Migrations& known) {
  return store + " was written by newer software (" + what +
         "); this software reads schema versions up to " + std::to_string(NewestSchema(known)) +
         ": start the newer one, or restore a backup made by this one";
}

Result<SchemaState> ParseSchemaState(const std::optional<std::string>& version,
                                     const std::optional<std::string>& migration,
                                     const Migrations& known, const std::string& store) {
  SchemaState state;
  if (!version) {
    return migration ? Result<SchemaState>(Unreadable(store, "the schema version")) : state;
  }
  uint32_t schema = 0;
  const char* const end = version->data() + version->size();
  const auto parsed = std::from_chars(version->data(), end, schema);
  if (parsed.ec != std::errc() || parsed.ptr != end || schema < kSchemaVersionMin) {
    return Unreadable(store, "the schema version");
  }
  if (schema > NewestSchema(known)) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                NewerText(store, "schema version " + *version, known));
  }
  if (migration) {
    v1::Migration wire;
    if (!wire.ParseFromString(*migration)) {
      return Unreadable(store, "the state of the migration");
    }
    const auto steps = std::find_if(known.begin(), known.end(), [&](const MigrationSteps& one) {
      return one.from == wire.from() && one.to == wire.to() && one.name == wire.name();
    });
    if (steps == known.end()) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  NewerText(store, "migration '" + wire.name() + "' runs", known));
    }
    const std::optional<MigrationPhase> phase = PhaseFromWire(wire.phase());
    if (!phase || schema != (*phase == MigrationPhase::kCutOver ? wire.to() : wire.from())) {
      return Unreadable(store, "the state of the migration");
    }
    state = StateOf(wire, *phase);
    state.steps = &*steps;
  }
  state.status.schema = schema;
  return state;
}

Result<SchemaState> ReadSchemaState(const RowReader& rows, const Migrations& known,
                                    const std::string& store) {
  LK_TRY(const std::optional<std::string> version, rows.Get(Family::kMeta, kSchemaVersionKey));
  LK_TRY(const std::optional<std::string> migration, rows.Get(Family::kMeta, kMigrationKey));
  return ParseSchemaState(version, migration, known, store);
}

std::vector<RowOp> EncodeSchemaState(const SchemaState& state) {
  std::vector<RowOp> ops = {
      PutRow{Family::kMeta, std::string(kSchemaVersionKey), std::to_string(state.status.schema)}};
  if (state.status.phase == MigrationPhase::kNone) {
    ops.emplace_back(DeleteRow{Family::kMeta, std::string(kMigrationKey)});
  } else {
    ops.emplace_back(
        PutRow{Family::kMeta, std::string(kMigrationKey), WireOf(state).SerializeAsString()});
  }
  return ops;
}

}  // namespace latchkey::storage
