// A recorded drive played to a car as if it happened now. Pure.
//
// The drive's first row is now, every later one as much later as it was recorded, divided by the
// speed: recorded gaps stay gaps. A copy of a drive for another car begins elsewhere in it and says
// so in the source text of every value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/time.h"
#include "tools/car/car.h"
#include "tools/fleet/drive.h"

namespace latchkey::fleet {

enum class AtEnd : uint8_t { kStop, kLoop };

struct ReplayOptions {
  double speed = 1;  // recorded seconds per second, above 0
  AtEnd at_end = AtEnd::kStop;
  int copy = 0;       // 0: the drive itself; 1 and up: a copy
  Duration shift{0};  // begin this far into the drive (modulo its length)
};

// One thread uses it.
class Replay {
 public:
  // `drive` outlives the replay.
  Replay(const Drive& drive, ReplayOptions options, const Now& start);

  // "replay:TripA04", "replay:TripA04 (copy 2, shifted 120 s)"
  const std::string& source() const { return source_; }

  // Appends what is due by now, at most `kDueMax` observations; texts point into the replay.
  static constexpr size_t kDueMax = 20000;
  void Due(const Now& now, std::vector<car::Observe>& out);

  // When the next observation is due; nullopt: the drive is over.
  std::optional<Instant> NextAt() const;

  const Drive& drive() const { return drive_; }

 private:
  Duration Scaled(Duration recorded) const;

  const Drive& drive_;
  ReplayOptions options_;
  std::string source_;
  size_t next_ = 0;
  Duration begin_{0};  // offset in the drive that is at started_
  Now started_;
  Timestamp said_;  // observed time of the last one
};

}  // namespace latchkey::fleet
