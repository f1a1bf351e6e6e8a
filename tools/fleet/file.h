// Recorded drives on disk, gzipped or not.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "proto/result.h"
#include "tools/fleet/drive.h"

namespace latchkey::fleet {

inline constexpr size_t kDriveBytesMax = size_t{256} << 20;

// Whole file, unzipped. Errors REASON_STORE_UNAVAILABLE (cannot be read, or the gzip is broken),
// REASON_TOO_LARGE (above kDriveBytesMax unzipped).
Result<std::string> ReadMaybeZipped(const std::filesystem::path& path);

// A drive; a BMW i3's start comes from Overview.tsv beside it, when there is one.
Result<Drive> LoadDrive(const std::filesystem::path& path);

// All *.csv and *.csv.gz of a folder by name. Error REASON_MALFORMED: there is none; else the first
// drive's error.
Result<std::vector<Drive>> LoadDrives(const std::filesystem::path& folder);

}  // namespace latchkey::fleet
