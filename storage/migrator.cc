// See migrator.h.
#include "storage/migrator.h"

#include <algorithm>
#include <utility>

#include "storage/shape.h"

namespace latchkey::storage {

namespace {

const MigrationSteps* FindFrom(const Migrations& known, uint32_t from) {
  const auto found = std::find_if(known.begin(), known.end(),
                                  [&](const MigrationSteps& one) { return one.from == from; });
  return found == known.end() ? nullptr : &*found;
}

std::string Megabytes(uint64_t bytes) {
  return std::to_string((bytes + (uint64_t{1} << 20) - 1) >> 20) + " MB";
}

}  // namespace

Result<void> Migrator::Load(uint32_t fresh) {
  SchemaState state;
  if (rows_.families().Has(Family::kMeta)) {
    LK_TRY(state, ReadSchemaState(rows_, known_, store_));
  }
  const bool is_new = state.status.schema == 0;
  if (is_new) {
    state.status.schema = fresh;
  }
  LK_CHECK(rows_.SetFamilies(state.families()));
  if (is_new) {
    return Save(std::move(state), Durability::kDurable);
  }
  state_ = std::move(state);
  return {};
}

Result<void> Migrator::Carry(MigrationOrder order, Timestamp now) {
  LK_CHECK(MayMigrate(state_.status, order));
  SchemaState next = state_;
  next.status.waits_for.clear();
  switch (order) {
    case MigrationOrder::kStart:
      return Start(now);
    case MigrationOrder::kPause:
    case MigrationOrder::kResume:
      next.status.paused = order == MigrationOrder::kPause;
      return Save(std::move(next), Durability::kDurable);
    case MigrationOrder::kVerify:
      return Fail(v1::REASON_NOT_ALLOWED, "to verify is to compare, which is no order to a store");
    case MigrationOrder::kCutOver:
      next.status.schema = next.status.to;
      next.status.phase = MigrationPhase::kCutOver;
      next.status.phase_at = now;
      return Save(std::move(next), Durability::kDurable);
    case MigrationOrder::kRollback:
      if (next.status.phase != MigrationPhase::kCutOver) {
        return End(next.status.from);
      }
      next.status.schema = next.status.from;
      next.status.phase =
          next.status.differences == 0 ? MigrationPhase::kVerified : MigrationPhase::kDiffers;
      next.status.phase_at = now;
      return Save(std::move(next), Durability::kDurable);
    case MigrationOrder::kFinish:
      return End(next.status.to);
  }
  return {};
}

Result<void> Migrator::Start(Timestamp now) {
  const MigrationSteps* steps = FindFrom(known_, state_.status.schema);
  if (steps == nullptr) {
    return Fail(v1::REASON_NOT_ALLOWED, store_ + " has schema version " +
                                            std::to_string(state_.status.schema) +
                                            ", the newest: there is nothing to migrate");
  }
  const FamilySize size = rows_.SizeOf(steps->source);
  SchemaState next;
  next.steps = steps;
  next.bytes_expected = size.bytes;
  next.status.schema = steps->from;
  next.status.from = steps->from;
  next.status.to = steps->to;
  next.status.name = steps->name;
  next.status.phase = MigrationPhase::kBackfill;
  next.status.rows_expected = size.rows;
  next.status.started_at = now;
  next.status.phase_at = now;
  LK_CHECK(CheckRoom(next));
  // What an earlier one left behind must not be there.
  LK_CHECK(rows_.SetFamilies(state_.families()));
  LK_CHECK(rows_.SetFamilies(next.families()));
  return Save(std::move(next), Durability::kDurable);
}

// It holds once it is said in `meta`; families that could not be dropped are dropped by the next
// start of the store or of a migration.
Result<void> Migrator::End(uint32_t schema) {
  SchemaState next;
  next.status.schema = schema;
  LK_CHECK(Save(std::move(next), Durability::kDurable));
  static_cast<void>(rows_.SetFamilies(state_.families()));
  return {};
}

Result<void> Migrator::Save(SchemaState next, Durability durability, std::vector<RowOp> ops) {
  for (RowOp& op : EncodeSchemaState(next)) {
    ops.push_back(std::move(op));
  }
  LK_CHECK(rows_.Write(ops, durability));
  state_ = std::move(next);
  return {};
}

Result<void> Migrator::CheckRoom(const SchemaState& state) const {
  const MigrationStatus& status = state.status;
  const Room room = rows_.room();
  const uint64_t left = status.rows_expected - std::min(status.rows_done, status.rows_expected);
  const uint64_t bytes =
      status.rows_expected == 0 ? 0 : state.bytes_expected / status.rows_expected * left;
  const uint64_t needed = bytes / 100 * state.steps->written_percent + room.free_bytes_min;
  if (room.free_bytes < needed) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, "migration " + status.name + " needs " +
                                                  Megabytes(needed) + ", " +
                                                  Megabytes(room.free_bytes) + " are free where " +
                                                  store_ + " is: make room, it goes on by itself");
  }
  return {};
}

