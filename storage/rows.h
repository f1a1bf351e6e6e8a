// Rows: what a store is made of underneath its records. A shape (storage/shape.h) says which rows a
// record becomes; an engine keeps rows and knows nothing of records.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "proto/result.h"

namespace latchkey::storage {

// A named set of rows in order of their keys: a RocksDB column family. The numbers are this
// process's alone; on disk a family is known by its name.
enum class Family : uint8_t {
  kState,
  kRing,
  kPresence,
  kCommand,  // schema 1: a command in one row
  kBlock,
  kLog,
  kWake,
  kHistory,
  kSession,
  kCommandStep,     // schema 2: what changes at each step of a command
  kCommandMessage,  // schema 2: its signed bytes, as long as it is not final
  kLogByCar,        // schema 3: which records of the log name a car
};

inline constexpr std::array<Family, 12> kFamilies = {
    Family::kState,   Family::kRing,        Family::kPresence,       Family::kCommand,
    Family::kBlock,   Family::kLog,         Family::kWake,           Family::kHistory,
    Family::kSession, Family::kCommandStep, Family::kCommandMessage, Family::kLogByCar};

// `state`, `command_step`, ...
std::string_view FamilyName(Family family);
std::optional<Family> FamilyOfName(std::string_view name);

struct PutRow {
  Family family = Family::kState;
  std::string key;
  std::string value;
};

struct DeleteRow {
  Family family = Family::kState;
  std::string key;
};

// All rows from `begin` up to but without `end`.
struct DeleteRows {
  Family family = Family::kState;
  std::string begin;
  std::string end;
};

using RowOp = std::variant<PutRow, DeleteRow, DeleteRows>;

// Reads rows, of one moment or of now.
class RowReader {
 public:
  virtual ~RowReader() = default;
  // nullopt: there is none. Error REASON_STORE_UNAVAILABLE: it could not be read.
  virtual Result<std::optional<std::string>> Get(Family family, std::string_view key) const = 0;
  // Rows from `begin` up to but without `end` (empty: to the last) in order, until `visit` says
  // false. Error REASON_STORE_UNAVAILABLE.
  virtual Result<void> Each(
      Family family, std::string_view begin, std::string_view end,
      const std::function<bool(std::string_view key, std::string_view value)>& visit) const = 0;
};

}  // namespace latchkey::storage
