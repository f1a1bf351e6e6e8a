// What goes into the log that people are shown later: steps of commands, changes of rings, blocks,
// wakes, and what the broker's auth plugin tells of sign-ins and taps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bridge/core/bridge.h"
#include "bridge/core/commands.h"
#include "bridge/core/step.h"
#include "proto/blocks.h"
#include "proto/command.h"
#include "proto/keyring.h"
#include "proto/receipt.h"

namespace latchkey::bridge {

// Above this many in a second the broker's entries are only counted, and the log says how many.
inline constexpr size_t kEventsPerSecondMax = 50;
inline constexpr size_t kLogWhoBytesMax = 128;
inline constexpr size_t kLogNoteBytesMax = 256;

// A step of a command: the state and reason it has now, said by `source`.
Journal JournalOf(const Entry& entry, v1::ReceiptSource source, const Now& now,
                  std::string_view note = "");
// A command that arrived, or was refused at the door (`state` final).
Journal JournalOf(const Command& command, v1::ReceiptState state, Reason reason, const Now& now);
// What a car said of a command that has another outcome here, or is not known here.
Journal JournalOf(const Outcome& outcome, const KeyId& lane, const Now& now, std::string_view note);
// One entry for each key whose standing changed; when there is none, one for the ring. `before` is
// nullptr: none was known.
void JournalRing(const KeyRing* before, const KeyRing& after, Timestamp now, Effects& out);
Journal JournalOf(const Block& block, Timestamp now);
Journal JournalOf(const Told& told, Timestamp now);

// One line of at most `bytes_max` bytes of UTF-8: what controls is a space, what is too long is cut
// between characters.
std::string LineOf(std::string_view text, size_t bytes_max);
// As LineOf for the words of a gateway: what may be a phone number becomes '#'.
std::string WithoutNumbers(std::string_view text);

// What the broker's plugin tells on kEventTopic. Not copyable; one thread. `counters` outlives it.
class BrokerEvents {
 public:
  explicit BrokerEvents(Counters& counters) : counters_(counters) {}

  BrokerEvents(const BrokerEvents&) = delete;
  BrokerEvents& operator=(const BrokerEvents&) = delete;

  // First in every step: says how many were left out, once the second is over.
  void Passes(const Now& now, Effects& out);
  // A message of kEventTopic. One that is not such an entry is counted REASON_MALFORMED.
  void Arrived(const std::string& payload, const Now& now, Effects& out);
  std::optional<Instant> NextDeadline() const;

 private:
  Counters& counters_;
  std::optional<Instant> second_;  // when the second that is counted began
  size_t in_second_ = 0;
  uint64_t left_out_ = 0;
};

}  // namespace latchkey::bridge
