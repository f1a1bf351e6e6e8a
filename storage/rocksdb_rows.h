// Rows in RocksDB: a column family each.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <rocksdb/db.h>

#include "storage/rows.h"

namespace latchkey::storage {

// The families of an open database. A handle lives as long as somebody reads it, also when its
// family was dropped: its rows are there as long.
struct RocksDbTables {
  using Handle = std::shared_ptr<rocksdb::ColumnFamilyHandle>;

  std::array<Handle, kFamilies.size()> by_family;  // null: there is none
  Handle unnamed;                                  // RocksDB's own, always empty

  rocksdb::ColumnFamilyHandle* Of(Family family) const {
    return by_family.at(static_cast<size_t>(family)).get();
  }

  std::vector<rocksdb::ColumnFamilyHandle*> All() const;
};

// An open database and its families. Both null: it could not be opened again.
struct RocksDbGrip {
  std::shared_ptr<rocksdb::DB> database;
  std::shared_ptr<const RocksDbTables> tables;
};

// Not copyable. Thread rule: as RowEngine. Outlives its snapshots.
class RocksDbRows final : public RowEngine {
 public:
  // `free_bytes`: how many are free where `path` is; empty: the file system is asked.
  RocksDbRows(std::string path, uint64_t free_bytes_min, std::function<uint64_t()> free_bytes);
  ~RocksDbRows() override;
  RocksDbRows(const RocksDbRows&) = delete;
  RocksDbRows& operator=(const RocksDbRows&) = delete;

  // Opens what is there, or makes a database with nothing but `meta`. Errors
  // REASON_STORE_UNAVAILABLE: another process has it, damage that recovery cannot pass, disk full.
  Result<void> Open();

  Result<std::optional<std::string>> Get(Family family, std::string_view key) const override;
  std::unique_ptr<RowCursor> Rows(Family family, std::string_view begin,
                                  std::string_view end) const override;
  std::unique_ptr<RowCursor> RowsBack(Family family, std::string_view through) const override;
  Result<bool> Heal() override;
  Result<void> Write(std::span<const RowOp> ops, Durability durability) override;
  Result<void> Sync() override;
  std::unique_ptr<RowReader> Snapshot() const override;
  FamilySet families() const override;
  Result<void> SetFamilies(FamilySet families) override;
  FamilySize SizeOf(Family family) const override;
  Room room() const override;

  // Any thread. As long as it is held, a store that has failed is not opened again.
  RocksDbGrip Share() const;

  const std::string& path() const { return path_; }

 private:
  void Keep(std::shared_ptr<rocksdb::DB> database, std::shared_ptr<const RocksDbTables> tables);

  const std::string path_;
  const uint64_t free_bytes_min_;
  const std::function<uint64_t()> free_bytes_;
  std::shared_ptr<rocksdb::Cache> cache_;
  bool failed_ = false;  // the last write failed
  // The writer's thread alone changes it, under the mutex.
  RocksDbGrip grip_;
  mutable std::mutex mutex_;
};

}  // namespace latchkey::storage
