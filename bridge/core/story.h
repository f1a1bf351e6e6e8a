// Stories for tests of the bridge's core: verbs for what happens, text for what the bridge does.
//
// One car, F/car1, and phones "k1" and "k4" (owners), "k2" (driver: no keys), "k3" (on no ring).
// Clocks are virtual. Every write goes into a small store that a restart loads from; Said() gives
// what was done since it was last asked, effects in order, log lines left out:
//   write c1 HELD durable | receipt k1 c1 HELD | deliver c1 | erase c1 | write ring 2 durable
//   write presence online | write state body 5 | publish state body 5 | publish ring 2
//   write block k2 f/car1 durable | tell block k2 f/car1 | write lift k2 f durable | tell lift k2 f
//   erase block k2 everywhere | write wake 1 durable | sms command c1 | sms wake
// The broker's plugin holds blocks of its own and answers what it is asked at once, unless told to
// be silent; what it is asked of its list is not said.
// Records of sessions and history are not said: StoryStore::sessions has the former; the latter is
// watched (history_watch.h).
// Journaled() gives what went into the log:
//   k1 c1 lock arrived | k1 c1 lock HELD bridge | ring 2 k2: removed: driver | wake c1: sms sent
// A receipt is followed by its reason where that says more than its state, and by "maybe" when it
// says that the car may have acted.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bridge/core/bridge.h"
#include "bridge/core/history_watch.h"
#include "bridge/core/story_parts.h"
#include "bridge/core/story_store.h"
#include "latchkey/v1/control.pb.h"
#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/state.pb.h"
#include "proto/blocks.h"
#include "proto/certificate.h"
#include "proto/command.h"
#include "proto/keyring.h"
#include "proto/reason.h"
#include "proto/receipt.h"
#include "proto/sms.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "tools/ca/ca.h"

namespace latchkey::bridge {

class Story {
 public:
  explicit Story(const Limits& limits = {}) : limits_(limits), history_(BoundsOf(limits_)) {
    MakeBridge();
    BrokerUp();
    RingArrives(1, {"k1", "k2"}, Retain::kYes);
    Presence(false);
    Passes(10min);  // away long enough that nothing can have reached it
    Said();
    Journaled();
  }

  // ---- what happens

  void BrokerUp() {
    broker_up_ = true;
    Step(latchkey::bridge::BrokerUp{});
  }

  void BrokerShows() { Step(latchkey::bridge::BrokerShows{}); }

  void BrokerShown() { Step(latchkey::bridge::BrokerShown{}); }

  void BrokerDown() {
    broker_up_ = false;
    Step(latchkey::bridge::BrokerDown{});
  }

  void CasAre(const FleetCas& cas) { Step(cas); }

  // From here on the car has a number.
  void HasNumber() { Step(Contacts{{ref, Contact{kStoryNumber, std::string(32, 'r')}}}); }

  void HasNoNumber() { Step(Contacts{}); }

  // Of the SMS that was handed over last.
  void GatewaySays(SmsReport::What what, const std::string& text = "") {
    Step(SmsReport{last_sms_, what, text});
  }

  // The broker's plugin has something for the log.
  void PluginTells(const v1::LogEntry& entry) {
    Arrives(std::string(kEventTopic), entry.SerializeAsString());
  }

  void RingArrives(uint64_t version, const std::vector<std::string>& names,
                   Retain retain = Retain::kNo) {
    Arrives(KeyRingTopic(ref), SharedKeys().Ring(ref, version, names), retain);
  }

  // The plugin says that the car came or went.
  void CarConnects() {
    ++session_;
    Presence(true);
  }

  void CarLeaves() { Presence(false); }

  void Presence(bool online, Retain retain = Retain::kNo) {
    presence_ = PresenceBytes(online, wall, session_, broker_started_at);
    Arrives(PresenceTopic(ref), presence_, retain);
  }

  void PresenceAgain() { Arrives(PresenceTopic(ref), presence_, Retain::kYes); }

