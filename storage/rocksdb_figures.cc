// RocksDB's own figures. The cache also holds a place for the memtables' bytes, without any memory:
// that is not counted twice.
#include "storage/rocksdb_figures.h"

#include <algorithm>
#include <string>

#include <rocksdb/db.h>
#include <rocksdb/write_buffer_manager.h>

namespace latchkey::storage {

RocksDbFigures FiguresOf(rocksdb::DB& database,
                         const std::vector<rocksdb::ColumnFamilyHandle*>& families) {
  const auto ask = [&](rocksdb::ColumnFamilyHandle* family, const std::string& property) {
    uint64_t value = 0;
    return database.GetIntProperty(family, property, &value) ? value : uint64_t{0};
  };
  RocksDbFigures figures;
  uint64_t in_cache = 0;
  for (rocksdb::ColumnFamilyHandle* family : families) {
    figures.families.push_back({family->GetName(),
                                ask(family, rocksdb::DB::Properties::kTotalSstFilesSize),
                                ask(family, rocksdb::DB::Properties::kEstimateNumKeys)});
    figures.memtable_bytes += ask(family, rocksdb::DB::Properties::kSizeAllMemTables);
    in_cache = ask(family, rocksdb::DB::Properties::kBlockCacheUsage);
  }
  const auto& manager = database.GetDBOptions().write_buffer_manager;
  const uint64_t places = manager == nullptr ? 0 : manager->dummy_entries_in_cache_usage();
  figures.cache_bytes = in_cache - std::min(in_cache, places);
  return figures;
}

}  // namespace latchkey::storage
