// Rows in memory, and what would survive a loss of power: the reference engine.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/rows.h"

namespace latchkey::storage {

// Not copyable. Thread rule: as RowEngine; Crash from the writer's thread.
class MemoryRows final : public RowEngine {
 public:
  using Rowset = std::map<std::string, std::string>;

  struct Tables {
    std::array<Rowset, kFamilies.size()> rows;
    FamilySet families;
  };

  // `room`: empty: there is always room.
  explicit MemoryRows(std::function<Room()> room) : room_(std::move(room)) {}

  Result<std::optional<std::string>> Get(Family family, std::string_view key) const override;
  std::unique_ptr<RowCursor> Rows(Family family, std::string_view begin,
                                  std::string_view end) const override;
  std::unique_ptr<RowCursor> RowsBack(Family family, std::string_view through) const override;

  Result<bool> Heal() override { return false; }

  Result<void> Write(std::span<const RowOp> ops, Durability durability) override;
  Result<void> Sync() override;
  std::unique_ptr<RowReader> Snapshot() const override;

  FamilySet families() const override { return live_.families; }

  Result<void> SetFamilies(FamilySet families) override;
  FamilySize SizeOf(Family family) const override;

  Room room() const override { return room_ ? room_() : Room{}; }

  // The machine loses power: of what was not durable only the first `kept` writes are there.
  void Crash(size_t kept);

  // How many writes are not durable.
  size_t pending() const { return pending_.size(); }

 private:
  using Batch = std::vector<RowOp>;

  static void Apply(const RowOp& op, Tables& tables);

  const std::function<Room()> room_;
  mutable std::atomic_flag busy_;  // held while live_ is changed or copied
  Tables live_;
  Tables durable_;
  std::vector<Batch> pending_;  // in live_, not yet in durable_
};

}  // namespace latchkey::storage
