// The history's other half: blocks at the plugin and the bridge, the broker's restart, and the
// questions.
#include <algorithm>
#include <array>
#include <utility>

#include "tests/model/world.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::model {
namespace {

using auth::Access;
using auth::PrincipalKind;

void Require(bool holds, const std::string& what) {
  if (!holds) {
    throw Fault(what);
  }
}

std::string Text(const Block& block) {
  return auth::ScopeText(block.scope) + (block.lifted ? " lifted at " : " stands from ") +
         std::to_string(block.changed_at.ms);
}

}  // namespace

// --- Blocks

BlockScope World::RandomScope() {
  BlockScope scope{keys_[Below(keys_.size())], {}, {}};
  const CarRef& ref = AnyCar().ref;
  const uint64_t width = Below(8);
  if (width > 0) {
    scope.fleet = ref.fleet;
  }
  if (width > 1) {
    scope.car = ref.car;
  }
  return scope;
}

// One request to the plugin, and what it saves and tells.
auth::Controlled World::Control(const v1::Control& control) {
  auth::Controlled done = auth::DoControl(control.SerializeAsString(), directory_.blocks());
  Require(done.answer.reason() == v1::REASON_UNSPECIFIED, "a good request is done");
  for (const Block& block : done.changed) {
    Require(ring_file_->Append(auth::RecordKind::kBlock, auth::BlockRecord(block)).has_value(),
            "a block is saved");
  }
  for (const v1::Block& older : done.answer.blocks()) {
    Require(bridge_.Merge(BlockFromWire(older).value()).has_value(), "the bridge takes over");
  }
  if (!done.changed.empty() && Chance(50)) {  // QoS 1, but the bridge may be away
    v1::BlocksChanged told;
    Require(told.ParseFromString(auth::TellBlocksChanged(done.changed).payload),
            "what bridges are told parses");
    for (const v1::Block& block : told.blocks()) {
      Require(bridge_.Merge(BlockFromWire(block).value()).has_value(), "the bridge merges");
    }
  }
  return done;
}

void World::TellPlugin(const std::vector<Block>& blocks) {
  v1::Control control;
  control.mutable_merge_blocks();
  for (const Block& block : blocks) {
    *control.mutable_merge_blocks()->add_blocks() = BlockToWire(block);
    reference_.Hears(block);
    Say("plugin hears " + Text(block));
  }
  Control(control);
}

// A change somebody makes who sees `seen`: mostly the end of a block that stands.
Block World::RandomChange(const Blocks& seen) {
  BlockScope scope = RandomScope();
  std::vector<Block> standing = seen.List(std::nullopt, kBlocksMax);
  std::erase_if(standing, [](const Block& block) { return block.lifted; });
  if (!standing.empty() && Chance(60)) {
    scope = standing[Below(standing.size())].scope;
  }
  const Block* held = seen.Find(scope);
  return {scope,       held != nullptr && !held->lifted, {}, v1::BLOCK_CAUSE_ADMINISTRATOR, "lost",
          std::nullopt};
}

