// What in the data folder ends soon or has ended: certificates and revocation lists.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "proto/time.h"
#include "tools/latchkey/folder.h"

namespace latchkey::cli {

// Days before its end from which a certificate is named.
inline constexpr int kWarnDays = 30;

struct Expiry {
  std::string what;            // "certificate of car demo/demo-car"
  std::filesystem::path file;  // where it is
  Timestamp ends;              // of a revocation list: its next_update
  std::string next;            // what to do about it
};

// Those that end within kWarnDays of `now`, or have ended; soonest first. Revocation lists are
// named when they are past their next_update. A file that cannot be read is named as ended.
std::vector<Expiry> EndingSoon(const Folder& folder, Timestamp now);

// "ended 3 days ago", "ends in 12 days", "ends within a day".
std::string EndText(Timestamp ends, Timestamp now);

}  // namespace latchkey::cli
