// A look at a store that another process writes: what it holds of each car, and from then on what
// changes. It writes nothing into the store and does not keep its lock.
#pragma once

#include <cstdint>
#include <functional>

#include "proto/result.h"
#include "storage/records.h"

namespace latchkey::storage {

// Of the records that are many and that a restart would have to read anew: rings, presence, state.
// All schema versions have these in the same rows. Not thread-safe.
class Follower {
 public:
  using Visit = std::function<void(const Record&)>;

  virtual ~Follower() = default;

  // About how many records there are.
  virtual uint64_t Expected() const = 0;
  // Every record as of the last CatchUp, or of the opening; damaged ones are left out. How many.
  // Error REASON_STORE_UNAVAILABLE: the store cannot be read.
  virtual Result<uint64_t> Load(const Visit& visit) = 0;

  // What a catching up gave.
  struct Caught {
    uint64_t records = 0;
    // False: what has changed cannot be told (a car was erased, or the log of it is gone): what was
    // loaded is to be thrown away and loaded anew.
    bool whole = true;
  };

  // Visits what was written since Load or the last CatchUp, in order, the newest of a key last.
  // Errors as of Load.
  virtual Result<Caught> CatchUp(const Visit& visit) = 0;
};

}  // namespace latchkey::storage
