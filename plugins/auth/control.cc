// Reading, merging and listing. A request is checked whole before anything of it is done.
#include "plugins/auth/control.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "proto/wire.h"

namespace latchkey::auth {

namespace {

tl::unexpected<Error> TooManyBlocks() {
  return Fail(v1::REASON_TOO_LARGE,
              "more than 200 blocks in one request: nothing was done; send "
              "them in several");
}

// No room for all of `wanted`? Lifted blocks make room, but those that `wanted` lets stand again.
bool Overflows(const std::vector<Block>& wanted, const Blocks& blocks) {
  std::set<BlockScope> added;
  std::set<BlockScope> raised;
  for (const Block& block : wanted) {
    const Block* held = blocks.Find(block.scope);
    if (held == nullptr) {
      added.insert(block.scope);
    } else if (held->lifted && !block.lifted) {
      raised.insert(block.scope);
    }
  }
  const size_t lifted = blocks.size() - blocks.standing();
  return !added.empty() && blocks.size() + added.size() + raised.size() > kBlocksMax + lifted;
}

Result<std::vector<Block>> ReadBlocks(const v1::MergeBlocks& merge) {
  if (static_cast<size_t>(merge.blocks_size()) > kBlocksPerMessageMax) {
    return TooManyBlocks();
  }
  std::vector<Block> wanted;
  for (const v1::Block& wire : merge.blocks()) {
    LK_TRY(Block block, BlockFromWire(wire));
    wanted.push_back(std::move(block));
  }
  return wanted;
}

Result<void> Merge(const v1::MergeBlocks& merge, Blocks& blocks, Controlled& done) {
  LK_TRY(const std::vector<Block> wanted, ReadBlocks(merge));
  if (Overflows(wanted, blocks)) {
    return Fail(v1::REASON_FULL,
                "100000 blocks stand: nothing was done; lift blocks that are not needed first");
  }
  for (const Block& block : wanted) {
    const Result<bool> taken = blocks.Merge(block);
    LK_ASSERT(taken.has_value());
    if (*taken) {
      done.changed.push_back(block);
      continue;
    }
    const Block* held = blocks.Find(block.scope);
    if (held != nullptr && *held != block) {
      *done.answer.add_blocks() = BlockToWire(*held);
    }
  }
  done.answer.set_changed(static_cast<uint32_t>(done.changed.size()));
  return {};
}

Result<std::optional<BlockScope>> ReadAfter(const v1::ListBlocks& list) {
  if (!list.has_after()) {
    return std::optional<BlockScope>();
  }
  v1::Block whole = list.after();  // only its names are read: give it what a block must have
  whole.set_changed_at_ms(1);
  whole.set_cause(v1::BLOCK_CAUSE_ADMINISTRATOR);
  whole.clear_note();
  whole.clear_command_id();
  LK_TRY(Block block, BlockFromWire(whole));
  return std::optional<BlockScope>(std::move(block.scope));
}

Result<void> List(const v1::ListBlocks& list, const Blocks& blocks, Controlled& done) {
  LK_TRY(const std::optional<BlockScope> after, ReadAfter(list));
  std::vector<Block> known = blocks.List(after, kBlocksPerMessageMax + 1);
  if (known.size() > kBlocksPerMessageMax) {
    done.answer.set_more(true);
    known.pop_back();
  }
  for (const Block& block : known) {
    *done.answer.add_blocks() = BlockToWire(block);
  }
  return {};
}

Result<void> Do(std::string_view payload, Blocks& blocks, Controlled& done) {
  if (payload.size() > kControlBytesMax) {
    return Fail(v1::REASON_TOO_LARGE,
                "the request is above 60000 bytes: nothing was done; send it in several");
  }
  const auto control = FromWire<v1::Control>(payload, kControlBytesMax);
  if (!control) {
    return Fail(v1::REASON_MALFORMED,
                "the payload is no latchkey.v1.Control: nothing was done; correct the sender");
  }
  done.answer.set_request_id(control->request_id());
  switch (control->request_case()) {
    case v1::Control::kMergeBlocks:
      return Merge(control->merge_blocks(), blocks, done);
    case v1::Control::kListBlocks:
      return List(control->list_blocks(), blocks, done);
    case v1::Control::kEcho:
      return {};
    case v1::Control::kMoveClients:  // not of the blocks
    case v1::Control::REQUEST_NOT_SET:
      break;
  }
  return Fail(v1::REASON_MALFORMED,
              "no request this software knows: nothing was done; update the broker's plugins");
}

}  // namespace

Controlled DoControl(std::string_view payload, Blocks& blocks) {
  Controlled done;
  const Result<void> result = Do(payload, blocks, done);
  if (!result) {
    done.answer.set_reason(result.error().reason);
    done.answer.set_text(result.error().text.substr(0, kControlTextBytesMax));
  }
  return done;
}

std::vector<KeyId> KeysToDrop(const std::vector<Block>& changed) {
  std::vector<KeyId> keys;
  for (const Block& block : changed) {
    if (!block.lifted) {
      keys.push_back(block.scope.key);
    }
  }
  return keys;
}

Publish TellBlocksChanged(const std::vector<Block>& changed) {
  v1::BlocksChanged told;
  for (const Block& block : changed) {
    *told.add_blocks() = BlockToWire(block);
  }
  return {std::string(kBlocksChangedTopic), told.SerializeAsString(), 1, Retain::kNo, 0};
}

std::string BlockRecord(const Block& block) {
  return BlockToWire(block).SerializeAsString();
}

Result<Block> BlockOfRecord(std::string_view record) {
  const auto wire = FromWire<v1::Block>(record, kBlockBytesMax);
  if (!wire) {
    return Fail(v1::REASON_MALFORMED, "a record of the ring file is no block: left out");
  }
  return BlockFromWire(*wire);
}

std::string ScopeText(const BlockScope& scope) {
  std::string text = scope.key.str();
  if (!scope.fleet.empty()) {
    text += " " + scope.fleet.str();
  }
  if (!scope.car.empty()) {
    text += "/" + scope.car.str();
  }
  return text;
}

}  // namespace latchkey::auth
