// The reference implementation of Store: what a store promises, in memory, with a crash at hand.
// Tests and simulations use it; it keeps exactly what an engine on disk would have to keep.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "storage/memory_rows.h"
#include "storage/migrations.h"
#include "storage/typed_store.h"

namespace latchkey::storage {

struct MemoryOptions {
  uint32_t schema = 0;  // that it begins at; 0: the newest
  Migrations migrations = RealMigrations();
  std::function<Room()> room;  // empty: there is always room
};

// What a MemoryStore stands on: made before the store of records.
struct MemoryGround {
  MemoryRows memory;
};

// Not copyable. Thread rule: as Store; Crash and PutRaw from the writer's thread.
class MemoryStore final : private MemoryGround, public TypedStore {
 public:
  MemoryStore() : MemoryStore(MemoryOptions()) {}

  explicit MemoryStore(MemoryOptions options);

  // The machine loses power: what was not durable is gone, but for the first `kept` writes of it.
  void Crash(size_t kept = 0);

  // How many writes are not durable.
  size_t pending() const { return memory.pending(); }

  // Places bytes as a damaged disk could give them back.
  void PutRaw(const KeyValue& raw);
  void PutRaw(const PutRow& raw);

  const MemoryRows& rows() const { return memory; }
};

}  // namespace latchkey::storage
