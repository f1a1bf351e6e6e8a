// Who listens in for a fleet: a line for every subscription an operator asks for and for everything
// it tries and may not, and counters. Bounded for each operator, so that one cannot fill a disk or
// hide another's lines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/rate.h"
#include "plugins/refusals.h"
#include "proto/message.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::auth {

// Lines of one operator: subscriptions, and refused reads and writes, which a wide filter makes
// with every message that passes.
inline constexpr Rate kTapSubscribeLines{10, 1000};
inline constexpr Rate kTapRefusedLines{1, 20};
inline constexpr size_t kTapNamesMax = 10'000;

// Something an operator asked for. Views.
struct Tap {
  At at = At::kSubscribe;  // kSubscribe, kRead or kWrite
  std::string_view who;    // Principal::ToText()
  std::string_view topic;  // kSubscribe: the filter
  Verdict verdict;
};

// Not thread-safe; used from the broker's thread.
class Taps {
 public:
  // Counts it, and gives the line to log: of every subscription and of every refusal, unless this
  // operator has had its lines. An allowed read gives none and is not counted.
  std::optional<std::string> Note(const Tap& tap, Instant now);
  // Retained numbers on $SYS/broker/latchkey/taps/{subscribed,refused,lines_left_out} that changed
  // since the last call.
  std::vector<Publish> TakeChanged();

  uint64_t subscribed() const { return subscribed_.count; }

  uint64_t refused() const { return refused_.count; }

  uint64_t lines_left_out() const { return lines_left_out_.count; }

 private:
  struct Number {
    uint64_t count = 0;
    uint64_t told = 0;
  };

  RateLimiter subscribe_lines_{kTapSubscribeLines, kTapNamesMax};
  RateLimiter refused_lines_{kTapRefusedLines, kTapNamesMax};
  Number subscribed_;
  Number refused_;
  Number lines_left_out_;
};

}  // namespace latchkey::auth
