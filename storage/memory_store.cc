// See memory_store.h.
#include "storage/memory_store.h"

#include <utility>

namespace latchkey::storage {

MemoryStore::MemoryStore(MemoryOptions options)
    : MemoryGround{MemoryRows(std::move(options.room))},
      TypedStore(memory, std::move(options.migrations), options.schema, "the store in memory") {
  LK_ASSERT(Load().has_value());
}

void MemoryStore::Crash(size_t kept) {
  memory.Crash(kept);
  LK_ASSERT(Load().has_value());
}

void MemoryStore::PutRaw(const KeyValue& raw) {
  PutRaw(PutRow{FamilyOf(raw.kind), raw.key, raw.value});
}

void MemoryStore::PutRaw(const PutRow& raw) {
  const RowOp op = raw;
  LK_ASSERT(memory.Write({&op, 1}, Durability::kSoon).has_value());
}

}  // namespace latchkey::storage