Result<bool> Migrator::Sweep(uint64_t rows_max, Timestamp now) {
  if (state_.status.phase != MigrationPhase::kBackfill || state_.status.paused) {
    return false;
  }
  const Result<bool> more = SweepSlice(rows_max, now);
  Waits(more ? "" : more.error().text);
  return more;
}

Result<bool> Migrator::SweepSlice(uint64_t rows_max, Timestamp now) {
  LK_CHECK(CheckRoom(state_));
  SchemaState next = state_;
  std::vector<RowOp> ops;
  uint64_t rows = 0;
  uint64_t bytes_read = 0;
  bool more = false;
  const std::string begin = state_.cursor.empty() ? "" : state_.cursor + '\0';
  LK_CHECK(rows_.Each(
      state_.steps->source, begin, "", [&](std::string_view key, std::string_view value) {
        more = rows >= std::max<uint64_t>(rows_max, 1) || bytes_read >= kSweepBytesMax;
        if (more) {
          return false;
        }
        Result<std::vector<PutRow>> made = state_.steps->transform(key, value);
        next.status.damaged += made ? 0 : 1;
        for (PutRow& row : made.value_or(std::vector<PutRow>())) {
          next.status.bytes_written += row.key.size() + row.value.size();
          ops.emplace_back(std::move(row));
        }
        next.cursor = std::string(key);
        bytes_read += key.size() + value.size();
        ++rows;
        return true;
      }));
  next.status.rows_done += rows;
  if (!more) {
    next.status.phase = MigrationPhase::kFilled;
    next.status.phase_at = now;
    next.cursor.clear();
  }
  LK_CHECK(Save(std::move(next), Durability::kSoon, std::move(ops)));
  return more;
}

Result<void> Migrator::Compared(const Comparison& comparison, Timestamp now) {
  LK_CHECK(MayMigrate(state_.status, MigrationOrder::kVerify));
  SchemaState next = state_;
  MigrationStatus& status = next.status;
  if (comparison.from != status.from || comparison.to != status.to ||
      comparison.started_at.ms != status.started_at.ms) {
    return Fail(v1::REASON_NOT_ALLOWED,
                "the comparison is of a migration that is over: verify again");
  }
  status.verified_at = now;
  status.compared = comparison.compared;
  status.damaged = comparison.damaged;
  status.differences = comparison.differences;
  status.mismatches = comparison.mismatches;
  status.mismatches.resize(std::min(status.mismatches.size(), kMismatchesMax));
  if (status.phase != MigrationPhase::kCutOver) {
    status.phase =
        comparison.differences == 0 ? MigrationPhase::kVerified : MigrationPhase::kDiffers;
    status.phase_at = now;
  }
  return Save(std::move(next), Durability::kDurable);
}

Result<std::optional<MigrationPlan>> PlanOf(const RowEngine& rows, const Migrations& known,
                                            const MigrationStatus& status) {
  const bool runs = status.phase != MigrationPhase::kNone;
  const MigrationSteps* steps = FindFrom(known, runs ? status.from : status.schema);
  if (steps == nullptr) {
    return std::nullopt;
  }
  const FamilySize size = rows.SizeOf(steps->source);
  return MigrationPlan{steps->from, steps->to, steps->name, steps->summary, size.rows, size.bytes};
}

}  // namespace latchkey::storage
