// The model of broker, cars, phones, store and runner.
#include "tests/sim/world.h"

#include <algorithm>
#include <array>

namespace latchkey::sim {

namespace {

using bridge::SharedKeys;
using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

constexpr size_t kCars = 3;
constexpr size_t kAskedMax = 40;

struct Want {
  const char* action;
  Duration life_max;
};

const std::vector<Want>& Wants() {
  static const std::vector<Want> wants = {
      {"lock", 10min},       {"lock", 10min},       {"unlock", 60s},
      {"flash_lights", 60s}, {"climate_on", 30min}, {"remove_app", 2h},
      {"remove_key", 0s},    {"find", 60s},         {"add_key", 2h},
  };
  return wants;
}

constexpr Want kTakesAway = {"remove_key", 0s};
constexpr std::array<const char*, 4> kPhones = {"k1", "k2", "k3", "k4"};

bool IsOwner(const std::string& phone) {
  return phone == "k1" || phone == "k4";
}

// nullopt: one about blocks.
std::optional<TopicKind> KindOf(const Publish& publish) {
  const std::optional<Topic> topic = ParseTopic(publish.topic);
  return topic ? std::optional<TopicKind>(topic->kind) : std::nullopt;
}

}  // namespace

World::World(uint64_t seed, std::ostream* trace)
    : random_(seed), trace_(trace), clock_jumps_(seed % 2 == 0) {
  for (size_t i = 0; i < kCars; ++i) {
    Car car;
    car.ref = bridge::RefOf("car" + std::to_string(i + 1));
    cars_.push_back(std::move(car));
  }
  StartBridge();
  BridgeConnects();
  for (Car& car : cars_) {
    CarWritesRing(car, {"k1", "k2"});
    CarConnects(car);
  }
}

// ---- what happened, for reading

void World::Trace(const std::string& what) {
  if (trace_ != nullptr) {
    *trace_ << steps_ << " true " << (wall_ - bridge::kStoryStart).count() << " bridge "
            << (BridgeNow().wall - bridge::kStoryStart).count() << ": " << what << "\n";
  }
}

void World::Trace(const std::string& who, const Publish& publish) {
  if (trace_ == nullptr) {
    return;
  }
  if (!KindOf(publish)) {
    v1::Control control;
    std::string text = who + " " + publish.topic;
    if (publish.topic == kControlTopic && control.ParseFromString(publish.payload)) {
      for (const v1::Block& block : control.merge_blocks().blocks()) {
        text += std::string(block.lifted() ? " lift " : " block ") +
                bridge::TextOf(BlockFromWire(block)->scope) +
                (block.cause() == v1::BLOCK_CAUSE_OWNER ? " by owner" : "");
      }
    }
    Trace(text);
    return;
  }
  const Topic topic = ParseTopic(publish.topic).value();
  std::string text = who + " " + std::string(topic.car) + " ";
  const CarRef ref = bridge::RefOf(std::string(topic.car));
  if (topic.kind == TopicKind::kCommand) {
    const auto lane = KeyId::Parse(topic.lane).value();
    const Command command = ParseCommand(publish.payload, ref, lane).value();
    const int64_t expires =
        command.expires_at ? (*command.expires_at - bridge::kStoryStart).count() : -1;
    text += SharedKeys().NameOf(lane) + " " + std::string(command.action->name) + " ";
    if (command.body.has_remove_key()) {
      text += SharedKeys().NameOf(KeyId::Parse(command.body.remove_key().key_id()).value()) + " ";
    }
    text += command.id.ToText() + " until " + std::to_string(expires);
  } else if (topic.kind == TopicKind::kReceipt) {
    const Outcome outcome = OpenReceipt(publish.payload, ref, std::nullopt).value();
    text += std::string(ToText(outcome.state)) + " " + outcome.command_id.ToText() +
            (outcome.source == v1::RECEIPT_SOURCE_CAR ? " by car" : " by bridge") +
            (outcome.may_have_acted ? " maybe" : "");
  } else if (topic.kind == TopicKind::kPresence) {
    v1::Presence presence;
    LK_ASSERT(presence.ParseFromString(publish.payload));
    text += presence.online() ? "online" : "offline";
  } else {
    text += std::string(RuleOf(topic.kind).word);
  }
  Trace(text);
}

// ---- bridge and its runner

void World::StartBridge() {
  bridge::Limits limits;
  limits.commands_per_car_max = 12;
  limits.commands_per_key_max = 8;
  bridge_ = std::make_unique<bridge::Bridge>(limits, SharedKeys().Cas());
  store_.LoadInto(*bridge_);
  mono_ = Instant{static_cast<int64_t>(Pick(1'000'000))};
}

// One turn: step, commit, speak. A crash can come between any two of these, or between two words.
void World::Run(const bridge::Input& input) {
  bridge::Effects effects;
  const bool crash = !calm_ && Pick(400) == 0;
  const bool power = Chance(50);
  bridge_->Step(input, BridgeNow(), effects);
  if (crash && Chance(30)) {
    CrashBridge(power);
    return;
  }
  store_.Commit(effects);
  invariants_.Committed(effects, store_);
  size_t words = crash ? Pick(3) : effects.size();
  for (const bridge::Effect& effect : effects) {
    const auto* publish = std::get_if<Publish>(&effect);
    if (publish == nullptr) {
      continue;
    }
    if (words == 0) {
      break;
    }
    --words;
    Trace("bridge says", *publish);
    if (!KindOf(*publish)) {
      PluginGets(*publish);
      continue;
    }
    const CarRef ref = bridge::RefOf(std::string(ParseTopic(publish->topic).value().car));
    invariants_.Published(*publish, Moment{BridgeNow().wall, wall_, BehindOn(ref), !clock_jumps_},
                          store_);
    FromBridge(*publish);
  }
  if (crash) {
    CrashBridge(power);
    return;
  }
  if (steps_ % 4 == 0) {
    bridge_->CheckInvariants();
  }
}

void World::CrashBridge(bool power) {
  Trace(power ? "power cut" : "bridge crashes");
  ++crashes_;
  if (power) {
    store_.PowerCut();
  }
  invariants_.Restarted(store_);
  bridge_connected_ = false;
  StartBridge();
}

void World::TickIfDue() {
  const std::optional<Instant> due = bridge_->NextDeadline();
  if (due && *due <= mono_) {
    Run(bridge::Tick{});
  }
}

// Does the broker know something of the car that the bridge has not been given?
bool World::BehindOn(const CarRef& ref) const {
  return std::any_of(to_bridge_.begin(), to_bridge_.end(), [&](const Publish& publish) {
    return KindOf(publish) && ParseTopic(publish.topic).value().car == ref.car.str();
  });
}

bool World::BlocksAgree() const {
  size_t stored = 0;
  for (const auto& [key, record] : store_.current) {
    if (const auto* one = std::get_if<storage::BlockRecord>(&record)) {
      ++stored;
      const Block* held = plugin_.blocks.Find(one->block.scope);
      if (held == nullptr || !(*held == one->block)) {
        return false;
      }
    }
  }
  return stored == plugin_.blocks.size() && bridge_->gauges().blocks == stored &&
         bridge_->gauges().blocks_agreed;
}

// ---- broker

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

void World::FromBridge(const Publish& publish) {
  if (!bridge_connected_) {
    return;
  }
  Retain(publish);
  if (PluginRefuses(publish)) {
    return;
  }
  const Topic topic = ParseTopic(publish.topic).value();
  for (Car& car : cars_) {
    if (topic.kind == TopicKind::kCommand && topic.car == car.ref.car.str() && car.online) {
      car.inbox.push_back(publish);
    }
  }
}

// What the auth plugin does: what the lane's key must not say, nobody hears, nor is it delivered.
bool World::PluginRefuses(const Publish& publish) const {
  const Topic topic = ParseTopic(publish.topic).value();
  return topic.kind == TopicKind::kCommand &&
         plugin_.blocks.Denies(topic.lane, topic.fleet, topic.car);
}

void World::PluginGets(const Publish& publish) {
  LK_ASSERT(publish.topic == kControlTopic);
  if (!bridge_connected_ || (!calm_ && Chance(5))) {
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
  block.scope.key = SharedKeys().IdOf(kPhones.at(Pick(kPhones.size())));
  const uint64_t where = Pick(3);
  const CarRef& ref = cars_[Pick(kCars)].ref;
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
        bridge::TextOf(block.scope));
  LK_ASSERT(plugin_.blocks.Merge(block).value());
  v1::BlocksChanged told;
  *told.add_blocks() = BlockToWire(block);
  ToBridge(Publish{std::string(kBlocksChangedTopic), told.SerializeAsString(), 1, Retain::kNo, 0});
}

void World::BridgeConnects() {
  if (bridge_connected_) {
    return;
  }
  bridge_connected_ = true;
  Trace("bridge connects");
  Run(bridge::BrokerUp{});
  if (bridge_connected_) {
    for (const auto& [topic, publish] : retained_) {
      to_bridge_.push_back(publish);
    }
  }
}

void World::BridgeDrops() {
  if (bridge_connected_) {
    bridge_connected_ = false;
    Trace("bridge drops");
    Run(bridge::BrokerDown{});
  }
}

void World::BrokerRestarts() {
  Trace("broker restarts");
  BridgeDrops();
  const bool lost_retained = Chance(50);
  if (lost_retained) {
    retained_.clear();
  }
  to_bridge_.clear();
  if (Chance(20)) {
    plugin_.blocks = Blocks{};  // its file is lost; what administrators did, the bridge knows
    for (const auto& [key, record] : store_.current) {
      if (const auto* one = std::get_if<storage::BlockRecord>(&record)) {
        if (Chance(50)) {
          LK_ASSERT(plugin_.blocks.Merge(one->block));
        }
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

void World::BridgeReceives() {
  if (!bridge_connected_ || to_bridge_.empty()) {
    return;
  }
  size_t index = 0;
  const auto is_presence = [](const Publish& publish) {
    return KindOf(publish) == TopicKind::kPresence;
  };
  // Order is disturbed between other topics, never around presence.
  if (!calm_ && Chance(10) && to_bridge_.size() > 1 && !is_presence(to_bridge_[0]) &&
      !is_presence(to_bridge_[1])) {
    index = 1;
  }
  const Publish publish = to_bridge_[index];
  const uint64_t crashes = crashes_;
  if (calm_ || !Chance(1)) {
    to_bridge_.erase(to_bridge_.begin() + static_cast<std::ptrdiff_t>(index));
  }  // else: not acknowledged, comes again
  Trace("bridge gets", publish);
  Run(bridge::Message{publish});
  if (crashes != crashes_ && Chance(50)) {
    to_bridge_.push_front(publish);
  }
}

// ---- cars

void World::CarConnects(Car& car) {
  if (car.online) {
    return;
  }
  Trace(car.ref.ToText() + " connects");
  car.online = true;
  ++car.session;
  ToBridge(Publish{PresenceTopic(car.ref),
                   bridge::PresenceBytes(true, wall_, car.session, broker_started_at_), 1,
                   Retain::kYes, 0});
  CarSends(car, Publish{KeyRingTopic(car.ref), car.ring, 1, Retain::kYes, 0});
  std::deque<Publish> unsent;
  unsent.swap(car.outbox);
  for (const Publish& publish : unsent) {
    CarSends(car, publish);
  }
}

void World::CarDrops(Car& car) {
  if (!car.online) {
    return;
  }
  Trace(car.ref.ToText() + " drops");
  car.online = false;
  car.inbox.clear();
  ToBridge(Publish{PresenceTopic(car.ref),
                   bridge::PresenceBytes(false, wall_, car.session, broker_started_at_), 1,
                   Retain::kYes, 0});
  if (Chance(30)) {  // it lost power
    car.outbox.clear();
    for (const CommandId& id : car.pending) {
      CarSays(car, id, v1::RECEIPT_STATE_FAILED, v1::REASON_OUTCOME_UNKNOWN);
    }
    car.pending.clear();
  }
}

void World::CarSends(Car& car, const Publish& publish) {
  if (!car.online) {
    car.outbox.push_back(publish);
  } else if (calm_ || !Chance(2)) {  // else: lost in a crash of the broker's connection
    ToBridge(publish);
  }
}

void World::CarSays(Car& car, const CommandId& id, v1::ReceiptState state, Reason reason) {
  const std::string receipt =
      SealCarReceipt(MakeOutcome(car.ref, id, state, reason, wall_, v1::RECEIPT_SOURCE_CAR),
                     SharedKeys().CarOf(car.ref).key);
  car.known[id] = receipt;
  CarSends(car, Publish{ReceiptTopic(car.ref, car.lanes.at(id)), receipt, 1, Retain::kNo, 0});
}

void World::CarReceives(Car& car) {
  if (car.inbox.empty()) {
    return;
  }
  const Publish publish = car.inbox.front();
  car.inbox.pop_front();
  Trace("car gets", publish);
  const Topic topic = ParseTopic(publish.topic).value();
  const KeyId lane = KeyId::Parse(topic.lane).value();
  const Result<Command> command = ParseCommand(publish.payload, car.ref, lane);
  LK_ASSERT(command);
  const auto known = car.known.find(command->id);
  if (known != car.known.end()) {
    CarSends(car, Publish{ReceiptTopic(car.ref, lane), known->second, 1, Retain::kNo, 0});
    return;
  }
  car.lanes[command->id] = lane;
  CarTakes(car, *command);
}

void World::CarTakes(Car& car, const Command& command) {
  if (command.expires_at && *command.expires_at <= wall_) {
    CarSays(car, command.id, v1::RECEIPT_STATE_EXPIRED, v1::REASON_EXPIRED);
    return;
  }
  if (car.names.count(SharedKeys().NameOf(command.key_id)) == 0) {
    CarSays(car, command.id, v1::RECEIPT_STATE_REFUSED, v1::REASON_NOT_ON_RING);
    return;
  }
  const bool about_keys = command.body.has_add_key() || command.body.has_remove_key();
  if (about_keys && !CarMayChangeKeys(car, command)) {
    CarSays(car, command.id, v1::RECEIPT_STATE_REFUSED, v1::REASON_NOT_PERMITTED);
    return;
  }
  Timestamp& newest = car.newest_in_slot[command.action->slot];
  if (command.action->slot != v1::SLOT_NONE && command.issued_at < newest) {
    CarSays(car, command.id, v1::RECEIPT_STATE_SUPERSEDED, v1::REASON_SUPERSEDED);
    return;
  }
  newest = std::max(newest, command.issued_at);
  Trace("car acts " + command.id.ToText());
  invariants_.Acted(command.id);
  car.pending.push_back(command.id);
  CarSays(car, command.id, v1::RECEIPT_STATE_DELIVERED, v1::REASON_UNSPECIFIED);
  if (about_keys) {
    CarChangesKeys(car, command);
  }
}

// An owner, and one remains.
bool World::CarMayChangeKeys(const Car& car, const Command& command) const {
  if (!IsOwner(SharedKeys().NameOf(command.key_id))) {
    return false;
  }
  std::set<std::string> names = car.names;
  if (command.body.has_remove_key()) {
    names.erase(SharedKeys().NameOf(KeyId::Parse(command.body.remove_key().key_id()).value()));
  }
  return std::any_of(names.begin(), names.end(), IsOwner);
}

void World::CarChangesKeys(Car& car, const Command& command) {
  std::set<std::string> names = car.names;
  if (command.body.has_add_key()) {
    names.insert(SharedKeys().NameOf(KeyFromWire(command.body.add_key().key())->id));
  } else {
    names.erase(SharedKeys().NameOf(KeyId::Parse(command.body.remove_key().key_id()).value()));
  }
  if (names != car.names) {
    CarWritesRing(car, names);
  }
}

void World::CarFinishes(Car& car) {
  if (car.pending.empty()) {
    return;
  }
  const CommandId id = car.pending.front();
  car.pending.pop_front();
  if (Chance(90)) {
    CarSays(car, id, v1::RECEIPT_STATE_DONE, v1::REASON_UNSPECIFIED);
  } else {
    CarSays(car, id, v1::RECEIPT_STATE_FAILED, v1::REASON_CAR_FAILED);
  }
}

void World::CarPublishesState(Car& car) {
  ++car.sequence;
  const Duration ago(static_cast<int64_t>(Pick(3000)));
  const Group group = Chance(50) ? Group::kBody : Group::kEnergy;
  CarSends(car, Publish{StateTopic(car.ref, group),
                        bridge::StateBytes(group, wall_ - ago, car.sequence), 1, Retain::kYes, 0});
}

void World::CarWritesRing(Car& car, const std::set<std::string>& names) {
  ++car.ring_version;
  car.names = names;
  car.ring = SharedKeys().Ring(car.ref, car.ring_version, {names.begin(), names.end()});
  std::string text;
  for (const std::string& name : names) {
    text += " " + name;
  }
  Trace(car.ref.ToText() + " writes ring " + std::to_string(car.ring_version) + text);
  CarSends(car, Publish{KeyRingTopic(car.ref), car.ring, 1, Retain::kYes, 0});
}

// Somebody in the car pairs one more, or resets it.
void World::CarPairs(Car& car) {
  std::set<std::string> names = car.names;
  if (!std::any_of(names.begin(), names.end(), IsOwner)) {
    names = {"k1", "k2"};
  } else if (Chance(10)) {
    names.clear();
  } else {
    names.insert(kPhones.at(Pick(kPhones.size())));
  }
  CarWritesRing(car, names);
}

// ---- phones

void World::SetAction(const std::string& action, const std::string& whom, v1::Command& command) {
  if (action == "remove_key") {
    command.mutable_remove_key()->set_key_id(SharedKeys().IdOf(whom).str());
  } else if (action == "add_key") {
    *command.mutable_add_key()->mutable_key() = KeyToWire(SharedKeys().RingKeyOf(whom));
  } else if (action == "remove_app") {
    command.mutable_remove_app()->set_app_id("org.example.app");
  } else {
    command.GetReflection()->MutableMessage(&command,
                                            v1::Command::descriptor()->FindFieldByName(action));
  }
}

void World::PhoneAsks() {
  const Car& car = cars_[Pick(kCars)];
  // Mostly one that is on the ring; and often an owner who takes a key away.
  std::string phone = kPhones.at(Pick(kPhones.size()));
  if (!car.names.empty() && Chance(80)) {
    phone = *std::next(car.names.begin(), static_cast<std::ptrdiff_t>(Pick(car.names.size())));
  }
  const Want& want = IsOwner(phone) && Chance(25) ? kTakesAway : Wants()[Pick(Wants().size())];
  Asked asked;
  asked.ref = car.ref;
  asked.lane = SharedKeys().IdOf(phone);
  CommandRequest request;
  request.ref = asked.ref;
  std::string random10;
  for (int i = 0; i < 10; ++i) {
    random10.push_back(static_cast<char>(Pick(256)));
  }
  request.id = CommandId::Make(wall_.ms, random10);
  request.issued_at = wall_ - Duration(static_cast<int64_t>(Pick(500)));
  asked.until = wall_ + 30min;
  if (want.life_max.count() > 0) {
    const auto life = static_cast<uint64_t>(want.life_max.count());
    request.expires_at =
        request.issued_at + Duration(static_cast<int64_t>(life / 20 + Pick(life - life / 20)));
    asked.until = *request.expires_at;
  }
  std::string whom = kPhones.at(Pick(kPhones.size()));
  for (const std::string& name : car.names) {
    whom = name != phone && Chance(50) ? name : whom;
  }
  SetAction(want.action, whom, request.action);
  asked.bytes = SealCommand(request, SharedKeys().phones.at(phone)).value();
  invariants_.PhoneMade(request.id, asked.lane, asked.bytes);
  PhoneSends(asked);
  asked_.push_back(std::move(asked));
  if (asked_.size() > kAskedMax) {
    asked_.erase(asked_.begin());
  }
}

void World::PhoneAsksAgain() {
  if (asked_.empty()) {
    return;
  }
  const Asked& asked = asked_[Pick(asked_.size())];
  if (wall_ < asked.until) {
    PhoneSends(asked);
  }
}

void World::PhoneSends(const Asked& asked) {
  const Publish publish{CommandTopic(asked.ref, asked.lane), asked.bytes, 1, Retain::kNo, 0};
  if (PluginRefuses(publish)) {
    return;
  }
  ToBridge(publish);
  for (Car& car : cars_) {
    if (car.ref == asked.ref && car.online) {
      car.inbox.push_back(publish);
    }
  }
}

// ---- time

void World::TimePasses(Duration by) {
  const Instant end = mono_ + by;
  for (int calls = 0; calls < 20; ++calls) {
    const std::optional<Instant> due = bridge_->NextDeadline();
    if (!due || *due > end || Chance(10)) {
      break;  // the last: the runner is late
    }
    const Instant at = std::max(*due, mono_);
    wall_ = wall_ + (at - mono_);
    by = by - (at - mono_);
    mono_ = at;
    const uint64_t crashes = crashes_;
    Run(bridge::Tick{});
    if (crashes != crashes_) {
      break;  // a new monotonic clock
    }
  }
  by = std::max(by, Duration(0));
  wall_ = wall_ + by;
  mono_ = mono_ + by;
  TickIfDue();
}

void World::SomethingHappens(uint64_t what) {
  Car& car = cars_[Pick(kCars)];
  if (what < 10) {
    car.online ? CarDrops(car) : CarConnects(car);
  } else if (what < 17) {
    CarPairs(car);
  } else if (what < 20) {
    AdministratorActs();
  } else if (what < 24) {
    bridge_connected_ ? BridgeDrops() : BridgeConnects();
  } else if (what < 25) {
    BrokerRestarts();
  } else if (what < 28) {
    CrashBridge(Chance(50));
  } else if (what < 30) {
    store_.Sync();
  } else if (what < 32 && clock_jumps_) {
    wall_off_ =
        Chance(50) ? Duration(0) : Duration(static_cast<int64_t>(Pick(7'200'000)) - 3'600'000);
  } else if (what < 34) {
    TimePasses(Duration(static_cast<int64_t>(Pick(8 * 3'600'000))));
  } else if (what < 40) {
    TimePasses(Duration(static_cast<int64_t>(Pick(120'000))));
  } else if (what < 46) {
    CarPublishesState(car);
  } else if (what < 78) {
    PhoneAsks();
  } else if (what < 100) {
    PhoneAsksAgain();
  }
}

void World::Step() {
  ++steps_;
  const uint64_t what = Pick(100);
  Car& car = cars_[Pick(kCars)];
  if (what < 25) {
    SomethingHappens(Pick(100));
  } else if (what < 40) {
    TimePasses(Duration(static_cast<int64_t>(Pick(Chance(50) ? 50 : 3000))));
  } else if (what < 72) {
    for (uint64_t messages = 1 + Pick(3); messages > 0; --messages) {
      BridgeReceives();
    }
  } else if (what < 85) {
    CarReceives(car);
  } else if (what < 97) {
    CarFinishes(car);
  } else {
    BridgeConnects();
    CarConnects(car);
  }
}

void World::Drain() {
  calm_ = true;
  BridgeConnects();
  for (int round = 0; round < 4; ++round) {
    for (Car& car : cars_) {
      CarConnects(car);
    }
    for (int i = 0; i < 500; ++i) {
      while (!to_bridge_.empty()) {
        BridgeReceives();
      }
      for (Car& car : cars_) {
        while (!car.inbox.empty() || !car.pending.empty()) {
          CarReceives(car);
          CarFinishes(car);
        }
      }
      const std::optional<Instant> due = bridge_->NextDeadline();
      if (to_bridge_.empty() && due) {
        TimePasses(std::max(*due - mono_, Duration(0)));
      }
    }
    TimePasses(12h);
  }
  bridge_->CheckInvariants();
  invariants_.AllKept();
  LK_ASSERT(bridge_->gauges().commands_open == 0);
  if (!BlocksAgree()) {
    ThrowFault("I8: plugin and bridge do not hold the same blocks");
  }
  invariants_.OwnersBlocksAreOver(store_);
}

std::string World::Summary() const {
  return "steps " + std::to_string(steps_) + " held " + std::to_string(invariants_.promised()) +
         " ended " + std::to_string(invariants_.ended()) + " acted " +
         std::to_string(invariants_.acted()) + " crashes " + std::to_string(crashes_) + " blocks " +
         std::to_string(invariants_.owners_blocks()) + " denied " +
         std::to_string(invariants_.denied());
}

}  // namespace latchkey::sim
