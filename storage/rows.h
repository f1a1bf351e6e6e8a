// Rows: what a store is made of underneath its records. A shape (storage/shape.h) says which rows a
// record becomes; an engine keeps rows and knows nothing of records.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "proto/result.h"

namespace latchkey::storage {

// A named set of rows in order of their keys: a RocksDB column family, known by its name on disk.
// The number is part of each row's checksum and is never given to another family.
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
  kMeta,            // schema version and the migration that runs
};

inline constexpr std::array<Family, 13> kFamilies = {
    Family::kState,   Family::kRing,        Family::kPresence,       Family::kCommand,
    Family::kBlock,   Family::kLog,         Family::kWake,           Family::kHistory,
    Family::kSession, Family::kCommandStep, Family::kCommandMessage, Family::kLogByCar,
    Family::kMeta};

// `state`, `command_step`, ...
std::string_view FamilyName(Family family);
std::optional<Family> FamilyOfName(std::string_view name);

class FamilySet {
 public:
  constexpr FamilySet() = default;

  constexpr FamilySet(std::initializer_list<Family> families) {
    for (const Family family : families) {
      bits_ |= Bit(family);
    }
  }

  constexpr bool Has(Family family) const { return (bits_ & Bit(family)) != 0; }

  constexpr FamilySet With(FamilySet other) const { return FamilySet(bits_ | other.bits_); }

  constexpr FamilySet Without(FamilySet other) const { return FamilySet(bits_ & ~other.bits_); }

  constexpr bool empty() const { return bits_ == 0; }

  constexpr bool operator==(const FamilySet&) const = default;

 private:
  explicit constexpr FamilySet(uint32_t bits) : bits_(bits) {}

  static constexpr uint32_t Bit(Family family) {
    return uint32_t{1} << static_cast<uint32_t>(family);
  }

  uint32_t bits_ = 0;
};

struct PutRow {
  Family family = Family::kState;
  std::string key;
  std::string value;
  bool operator==(const PutRow&) const = default;
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

// At a row, or behind the last. What it shows is good until it moves.
class RowCursor {
 public:
  virtual ~RowCursor() = default;
  virtual bool valid() const = 0;
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  virtual void Next() = 0;
  // Once it is not valid: why. Error REASON_STORE_UNAVAILABLE: the rows could not be read further.
  virtual Result<void> status() const = 0;
};

// Reads rows, of one moment or of now.
class RowReader {
 public:
  virtual ~RowReader() = default;
  // nullopt: there is none. Error REASON_STORE_UNAVAILABLE: it could not be read.
  virtual Result<std::optional<std::string>> Get(Family family, std::string_view key) const = 0;
  // Rows from `begin` up to but without `end` (empty: to the last), in order.
  virtual std::unique_ptr<RowCursor> Rows(Family family, std::string_view begin,
                                          std::string_view end) const = 0;
  // Rows from `through` back to the first.
  virtual std::unique_ptr<RowCursor> RowsBack(Family family, std::string_view through) const = 0;

  // As Rows, until `visit` says false. Error REASON_STORE_UNAVAILABLE.
  Result<void> Each(
      Family family, std::string_view begin, std::string_view end,
      const std::function<bool(std::string_view key, std::string_view value)>& visit) const;
};

enum class Durability : uint8_t {
  kSoon,     // survives a crash of the process; on disk within a second
  kDurable,  // on disk (fdatasync) before it returns
};

// About how much a family holds.
struct FamilySize {
  uint64_t rows = 0;
  uint64_t bytes = 0;
};

struct Room {
  uint64_t free_bytes = ~uint64_t{0};
  uint64_t free_bytes_min = 0;  // below this a store takes nothing more
};

// Error REASON_STORE_UNAVAILABLE: less is free than must be. `store` names it.
Result<void> CheckRoom(const Room& room, const std::string& store);

// Keeps rows. As a reader it reads what is now. Thread rule: one thread, the writer's, but for what
// says otherwise.
class RowEngine : public RowReader {
 public:
  // After a write that failed: opens it again, so that what had failed is there or not, and stays
  // so. True: it did, and what was read from it before may not hold any more. Does nothing as long
  // as all is well. Error REASON_STORE_UNAVAILABLE: it cannot be opened.
  virtual Result<bool> Heal() = 0;
  // All or nothing. Error REASON_STORE_UNAVAILABLE: nothing of it is promised.
  virtual Result<void> Write(std::span<const RowOp> ops, Durability durability) = 0;
  // Makes all that was written durable.
  virtual Result<void> Sync() = 0;
  // Any thread. What cannot be read says so at each question.
  virtual std::unique_ptr<RowReader> Snapshot() const = 0;
  // Which families there are; then makes what is missing and drops what is too much, durably. Rows
  // of a dropped family stay readable in snapshots taken before. Error REASON_STORE_UNAVAILABLE.
  virtual FamilySet families() const = 0;
  virtual Result<void> SetFamilies(FamilySet families) = 0;
  // Any thread; 0 of what is not there.
  virtual FamilySize SizeOf(Family family) const = 0;
  // Any thread.
  virtual Room room() const = 0;
};

}  // namespace latchkey::storage
