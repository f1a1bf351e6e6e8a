// What administrators, bridges and the plugin say of blocks. The first byte says which: 'c' a
// Control, 'a' a ControlAnswer, 'n' BlocksChanged, 'f' a block as the ring file holds it.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "plugins/auth/control.h"
#include "proto/blocks.h"
#include "proto/wire.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {
namespace {

using Wire = google::protobuf::RepeatedPtrField<v1::Block>;

void CheckLaws(const std::vector<Block>& taken) {
  Blocks forward;
  Blocks backward;
  for (const Block& block : taken) {
    static_cast<void>(forward.Merge(block));
  }
  for (auto block = taken.rbegin(); block != taken.rend(); ++block) {
    static_cast<void>(backward.Merge(*block));
  }
  const std::vector<Block> held = forward.List(std::nullopt, kBlocksMax);
  Require(held == backward.List(std::nullopt, kBlocksMax), "order does not matter");
  Require(held.size() == forward.size(), "a list has everything");
  size_t standing = 0;
  for (const Block& block : held) {
    standing += block.lifted ? 0 : 1;
    Require(!*forward.Merge(block), "what is held changes nothing");
    const std::vector<Block> after = forward.List(block.scope, 1);
    Require(after.empty() || block.scope < after.front().scope, "pages go forward");
    if (!block.lifted) {
      Require(forward.Denies(block.scope.key.str(), block.scope.fleet.str(), block.scope.car.str()),
              "who is blocked is denied");
    }
  }
  Require(standing == forward.standing(), "what stands is counted");
}

void TryBlocks(const Wire& wire) {
  std::vector<Block> taken;
  for (const v1::Block& each : wire) {
    Result<Block> block = BlockFromWire(each);
    if (!block) {
      Require(block.error().reason == v1::REASON_MALFORMED, "a bad block is malformed");
      continue;
    }
    const v1::Block again = BlockToWire(*block);
    Require(again.ByteSizeLong() <= kBlockBytesMax, "a block keeps its bound");
    const Result<Block> read = BlockFromWire(again);
    Require(read && *read == *block, "a block that parses is written so that it parses alike");
    taken.push_back(std::move(*block));
  }
  CheckLaws(taken);
}

void TryControl(std::string_view bytes) {
  Blocks blocks;
  const auth::Controlled done = auth::DoControl(bytes, blocks);
  Require(done.answer.ByteSizeLong() <= kControlBytesMax, "an answer keeps its bound");
  Require(done.answer.text().size() <= auth::kControlTextBytesMax, "and its text");
  if (done.answer.reason() != v1::REASON_UNSPECIFIED) {
    Require(blocks.size() == 0 && done.changed.empty(), "what is refused changes nothing");
    return;
  }
  Require(done.changed.size() == done.answer.changed(), "changes are counted");
  static_cast<void>(auth::KeysToDrop(done.changed));
  Blocks told;
  for (const Block& block : done.changed) {
    Require(told.Merge(block).has_value(), "who is told can merge");
  }
  Require(told.List(std::nullopt, kBlocksMax) == blocks.List(std::nullopt, kBlocksMax),
          "who is told of the changes knows all");
}

void TryRecord(std::string_view bytes) {
  const Result<Block> block = auth::BlockOfRecord(bytes);
  if (block) {
    const Result<Block> again = auth::BlockOfRecord(auth::BlockRecord(*block));
    Require(again && *again == *block, "a record that reads is written so that it reads alike");
  }
}

}  // namespace

void Try(std::string_view input) {
  if (input.empty()) {
    return;
  }
  const std::string_view rest = input.substr(1);
  if (input[0] == 'f') {
    TryRecord(rest);
  } else if (input[0] == 'c') {
    TryControl(rest);
    const auto control = FromWire<v1::Control>(rest, kControlBytesMax);
    if (control) {
      TryBlocks(control->merge_blocks().blocks());
      static_cast<void>(BlockFromWire(control->list_blocks().after()));
    }
  } else if (input[0] == 'a') {
    const auto answer = FromWire<v1::ControlAnswer>(rest, kControlBytesMax);
    if (answer) {
      TryBlocks(answer->blocks());
    }
  } else if (input[0] == 'n') {
    const auto changed = FromWire<v1::BlocksChanged>(rest, kControlBytesMax);
    if (changed) {
      TryBlocks(changed->blocks());
    }
  }
}

}  // namespace latchkey::fuzz
