// Store on RocksDB: a column family per family of rows. A new store is made with the newest shape;
// one that is there keeps its own until it is migrated. Commit refuses well before the disk is full
// and works again by itself once there is room. After a write that failed the store is opened again
// by the next Commit, as often as it takes: what had been committed durably is there, what had
// failed is there or not, and from then on stays so.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "storage/migrations.h"
#include "storage/typed_store.h"

namespace rocksdb {
class DB;
}  // namespace rocksdb

namespace latchkey::storage {

struct RocksDbOptions {
  std::filesystem::path path;
  // Below this many free bytes Commit is refused: twice the log's bound (64 MB) and the memtables.
  uint64_t free_bytes_min = uint64_t{256} << 20;
  // How many bytes are free where the store is; empty: ask the file system.
  std::function<uint64_t()> free_bytes;
  uint32_t fresh_schema = 0;                 // version of a store that is made; 0: the newest
  Migrations migrations = RealMigrations();  // that it knows
};

class RocksDbRows;

// What a store takes, as RocksDB itself says.
struct RocksDbFigures {
  struct Family {
    std::string name;
    uint64_t table_bytes = 0;  // of its files
    uint64_t keys = 0;         // about: one that was erased may be counted until it is compacted
  };

  std::vector<Family> families;
  // Memory.
  uint64_t memtable_bytes = 0;
  uint64_t cache_bytes = 0;  // blocks of tables, with their indexes and filters
};

// Not copyable. Thread rule: as Store. Outlives its Readers. One process at a time has it open.
class RocksDbStore final : public TypedStore {
 public:
  // Opens or creates the folder `path` (mode 0700) and the store in it. Errors
  // REASON_STORE_UNAVAILABLE: the folder cannot be made, another process has it, a newer software's
  // schema, damage that recovery cannot pass, disk full.
  static Result<std::unique_ptr<RocksDbStore>> Open(const RocksDbOptions& options);
  // Whether this software may open the store that is there, also while another process has it open.
  // Changes nothing. Error REASON_STORE_UNAVAILABLE: newer software wrote it, or there is no room.
  static Result<void> MayOpen(const RocksDbOptions& options);
  ~RocksDbStore() override;

  // Names of files' first and last keys stay in RocksDB's manifest until the store is opened again.
  Result<void> Scrub() const override;
  // Moves what the write-ahead logs hold into tables, so that whoever opens the store next reads
  // little of them. From any thread, beside the writer. Error REASON_STORE_UNAVAILABLE.
  Result<void> Flush() const;
  // From any thread. All 0 while the store is being opened again.
  RocksDbFigures Figures() const;
  // Gives `use` the open database, for rocksdb_backup.h; from any thread. While it runs, a store
  // that has failed is not opened again: it ends soon then. Errors: REASON_STORE_UNAVAILABLE when
  // the store is being opened again, and those of `use`.
  Result<void> With(const std::function<Result<void>(rocksdb::DB& database)>& use) const;

 private:
  RocksDbStore(std::unique_ptr<RocksDbRows> rows, const RocksDbOptions& options);

  const std::unique_ptr<RocksDbRows> rows_;
};

}  // namespace latchkey::storage
