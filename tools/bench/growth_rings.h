// What pairings cost by themselves, in this process: the auth plugin's directory and the bridge's
// store, filled with the rings of a ring file.
#pragma once

#include <cstdint>
#include <filesystem>

#include "proto/result.h"
#include "tools/bench/crowd.h"
#include "tools/bench/place.h"

namespace latchkey::bench {

// Of one directory with every ring of a file.
struct DirectoryCost {
  size_t cars = 0;
  size_t pairings = 0;
  double bytes = 0;           // of heap in use
  double load_s = 0;          // to read and verify the file
  double lookup_ns = 0;       // of a car and a key of its ring, in no order
  double stranger_ns = 0;     // of a car there is and a key that is not on its ring
  double ring_change_us = 0;  // to verify and take over a next version, processor time
  double verify_us = 0;  // of that, each of its two signatures: the car's, and its certificate's
};

// Reads the ring file in `folder` (rings.log) as the plugin does. `crowd` made it; its cars change
// their rings. Errors of RingFile::Open, and REASON_MALFORMED: a ring is not taken.
Result<DirectoryCost> MeasureDirectory(const std::filesystem::path& folder, const Place& place,
                                       const Crowd& crowd);

// Of one store with every ring of a file.
struct StoreCost {
  double write_s = 0;
  double open_s = 0;  // until the store is open
  double read_s = 0;  // and from then until each ring was read, as a bridge that starts does
  uint64_t disk_bytes = 0;
};

// Puts the rings of the file in `folder`, which `crowd` wrote, into a new store, closes it and
// opens it again. Errors REASON_STORE_UNAVAILABLE.
Result<StoreCost> MeasureStore(const std::filesystem::path& folder, const Place& place,
                               const Crowd& crowd);

}  // namespace latchkey::bench