// An administrator, whose clock may be wrong, and who may not know what is held.
void World::BlockAtPlugin() {
  Block block = RandomChange(directory_.blocks());
  const Block* held = directory_.blocks().Find(block.scope);
  const Duration skew(static_cast<int64_t>(Below(600'000)) - 300'000);
  block = latchkey::Change(Chance(80) ? held : nullptr, block, now_ + skew);
  all_made_.push_back(block);
  TellPlugin({block});
}

void World::BlockAtBridge() {
  Block block = RandomChange(bridge_);
  block = latchkey::Change(bridge_.Find(block.scope), block, now_ + bridge_skew_);
  all_made_.push_back(block);
  Require(bridge_.Merge(block).value(), "a change made here wins here");
  Say("bridge makes " + Text(block));
}

// The bridge and an owner's RemoveKey: a block until the car has answered or its ring has come.
void World::OwnerBlocks(const CarSide& side, const Sent& sent, bool lifted) {
  const BlockScope scope{sent.touched, side.ref.fleet, side.ref.car};
  const Block* held = bridge_.Find(scope);
  const bool stands = held != nullptr && !held->lifted;
  const bool ours = stands && held->cause == v1::BLOCK_CAUSE_OWNER && held->command == sent.id;
  if (lifted ? !ours : stands) {
    return;
  }
  Block block{scope, lifted, {}, v1::BLOCK_CAUSE_OWNER, "", sent.id};
  block = latchkey::Change(held, block, now_ + bridge_skew_);
  all_made_.push_back(block);
  Require(bridge_.Merge(block).value(), "a change made here wins here");
  TellPlugin({block});
}

// Somebody repeats an old change, or one that was never told; or somebody else made the opposite in
// the very same millisecond.
void World::ReplayBlock() {
  if (all_made_.empty()) {
    return;
  }
  Block block = all_made_[Below(all_made_.size())];
  if (Chance(40)) {
    block.lifted = !block.lifted;
    all_made_.push_back(block);
  }
  TellPlugin({block});
}

// Bridge and plugin tell each other what they hold: in any order, doubled, and sometimes only part.
void World::Sync() {
  std::vector<Block> all = bridge_.List(std::nullopt, kBlocksMax);
  std::shuffle(all.begin(), all.end(), random_);
  const bool whole = Chance(70);
  const size_t most = 1 + Below(9);
  for (size_t at = 0; at < all.size(); at += most) {
    if (!whole && Chance(50)) {
      continue;
    }
    const auto end = all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), at + most));
    std::vector<Block> chunk(all.begin() + static_cast<std::ptrdiff_t>(at), end);
    chunk.push_back(chunk[Below(chunk.size())]);
    TellPlugin(chunk);
  }
  v1::Control control;
  control.mutable_list_blocks();
  bool more = whole;
  while (more) {
    const v1::ControlAnswer page = Control(control).answer;
    more = page.more();
    if (more) {
      Require(page.blocks_size() > 0, "a page that is not the last holds something");
      *control.mutable_list_blocks()->mutable_after() = page.blocks(page.blocks_size() - 1);
    }
  }
  Require(!whole || bridge_.List(std::nullopt, kBlocksMax) ==
                        directory_.blocks().List(std::nullopt, kBlocksMax),
          "after they have told each other everything, both hold the same");
}

// The plugin starts anew with what its file holds.
void World::RestartBroker() {
  Say("the broker restarts");
  ring_file_.reset();
  directory_ = auth::Directory();
  const auto judge = [this](auth::RecordKind kind, std::string_view content) {
    if (kind == auth::RecordKind::kRing) {
      const Result<auth::Applied> applied = directory_.Apply(content, trust_, std::nullopt);
      return applied ? auth::Judged{auth::Fate::kNewest, applied->ref.ToText()}
                     : auth::Judged{auth::Fate::kDropped, {}};
    }
    const Block block = auth::BlockOfRecord(content).value();
    return directory_.blocks().Merge(block).value()
               ? auth::Judged{auth::Fate::kNewest, auth::ScopeText(block.scope)}
               : auth::Judged{auth::Fate::kDropped, {}};
  };
  Result<std::unique_ptr<auth::RingFile>> file = auth::RingFile::Open(ring_path_, judge);
  Require(file.has_value() && (*file)->opening().damaged == 0, "the ring file opens");
  ring_file_ = std::move(*file);
}

// --- Questions

Asked World::OfPhone(const KeyId& key, Access access, TopicKind kind, const CarRef& ref) const {
  return {APhone(key), access, Width::kExact, kind, Group::kBody, ref, key, true, {}};
}

bool World::Ask(const Asked& asked) {
  const std::string topic = asked.Topic();
  // Emptying what is retained is a question of its own, see access_test.
  const bool written = asked.access == Access::kWrite && asked.payload.empty();
  const std::string payload = written ? "x" : asked.payload;
  const Verdict verdict =
      auth::CheckAccess(asked.who, {asked.access, topic, payload}, directory_, now_);
  const bool allows = Allows(reference_, asked, now_);
  ++questions_;
  allowed_ += allows ? 1 : 0;
  Require(verdict.allowed() == allows, std::string(allows ? "should be allowed: " : "must not: ") +
                                           asked.ToText() + " at " + std::to_string(now_.ms) +
                                           ": " + testing::Said(verdict));
  if (asked.who.kind == PrincipalKind::kPhone && reference_.Blocked(asked.who.key, asked.ref)) {
    Require(verdict.reason != v1::REASON_NOT_ON_RING &&
                verdict.reason != v1::REASON_NOT_PERMITTED &&
                verdict.reason != v1::REASON_OUTSIDE_WINDOW,
            "who is blocked is told so before anything of the ring: " + asked.ToText());
  }
  return allows;
}

