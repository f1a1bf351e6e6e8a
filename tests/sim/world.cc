// The model of broker, cars, phones, store and runner.
#include "tests/sim/world.h"

#include <algorithm>

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
      {"lock", 10min},       {"lock", 10min},    {"unlock", 60s},    {"flash_lights", 60s},
      {"climate_on", 30min}, {"remove_app", 2h}, {"remove_key", 0s}, {"find", 60s},
  };
  return wants;
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
    CarWritesRing(car);
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
  const Topic topic = ParseTopic(publish.topic).value();
  std::string text = who + " " + std::string(topic.car) + " ";
  const CarRef ref = bridge::RefOf(std::string(topic.car));
  if (topic.kind == TopicKind::kCommand) {
    const auto lane = KeyId::Parse(topic.lane).value();
    const Command command = ParseCommand(publish.payload, ref, lane).value();
    const int64_t expires =
        command.expires_at ? (*command.expires_at - bridge::kStoryStart).count() : -1;
    text += std::string(command.action->name) + " " + command.id.ToText() + " until " +
            std::to_string(expires);
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
    return ParseTopic(publish.topic).value().car == ref.car.str();
  });
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
  const Topic topic = ParseTopic(publish.topic).value();
  for (Car& car : cars_) {
    if (topic.kind == TopicKind::kCommand && topic.car == car.ref.car.str() && car.online) {
      car.inbox.push_back(publish);
    }
  }
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
    return ParseTopic(publish.topic).value().kind == TopicKind::kPresence;
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
  if (car.keys.count(command.key_id) == 0) {
    CarSays(car, command.id, v1::RECEIPT_STATE_REFUSED, v1::REASON_NOT_ON_RING);
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

void World::CarWritesRing(Car& car) {
  ++car.ring_version;
  std::vector<std::string> names = {"k1"};
  if (Chance(70)) {
    names.push_back("k2");
  }
  car.keys.clear();
  for (const std::string& name : names) {
    car.keys.insert(SharedKeys().IdOf(name));
  }
  car.ring = SharedKeys().Ring(car.ref, car.ring_version, names);
  CarSends(car, Publish{KeyRingTopic(car.ref), car.ring, 1, Retain::kYes, 0});
}

// ---- phones

void World::PhoneAsks() {
  const std::string phone = Chance(60) ? "k1" : Chance(90) ? "k2" : "k3";
  const Want& want = Wants()[Pick(Wants().size())];
  Asked asked;
  asked.ref = cars_[Pick(kCars)].ref;
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
  const std::string action = want.action;
  if (action == "remove_key") {
    request.action.mutable_remove_key()->set_key_id(SharedKeys().IdOf("k3").str());
  } else if (action == "remove_app") {
    request.action.mutable_remove_app()->set_app_id("org.example.app");
  } else {
    request.action.GetReflection()->MutableMessage(
        &request.action, v1::Command::descriptor()->FindFieldByName(action));
  }
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
  } else if (what < 14) {
    CarWritesRing(car);
  } else if (what < 18) {
    bridge_connected_ ? BridgeDrops() : BridgeConnects();
  } else if (what < 19) {
    BrokerRestarts();
  } else if (what < 22) {
    CrashBridge(Chance(50));
  } else if (what < 24) {
    store_.Sync();
  } else if (what < 26 && clock_jumps_) {
    wall_off_ =
        Chance(50) ? Duration(0) : Duration(static_cast<int64_t>(Pick(7'200'000)) - 3'600'000);
  } else if (what < 28) {
    TimePasses(Duration(static_cast<int64_t>(Pick(8 * 3'600'000))));
  } else if (what < 34) {
    TimePasses(Duration(static_cast<int64_t>(Pick(120'000))));
  } else if (what < 42) {
    CarPublishesState(car);
  } else if (what < 75) {
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
    BridgeReceives();
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
}

std::string World::Summary() const {
  return "steps " + std::to_string(steps_) + " held " + std::to_string(invariants_.promised()) +
         " ended " + std::to_string(invariants_.ended()) + " acted " +
         std::to_string(invariants_.acted()) + " crashes " + std::to_string(crashes_);
}

}  // namespace latchkey::sim
