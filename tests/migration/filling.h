// A store as a cell of many cars has it after a while, written directly before any bridge runs; and
// whether another store, later, still says all of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "proto/log_chain.h"
#include "proto/time.h"
#include "storage/store.h"
#include "tests/footprint/cars.h"

namespace latchkey::migration {

// Of each car.
inline constexpr size_t kFinishedPerCar = 3;

// What was written.
struct Filling {
  size_t records = 0;
  size_t finished = 0;  // commands
  size_t held = 0;      // commands; they wait for a day
  LogHead log;
};

// Of `cars` parked cars: state of all groups, ring, presence, commands that have ended, one that is
// held of each footprint::kCommandedEvery-th car, and a log that names them. Fault: the store does
// not take it.
Filling Fill(storage::Store& store, const footprint::Cars& cars, size_t count, Timestamp now);

// Is this one of the cars of Fill?
bool IsFilled(const CarRef& ref);

// What a store says of the cars of Fill and in its log up to `log_through`, a number for each
// record. Not copyable: large.
class Contents {
 public:
  // Fault: the store cannot be read, or something in it is damaged.
  Contents(const storage::Store& store, uint64_t log_through);
  Contents(const Contents&) = delete;
  Contents& operator=(const Contents&) = delete;

  size_t records() const;

  // In words what `later` lacks, has in another way, or has beside it; empty: nothing. That it has
  // one log, a whole chain, belongs to it.
  std::vector<std::string> WrongsIn(const storage::Store& later) const;

 private:
  using Numbers = std::unordered_map<uint64_t, uint64_t>;

  uint64_t log_through_;
  std::array<Numbers, storage::kKinds.size()> by_kind_;
};

}  // namespace latchkey::migration
