// One commit as a RocksDB batch. Old history and sessions are forgotten key by key, as each car
// does it again and again and a tombstone per range would pile up before every reader; the log and
// whole cars by range.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <utility>

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include "storage/records.h"

namespace latchkey::storage {

// For one commit; does not outlive the database.
class RocksDbBatch {
 public:
  using FamilyOf = std::function<rocksdb::ColumnFamilyHandle*(Kind)>;

  RocksDbBatch(rocksdb::DB& database, FamilyOf family);

  // Appends a change; changes apply in order. Not ok: reading what to forget failed, or the batch
  // cannot take it.
  rocksdb::Status Add(const Change& change);

  rocksdb::WriteBatch& batch() { return batch_; }

 private:
  rocksdb::Status Put(const KeyValue& bytes);
  rocksdb::Status Erase(const KeyRange& range);
  rocksdb::Status EraseEach(const KeyRange& range);

  rocksdb::DB& database_;
  FamilyOf family_;
  rocksdb::WriteBatch batch_;
  std::set<std::pair<Kind, std::string>> put_;  // of kinds that are forgotten key by key
};

}  // namespace latchkey::storage
