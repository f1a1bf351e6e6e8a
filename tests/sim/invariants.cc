// I1, I2, I4 and I5 as code, I3 as far as it is the bridge's (it sends nothing of a key it knows to
// be denied), and I8: a block is never replaced by an older change, and not lost. I6 and I7 are
// beyond the bridge's core.
#include "tests/sim/invariants.h"

namespace latchkey::sim {

namespace {

[[noreturn]] void Broken(const std::string& what) {
  ThrowFault(what.c_str());
}

void Expect(bool holds, const std::string& what, const CommandId& id) {
  if (!holds) {
    Broken(what + ": command " + id.ToText());
  }
}

const storage::CommandRecord* FindCommand(const std::map<std::string, storage::Record>& records,
                                          const CarRef& ref, const CommandId& id) {
  const auto at =
      records.find(bridge::StoryStore::KeyOf(storage::Change(storage::EraseCommand{ref, id})));
  return at == records.end() ? nullptr : std::get_if<storage::CommandRecord>(&at->second);
}

}  // namespace

void Invariants::PhoneMade(const CommandId& id, const KeyId& lane, const std::string& bytes) {
  made_[id] = Made{lane, bytes, ExpiryOf(bytes).value()};
}

void Invariants::CommittedCommand(const storage::CommandRecord& record) {
  const auto final_state = finals_.find(record.id);
  if (final_state != finals_.end()) {
    Expect(final_state->second == record.state, "I1: an outcome was changed or undone", record.id);
  }
  if (IsFinal(record.state)) {
    finals_[record.id] = record.state;
    denied_ +=
        record.reason == v1::REASON_BLOCKED || record.reason == v1::REASON_NOT_ON_RING ? 1 : 0;
    closed_now_.insert(record.id);
  } else {
    const Made& made = made_.at(record.id);
    Expect(record.payload == made.bytes && record.lane == made.lane,
           "I2: held are other bytes than the phone's", record.id);
  }
}

void Invariants::Committed(const bridge::Effects& effects, const bridge::StoryStore& store) {
  bool durable = false;
  closed_now_.clear();
  for (const bridge::Effect& effect : effects) {
    const auto* write = std::get_if<bridge::Write>(&effect);
    if (write == nullptr) {
      continue;
    }
    durable = durable || write->durable;
    if (const auto* state = std::get_if<storage::StateRecord>(&write->change)) {
      const StateVersion version = VersionOf(ParseState(state->payload, state->group).value());
      StateVersion& held = state_versions_[{state->ref, state->group}];
      if (version <= held) {
        Broken("I5: a state was replaced by one that is not newer");
      }
      held = version;
    } else if (const auto* ring = std::get_if<storage::RingRecord>(&write->change)) {
      uint64_t& held = ring_versions_[ring->ref];
      if (ring->version <= held) {
        Broken("I4: a ring went back");
      }
      held = ring->version;
    } else if (const auto* command = std::get_if<storage::CommandRecord>(&write->change)) {
      CommittedCommand(*command);
    } else if (const auto* block = std::get_if<storage::BlockRecord>(&write->change)) {
      Block& held = blocks_[block->block.scope];
      if (block->block.changed_at < held.changed_at || !write->durable) {
        Broken("I8: a block was replaced by an older change, or not written durably");
      }
      held = block->block;
      owners_blocks_ += !held.lifted && held.cause == v1::BLOCK_CAUSE_OWNER ? 1 : 0;
    } else if (const auto* erase = std::get_if<storage::EraseCommand>(&write->change)) {
      Expect(finals_.count(erase->id) == 1, "I1: an open command was forgotten", erase->id);
      forgotten_.insert(erase->id);
    }
  }
  if (durable && store.current != store.durable) {
    Broken("the store of this simulation does not sync");
  }
}

const std::set<KeyId>& Invariants::KeysOf(const storage::RingRecord& ring) {
  const auto [at, added] = ring_keys_.try_emplace({ring.ref, ring.version});
  if (added) {
    v1::SignedKeyRing carried;
    v1::KeyRing parsed;
    LK_ASSERT(carried.ParseFromString(ring.payload) && parsed.ParseFromString(carried.key_ring()));
    for (const v1::Key& key : parsed.keys()) {
      at->second.insert(KeyFromWire(key)->id);
    }
  }
  return at->second;
}

void Invariants::PublishedCommand(const Publish& publish, const Moment& moment,
                                  const bridge::StoryStore& store) {
  const Topic topic = ParseTopic(publish.topic).value();
  const CarRef ref = bridge::RefOf(std::string(topic.car));
  const KeyId lane = KeyId::Parse(topic.lane).value();
  for (const BlockScope& scope : {BlockScope{lane, {}, {}}, BlockScope{lane, ref.fleet, {}},
                                  BlockScope{lane, ref.fleet, ref.car}}) {
    const auto block = blocks_.find(scope);
    if (block != blocks_.end() && !block->second.lifted) {
      Broken("I3: delivered a command of a key that is denied");
    }
  }
  const auto ring = store.current.find("ring " + ref.ToText());
  if (ring == store.current.end() ||
      KeysOf(std::get<storage::RingRecord>(ring->second)).count(lane) == 0) {
    Broken("I3: delivered a command of a key that is not on the ring");
  }
  for (const auto& [id, made] : made_) {
    if (made.bytes == publish.payload) {
      Expect(!made.expires_at || moment.bridge_wall < *made.expires_at,
             "I2: delivered after its expiry", id);
      Expect(ParseTopic(publish.topic).value().lane == made.lane.str(), "I2: on another lane", id);
      Expect(finals_.count(id) == closed_now_.count(id), "I1: delivered after its outcome", id);
      return;
    }
  }
  Broken("I2: delivered bytes that no phone made");
}

void Invariants::PublishedReceipt(const CarRef& ref, const Publish& publish, const Moment& moment,
                                  const bridge::StoryStore& store) {
  const Outcome outcome = OpenReceipt(publish.payload, ref, std::nullopt).value();
  const CommandId& id = outcome.command_id;
  if (outcome.source != v1::RECEIPT_SOURCE_BRIDGE) {
    return;  // a car's own word, repeated
  }
  if (outcome.state == v1::RECEIPT_STATE_HELD) {
    const storage::CommandRecord* record = FindCommand(store.durable, ref, id);
    Expect(record != nullptr, "I1: HELD was said of what is not on disk", id);
    promised_.insert(id);
    return;
  }
  const bool refused_at_the_door = promised_.count(id) == 0 && finals_.count(id) == 0;
  // A copy that arrives long after its expiry, when the outcome is forgotten, is told EXPIRED.
  if (refused_at_the_door || forgotten_.count(id) == 1) {
    return;
  }
  const auto [said, first] = said_.try_emplace(id, outcome.state);
  Expect(said->second == outcome.state, "I1: two outcomes were said", id);
  const auto final_state = finals_.find(id);
  Expect(final_state != finals_.end() && final_state->second == outcome.state,
         "I1: an outcome was said that is not the one stored", id);
  if (!first || outcome.may_have_acted || moment.behind_on_car || !moment.clocks_agree) {
    return;
  }
  Expect(acted_.count(id) == 0, "I1: said unused, but the car had acted", id);
  // One that is only superseded may still reach the car from the phone itself.
  const std::optional<Timestamp>& expires_at = made_.at(id).expires_at;
  if (outcome.state == v1::RECEIPT_STATE_EXPIRED && expires_at && *expires_at <= moment.true_wall) {
    surely_unused_.insert(id);
  }
}

void Invariants::Published(const Publish& publish, const Moment& moment,
                           const bridge::StoryStore& store) {
  const Topic topic = ParseTopic(publish.topic).value();
  const CarRef ref = bridge::RefOf(std::string(topic.car));
  if (topic.kind == TopicKind::kCommand) {
    PublishedCommand(publish, moment, store);
  } else if (topic.kind == TopicKind::kReceipt) {
    PublishedReceipt(ref, publish, moment, store);
  } else if (topic.kind == TopicKind::kState) {
    const StateVersion version = VersionOf(ParseState(publish.payload, topic.group).value());
    if (version != state_versions_[{ref, topic.group}]) {
      Broken("I5: published a state that is not the newest held");
    }
  } else if (topic.kind == TopicKind::kKeyRing) {
    const auto ring =
        OpenKeyRing(publish.payload, bridge::SharedKeys().Cas().begin()->second, std::nullopt);
    if (!ring || ring->version != ring_versions_[ref]) {
      Broken("I4: published a ring that is not the newest held");
    }
  } else {
    Broken("published on a topic that is not the bridge's");
  }
}

void Invariants::Acted(const CommandId& id) {
  Expect(acted_.insert(id).second, "I2: took effect twice", id);
  Expect(surely_unused_.count(id) == 0, "I1: the car acted on what was said to be unused", id);
}

// A power cut may lose what was not durable: states, and outcomes of commands that were never held.
void Invariants::Restarted(const bridge::StoryStore& store) {
  state_versions_.clear();
  std::set<CommandId> stored;
  std::map<BlockScope, Block> blocks;
  std::map<CarRef, uint64_t> rings;
  for (const auto& [key, record] : store.current) {
    if (const auto* state = std::get_if<storage::StateRecord>(&record)) {
      state_versions_[{state->ref, state->group}] =
          VersionOf(ParseState(state->payload, state->group).value());
    } else if (const auto* ring = std::get_if<storage::RingRecord>(&record)) {
      rings[ring->ref] = ring->version;
    } else if (const auto* block = std::get_if<storage::BlockRecord>(&record)) {
      blocks[block->block.scope] = block->block;
    } else if (const auto* command = std::get_if<storage::CommandRecord>(&record)) {
      stored.insert(command->id);
      const auto final_state = finals_.find(command->id);
      if (final_state != finals_.end() && command->state != final_state->second) {
        Expect(promised_.count(command->id) == 0, "I1: a crash undid an outcome", command->id);
        finals_.erase(final_state);
      } else if (IsFinal(command->state)) {
        finals_[command->id] = command->state;  // that it was forgotten is forgotten
      }
    }
  }
  if (rings != ring_versions_) {
    Broken("I4: a ring was lost");
  }
  if (blocks != blocks_) {
    Broken("I8: a block was lost");
  }
  for (const CommandId& id : promised_) {
    Expect(stored.count(id) == 1 || finals_.count(id) == 1, "I1: a held command was lost", id);
  }
  for (auto at = finals_.begin(); at != finals_.end();) {
    const bool lost = stored.count(at->first) == 0 && promised_.count(at->first) == 0 &&
                      said_.count(at->first) == 0;
    at = lost ? finals_.erase(at) : std::next(at);
  }
}

void Invariants::AllKept() const {
  for (const CommandId& id : promised_) {
    Expect(finals_.count(id) == 1, "I1: a held command has no outcome", id);
  }
}

void Invariants::OwnersBlocksAreOver(const bridge::StoryStore& store) const {
  for (const auto& [key, record] : store.current) {
    const auto* block = std::get_if<storage::BlockRecord>(&record);
    if (block != nullptr && !block->block.lifted && block->block.cause == v1::BLOCK_CAUSE_OWNER) {
      Broken("I8: a key is still denied though its removal has its outcome: " +
             bridge::TextOf(block->block.scope));
    }
  }
}

}  // namespace latchkey::sim