// A command as far as a delivery reads it: signed by nobody.
std::string World::CommandPayload(const Asked& asked) {
  v1::Command body;
  body.mutable_remove_key();
  const auto near = static_cast<uint64_t>(now_.ms);
  if (!asked.fresh) {
    body.set_expires_at_ms(near - Below(2));
  } else if (Chance(50)) {
    body.set_expires_at_ms(near + 1);
  }
  v1::SignedCommand outer;
  outer.set_command(body.SerializeAsString());
  return outer.SerializeAsString();
}

Asked World::AskedAtRandom() {
  constexpr std::array<Width, 6> kWidths = {Width::kExact,    Width::kExact,  Width::kExact,
                                            Width::kBelowCar, Width::kAnyCar, Width::kShared};
  Asked asked;
  asked.access = static_cast<Access>(Below(3));
  if (Chance(65)) {
    asked.who = APhone(keys_[Below(keys_.size())]);
  } else {
    asked.who = others_[Below(others_.size())];
  }
  if (asked.access == Access::kSubscribe) {
    asked.width = kWidths[Below(kWidths.size())];
  }
  asked.kind = static_cast<TopicKind>(Below(kTopicKindCount));
  asked.group = kGroups[Below(kGroupCount)];
  const CarSide& side = AnyCar();
  asked.ref = side.ref;
  asked.lane = Chance(70) && asked.who.kind == PrincipalKind::kPhone ? asked.who.key
                                                                     : keys_[Below(keys_.size())];
  if (asked.kind == TopicKind::kCommand) {
    asked.fresh = Chance(80);
    asked.payload = CommandPayload(asked);
  } else if (asked.kind == TopicKind::kKeyRing && !side.rings.empty()) {
    const SentRing& sent =
        side.rings[Chance(50) ? side.rings.size() - 1 : Below(side.rings.size())];
    const auto held = reference_.version.find(side.ref);
    asked.fresh = held == reference_.version.end() || held->second == sent.version;
    asked.payload = sent.bytes;
  }
  return asked;
}

void World::AskAtRandom() {
  Ask(AskedAtRandom());
}

// Every phone at every car.
void World::Sweep() {
  for (const KeyId& key : keys_) {
    const auto everywhere = reference_.blocks.find({key, {}, {}});
    const bool blocked = everywhere != reference_.blocks.end() && everywhere->second.second;
    Require(auth::CheckSignIn(APhone(key), directory_).allowed() == !blocked,
            "who is blocked everywhere does not sign in, everybody else does");
    for (const CarSide& side : cars_) {
      Ask(OfPhone(key, Access::kWrite, TopicKind::kCommand, side.ref));
      Ask(OfPhone(key, Access::kWrite, TopicKind::kPairingClaim, side.ref));
      Ask(OfPhone(key, Access::kRead, TopicKind::kPairingAnswer, side.ref));
      Ask(OfPhone(key, Access::kRead, TopicKind::kPresence, side.ref));
      for (const Group group : {Group::kBody, Group::kLocation}) {
        Asked state = OfPhone(key, Access::kRead, TopicKind::kState, side.ref);
        state.group = group;
        Ask(state);
      }
      Asked all = OfPhone(key, Access::kSubscribe, TopicKind::kState, side.ref);
      all.width = Width::kBelowCar;
      Ask(all);
      Asked lane = OfPhone(key, Access::kRead, TopicKind::kCommand, side.ref);
      lane.who = ACar(side.ref);
      lane.payload = CommandPayload(lane);
      Ask(lane);
    }
  }
}

}  // namespace latchkey::model
