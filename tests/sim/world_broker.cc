// The broker in the world, with its plugin and its administrators, and the SMS
// gateway.
#include <algorithm>
#include <utility>

#include "tests/sim/world.h"

namespace latchkey::sim {

namespace {

using std::chrono_literals::operator""ms;

}  // namespace

World::Car& World::CarOf(const CarRef& ref) {
  return *std::find_if(cars_.begin(), cars_.end(), [&](const Car& car) { return car.ref == ref; });
}

void World::Retain(const Publish& publish) {
  if (publish.retain == Retain::kYes) {
    retained_[publish.topic] = publish;
  }
}

void World::ToBridge(const Publish& publish) {
  Retain(publish);
  Publish live = publish;
  live.retain = Retain::kNo;
  to_bridge_.push_back(live);
  if (!calm_ && Chance(3)) {
    to_bridge_.push_back(live);  // QoS 1: at least once
  }
}

// It was not acknowledged: it comes again, before all others.
void World::Again(const Publish& publish) {
  invariants_.SentAgain(publish.payload);
  to_bridge_.push_front(publish);
}

void World::WordsLeave(size_t most) {
  for (; most > 0 && !words_.empty(); --most) {
    const Publish publish = std::move(words_.front());
    words_.pop_front();
    if (KindOf(publish)) {
      FromBridge(publish);
    } else {
      PluginGets(publish);
    }
  }
}

void World::FromBridge(const Publish& publish) {
  Retain(publish);
  if (PluginRefuses(publish)) {
    return;
  }
  const Topic topic = ParseTopic(publish.topic).value();
  if (topic.kind == TopicKind::kState) {
    ToBridge(publish);  // it hears its own words of state
  }
  if (topic.kind != TopicKind::kCommand) {
    return;
  }
  for (Car& car : cars_) {
    if (topic.car == car.ref.car.str() && car.online) {
      car.inbox.push_back(publish);
    }
  }
}

// What the auth plugin does: what the lane's key must not say, nobody hears,
// nor is it delivered.
bool World::PluginRefuses(const Publish& publish) const {
  const Topic topic = ParseTopic(publish.topic).value();
  return topic.kind == TopicKind::kCommand &&
         plugin_.blocks.Denies(topic.lane, topic.fleet, topic.car);
}

void World::PluginGets(const Publish& publish) {
  LK_ASSERT(publish.topic == kControlTopic);
  if (!calm_ && Chance(5)) {
    return;
  }
  v1::BlocksChanged told;
  const std::string answer = plugin_.Answer(publish.payload, told);
  if (told.blocks_size() > 0) {
    ToBridge(
        Publish{std::string(kBlocksChangedTopic), told.SerializeAsString(), 1, Retain::kNo, 0});
  }
  if (calm_ || !Chance(5)) {
    ToBridge(Publish{std::string(kControlAnswerTopic), answer, 1, Retain::kNo, 0});
  }
}

void World::AdministratorActs() {
  Block block;
  const auto& phones = AllKeys().phones;
  block.scope.key = phones[Pick(phones.size())].id;
  const uint64_t where = Pick(3);
  const CarRef& ref = cars_[Pick(cars_.size())].ref;
  block.scope.fleet = where > 0 ? ref.fleet : FleetId();
  block.scope.car = where > 1 ? ref.car : CarId();
  block.cause = v1::BLOCK_CAUSE_ADMINISTRATOR;
  std::vector<BlockScope> standing;
  plugin_.blocks.ForEach([&](const Block& one) {
    if (!one.lifted) {
      standing.push_back(one.scope);
    }
  });
  if (!standing.empty() && Chance(75)) {  // most are lifted soon, so that there is something to see
    block.scope = standing[Pick(standing.size())];
    block.lifted = true;
  }
  const Block* held = plugin_.blocks.Find(block.scope);
  block = Change(held, block, wall_);
  Trace(std::string("administrator ") + (block.lifted ? "lifts " : "blocks ") +
        TextOf(block.scope));
  LK_ASSERT(plugin_.blocks.Merge(block).value());
  v1::BlocksChanged told;
  *told.add_blocks() = BlockToWire(block);
  ToBridge(Publish{std::string(kBlocksChangedTopic), told.SerializeAsString(), 1, Retain::kNo, 0});
}

// What the session holds may come before the subscription is confirmed; what is
// retained after.
void World::BridgeConnects() {
  StartBridge();
  if (bridge_connected_ || !runner_) {
    return;
  }
  bridge_connected_ = true;
  Trace("bridge connects");
  // An end that was asked for on an earlier connection is none of this one.
  std::erase_if(to_bridge_, [](const Publish& publish) { return publish.topic.empty(); });
  for (uint64_t early = !calm_ && Chance(30) ? Pick(4) : 0; early > 0; --early) {
    BridgeTakes();
  }
  taken_.push_back({intake_->PutAlways(bridge::BrokerUp{}).value(), Publish{}});
  Given(taken_.back().publish, Stage::kTaken);
  const bool tells_end = calm_ || Chance(70);
  if (tells_end) {
    Put(bridge::BrokerShows{});
  }
  Turn();
  if (bridge_connected_) {
    for (const auto& [topic, publish] : retained_) {
      to_bridge_.push_back(publish);
    }
    if (tells_end) {
      to_bridge_.emplace_back();
    }
  }
}

void World::BridgeDrops() {
  if (!bridge_connected_) {
    return;
  }
  bridge_connected_ = false;
  Trace("bridge drops");
  if (Chance(50)) {
    WordsLeave(Pick(words_.size() + 1));
  }
  words_.clear();
  for (auto taken = taken_.rbegin(); taken != taken_.rend(); ++taken) {
    if (KindOf(taken->publish) == TopicKind::kCommand) {
      Again(taken->publish);
    }
  }
  Put(bridge::BrokerDown{});
  if (Chance(80)) {
    Turn();
  }
}

void World::BrokerRestarts() {
  Trace("broker restarts");
  BridgeDrops();
  if (Chance(50)) {
    retained_.clear();
  }
  to_bridge_.clear();
  if (Chance(20)) {
    plugin_.blocks = Blocks{};  // its file is lost; what administrators did, the bridge knows
    for (const auto& [key, record] : store_.Of(storage::Kind::kBlock)) {
      if (Chance(50)) {
        LK_ASSERT(plugin_.blocks.Merge(std::get<storage::BlockRecord>(record).block));
      }
    }
  }
  broker_started_at_ = std::max(wall_ + wall_off_, broker_started_at_ + 1ms);
  for (Car& car : cars_) {
    car.inbox.clear();
    car.online = false;
    car.session = 0;
    ToBridge(Publish{PresenceTopic(car.ref),
                     bridge::PresenceBytes(false, wall_, 0, broker_started_at_), 1, Retain::kYes,
                     0});
  }
}

// One message from the session into the intake.
void World::BridgeTakes() {
  if (!bridge_connected_ || !runner_ || to_bridge_.empty()) {
    return;
  }
  size_t index = 0;
  if (to_bridge_.front().topic.empty()) {
    to_bridge_.pop_front();
    Put(bridge::BrokerShown{});
    return;
  }
  const auto is_presence = [](const Publish& publish) {
    return publish.topic.empty() || KindOf(publish) == TopicKind::kPresence;
  };
  // Order is disturbed between other topics, never around presence.
  if (!calm_ && Chance(10) && to_bridge_.size() > 1 && !is_presence(to_bridge_[0]) &&
      !is_presence(to_bridge_[1])) {
    index = 1;
  }
  const Publish publish = to_bridge_[index];
  const std::optional<uint64_t> ticket = intake_->Put(bridge::Message{publish}, Duration(0));
  if (!ticket) {
    reconnect_wanted_ = true;  // as the MQTT adapter does: it begins anew with what is retained
    Turn();
    return;
  }
  if (calm_ || !Chance(1)) {
    to_bridge_.erase(to_bridge_.begin() + static_cast<std::ptrdiff_t>(index));
  } else {
    invariants_.SentAgain(publish.payload);  // not acknowledged, comes again
  }
  Trace("bridge gets", publish);
  Given(publish, Stage::kTaken);
  taken_.push_back({*ticket, publish});
}

void World::BridgeReceives() {
  BridgeTakes();
  if (calm_ || Chance(70)) {
    Turn();
  }
}

// ---- SMS

// In order and each once, as gateways report; but a report may be lost.
void World::SmsReported(Sms& sms, bridge::SmsReport::What what) {
  const bool is_sent = what == bridge::SmsReport::What::kSent;
  if (sms.closed || (is_sent && sms.sent)) {
    return;
  }
  sms.sent = true;
  sms.closed = !is_sent;
  if (calm_ || !Chance(20)) {
    Put(bridge::SmsReport{sms.sms.id, what, "as the network says"});
  }
}

// An SMS arrives, in any order, late, twice or never.
void World::SmsMoves() {
  if (sms_.empty()) {
    return;
  }
  const size_t index = Pick(sms_.size());
  Sms sms = sms_[index];
  if (!calm_ && Chance(15)) {
    Trace("SMS " + std::to_string(sms.sms.id) + " is lost");
    SmsReported(sms, bridge::SmsReport::What::kFailed);
    sms_.erase(sms_.begin() + static_cast<std::ptrdiff_t>(index));
  } else {
    SmsReported(sms, bridge::SmsReport::What::kSent);
    SmsReported(sms, bridge::SmsReport::What::kDelivered);
    sms_[index] = sms;
    if (calm_ || !Chance(10)) {
      sms_.erase(sms_.begin() + static_cast<std::ptrdiff_t>(index));
    }  // else: it arrives once more
    CarGetsSms(CarOf(sms.sms.ref), sms.sms.bytes);
  }
  Turn();
}

}  // namespace latchkey::sim
