// What an open database takes on disk and in memory, asked of RocksDB.
#pragma once

#include <vector>

#include "storage/rocksdb_store.h"

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
}  // namespace rocksdb

namespace latchkey::storage {

// `families` share one cache.
RocksDbFigures FiguresOf(rocksdb::DB& database,
                         const std::vector<rocksdb::ColumnFamilyHandle*>& families);

}  // namespace latchkey::storage
