// What the plugins refused: a counter for each place and reason, and log lines that a flood cannot
// turn into a full disk.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/message.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey {

// Where something was refused. Values index arrays.
enum class At : uint8_t {
  kConnect,
  kSubscribe,
  kRead,
  kWrite,
  kMessage,
  kRing,
  kRingFile,
  kControl,
  kAdmit
};

inline constexpr size_t kAtCount = 9;

// "connect", "subscribe", "read", "write", "message", "ring", "ring_file", "control", "admit".
std::string_view ToText(At at);

inline constexpr int kRefusalLinesPerSecondMax = 20;

// One refusal, for its log line. Views.
struct Refused {
  At at = At::kConnect;
  Reason reason = v1::REASON_INTERNAL;
  std::string_view who;    // principal or client id
  std::string_view topic;  // empty: none
  std::string_view text;   // empty: the word says it all
};

// `text` in quotes, with quotes, backslashes and everything that is not printable ASCII escaped,
// cut after 160 characters: what a client sent cannot break a log line.
std::string Quoted(std::string_view text);

// Not thread-safe; used from the broker's thread.
class Refusals {
 public:
  // Counts it. Gives the line to log (logfmt), or nullopt when this second has had its lines.
  std::optional<std::string> Count(const Refused& refused, Instant now);
  // Counts it; its line is somebody else's.
  void CountOnly(At at, Reason reason);
  // The line that says how many lines were left out; nullopt while the second lasts or when none.
  std::optional<std::string> TakeSuppressed(Instant now);
  // Retained messages on $SYS/broker/latchkey/refused/{at}/{reason} for counters that changed since
  // the last call; the payload is the count as text.
  std::vector<Publish> TakeChanged();
  // Since the start. 0 for a reason never given.
  uint64_t Of(At at, Reason reason) const;

 private:
  static constexpr size_t kReasonCount = static_cast<size_t>(v1::Reason_MAX) + 1;

  struct Cell {
    uint64_t count = 0;
    uint64_t told = 0;
  };

  std::array<std::array<Cell, kReasonCount>, kAtCount> cells_{};
  Instant second_began_;
  int lines_ = 0;
  uint64_t suppressed_ = 0;
};

}  // namespace latchkey