  // `phone` sends action `action` ("lock") as command `name`, alive for `life`; zero: for ever.
  void Sends(const std::string& phone, const std::string& name, const std::string& action,
             Duration life) {
    Make(phone, name, action, life);
    Resends(name);
  }

  // `phone` takes command `target` back by command `name`.
  void Cancels(const std::string& phone, const std::string& name, const std::string& target,
               Duration life = 10min) {
    cancels_ = target;
    Sends(phone, name, "cancel", life);
  }

  void Resends(const std::string& name) {
    const Sent& sent = sent_.at(name);
    Arrives(CommandTopic(ref, SharedKeys().IdOf(sent.phone)), sent.bytes);
  }

  // Makes a command and keeps it back for Resends.
  void Make(const std::string& phone, const std::string& name, const std::string& action,
            Duration life, Duration issued_ago = Duration(0)) {
    CommandRequest request;
    request.ref = ref;
    request.id = CommandId::Make(wall.ms, std::string(8, '\0') + Number(++made_));
    request.issued_at = wall - issued_ago;
    if (life.count() > 0) {
      request.expires_at = wall - issued_ago + life;
    }
    SetAction(request.action, action);
    sent_[name] =
        Sent{phone, request.id, SealCommand(request, SharedKeys().phones.at(phone)).value()};
  }

  void CarSays(const std::string& name, v1::ReceiptState state,
               Reason reason = v1::REASON_UNSPECIFIED) {
    const Sent& sent = sent_.at(name);
    Arrives(ReceiptTopic(ref, SharedKeys().IdOf(sent.phone)), CarReceipt(name, state, reason));
  }

  std::string CarReceipt(const std::string& name, v1::ReceiptState state,
                         Reason reason = v1::REASON_UNSPECIFIED) {
    return SealCarReceipt(
        MakeOutcome(ref, sent_.at(name).id, state, reason, wall, v1::RECEIPT_SOURCE_CAR),
        SharedKeys().CarOf(ref).key);
  }

  void StateArrives(Group group, Duration observed_ago, uint64_t sequence,
                    Retain retain = Retain::kYes) {
    Arrives(StateTopic(ref, group), StateBytes(group, wall - observed_ago, sequence), retain);
  }

  void Arrives(const std::string& topic, const std::string& payload, Retain retain = Retain::kNo) {
    const std::optional<Topic> parsed = ParseTopic(topic);
    if (parsed && parsed->kind == TopicKind::kState) {
      history_.Sent({FleetId::Parse(parsed->fleet).value(), CarId::Parse(parsed->car).value()},
                    parsed->group, payload);
    }
    Step(Message{Publish{topic, payload, 1, retain, 0}});
  }

