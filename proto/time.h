// Wall time and monotonic time as types that do not convert into each other.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace latchkey {

// Milliseconds everywhere.
using Duration = std::chrono::milliseconds;

// Wall clock: milliseconds since 1970-01-01 UTC. Can jump.
struct Timestamp {
  int64_t ms = 0;
  auto operator<=>(const Timestamp&) const = default;

  friend Timestamp operator+(Timestamp t, Duration d) { return {t.ms + d.count()}; }

  friend Timestamp operator-(Timestamp t, Duration d) { return {t.ms - d.count()}; }

  friend Duration operator-(Timestamp a, Timestamp b) { return Duration(a.ms - b.ms); }
};

// Monotonic clock of one process: milliseconds since an arbitrary start. Never jumps.
struct Instant {
  int64_t ms = 0;
  auto operator<=>(const Instant&) const = default;

  friend Instant operator+(Instant t, Duration d) { return {t.ms + d.count()}; }

  friend Duration operator-(Instant a, Instant b) { return Duration(a.ms - b.ms); }
};

// Both clocks, read together by an adapter and handed to pure code.
struct Now {
  Timestamp wall;
  Instant mono;
};

}  // namespace latchkey
