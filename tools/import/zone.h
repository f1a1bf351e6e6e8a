// A time zone as the system's zone database has it (TZif, RFC 8536), for local times that say none.
// Pure: the bytes of the file come in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::legacy {

class Zone {
 public:
  // Of a file of at most kZoneBytesMax. Error REASON_MALFORMED: not TZif of version 2 or later.
  static Result<Zone> Parse(std::string_view bytes);

  // All times, in order, at which the zone's clocks show this; `local` counts as if it were UTC.
  // None in the hour that is left out in spring, two in the one that comes twice in autumn. Times
  // after the last rule of the file have its last offset.
  std::vector<Timestamp> TimesOf(Timestamp local) const;

 private:
  struct Change {
    int64_t at_seconds = 0;
    int64_t offset_seconds = 0;
  };

  int64_t first_offset_seconds_ = 0;  // before the first change
  std::vector<Change> changes_;
};

inline constexpr size_t kZoneBytesMax = size_t{256} << 10;

}  // namespace latchkey::legacy
