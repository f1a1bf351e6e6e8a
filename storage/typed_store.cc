// See typed_store.h.
#include "storage/typed_store.h"

#include <utility>

#include "storage/shape.h"
#include "storage/shaped_reader.h"

namespace latchkey::storage {

TypedStore::TypedStore(RowEngine& rows, Migrations migrations, uint32_t fresh_schema,
                       std::string name)
    : rows_(rows),
      migrations_(std::move(migrations)),
      fresh_schema_(fresh_schema == 0 ? NewestSchema(migrations_) : fresh_schema),
      name_(std::move(name)),
      migrator_(rows_, migrations_, name_) {}

Result<void> TypedStore::Load() {
  const Result<void> loaded = migrator_.Load(fresh_schema_);
  loaded_ = loaded.has_value();
  Show();
  return loaded;
}

Result<void> TypedStore::Heal() {
  LK_TRY(const bool opened_again, rows_.Heal());
  loaded_ = loaded_ && !opened_again;
  return loaded_ ? Result<void>() : Load();
}

void TypedStore::Show() {
  const std::scoped_lock lock(mutex_);
  shown_ = migrator_.state().status;
}

Result<void> TypedStore::Commit(std::span<const Change> changes, Durability durability) {
  LK_CHECK(CheckRoom(rows_.room(), name_));
  LK_CHECK(Heal());
  RowBatch batch(rows_, migrator_.state().families());
  for (const Change& change : changes) {
    LK_CHECK(batch.Add(change));
  }
  return rows_.Write(batch.ops(), durability);
}

Result<void> TypedStore::Sync() {
  LK_CHECK(Heal());
  return rows_.Sync();
}

// What is read is what the rows themselves say at that moment.
std::unique_ptr<Reader> TypedStore::Snapshot() const {
  std::unique_ptr<RowReader> rows = rows_.Snapshot();
  Result<uint32_t> schema =
      ReadSchemaState(*rows, migrations_, name_).transform([](const SchemaState& state) {
        return state.status.schema;
      });
  return MakeShapedReader(std::move(rows), std::move(schema));
}

MigrationStatus TypedStore::Migration() const {
  const std::scoped_lock lock(mutex_);
  return shown_;
}

Result<std::optional<MigrationPlan>> TypedStore::PlanMigration() const {
  return PlanOf(rows_, migrations_, Migration());
}

Result<void> TypedStore::Migrate(MigrationOrder order, Timestamp now) {
  LK_CHECK(Heal());
  const Result<void> carried = migrator_.Carry(order, now);
  Show();
  return carried;
}

Result<bool> TypedStore::Sweep(uint64_t rows_max, Timestamp now) {
  const Result<void> healed = Heal();
  const Result<bool> more =
      healed ? migrator_.Sweep(rows_max, now) : Result<bool>(tl::unexpected<Error>(healed.error()));
  if (!healed) {
    migrator_.Waits(healed.error().text);
  }
  Show();
  return more;
}

Result<Comparison> TypedStore::Compare(const std::function<bool(uint64_t compared)>& go_on) const {
  return CompareShapes(*rows_.Snapshot(), migrations_, name_, go_on);
}

Result<void> TypedStore::Compared(const Comparison& comparison, Timestamp now) {
  LK_CHECK(Heal());
  const Result<void> kept = migrator_.Compared(comparison, now);
  Show();
  return kept;
}

}  // namespace latchkey::storage
