// A store of records on any engine of rows: shapes, migrations and reading are the same for all.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "storage/migrations.h"
#include "storage/migrator.h"
#include "storage/rows.h"
#include "storage/store.h"

namespace latchkey::storage {

// Not copyable. Thread rule: as Store.
class TypedStore : public Store {
 public:
  TypedStore(const TypedStore&) = delete;
  TypedStore& operator=(const TypedStore&) = delete;

  Result<void> Commit(std::span<const Change> changes, Durability durability) override;
  Result<void> Sync() override;
  std::unique_ptr<Reader> Snapshot() const override;
  MigrationStatus Migration() const override;
  Result<std::optional<MigrationPlan>> PlanMigration() const override;
  Result<void> Migrate(MigrationOrder order, Timestamp now) override;
  Result<bool> Sweep(uint64_t rows_max, Timestamp now) override;
  Result<Comparison> Compare(const std::function<bool(uint64_t compared)>& go_on) const override;
  Result<void> Compared(const Comparison& comparison, Timestamp now) override;

 protected:
  // `rows` belongs to the derived class and outlives every call. `fresh_schema`: version of a store
  // that is new; 0: the newest that `migrations` lead to. `name`: of the store, for texts.
  TypedStore(RowEngine& rows, Migrations migrations, uint32_t fresh_schema, std::string name);

  // Reads the schema's state out of the rows; before any other call, and whenever the rows may be
  // others. Errors REASON_STORE_UNAVAILABLE.
  Result<void> Load();

 private:
  Result<void> Heal();
  void Show();

  RowEngine& rows_;
  const Migrations migrations_;
  const uint32_t fresh_schema_;
  const std::string name_;
  Migrator migrator_;
  bool loaded_ = false;
  mutable std::mutex mutex_;
  MigrationStatus shown_;  // under mutex_
};

}  // namespace latchkey::storage
