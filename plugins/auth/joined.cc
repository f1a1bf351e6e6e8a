// See joined.h.
#include "plugins/auth/joined.h"

#include <algorithm>
#include <utility>

#include "proto/topic.h"
#include "proto/wire.h"

namespace latchkey::auth {

namespace {

// FNV-1a, 64 bits, of one block as it travels.
uint64_t HashOf(const Block& block) {
  uint64_t hash = 14695981039346656037U;
  for (const char c : BlockToWire(block).SerializeAsString()) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211U;
  }
  return hash;
}

}  // namespace

bool IsBrokerName(std::string_view name) {
  return !name.empty() && name.size() <= kBrokerNameMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_';
         });
}

Result<std::vector<Block>> Joined::Heard(std::string_view payload, Instant now) {
  const auto word = FromWire<v1::PeerWord>(payload, kControlBytesMax);
  if (!word || !IsBrokerName(word->broker()) ||
      static_cast<size_t>(word->blocks_size()) > kBlocksPerMessageMax) {
    return Fail(v1::REASON_MALFORMED, "a peer's word could not be read: update both brokers");
  }
  if (word->broker() == broker_) {
    return Fail(v1::REASON_NOT_ALLOWED,
                "the broker this one is joined with has the same name: give each its own "
                "plugin_opt_broker");
  }
  std::vector<Block> blocks;
  for (const v1::Block& wire : word->blocks()) {
    LK_TRY(Block block, BlockFromWire(wire));
    blocks.push_back(std::move(block));
  }
  if (!Here(now) || word->started_at_ms() != peer_started_at_ms_) {
    all_said_at_.reset();  // what it lacks it lacks now
  }
  peer_ = word->broker();
  peer_started_at_ms_ = word->started_at_ms();
  peer_sum_ = word->blocks_sum();
  heard_at_ = last_heard_at_ = now;
  return blocks;
}

void Joined::Left() {
  heard_at_.reset();
}

bool Joined::TakeGone(Instant now) {
  if (!last_heard_at_ || now - *last_heard_at_ < kPeerGoneAfter) {
    return false;
  }
  last_heard_at_.reset();
  return true;
}

void Joined::Changed(const std::vector<Block>& changed) {
  sum_known_ = false;
  changed_.insert(changed_.end(), changed.begin(), changed.end());
}

// Without blocks it is only good now: an absent peer need not have it kept.
Publish Joined::Word(const std::vector<Block>& blocks) const {
  v1::PeerWord word;
  word.set_broker(broker_);
  word.set_started_at_ms(static_cast<uint64_t>(std::max<int64_t>(0, started_at_.ms)));
  word.set_blocks_sum(sum_);
  for (const Block& block : blocks) {
    *word.add_blocks() = BlockToWire(block);
  }
  return {std::string(kPeerTopic), word.SerializeAsString(), blocks.empty() ? 0 : 1, Retain::kNo,
          0};
}

std::vector<Publish> Joined::Pages(const std::vector<Block>& blocks) const {
  std::vector<Publish> pages;
  for (size_t at = 0; at < blocks.size(); at += kBlocksPerMessageMax) {
    const auto from = blocks.begin() + static_cast<std::ptrdiff_t>(at);
    const size_t count = std::min(kBlocksPerMessageMax, blocks.size() - at);
    pages.push_back(Word({from, from + static_cast<std::ptrdiff_t>(count)}));
  }
  return pages;
}

std::vector<Publish> Joined::Due(const Blocks& blocks, Instant now) {
  const bool due = !said_at_ || now - *said_at_ >= kPeerWordEvery;
  if (!due && changed_.empty()) {
    return {};
  }
  if (!sum_known_) {
    sum_ = 0;
    blocks.ForEach([this](const Block& block) { sum_ ^= HashOf(block); });
    sum_known_ = true;
  }
  std::vector<Publish> said = Pages(std::exchange(changed_, {}));
  if (due) {
    said_at_ = now;
    said.push_back(Word({}));
  }
  const bool differ = Here(now) && peer_sum_ != sum_;
  if (differ && (!all_said_at_ || now - *all_said_at_ >= kPeerBlocksEvery)) {
    all_said_at_ = now;
    std::vector<Block> all;
    blocks.ForEach([&all](const Block& block) { all.push_back(block); });
    for (Publish& page : Pages(all)) {
      said.push_back(std::move(page));
    }
  }
  return said;
}

}  // namespace latchkey::auth
