// Shapes: which families a schema version has, and which rows a change becomes (pure).
//
// A batch writes all families it is told of: while a migration runs those of both versions, so that
// both shapes are whole after every commit. The store has one writer, and what a batch has to know
// of what is there it reads as it is now: a shape needs no tombstones and no order of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/result.h"
#include "storage/records.h"
#include "storage/rows.h"

namespace latchkey::storage {

inline constexpr uint32_t kSchemaVersionMin = 1;
inline constexpr uint32_t kSchemaVersionMax = 3;

// Of a version from kSchemaVersionMin to kSchemaVersionMax.
FamilySet FamiliesOf(uint32_t version);

// One commit as rows. Old history and sessions are forgotten key by key, as each car does it again
// and again and a tombstone per range would pile up before every reader; the log and whole cars by
// range.
class RowBatch {
 public:
  // `now` is what is there before it.
  RowBatch(const RowReader& now, FamilySet families) : now_(now), families_(families) {}

  // Appends a change; changes apply in order. Error REASON_STORE_UNAVAILABLE: what is there could
  // not be read.
  Result<void> Add(const Change& change);

  std::span<const RowOp> ops() const { return ops_; }

 private:
  void Take(const CommandRecord& record);
  Result<void> Take(const LogRecord& record);
  void Take(const EraseCommand& erase);
  Result<void> Take(const EraseLog& erase);
  void Take(const EraseCar& erase);
  Result<void> EraseEach(const KeyRange& range);
  Result<void> Unname(const std::set<uint64_t>& sequences);

  void Put(PutRow row);
  void Delete(Family family, std::string key);
  void DeleteRange(Family family, std::string begin, std::string end);
  // What is there, with what this batch did so far.
  Result<std::optional<std::string>> Find(Family family, const std::string& key) const;
  Result<void> ForEach(
      Family family, const std::string& begin, const std::string& end,
      const std::function<void(std::string_view key, std::string_view value)>& visit) const;
  bool Gone(Family family, std::string_view key) const;

  const RowReader& now_;
  const FamilySet families_;
  std::vector<RowOp> ops_;
  // Of families that are looked at before they are written: the op that put a row; none: deleted.
  std::map<std::pair<Family, std::string>, std::optional<size_t>> seen_;
  std::vector<DeleteRows> gone_;
};

}  // namespace latchkey::storage
