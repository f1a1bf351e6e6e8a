// What the plugin of a broker knows of the one it is joined with, and says to it about once a
// second on lk/peer: that it is there, and the blocks it holds when the other holds others. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "latchkey/v1/control.pb.h"
#include "proto/blocks.h"
#include "proto/message.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::auth {

inline constexpr Duration kPeerWordEvery = std::chrono::seconds(1);
// Without a word for so long it is not there: nobody is sent to it.
inline constexpr Duration kPeerSilentAfter = std::chrono::seconds(4);
// And for so long: the cars that were connected there are said to be offline.
inline constexpr Duration kPeerGoneAfter = std::chrono::seconds(30);
// All blocks are said anew at most so often.
inline constexpr Duration kPeerBlocksEvery = std::chrono::seconds(15);

inline constexpr size_t kBrokerNameMax = 32;

// 1 to 32 letters, digits, '-' or '_'.
bool IsBrokerName(std::string_view name);

// Not thread-safe; used from the broker's thread.
class Joined {
 public:
  // `broker`: plugin_opt_broker; a broker without a name is "main" to others.
  Joined(std::string broker, Timestamp started_at)
      : broker_(broker.empty() ? "main" : std::move(broker)), started_at_(started_at) {}

  // A message of the other broker on kPeerTopic. Gives the blocks to take over. Errors:
  // REASON_MALFORMED; REASON_NOT_ALLOWED (it has this broker's own name).
  Result<std::vector<Block>> Heard(std::string_view payload, Instant now);

  // Its connection has ended.
  void Left();

  // Is it there?
  bool Here(Instant now) const { return heard_at_ && now - *heard_at_ < kPeerSilentAfter; }

  // It was there, and has not been for kPeerGoneAfter: true once.
  bool TakeGone(Instant now);

  // Its name; empty: it was never heard.
  const std::string& peer() const { return peer_; }

  const std::string& broker() const { return broker_; }

  // Blocks changed here: to be told with the next Due.
  void Changed(const std::vector<Block>& changed);

  // What to say now; to be asked often.
  std::vector<Publish> Due(const Blocks& blocks, Instant now);

 private:
  Publish Word(const std::vector<Block>& blocks) const;
  std::vector<Publish> Pages(const std::vector<Block>& blocks) const;

  std::string broker_;
  Timestamp started_at_;
  std::string peer_;
  uint64_t peer_started_at_ms_ = 0;
  uint64_t peer_sum_ = 0;
  std::optional<Instant> heard_at_;
  std::optional<Instant> last_heard_at_;  // stays when it has left
  std::optional<Instant> said_at_;
  std::optional<Instant> all_said_at_;
  std::vector<Block> changed_;
  uint64_t sum_ = 0;
  bool sum_known_ = false;
};

}  // namespace latchkey::auth
