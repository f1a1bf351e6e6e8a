// I1, I2, I4 and I5 as code, I3 as far as it is the bridge's (it sends nothing
// of a key it knows to be denied), and I8: a block is never replaced by an
// older change, and not lost. I6 and I7 are beyond the bridge's core. H1 to H6 of
// history are in bridge/core/history_watch.h.
#include "tests/sim/invariants.h"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

#include "latchkey/v1/control.pb.h"
#include "proto/command.h"
#include "proto/keyring.h"
#include "tests/sim/keys.h"

namespace latchkey::sim {

using storage::Kind;

namespace {

constexpr Duration kSilence = std::chrono::seconds(30);
constexpr int kInFlightMax = 4;
constexpr uint32_t kSmsPerDay = 10;

[[noreturn]] void Broken(const std::string& what) {
  ThrowFault(what.c_str());
}

void Expect(bool holds, const char* what, const CommandId& id) {
  if (!holds) {
    Broken(std::string(what) + ": command " + id.ToText());
  }
}

}  // namespace

void Invariants::PhoneMade(const CommandId& id, const KeyId& lane, const std::string& bytes) {
  made_[id] = Made{lane, bytes, ExpiryOf(bytes).value()};
  ids_[bytes] = id;
}

void Invariants::SentAgain(const std::string& bytes) {
  const auto at = ids_.find(bytes);
  if (at != ids_.end()) {
    not_kept_.erase(at->second);
  }
}

// ---- what it writes

void Invariants::CommittedOne(const storage::StateRecord& state) {
  const StateVersion version = VersionOf(ParseState(state.payload, state.group).value());
  StateVersion& held = state_versions_[{state.ref, state.group}];
  // Made later, but observed earlier: the clock that observed the other was ahead.
  if (version == held || (version < held && version.sequence <= held.sequence)) {
    Broken("I5: a state was replaced by one that is not newer");
  }
  fresh_states_.try_emplace({state.ref, state.group}, held);
  held = version;
}

void Invariants::CommittedOne(const storage::RingRecord& ring) {
  uint64_t& held = ring_versions_[ring.ref];
  fresh_versions_.try_emplace(ring.ref, held);
  if (ring.version <= held) {
    Broken("I4: a ring went back");
  }
  held = ring.version;
  fresh_rings_.try_emplace(ring.ref, ring_keys_[ring.ref]);
  ReadRing(ring);
}

void Invariants::CommittedOne(const storage::CommandRecord& record) {
  const auto final_state = finals_.find(record.id);
  if (final_state != finals_.end()) {
    Expect(final_state->second == record.state, "I1: an outcome was changed or undone", record.id);
  }
  if (IsFinal(record.state)) {
    finals_[record.id] = record.state;
    denied_ +=
        record.reason == v1::REASON_BLOCKED || record.reason == v1::REASON_NOT_ON_RING ? 1 : 0;
    if (closed_now_.insert(record.id).second) {
      cancelled_ += record.state == v1::RECEIPT_STATE_CANCELLED ? 1 : 0;
    }
  } else {
    const Made& made = made_.at(record.id);
    Expect(record.payload == made.bytes && record.lane == made.lane,
           "I2: held are other bytes than the phone's", record.id);
  }
}

void Invariants::CommittedOne(const storage::BlockRecord& block) {
  const auto [at, first] = blocks_.try_emplace(block.block.scope);
  Block& held = at->second;
  if (first) {
    held.scope = block.block.scope;
    held.lifted = true;
  }
  if (block.block.changed_at < held.changed_at) {
    Broken("I8: a block was replaced by an older change");
  }
  if (held.lifted && !block.block.lifted) {
    fresh_blocks_.insert(held.scope);
  }
  held = block.block;
  owners_blocks_ += !held.lifted && held.cause == v1::BLOCK_CAUSE_OWNER ? 1 : 0;
}

void Invariants::CommittedOne(const storage::EraseCommand& erase) {
  Expect(finals_.count(erase.id) == 1, "I1: an open command was forgotten", erase.id);
  forgotten_.insert(erase.id);
}

// A chain without gaps, and what is new is chained to what is in the store.
void Invariants::CommittedOne(const storage::LogRecord& record) {
  const LogLink link = OpenLogRecord(record.payload).value();
  if (!CheckFollows(log_head_, link) || record.sequence != link.head.sequence) {
    Broken("I9: the log's chain is broken at " + std::to_string(record.sequence));
  }
  log_head_ = link.head;
  ++log_entries_;
  const std::string& note = link.entry->note();
  // What a car says of a command that has another outcome, or is not known any
  // more, ends nothing.
  const bool beside = note == "not known here" || note.compare(0, 8, "too late") == 0;
  if (link.entry->event() == "command" && IsFinal(link.entry->state()) && !beside) {
    const CommandId id = CommandId::FromBytes(link.entry->command_id()).value();
    Expect(logged_now_.emplace(id, link.entry->state()).second,
           "I9: an outcome is in the log twice", id);
  }
}

void Invariants::Committed(std::span<const storage::Change> changes, bool durable, const Now& now) {
  history_.Committed(changes, now);
  closed_now_.clear();
  logged_now_.clear();
  fresh_blocks_.clear();
  fresh_rings_.clear();
  fresh_states_.clear();
  fresh_versions_.clear();
  for (const storage::Change& change : changes) {
    std::visit(
        [this, durable](const auto& one) {
          using One = std::decay_t<decltype(one)>;
          if constexpr (std::is_same_v<One, storage::BlockRecord>) {
            if (!durable) {
              Broken("I8: a block was not written durably");
            }
          }
          if constexpr (std::is_same_v<One, storage::StateRecord> ||
                        std::is_same_v<One, storage::RingRecord> ||
                        std::is_same_v<One, storage::CommandRecord> ||
                        std::is_same_v<One, storage::BlockRecord> ||
                        std::is_same_v<One, storage::LogRecord> ||
                        std::is_same_v<One, storage::EraseCommand>) {
            CommittedOne(one);
          }
        },
        change);
  }
  if (!fresh_blocks_.empty() || !fresh_rings_.empty()) {
    DropDenied();
  }
  for (const CommandId& id : closed_now_) {
    const auto logged = logged_now_.find(id);
    Expect(logged != logged_now_.end() && logged->second == finals_.at(id),
           "I9: an outcome is not in the log", id);
  }
}

// ---- what it says

void Invariants::ReadRing(const storage::RingRecord& ring) {
  v1::SignedKeyRing carried;
  v1::KeyRing parsed;
  LK_ASSERT(carried.ParseFromString(ring.payload) && parsed.ParseFromString(carried.key_ring()));
  std::set<KeyId>& keys = ring_keys_[ring.ref];
  keys.clear();
  for (const v1::Key& key : parsed.keys()) {
    keys.insert(KeyFromWire(key)->id);
  }
}

void Invariants::Told(const Publish& control) {
  v1::Control told;
  LK_ASSERT(told.ParseFromString(control.payload));
  for (const v1::Block& wire : told.merge_blocks().blocks()) {
    const Block block = BlockFromWire(wire).value();
    const auto held = blocks_.find(block.scope);
    if (held != blocks_.end() && held->second == block) {  // else: what it knew before, once more
      fresh_blocks_.erase(block.scope);
    }
  }
}

bool Invariants::Denied(const KeyId& lane, const CarRef& ref, bool now) const {
  for (const BlockScope& scope : {BlockScope{lane, {}, {}}, BlockScope{lane, ref.fleet, {}},
                                  BlockScope{lane, ref.fleet, ref.car}}) {
    const auto block = blocks_.find(scope);
    if (block != blocks_.end() && !block->second.lifted &&
        (now || fresh_blocks_.count(scope) == 0)) {
      return true;
    }
  }
  return false;
}

bool Invariants::OnRing(const KeyId& lane, const CarRef& ref) {
  const auto before = fresh_rings_.find(ref);
  return ring_keys_[ref].count(lane) > 0 ||
         (before != fresh_rings_.end() && before->second.count(lane) > 0);
}

void Invariants::PublishedCommand(const Topic& topic, const Publish& publish,
                                  const Moment& moment) {
  const CarRef ref{FleetId::Parse(topic.fleet).value(), CarId::Parse(topic.car).value()};
  const KeyId lane = KeyId::Parse(topic.lane).value();
  if (Denied(lane, ref)) {
    Broken("I3: delivered a command of a key that is denied");
  }
  if (!OnRing(lane, ref)) {
    Broken("I3: delivered a command of a key that is not on the ring");
  }
  const auto known = ids_.find(publish.payload);
  if (known == ids_.end()) {
    Broken("I2: delivered bytes that no phone made");
  }
  const CommandId& id = known->second;
  const Made& made = made_.at(id);
  Expect(!made.expires_at || moment.bridge_wall < *made.expires_at,
         "I2: delivered after its expiry", id);
  Expect(lane == made.lane, "I2: on another lane", id);
  Expect(finals_.count(id) == closed_now_.count(id), "I1: delivered after its outcome", id);
  Delivered(id, ref, moment.mono);
}

// Each command once for each time that the car comes, but for one that it has been silent about for
// long; and few at a time.
void Invariants::Delivered(const CommandId& id, const CarRef& ref, Instant now) {
  std::map<CommandId, Instant>& visit = visits_[ref];
  const auto before = visit.find(id);
  Expect(before == visit.end() || now - before->second >= kSilence,
         "I10: sent twice in one visit of the car", id);
  visit[id] = now;
  std::set<CommandId>& unanswered = unanswered_[ref];
  const KeyId& lane = made_.at(id).lane;
  if (ring_keys_[ref].count(lane) == 0 || Denied(lane, ref, true)) {
    return;  // in the same turn, but after it was sent, its key lost its place
  }
  unanswered.insert(id);
  const auto in_flight =
      std::count_if(unanswered.begin(), unanswered.end(), [&](const CommandId& one) {
        return now - visit.at(one) < kSilence && finals_.count(one) == 0 &&
               taken_back_.count(one) == 0 && answers_.count(one) == 0;
      });
  Expect(in_flight <= kInFlightMax, "I10: more at a time than a thin line carries", id);
}

// What a key loses stays lost, also when the key comes back, be it in the same turn.
void Invariants::DropDenied() {
  for (auto& [ref, unanswered] : unanswered_) {
    const CarRef& at = ref;
    std::erase_if(unanswered, [&](const CommandId& id) {
      const KeyId& lane = made_.at(id).lane;
      const bool denied_now = fresh_blocks_.count({lane, {}, {}}) > 0 ||
                              fresh_blocks_.count({lane, at.fleet, {}}) > 0 ||
                              fresh_blocks_.count({lane, at.fleet, at.car}) > 0;
      return ring_keys_[at].count(lane) == 0 || denied_now || Denied(lane, at, true);
    });
  }
}

void Invariants::MayVisit(const std::optional<CarRef>& ref) {
  if (ref) {
    visits_.erase(*ref);
    unanswered_.erase(*ref);
  } else {
    visits_.clear();
    unanswered_.clear();
  }
}

void Invariants::Answers(const std::string& receipt, const CarRef& ref) {
  const CommandId id = OpenReceipt(receipt, ref, std::nullopt)->command_id;
  unanswered_[ref].erase(id);
  answers_.insert(id);
}

void Invariants::Answered(const std::string& receipt, const CarRef& ref) {
  const CommandId id = OpenReceipt(receipt, ref, std::nullopt)->command_id;
  unanswered_[ref].erase(id);
  const auto answer = answers_.find(id);
  if (answer != answers_.end()) {
    answers_.erase(answer);
  }
}

void Invariants::TakenBack(const CommandId& id) {
  taken_back_.insert(id);
}

// What is counted of a car is on disk before its SMS leaves, and within its budget.
void Invariants::Sent(const bridge::SendSms& sms, const Moment& moment) {
  const auto at = store_.Of(Kind::kWake).find(sms.ref.ToText() + "/");
  if (at == store_.Of(Kind::kWake).end()) {
    Broken("I11: an SMS that was not counted");
  }
  const auto& wake = std::get<storage::WakeRecord>(at->second);
  const uint32_t sent = ++sms_[{sms.ref, wake.day}];
  if (sent > wake.count || wake.count > kSmsPerDay) {
    Broken("I11: more SMS than were counted, or than a battery bears");
  }
  const bool wakes_only = sms.bytes.at(0) == 1;
  const auto last = sms_at_.find(sms.ref);
  if (moment.clocks_agree && wakes_only && last != sms_at_.end() &&
      moment.true_wall - last->second < std::chrono::minutes(2)) {
    Broken("I11: woken again at once");
  }
  sms_at_[sms.ref] = moment.true_wall;
}

void Invariants::PublishedReceipt(const CarRef& ref, const Publish& publish, const Moment& moment) {
  const Outcome outcome = OpenReceipt(publish.payload, ref, std::nullopt).value();
  const CommandId& id = outcome.command_id;
  if (outcome.source != v1::RECEIPT_SOURCE_BRIDGE) {
    return;  // a car's own word, repeated
  }
  if (outcome.state == v1::RECEIPT_STATE_HELD) {
    Expect(store_.OnDisk(ref, id), "I1: HELD was said of what is not on disk", id);
    promised_.insert(id);
    not_kept_.erase(id);
    return;
  }
  if (outcome.reason == v1::REASON_STORE_UNAVAILABLE) {
    Expect(promised_.count(id) == 0 && finals_.count(id) == 0,
           "I1: refused for the store's sake, but it was held", id);
    ++unavailable_;
    if (!outcome.may_have_acted && !moment.behind_on_car && acted_.count(id) == 0) {
      not_kept_.insert(id);
    }
    return;
  }
  const bool refused_at_the_door = promised_.count(id) == 0 && finals_.count(id) == 0;
  // A copy that arrives long after its expiry, when the outcome is forgotten,
  // is told EXPIRED.
  if (!refused_at_the_door && forgotten_.count(id) == 0) {
    SaidFinally(outcome, moment);
  }
}

void Invariants::SaidFinally(const Outcome& outcome, const Moment& moment) {
  const CommandId& id = outcome.command_id;
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
  if (outcome.state == v1::RECEIPT_STATE_CANCELLED ||
      (outcome.state == v1::RECEIPT_STATE_EXPIRED && expires_at &&
       *expires_at <= moment.true_wall)) {
    surely_unused_.insert(id);
  }
}

void Invariants::Published(const Publish& publish, const Moment& moment) {
  const Topic topic = ParseTopic(publish.topic).value();
  const CarRef ref{FleetId::Parse(topic.fleet).value(), CarId::Parse(topic.car).value()};
  if (topic.kind == TopicKind::kCommand) {
    PublishedCommand(topic, publish, moment);
  } else if (topic.kind == TopicKind::kReceipt) {
    PublishedReceipt(ref, publish, moment);
  } else if (topic.kind == TopicKind::kState) {
    const StateVersion version = VersionOf(ParseState(publish.payload, topic.group).value());
    const auto before = fresh_states_.find({ref, topic.group});
    if (version != state_versions_[{ref, topic.group}] &&
        (before == fresh_states_.end() || version != before->second)) {
      Broken("I5: published a state that is not the newest held");
    }
  } else if (topic.kind == TopicKind::kKeyRing) {
    const auto ring = OpenKeyRing(publish.payload, AllKeys().cas.begin()->second, std::nullopt);
    const auto before = fresh_versions_.find(ref);
    if (!ring || (ring->version != ring_versions_[ref] &&
                  (before == fresh_versions_.end() || ring->version != before->second))) {
      Broken("I4: published a ring that is not the newest held");
    }
  } else {
    Broken("published on a topic that is not the bridge's");
  }
}

void Invariants::Acted(const CommandId& id) {
  Expect(acted_.insert(id).second, "I2: took effect twice", id);
  Expect(surely_unused_.count(id) == 0, "I1: the car acted on what was said to be unused", id);
  Expect(not_kept_.count(id) == 0, "I1: the car acted on what was said not to be kept", id);
}

// ---- what is left

// A power cut may lose what was not durable: states, and outcomes of commands
// that were never held.
void Invariants::Restarted() {
  answers_.clear();
  MayVisit(std::nullopt);
  std::vector<storage::Record> kept;
  for (const Kind kind : {Kind::kState, Kind::kHistory}) {
    for (const auto& [key, record] : store_.Of(kind)) {
      kept.push_back(record);
    }
  }
  history_.Restarted(kept);
  log_head_ = {};
  const SimStore::Records& log = store_.Of(Kind::kLog);
  if (!log.empty()) {
    log_head_ =
        OpenLogRecord(std::get<storage::LogRecord>(log.rbegin()->second).payload).value().head;
  }
  state_versions_.clear();
  for (const auto& [key, record] : store_.Of(Kind::kState)) {
    const auto& state = std::get<storage::StateRecord>(record);
    state_versions_[{state.ref, state.group}] =
        VersionOf(ParseState(state.payload, state.group).value());
  }
  for (const auto& [ref, version] : ring_versions_) {
    const auto at = store_.Of(Kind::kRing).find(ref.ToText() + "/");
    if (at == store_.Of(Kind::kRing).end() ||
        std::get<storage::RingRecord>(at->second).version < version) {
      Broken("I4: a ring was lost");
    }
  }
  for (const auto& [key, record] : store_.Of(Kind::kRing)) {
    const auto& ring = std::get<storage::RingRecord>(record);
    if (ring_versions_[ring.ref] != ring.version) {
      ring_versions_[ring.ref] = ring.version;
      ReadRing(ring);
    }
  }
  std::map<BlockScope, Block> blocks;
  for (const auto& [key, record] : store_.Of(Kind::kBlock)) {
    const Block& block = std::get<storage::BlockRecord>(record).block;
    blocks[block.scope] = block;
  }
  for (const auto& [scope, block] : blocks_) {
    const auto at = blocks.find(scope);
    if (at == blocks.end() || at->second.changed_at < block.changed_at) {
      Broken("I8: a block was lost");
    }
  }
  blocks_ = std::move(blocks);
  std::set<CommandId> stored;
  for (const auto& [key, record] : store_.Of(Kind::kCommand)) {
    const auto& command = std::get<storage::CommandRecord>(record);
    stored.insert(command.id);
    const auto final_state = finals_.find(command.id);
    if (final_state != finals_.end() && command.state != final_state->second) {
      Expect(promised_.count(command.id) == 0, "I1: a crash undid an outcome", command.id);
      finals_.erase(final_state);
    } else if (IsFinal(command.state)) {
      finals_[command.id] = command.state;  // that it was forgotten is forgotten
    }
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
  for (const auto& [key, record] : store_.Of(Kind::kBlock)) {
    const Block& block = std::get<storage::BlockRecord>(record).block;
    if (!block.lifted && block.cause == v1::BLOCK_CAUSE_OWNER) {
      Broken("I8: a key is still denied though its removal has its outcome: " +
             TextOf(block.scope));
    }
  }
}

}  // namespace latchkey::sim