  // Time passes by both clocks; the bridge is called at each of its deadlines, as the runner does.
  void Passes(Duration duration) {
    const Instant end = mono + duration;
    int calls = 0;
    for (;;) {
      const std::optional<Instant> deadline = bridge->NextDeadline();
      if (!deadline || *deadline > end) {
        break;
      }
      LK_ASSERT(++calls < 100'000);
      Advance(std::max(*deadline, mono));
      Step(Tick{});
    }
    Advance(end);
  }

  // An administrator blocks (or lifts) at the plugin: `where` is "everywhere", "f" or "f/car1". The
  // plugin tells the bridge when that listens.
  void AdministratorBlocks(const std::string& phone, const std::string& where,
                           bool lifted = false) {
    Block block;
    block.scope.key = SharedKeys().IdOf(phone);
    if (where != "everywhere") {
      block.scope.fleet = ref.fleet;
    }
    if (where == "f/car1") {
      block.scope.car = ref.car;
    }
    block.lifted = lifted;
    block.cause = v1::BLOCK_CAUSE_ADMINISTRATOR;
    block = Change(plugin.blocks.Find(block.scope), block, wall);
    LK_ASSERT(plugin.blocks.Merge(block).value());
    if (broker_up_) {
      v1::BlocksChanged changed;
      *changed.add_blocks() = BlockToWire(block);
      Arrives(std::string(kBlocksChangedTopic), changed.SerializeAsString());
    }
  }

  void AdministratorLifts(const std::string& phone, const std::string& where) {
    AdministratorBlocks(phone, where, true);
  }

  // The plugin has the bridge's blocks and none besides.
  bool Agrees() const {
    std::vector<storage::BlockRecord> held;
    for (const auto& [key, record] : store.current) {
      if (const auto* block = std::get_if<storage::BlockRecord>(&record)) {
        const Block* other = plugin.blocks.Find(block->block.scope);
        if (other == nullptr || !(*other == block->block)) {
          return false;
        }
        held.push_back(*block);
      }
    }
    return held.size() == plugin.blocks.size() && bridge->gauges().blocks == held.size();
  }

  void WallJumps(Duration by) { wall = wall + by; }

  enum class Crash { kProcess, kPower };

  // The bridge ends without a word and starts again from its store. The broker stays; its session
  // comes up and shows nothing unless the story says so.
  void Restarts(Crash crash) {
    if (crash == Crash::kPower) {
      store.PowerCut();
    }
    mono = Instant{0};
    MakeBridge();
    BrokerUp();
  }

  // ---- what the bridge does

  std::string Said() {
    std::string text;
    for (const Effect& effect : effects_) {
      const std::string one = TextOf(effect);
      if (!one.empty()) {
        text += (text.empty() ? "" : " | ") + one;
      }
    }
    effects_.clear();
    return text;
  }

  std::string Journaled() {
    std::string text;
    for (const v1::LogEntry& entry : journal_) {
      text += (text.empty() ? "" : " | ") + TextOfEntry(entry);
    }
    journal_.clear();
    return text;
  }

  // Of the last entry of the log.
  const v1::LogEntry& LastEntry() const { return journal_.back(); }

  uint64_t Refused(Reason reason) const {
    const auto at = bridge->counters().refused.find(reason);
    return at == bridge->counters().refused.end() ? 0 : at->second;
  }

  CarRef ref = RefOf("car1");
  Timestamp wall = kStoryStart;
  Instant mono{1000};
  Timestamp broker_started_at = kStoryStart;
  std::unique_ptr<Bridge> bridge;
  StoryStore store;
  PluginModel plugin;
  bool plugin_answers = true;
  int asked = 0;                   // control messages that reached the plugin
  std::string remove = "k2";       // what remove_key takes away
  std::vector<std::string> lines;  // all values of fields of log lines

 private:
  struct Sent {
    std::string phone;
    CommandId id;
    std::string bytes;
  };

  static std::string Number(int n) {
    return {static_cast<char>(n >> 8), static_cast<char>(n & 0xff)};
  }

  void SetAction(v1::Command& command, const std::string& name) const {
    const auto* field = v1::Command::descriptor()->FindFieldByName(name);
    LK_ASSERT(field != nullptr);
    if (name == "remove_key") {
      command.mutable_remove_key()->set_key_id(SharedKeys().IdOf(remove).str());
    } else if (name == "remove_app") {
      command.mutable_remove_app()->set_app_id("org.example.app");
    } else if (name == "cancel") {
      command.mutable_cancel()->set_command_id(sent_.at(cancels_).id.ToBytes());
    } else {
      command.GetReflection()->MutableMessage(&command, field);
    }
  }

  void MakeBridge() {
    bridge = std::make_unique<Bridge>(limits_, SharedKeys().Cas());
    store.LoadInto(*bridge);
    history_.Restarted(store.All());
  }

  // History is kept in every story, and watched.
  static HistoryWatch::Bounds BoundsOf(Limits& limits) {
    limits.history_keep = limits.history_keep.value_or(24h * 7);
    return {*limits.history_keep, limits.history_bytes_per_car, false, false};
  }

  void Advance(Instant to) {
    wall = wall + (to - mono);
    mono = to;
  }

  void Step(const Input& input) {
    Effects step;
    bridge->Step(input, Now{wall, mono}, step);
    bridge->CheckInvariants();
    store.Commit(step);
    std::vector<storage::Change> changes;
    for (const Effect& effect : step) {
      if (const auto* write = std::get_if<Write>(&effect)) {
        changes.push_back(write->change);
      }
    }
    history_.Committed(changes, Now{wall, mono});
    history_.Turned(Now{wall, mono});
    effects_.insert(effects_.end(), step.begin(), step.end());
    for (const Effect& effect : step) {
      if (const auto* line = std::get_if<LogEvent>(&effect)) {
        for (const auto& [name, value] : line->fields) {
          lines.push_back(value);
        }
      } else if (const auto* journal = std::get_if<Journal>(&effect)) {
        journal_.push_back(journal->entry);
      } else if (const auto* sms = std::get_if<SendSms>(&effect)) {
        LK_ASSERT(sms->id > last_sms_);
        last_sms_ = sms->id;
      }
      const auto* publish = std::get_if<Publish>(&effect);
      if (publish != nullptr && publish->topic == kControlTopic) {
        PluginGets(publish->payload);
      }
    }
  }

  void PluginGets(const std::string& payload) {
    ++asked;
    if (!plugin_answers || !broker_up_) {
      return;
    }
    v1::BlocksChanged told;
    const std::string answer = plugin.Answer(payload, told);
    if (told.blocks_size() > 0) {
      Arrives(std::string(kBlocksChangedTopic), told.SerializeAsString());
    }
    Arrives(std::string(kControlAnswerTopic), answer);
  }

  std::string NameOf(const CommandId& id) const {
    for (const auto& [name, sent] : sent_) {
      if (sent.id == id) {
        return name;
      }
    }
    return "c?";
  }

  std::string TextOf(const Effect& effect) const {
    if (const auto* write = std::get_if<Write>(&effect)) {
      return StoryStore::IsHistory(write->change)
                 ? ""
                 : TextOfChange(write->change) + (write->durable ? " durable" : "");
    }
    if (const auto* publish = std::get_if<Publish>(&effect)) {
      return TextOfPublish(*publish);
    }
    if (const auto* sms = std::get_if<SendSms>(&effect)) {
      return TextOfSms(*sms);
    }
    return "";
  }

  std::string TextOfSms(const SendSms& sms) const {
    LK_ASSERT(sms.number == kStoryNumber && sms.expires_at);
    const KeyRing ring = OpenKeyRing(SharedKeys().Ring(sms.ref, 1, {"k1", "k2", "k3", "k4"}),
                                     SharedKeys().Cas().begin()->second, std::nullopt)
                             .value();
    const auto opened = OpenSms(sms.bytes, sms.ref, ring, std::string(32, 'r')).value();
    const auto* command = std::get_if<CommandSms>(&opened);
    if (command == nullptr) {
      return "sms wake";
    }
    for (const auto& [name, sent] : sent_) {
      if (sent.bytes == command->wire) {
        return "sms command " + name;
      }
    }
    return "sms of other bytes";
  }

  std::string TextOfEntry(const v1::LogEntry& entry) const {
    LK_ASSERT(entry.at_ms() > 0 && entry.salt().empty() && entry.note().size() <= 256);
    const auto key = KeyId::Parse(entry.key_id());
    const auto id = CommandId::FromBytes(entry.command_id());
    std::string text;
    if (entry.event() == "command") {
      LK_ASSERT(key && id && entry.fleet() == ref.fleet.str() && entry.car() == ref.car.str());
      text = SharedKeys().NameOf(*key) + " " + NameOf(*id) + " " +
             (entry.action().empty() ? "?" : entry.action()) + " ";
      const bool arrived = entry.state() == v1::RECEIPT_STATE_UNSPECIFIED;
      text += arrived ? "arrived" : std::string(ToText(entry.state()));
      text += entry.source() == v1::RECEIPT_SOURCE_BRIDGE ? " bridge" : "";
      text += entry.source() == v1::RECEIPT_SOURCE_CAR ? " car" : "";
      if (entry.reason() != v1::REASON_UNSPECIFIED) {
        text += " " + std::string(FactsOf(entry.reason()).word);
      }
    } else {
      text = entry.event();
      text += entry.ring_version() > 0 ? " " + std::to_string(entry.ring_version()) : "";
      text += key ? " " + SharedKeys().NameOf(*key) : "";
      text += id ? " " + NameOf(*id) : "";
    }
    return text + (entry.note().empty() ? "" : ": " + entry.note());
  }

  std::string TextOfChange(const storage::Change& change) const {
    if (const auto* state = std::get_if<storage::StateRecord>(&change)) {
      return "write state " + StateText(state->group, state->payload);
    }
    if (const auto* ring = std::get_if<storage::RingRecord>(&change)) {
      return "write ring " + std::to_string(ring->version);
    }
    if (const auto* presence = std::get_if<storage::PresenceRecord>(&change)) {
      v1::Presence parsed;
      LK_ASSERT(parsed.ParseFromString(presence->payload));
      return std::string("write presence ") + (parsed.online() ? "online" : "offline");
    }
    if (const auto* command = std::get_if<storage::CommandRecord>(&change)) {
      LK_ASSERT(command->payload.empty() == IsFinal(command->state));
      return "write " + NameOf(command->id) + " " + std::string(ToText(command->state));
    }
    if (const auto* block = std::get_if<storage::BlockRecord>(&change)) {
      return std::string(block->block.lifted ? "write lift " : "write block ") +
             bridge::TextOf(block->block.scope);
    }
    if (const auto* block = std::get_if<storage::EraseBlock>(&change)) {
      return "erase block " + bridge::TextOf(block->scope);
    }
    if (const auto* wake = std::get_if<storage::WakeRecord>(&change)) {
      return "write wake " + std::to_string(wake->count);
    }
    return "erase " + NameOf(std::get<storage::EraseCommand>(change).id);
  }

  std::string TextOfPublish(const Publish& publish) const {
    if (publish.topic == kControlTopic) {
      return TextOfControl(publish);
    }
    const Topic topic = ParseTopic(publish.topic).value();
    const bool retained = publish.retain == Retain::kYes;
    LK_ASSERT(retained == RuleOf(topic.kind).retained && publish.qos == 1);
    if (topic.kind == TopicKind::kState) {
      return "publish state " + StateText(topic.group, publish.payload);
    }
    if (topic.kind == TopicKind::kKeyRing) {
      const auto ring = OpenKeyRing(publish.payload, SharedKeys().Cas().begin()->second, {});
      return "publish ring " + std::to_string(ring.value().version);
    }
    const KeyId lane = KeyId::Parse(topic.lane).value();
    const std::string phone = SharedKeys().NameOf(lane);
    if (topic.kind == TopicKind::kCommand) {
      for (const auto& [name, sent] : sent_) {
        if (sent.phone == phone && sent.bytes == publish.payload) {
          return "deliver " + name;
        }
      }
      return "deliver other bytes";
    }
    LK_ASSERT(topic.kind == TopicKind::kReceipt);
    const Outcome outcome = OpenReceipt(publish.payload, ref, std::nullopt).value();
    const std::string word(FactsOf(outcome.reason).word);
    const bool plain =
        outcome.reason == v1::REASON_UNSPECIFIED || outcome.reason == v1::REASON_EXPIRED ||
        outcome.reason == v1::REASON_CANCELLED || outcome.reason == v1::REASON_SUPERSEDED;
    return "receipt " + phone + " " + NameOf(outcome.command_id) + " " +
           std::string(ToText(outcome.state)) + (plain ? "" : " " + word) +
           (outcome.may_have_acted && outcome.state != v1::RECEIPT_STATE_DONE ? " maybe" : "");
  }

  Limits limits_;
  HistoryWatch history_;
  uint64_t session_ = 1;
  int made_ = 0;
  std::string presence_;
  std::map<std::string, Sent> sent_;
  Effects effects_;
  std::vector<v1::LogEntry> journal_;
  std::string cancels_;  // what a cancel takes back
  uint64_t last_sms_ = 0;
  bool broker_up_ = false;
};

}  // namespace latchkey::bridge
