// The reference implementation of Store: what a store promises, in memory, with a crash at hand.
// Tests and simulations use it; it keeps exactly what an engine on disk would have to keep.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/store.h"

namespace latchkey::storage {

// Not copyable. Thread rule: as Store; Crash and PutRaw from the writer's thread.
class MemoryStore final : public Store {
 public:
  using Family = std::map<std::string, std::string>;
  using Families = std::array<Family, kKinds.size()>;

  MemoryStore() = default;
  MemoryStore(const MemoryStore&) = delete;
  MemoryStore& operator=(const MemoryStore&) = delete;

  Result<void> Commit(std::span<const Change> changes, Durability durability) override;
  Result<void> Sync() override;
  std::unique_ptr<Reader> Snapshot() const override;

  // The machine loses power: what was not durable is gone.
  void Crash();
  // Places bytes as a damaged disk could give them back.
  void PutRaw(const KeyValue& raw);

 private:
  struct Put {
    Kind kind = Kind::kState;
    std::string key;
    std::optional<std::string> value;  // nullopt: erase
    std::optional<std::string> end;    // erase from `key` up to but without this
  };

  static void Apply(const Put& put, Families& families);
  void Take(Put put);

  mutable std::atomic_flag busy_;  // held while live_ is changed or copied
  Families live_;
  Families durable_;
  std::vector<Put> pending_;  // in live_, not yet in durable_
};

}  // namespace latchkey::storage
