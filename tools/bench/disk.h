// What the disk itself can do, in the same folder and run as what is compared with it: a log of
// 4 KiB blocks, each appended and synced alone.
#pragma once

#include <filesystem>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::bench {

// Seconds of each append and fdatasync, one after the other for that long. Error
// REASON_STORE_UNAVAILABLE: the file cannot be made, written or synced.
Result<std::vector<double>> SyncSeconds(const std::filesystem::path& folder, Duration time);

}  // namespace latchkey::bench
