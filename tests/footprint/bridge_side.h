// The bridge's core and runner with the real store, in this process, in simulated time.
#pragma once

#include <cstddef>
#include <filesystem>

#include "tests/footprint/cars.h"
#include "tests/footprint/report.h"

namespace latchkey::footprint {

struct BridgeWish {
  size_t cars = 0;
  size_t driving = 0;  // of them, for an hour
  std::filesystem::path store;
};

// All that is known of the cars after they spoke once, when they are parked, while some drive and
// afterwards; bytes in memory, without RocksDB's, and on disk by family. Fault: the bridge did not
// take what it was told.
void MeasureBridge(const Cars& cars, const tools::Issued& fleet_ca, const BridgeWish& wish,
                   Report& report);

// Opens the store as a bridge that starts does: how long it takes and what it then has in memory.
// To be called in a process that has done nothing else.
void MeasureLoad(const std::filesystem::path& store, Report& report);

}  // namespace latchkey::footprint
