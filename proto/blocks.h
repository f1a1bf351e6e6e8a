// Keys that are denied: a map in which the newest change wins, held alike by the broker's plugin
// and the bridge. control.proto says what travels. Merging is commutative, associative and
// idempotent, so the two agree whatever was lost, repeated or reordered between them.
#pragma once

#include <compare>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "latchkey/v1/control.pb.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey {

inline constexpr size_t kBlocksMax = 100'000;
inline constexpr size_t kBlocksPerMessageMax = 200;
inline constexpr size_t kBlockNoteBytesMax = 64;
inline constexpr size_t kBlockBytesMax = 256;      // one v1::Block, serialized
inline constexpr size_t kControlBytesMax = 60000;  // one Control or ControlAnswer

inline constexpr std::string_view kControlTopic = "$CONTROL/latchkey/v1";
inline constexpr std::string_view kControlAnswerTopic = "$CONTROL/latchkey/v1/response";
inline constexpr std::string_view kBlocksChangedTopic = "$SYS/broker/latchkey/blocks";

// Which key is denied where. Empty fleet: everywhere; empty car: the whole fleet.
struct BlockScope {
  KeyId key;
  FleetId fleet;
  CarId car;
  auto operator<=>(const BlockScope&) const = default;
};

// Where, as views.
struct BlockPlace {
  std::string_view fleet;
  std::string_view car;
  auto operator<=>(const BlockPlace&) const = default;
};

struct Block {
  BlockScope scope;
  bool lifted = false;
  Timestamp changed_at;
  v1::BlockCause cause = v1::BLOCK_CAUSE_UNSPECIFIED;
  std::string note;
  std::optional<CommandId> command;  // cause OWNER: the RemoveKey
  bool operator==(const Block&) const = default;
};

// Error REASON_MALFORMED: a name, cause, time, note or id that cannot be, a car without a fleet, or
// cause OWNER without the command's id.
Result<Block> BlockFromWire(const v1::Block& wire);
v1::Block BlockToWire(const Block& block);

// Not thread-safe.
class Blocks {
 public:
  // Takes `block` over when it is newer than what is held for its scope: later changed_at, or the
  // same time and standing where the held one is lifted. Of two that are equal in this the greater
  // cause, note and command id win, so that nothing depends on which came first. True: it was
  // taken. False: an equal or newer one is held. When kBlocksMax scopes are held, the lifted one
  // that was changed first is forgotten, be it held or `block` itself (then false). Error
  // REASON_FULL: kBlocksMax scopes are held and none of them is lifted.
  Result<bool> Merge(const Block& block);

  // Is `key` denied at this car: everywhere, at its fleet or at it alone? Allocates nothing; when
  // no block stands it is one comparison.
  bool Denies(std::string_view key, std::string_view fleet, std::string_view car) const;
  // Is `key` denied everywhere: at sign-in?
  bool DeniesEverywhere(std::string_view key) const;

  // nullptr: nothing is known of this scope.
  const Block* Find(const BlockScope& scope) const;
  // In the order of scopes, from the first after `after`, at most `most`.
  std::vector<Block> List(const std::optional<BlockScope>& after, size_t most) const;

  void ForEach(const std::function<void(const Block&)>& visit) const;

  size_t size() const { return size_; }

  // Blocks that are not lifted.
  size_t standing() const { return standing_; }

 private:
  // By fleet and car, also by their text: all scopes of one key.
  struct ByPlace {
    using is_transparent = void;

    static BlockPlace PlaceOf(const BlockScope& scope) {
      return {scope.fleet.str(), scope.car.str()};
    }

    static BlockPlace PlaceOf(BlockPlace place) { return place; }

    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return PlaceOf(a) < PlaceOf(b);
    }
  };

  using Scopes = std::map<BlockScope, Block, ByPlace>;

  void Count(const Block& block);
  void Uncount(const Block& block);
  void Forget(const BlockScope& scope);  // not a reference into lifted_

  // By key, so that one look-up by text finds all scopes of a key.
  std::map<std::string, Scopes, std::less<>> by_key_;
  // The lifted ones, the first changed first: what is forgotten when there is no room.
  std::set<std::pair<Timestamp, BlockScope>> lifted_;
  size_t size_ = 0;
  size_t standing_ = 0;
};

// A change to `held` (nullptr: none is) that wins over it: changed_at is `now` or just after the
// held one's.
Block Change(const Block* held, Block block, Timestamp now);

}  // namespace latchkey
