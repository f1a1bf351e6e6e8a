// How long to wait before the next try: 1 s doubling to 30 s, each time from half of it to one and
// a half, so that many who lost the same broker do not come back in one moment.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

#include "proto/time.h"

namespace latchkey::bridge {

class BackOff {
 public:
  explicit BackOff(uint32_t seed) : jitter_(seed) {}

  // The wait before the next try.
  Duration Next() {
    const Duration wait =
        next_ / 2 +
        Duration(static_cast<int64_t>(jitter_() % static_cast<unsigned>(next_.count())));
    next_ = std::min(next_ * 2, kMost);
    return wait;
  }

  // A try has worked.
  void Reset() { next_ = kFirst; }

 private:
  static constexpr Duration kFirst = std::chrono::seconds(1);
  static constexpr Duration kMost = std::chrono::seconds(30);

  Duration next_ = kFirst;
  std::minstd_rand jitter_;
};

}  // namespace latchkey::bridge
