// See rocksdb_batch.h.
#include "storage/rocksdb_batch.h"

#include <memory>
#include <type_traits>

namespace latchkey::storage {

namespace {

bool KeyByKey(Kind kind) {
  return kind == Kind::kHistory || kind == Kind::kSession;
}

}  // namespace

RocksDbBatch::RocksDbBatch(rocksdb::DB& database, FamilyOf family)
    : database_(database), family_(std::move(family)) {}

rocksdb::Status RocksDbBatch::Add(const Change& change) {
  return std::visit(
      [this](const auto& one) {
        using One = std::decay_t<decltype(one)>;
        if constexpr (std::is_same_v<One, EraseCommand>) {
          return batch_.Delete(family_(Kind::kCommand), EncodeKey(one));
        } else if constexpr (std::is_same_v<One, EraseBlock>) {
          return batch_.Delete(family_(Kind::kBlock), EncodeKey(one));
        } else if constexpr (std::is_same_v<One, EraseHistory> ||
                             std::is_same_v<One, EraseSessions>) {
          return EraseEach(RangesOf(one).front());
        } else if constexpr (kErasesRanges<One>) {
          rocksdb::Status status;
          for (const KeyRange& range : RangesOf(one)) {
            status = status.ok() ? Erase(range) : status;
          }
          return status;
        } else {
          return Put(Encode(one));
        }
      },
      change);
}

rocksdb::Status RocksDbBatch::Put(const KeyValue& bytes) {
  if (KeyByKey(bytes.kind)) {
    put_.emplace(bytes.kind, bytes.key);
  }
  return batch_.Put(family_(bytes.kind), bytes.key, bytes.value);
}

rocksdb::Status RocksDbBatch::Erase(const KeyRange& range) {
  return batch_.DeleteRange(family_(range.kind), range.begin, range.end);
}

rocksdb::Status RocksDbBatch::EraseEach(const KeyRange& range) {
  // What this batch has put is not in the database yet.
  for (auto at = put_.lower_bound({range.kind, range.begin});
       at != put_.end() && *at < std::pair(range.kind, range.end); ++at) {
    const rocksdb::Status status = batch_.Delete(family_(range.kind), at->second);
    if (!status.ok()) {
      return status;
    }
  }
  const rocksdb::Slice end = range.end;
  rocksdb::ReadOptions options;
  options.iterate_upper_bound = &end;
  const std::unique_ptr<rocksdb::Iterator> at(database_.NewIterator(options, family_(range.kind)));
  for (at->Seek(range.begin); at->Valid(); at->Next()) {
    const rocksdb::Status status = batch_.Delete(family_(range.kind), at->key());
    if (!status.ok()) {
      return status;
    }
  }
  return at->status();
}

}  // namespace latchkey::storage
