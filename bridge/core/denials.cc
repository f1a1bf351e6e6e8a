// See denials.h.
#include "bridge/core/denials.h"

#include <algorithm>
#include <utility>

#include "bridge/core/journal.h"
#include "proto/reason.h"
#include "proto/wire.h"

namespace latchkey::bridge {

namespace {

constexpr size_t kChangesLoggedMax = 20;  // per message; the rest is one number

std::string TextOf(const BlockScope& scope) {
  if (scope.fleet.empty()) {
    return "everywhere";
  }
  return scope.fleet.str() + (scope.car.empty() ? "" : "/" + scope.car.str());
}

LogEvent EventOf(const Block& block) {
  std::vector<std::pair<std::string, std::string>> fields = {
      {"key", block.scope.key.str()},
      {"at", TextOf(block.scope)},
      {"by", block.cause == v1::BLOCK_CAUSE_OWNER ? "owner" : "administrator"}};
  if (block.command) {
    fields.emplace_back("command", block.command->ToText());
  }
  return {LogEvent::Level::kInfo, block.lifted ? "block_lifted" : "block_set", std::move(fields)};
}

BlockScope ScopeOf(const KeyId& key, const CarRef& ref) {
  return {key, ref.fleet, ref.car};
}

std::vector<v1::Block> ListOf(const google::protobuf::RepeatedPtrField<v1::Block>& blocks) {
  return {blocks.begin(), blocks.end()};
}

}  // namespace

Denials::Denials(Counters& counters) : counters_(counters) {}

void Denials::Load(const storage::BlockRecord& record) {
  if (blocks_.Merge(record.block)) {
    Index(record.block);
  }
}

void Denials::Index(const Block& block) {
  const CarRef ref{block.scope.fleet, block.scope.car};
  if (block.scope.car.empty()) {
    return;
  }
  if (!block.lifted && block.cause == v1::BLOCK_CAUSE_OWNER) {
    owners_[ref].insert(block.scope.key);
    return;
  }
  const auto car = owners_.find(ref);
  if (car != owners_.end() && car->second.erase(block.scope.key) > 0 && car->second.empty()) {
    owners_.erase(car);
  }
}

std::set<KeyId> Denials::OwnersAt(const CarRef& ref) const {
  const auto car = owners_.find(ref);
  return car == owners_.end() ? std::set<KeyId>() : car->second;
}

std::vector<CarRef> Denials::CarsOfOwners() const {
  std::vector<CarRef> cars;
  for (const auto& [ref, keys] : owners_) {
    cars.push_back(ref);
  }
  return cars;
}

bool Denials::Take(const Block& block, Effects& out) {
  // Full: one that is lifted makes room and is forgotten in the store, too.
  std::vector<BlockScope> oldest;
  if (blocks_.size() >= kBlocksMax && blocks_.Find(block.scope) == nullptr) {
    std::optional<Timestamp> first;
    blocks_.ForEach([&](const Block& one) {
      if (one.lifted && (!first || one.changed_at <= *first)) {
        if (first && one.changed_at < *first) {
          oldest.clear();
        }
        first = one.changed_at;
        oldest.push_back(one.scope);
      }
    });
  }
  const Result<bool> taken = blocks_.Merge(block);
  if (!taken) {
    ++counters_.refused[taken.error().reason];
    out.emplace_back(LogEvent{LogEvent::Level::kWarning,
                              "block_not_kept",
                              {{"key", block.scope.key.str()},
                               {"at", TextOf(block.scope)},
                               {"why", taken.error().text}}});
    return false;
  }
  if (!*taken) {
    return false;
  }
  Index(block);
  for (const BlockScope& scope : oldest) {
    if (blocks_.Find(scope) == nullptr) {
      out.emplace_back(Write{storage::EraseBlock{scope}, false});
    }
  }
  out.emplace_back(Write{storage::BlockRecord{block}, true});
  return true;
}

std::vector<BlockScope> Denials::TakeAll(const std::vector<v1::Block>& blocks, const Now& now,
                                         Effects& out) {
  std::vector<BlockScope> changed;
  for (const v1::Block& wire : blocks) {
    const Result<Block> block = BlockFromWire(wire);
    if (!block) {
      ++counters_.refused[block.error().reason];
      continue;
    }
    if (!Take(*block, out)) {
      continue;
    }
    ++counters_.blocks_taken;
    changed.push_back(block->scope);
    out.emplace_back(JournalOf(*block, now.wall));
    if (changed.size() <= kChangesLoggedMax) {
      out.emplace_back(EventOf(*block));
    }
  }
  if (changed.size() > kChangesLoggedMax) {
    out.emplace_back(LogEvent{
        LogEvent::Level::kInfo, "blocks_taken", {{"count", std::to_string(changed.size())}}});
  }
  return changed;
}

std::vector<BlockScope> Denials::Changed(const std::string& payload, const Now& now, Effects& out) {
  const auto changed = FromWire<v1::BlocksChanged>(payload, kControlBytesMax);
  if (!changed) {
    ++counters_.refused[v1::REASON_MALFORMED];
    return {};
  }
  return TakeAll(ListOf(changed->blocks()), now, out);
}

// ---- what the owner's RemoveKey does

bool Denials::Own(const Block& block, const Now& now, Effects& out) {
  if (!Take(block, out)) {
    return false;
  }
  out.emplace_back(EventOf(block));
  out.emplace_back(JournalOf(block, now.wall));
  if (up_) {
    if (requests_.size() < kChangesInFlightMax) {
      v1::Control control;
      *control.mutable_merge_blocks()->add_blocks() = BlockToWire(block);
      Send(std::move(control), now, out);
    } else {
      begin_anew_ = true;
    }
  }
  return true;
}

bool Denials::Deny(const KeyId& key, const CarRef& ref, const CommandId& command, const Now& now,
                   Effects& out) {
  Block block;
  block.scope = ScopeOf(key, ref);
  block.cause = v1::BLOCK_CAUSE_OWNER;
  block.command = command;
  const bool set = Own(Change(Find(block.scope), block, now.wall), now, out);
  counters_.blocks_set += set ? 1 : 0;
  return set;
}

void Denials::Lift(const KeyId& key, const CarRef& ref, const Now& now, Effects& out) {
  const Block* held = Find(ScopeOf(key, ref));
  LK_ASSERT(held != nullptr && !held->lifted && held->cause == v1::BLOCK_CAUSE_OWNER);
  Block block = *held;
  block.lifted = true;
  counters_.blocks_lifted += Own(Change(held, block, now.wall), now, out) ? 1 : 0;
}

// ---- agreeing with the plugin

void Denials::BrokerUp(const Now& now, Effects& out) {
  up_ = true;
  Begin(now, out);
}

void Denials::BrokerDown() {
  up_ = false;
  stage_ = Stage::kApart;
  requests_.clear();
  begin_at_.reset();
  begin_anew_ = false;
}

void Denials::Begin(const Now& now, Effects& out) {
  requests_.clear();
  begin_at_.reset();
  begin_anew_ = false;
  reached_.reset();
  stage_ = Stage::kTelling;
  TellNext(now, out);
}

void Denials::BeginLater(const Now& now) {
  requests_.clear();
  begin_anew_ = false;
  stage_ = Stage::kApart;
  begin_at_ = now.mono + kAgreeAgainAfter;
}

void Denials::TellNext(const Now& now, Effects& out) {
  const std::vector<Block> chunk = blocks_.List(reached_, kBlocksPerMessageMax);
  if (chunk.empty()) {
    stage_ = Stage::kAsking;
    reached_.reset();
    AskNext(now, out);
    return;
  }
  v1::Control control;
  for (const Block& block : chunk) {
    *control.mutable_merge_blocks()->add_blocks() = BlockToWire(block);
  }
  reached_ = chunk.back().scope;
  step_ = Send(std::move(control), now, out);
}

void Denials::AskNext(const Now& now, Effects& out) {
  v1::Control control;
  control.mutable_list_blocks();
  if (reached_) {
    v1::Block& after = *control.mutable_list_blocks()->mutable_after();
    after.set_key_id(reached_->key.str());
    after.set_fleet(reached_->fleet.str());
    after.set_car(reached_->car.str());
  }
  step_ = Send(std::move(control), now, out);
}

// Ids of a bridge that starts again are above those of before, as far as the clock goes; an answer
// to another's request would only be merged.
uint64_t Denials::Send(v1::Control control, const Now& now, Effects& out) {
  last_request_ = std::max(last_request_ + 1, static_cast<uint64_t>(now.wall.ms) << 10);
  control.set_request_id(last_request_);
  Request request{control.SerializeAsString(), now.mono + kAnswerWait, 1};
  out.emplace_back(Publish{std::string(kControlTopic), request.bytes, 1, Retain::kNo, 0});
  requests_.emplace(last_request_, std::move(request));
  return last_request_;
}

void Denials::Passes(const Now& now, Effects& out) {
  if (begin_at_ && *begin_at_ <= now.mono) {
    Begin(now, out);
  }
  for (auto& [id, request] : requests_) {
    if (request.again_at > now.mono) {
      continue;
    }
    if (request.tries == kTriesMax) {
      ++counters_.block_requests_unanswered;
      out.emplace_back(LogEvent{
          LogEvent::Level::kWarning,
          "blocks_unanswered",
          {{"what", "the broker's auth plugin does not answer: blocks may not be in force there"},
           {"again_s", std::to_string(kAgreeAgainAfter.count() / 1000)}}});
      BeginLater(now);
      return;
    }
    ++request.tries;
    request.again_at = now.mono + kAnswerWait;
    out.emplace_back(Publish{std::string(kControlTopic), request.bytes, 1, Retain::kNo, 0});
  }
}

std::vector<BlockScope> Denials::Answered(const std::string& payload, const Now& now,
                                          Effects& out) {
  const auto answer = FromWire<v1::ControlAnswer>(payload, kControlBytesMax);
  if (!answer) {
    ++counters_.refused[v1::REASON_MALFORMED];
    return {};
  }
  std::vector<BlockScope> changed = TakeAll(ListOf(answer->blocks()), now, out);
  if (requests_.erase(answer->request_id()) == 0) {
    return changed;  // answered before, or asked by a bridge that is no more
  }
  if (answer->reason() != v1::REASON_UNSPECIFIED) {
    ++counters_.refused[answer->reason()];
    out.emplace_back(LogEvent{LogEvent::Level::kWarning,
                              "blocks_refused",
                              {{"reason", std::string(FactsOf(answer->reason()).word)}}});
    begin_at_ = now.mono + kAgreeAgainAfter;
    if (stage_ == Stage::kAsking && answer->request_id() == step_) {
      BeginLater(now);
    }
  }
  if (answer->request_id() == step_ && (stage_ == Stage::kTelling || stage_ == Stage::kAsking)) {
    GoesOn(*answer, now, out);
  }
  if (begin_anew_ && requests_.empty()) {
    Begin(now, out);
  }
  return changed;
}

// The chunk or page that was waited for is there.
void Denials::GoesOn(const v1::ControlAnswer& answer, const Now& now, Effects& out) {
  if (stage_ == Stage::kTelling) {
    TellNext(now, out);
    return;
  }
  if (!answer.more()) {
    stage_ = Stage::kAgreed;
    out.emplace_back(
        LogEvent{LogEvent::Level::kInfo,
                 "blocks_agreed",
                 {{"known", std::to_string(size())}, {"standing", std::to_string(standing())}}});
    return;
  }
  const Result<Block> last = answer.blocks().empty()
                                 ? Fail(v1::REASON_MALFORMED, "an empty page with more after it")
                                 : BlockFromWire(*answer.blocks().rbegin());
  // Each page must be further on: that bounds how many there are.
  if (!last || (reached_ && last->scope <= *reached_)) {
    ++counters_.refused[v1::REASON_MALFORMED];
    BeginLater(now);
    return;
  }
  reached_ = last->scope;
  AskNext(now, out);
}

std::optional<Instant> Denials::NextDeadline() const {
  std::optional<Instant> next = begin_at_;
  for (const auto& [id, request] : requests_) {
    next = next ? std::min(*next, request.again_at) : request.again_at;
  }
  return next;
}

void Denials::Keep(const CarRef& ref, Effects& out) const {
  blocks_.ForEach([&](const Block& block) {
    if (block.scope.fleet == ref.fleet && block.scope.car == ref.car) {
      out.emplace_back(Write{storage::BlockRecord{block}, true});
    }
  });
}

void Denials::CheckInvariants() const {
  LK_ASSERT(up_ || (requests_.empty() && !begin_at_ && stage_ == Stage::kApart));
  LK_ASSERT(requests_.size() <= kChangesInFlightMax + 1);
  LK_ASSERT(!up_ || stage_ == Stage::kAgreed || !requests_.empty() || begin_at_);
  std::map<CarRef, std::set<KeyId>> owners;
  size_t standing = 0;
  blocks_.ForEach([&](const Block& block) {
    standing += block.lifted ? 0 : 1;
    if (!block.lifted && block.cause == v1::BLOCK_CAUSE_OWNER && !block.scope.car.empty()) {
      owners[{block.scope.fleet, block.scope.car}].insert(block.scope.key);
    }
  });
  LK_ASSERT(owners == owners_ && standing == blocks_.standing());
}

}  // namespace latchkey::bridge
