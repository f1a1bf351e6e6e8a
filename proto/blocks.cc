// The map of denied keys: checking what the wire says, and merging.
#include "proto/blocks.h"

#include <tuple>
#include <utility>

#include "proto/wire.h"

namespace latchkey {
namespace {

tl::unexpected<Error> BadBlock(std::string_view what) {
  return Fail(v1::REASON_MALFORMED,
              "a block " + std::string(what) + ": refused; correct it and send it again");
}

// Does `block` win over `held`? Everything of a block decides, so that two replicas that have seen
// the same changes hold the same, down to the note.
bool Wins(const Block& block, const Block& held) {
  if (block.changed_at != held.changed_at) {
    return block.changed_at > held.changed_at;
  }
  if (block.lifted != held.lifted) {
    return held.lifted;
  }
  if (block.cause != held.cause) {
    return block.cause > held.cause;
  }
  return std::tie(block.note, block.command) > std::tie(held.note, held.command);
}

template <class Map>
bool Stands(const Map& scopes, std::string_view fleet, std::string_view car) {
  const auto found = scopes.find(BlockPlace{fleet, car});
  return found != scopes.end() && !found->second.lifted;
}

}  // namespace

Result<Block> BlockFromWire(const v1::Block& wire) {
  const std::optional<KeyId> key = KeyId::Parse(wire.key_id());
  if (!key) {
    return BadBlock("names a key in a form that breaks the rules");
  }
  Block block;
  block.scope.key = *key;
  if (!wire.fleet().empty()) {
    const std::optional<FleetId> fleet = FleetId::Parse(wire.fleet());
    if (!fleet) {
      return BadBlock("names a fleet that breaks the rules");
    }
    block.scope.fleet = *fleet;
  }
  if (!wire.car().empty()) {
    const std::optional<CarId> car = CarId::Parse(wire.car());
    if (!car || block.scope.fleet.empty()) {
      return BadBlock("names a car that breaks the rules, or one without its fleet");
    }
    block.scope.car = *car;
  }
  const std::optional<Timestamp> changed_at = TimeFromWire(wire.changed_at_ms());
  if (!changed_at || changed_at->ms == 0) {
    return BadBlock("has no time of change or an impossible one");
  }
  if (!v1::BlockCause_IsValid(wire.cause()) || wire.cause() == v1::BLOCK_CAUSE_UNSPECIFIED) {
    return BadBlock("has no cause this software knows");
  }
  if (wire.note().size() > kBlockNoteBytesMax) {
    return BadBlock("has a note above 64 bytes");
  }
  block.command = CommandId::FromBytes(wire.command_id());
  const bool none = wire.command_id().empty() && wire.cause() != v1::BLOCK_CAUSE_OWNER;
  if (!block.command && !none) {
    return BadBlock("has a command id that is not 16 bytes");
  }
  block.lifted = wire.lifted();
  block.changed_at = *changed_at;
  block.cause = wire.cause();
  block.note = wire.note();
  return block;
}

v1::Block BlockToWire(const Block& block) {
  v1::Block wire;
  wire.set_key_id(block.scope.key.str());
  wire.set_fleet(block.scope.fleet.str());
  wire.set_car(block.scope.car.str());
  wire.set_lifted(block.lifted);
  wire.set_changed_at_ms(static_cast<uint64_t>(block.changed_at.ms));
  wire.set_cause(block.cause);
  wire.set_note(block.note);
  if (block.command) {
    wire.set_command_id(block.command->ToBytes());
  }
  return wire;
}

Result<bool> Blocks::Merge(const Block& block) {
  const auto of_key = by_key_.find(block.scope.key.str());
  if (of_key != by_key_.end()) {
    const auto held = of_key->second.find(block.scope);
    if (held != of_key->second.end()) {
      if (!Wins(block, held->second)) {
        return false;
      }
      Uncount(held->second);
      held->second = block;
      Count(block);
      return true;
    }
  }
  if (size_ >= kBlocksMax) {
    if (lifted_.empty()) {
      return Fail(v1::REASON_FULL, "100000 blocks stand: key " + block.scope.key.str() +
                                       " is not blocked; lift blocks that are not needed first");
    }
    if (block.lifted && std::pair(block.changed_at, block.scope) < *lifted_.begin()) {
      return false;  // it would be the next to be forgotten
    }
    const BlockScope oldest = lifted_.begin()->second;
    Forget(oldest);
  }
  by_key_[block.scope.key.str()].emplace(block.scope, block);
  ++size_;
  Count(block);
  return true;
}

void Blocks::Count(const Block& block) {
  if (block.lifted) {
    lifted_.emplace(block.changed_at, block.scope);
  } else {
    ++standing_;
  }
}

void Blocks::Uncount(const Block& block) {
  if (block.lifted) {
    lifted_.erase({block.changed_at, block.scope});
  } else {
    --standing_;
  }
}

void Blocks::Forget(const BlockScope& scope) {
  const auto of_key = by_key_.find(scope.key.str());
  LK_ASSERT(of_key != by_key_.end());
  const auto held = of_key->second.find(scope);
  LK_ASSERT(held != of_key->second.end());
  Uncount(held->second);
  of_key->second.erase(held);
  if (of_key->second.empty()) {
    by_key_.erase(of_key);
  }
  --size_;
}

bool Blocks::Denies(std::string_view key, std::string_view fleet, std::string_view car) const {
  if (standing_ == 0) {
    return false;
  }
  const auto of_key = by_key_.find(key);
  if (of_key == by_key_.end()) {
    return false;
  }
  const Scopes& scopes = of_key->second;
  return Stands(scopes, {}, {}) || Stands(scopes, fleet, {}) || Stands(scopes, fleet, car);
}

bool Blocks::DeniesEverywhere(std::string_view key) const {
  if (standing_ == 0) {
    return false;
  }
  const auto of_key = by_key_.find(key);
  return of_key != by_key_.end() && Stands(of_key->second, {}, {});
}

const Block* Blocks::Find(const BlockScope& scope) const {
  const auto of_key = by_key_.find(scope.key.str());
  if (of_key == by_key_.end()) {
    return nullptr;
  }
  const auto found = of_key->second.find(scope);
  return found == of_key->second.end() ? nullptr : &found->second;
}

std::vector<Block> Blocks::List(const std::optional<BlockScope>& after, size_t most) const {
  std::vector<Block> list;
  auto of_key = after ? by_key_.lower_bound(after->key.str()) : by_key_.begin();
  for (; of_key != by_key_.end() && list.size() < most; ++of_key) {
    const Scopes& scopes = of_key->second;
    const bool begun = after && of_key->first == after->key.str();
    auto scope = begun ? scopes.upper_bound(*after) : scopes.begin();
    for (; scope != scopes.end() && list.size() < most; ++scope) {
      list.push_back(scope->second);
    }
  }
  return list;
}

void Blocks::ForEach(const std::function<void(const Block&)>& visit) const {
  for (const auto& [key, scopes] : by_key_) {
    for (const auto& [scope, block] : scopes) {
      visit(block);
    }
  }
}

Block Change(const Block* held, Block block, Timestamp now) {
  const bool behind = held != nullptr && held->changed_at >= now;
  block.changed_at = behind ? held->changed_at + Duration(1) : now;
  return block;
}

}  // namespace latchkey
