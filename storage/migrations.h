// The migrations this software has, each declared as an object: what is moved, how a row of the old
// shape becomes rows of the new one, and how both are compared without using that. There is no
// inverse: the old shape is written until `finish`, so to go back is to read it again.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "storage/rows.h"

namespace latchkey::storage {

// What a look at one row gave.
struct RowCheck {
  bool damaged = false;    // it does not decode: there is nothing to compare
  std::string difference;  // empty: none
};

struct MigrationSteps {
  uint32_t from = 0;
  uint32_t to = 0;  // families that only one version has are made and dropped: storage/shape.h
  std::string name;
  std::string summary;             // one sentence: what moves and why
  Family source = Family::kState;  // what is swept, in order of its keys
  uint64_t written_percent = 100;  // about: bytes written for 100 bytes of `source`

  // Rows of the new shape that are made of one of the old. Error REASON_MALFORMED: it is damaged.
  std::function<Result<std::vector<PutRow>>(std::string_view key, std::string_view value)>
      transform;
  // Is a row of `source` in the new shape, field by field? Error REASON_STORE_UNAVAILABLE.
  std::function<Result<RowCheck>(const RowReader&, std::string_view key, std::string_view value)>
      check_old;
  // Has a row of a family that only the new shape has a place in the old one? Likewise.
  std::function<Result<RowCheck>(const RowReader&, Family family, std::string_view key)> check_new;
  // Where rows of the new shape are keys alone: those that one of the old leads to, likewise found
  // without `transform`; nullopt: it is damaged. Then a comparison first adds up what each shape
  // has, and looks nothing up when that is the same. Empty: each record is looked up.
  std::function<std::optional<std::vector<std::string>>(std::string_view key,
                                                        std::string_view value)>
      new_keys;
  // A key for people.
  std::function<std::string(Family family, std::string_view key)> print;
};

using Migrations = std::vector<MigrationSteps>;

// In order, from version 1 on without a gap:
//   1 -> 2  split-commands  signed bytes in rows of their own
//   2 -> 3  log-by-car      which records of the log name a car
Migrations RealMigrations();

// The version that the last of them ends at; 1: there is none.
uint32_t NewestSchema(const Migrations& migrations);

}  // namespace latchkey::storage
