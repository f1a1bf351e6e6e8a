// Cars and phones in the world.
#include <algorithm>
#include <array>
#include <utility>

#include "proto/sms.h"
#include "tests/sim/world.h"

namespace latchkey::sim {

namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;

constexpr size_t kAskedMax = 40;

struct Want {
  const char* action;
  Duration life_max;
};

constexpr std::array<Want, 11> kWants = {{
    {"lock", 10min},
    {"lock", 10min},
    {"unlock", 60s},
    {"flash_lights", 60s},
    {"climate_on", 30min},
    {"remove_app", 2h},
    {"remove_app", 24h},
    {"climate_off", 10min},
    {"remove_key", 0s},
    {"find", 60s},
    {"add_key", 2h},
}};
constexpr Want kTakesAway = {"remove_key", 0s};

bool IsOwner(const std::string& phone) {
  return PhoneOf(phone).owner;
}

void SetAction(const std::string& action, const std::string& whom, v1::Command& command) {
  if (action == "remove_key") {
    command.mutable_remove_key()->set_key_id(PhoneOf(whom).id.str());
  } else if (action == "add_key") {
    *command.mutable_add_key()->mutable_key() = KeyToWire(PhoneOf(whom).ring_key);
  } else if (action == "remove_app") {
    command.mutable_remove_app()->set_app_id("org.example.app");
  } else {
    command.GetReflection()->MutableMessage(&command,
                                            v1::Command::descriptor()->FindFieldByName(action));
  }
}

}  // namespace

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

// It comes and goes, and hears next to nothing of what is sent to it.
void World::CarFlaps(Car& car) {
  for (uint64_t times = 2 + Pick(6); times > 0; --times) {
    car.online ? CarDrops(car) : CarConnects(car);
    TimePasses(Duration(static_cast<int64_t>(Pick(1500))));
    for (uint64_t messages = Pick(8); messages > 0; --messages) {
      BridgeReceives();
    }
    WordsLeave(words_.size());
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
  car.states[id] = state;
  car.known[id] = SealCarReceipt(
      MakeOutcome(car.ref, id, state, reason, wall_, v1::RECEIPT_SOURCE_CAR), car.keys->key);
  CarRepeats(car, id);
}

void World::CarRepeats(Car& car, const CommandId& id) {
  CarSends(car,
           Publish{ReceiptTopic(car.ref, car.lanes.at(id)), car.known.at(id), 1, Retain::kNo, 0});
}

void World::CarReceives(Car& car) {
  if (car.inbox.empty()) {
    return;
  }
  const Publish publish = car.inbox.front();
  car.inbox.pop_front();
  Trace("car gets", publish);
  CarHears(car, KeyId::Parse(ParseTopic(publish.topic)->lane).value(), publish.payload);
}

void World::CarHears(Car& car, const KeyId& lane, const std::string& bytes) {
  const Result<Command> command = ParseCommand(bytes, car.ref, lane);
  LK_ASSERT(command);
  if (car.known.count(command->id) > 0) {
    CarRepeats(car, command->id);
    return;
  }
  car.lanes[command->id] = lane;
  CarTakes(car, *command);
}

// What comes by SMS is judged like anything else; what it says waits until it
// is connected.
void World::CarGetsSms(Car& car, const std::string& bytes) {
  const auto opened = OpenSms(bytes, car.ref, car.opened, car.keys->relay_key);
  if (!opened) {
    // Its key has left the ring since, or so has the ring.
    LK_ASSERT(opened.error().reason == v1::REASON_NOT_ON_RING);
    return;
  }
  if (const auto* command = std::get_if<CommandSms>(&*opened)) {
    Trace(car.ref.ToText() + " gets a command by SMS");
    CarHears(car, command->lane, command->wire);
  } else {
    Trace(car.ref.ToText() + " is woken by SMS");
  }
  if (calm_ || Chance(70)) {
    CarConnects(car);
  }
}

void World::CarTakes(Car& car, const Command& command) {
  if (command.expires_at && *command.expires_at <= wall_) {
    CarSays(car, command.id, v1::RECEIPT_STATE_EXPIRED, v1::REASON_EXPIRED);
    return;
  }
  if (car.names.count(NameOf(command.key_id)) == 0) {
    CarSays(car, command.id, v1::RECEIPT_STATE_REFUSED, v1::REASON_NOT_ON_RING);
    return;
  }
  if (command.body.has_cancel()) {
    CarCancels(car, command);
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
  if (trace_ != nullptr) {
    Trace("car acts " + command.id.ToText());
  }
  invariants_.Acted(command.id);
  car.pending.push_back(command.id);
  CarSays(car, command.id, v1::RECEIPT_STATE_DELIVERED, v1::REASON_UNSPECIFIED);
  if (about_keys) {
    CarChangesKeys(car, command);
  }
}

// What it has not begun it never will.
void World::CarCancels(Car& car, const Command& command) {
  const CommandId target = CommandId::FromBytes(command.body.cancel().command_id()).value();
  if (car.known.count(target) > 0) {
    CarSays(car, command.id, v1::RECEIPT_STATE_REFUSED, v1::REASON_ENDED);
    CarRepeats(car, target);
    return;
  }
  car.lanes[target] = command.key_id;
  CarSays(car, target, v1::RECEIPT_STATE_CANCELLED, v1::REASON_CANCELLED);
  CarSays(car, command.id, v1::RECEIPT_STATE_DONE, v1::REASON_UNSPECIFIED);
}

// An owner, and one remains.
bool World::CarMayChangeKeys(const Car& car, const Command& command) const {
  if (!IsOwner(NameOf(command.key_id))) {
    return false;
  }
  std::set<std::string> names = car.names;
  if (command.body.has_remove_key()) {
    names.erase(NameOf(KeyId::Parse(command.body.remove_key().key_id()).value()));
  }
  return std::any_of(names.begin(), names.end(), IsOwner);
}

void World::CarChangesKeys(Car& car, const Command& command) {
  std::set<std::string> names = car.names;
  if (command.body.has_add_key()) {
    names.insert(NameOf(KeyFromWire(command.body.add_key().key())->id));
  } else {
    names.erase(NameOf(KeyId::Parse(command.body.remove_key().key_id()).value()));
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

// Values that are never the same twice, so that each message shows in history.
void World::CarPublishesState(Car& car) {
  ++car.sequence;
  v1::StateGroup state;
  state.set_sequence(car.sequence);
  const auto value = static_cast<float>(car.sequence);
  const uint64_t what = Pick(3);
  Timestamp observed_at = wall_ - Duration(static_cast<int64_t>(Pick(3000)));
  Group group = Group::kBody;
  if (what == 0) {
    state.mutable_body()->mutable_window_open_max()->set_value(value / 1000);
  } else if (what == 1) {
    group = Group::kEnergy;
    state.mutable_energy()->mutable_range()->set_value(value);
  } else {
    group = Group::kLocation;
    observed_at = wall_;  // never before the mode that it is in began
    car.privacy = Chance(20) ? !car.privacy : car.privacy;
    state.mutable_location();
    if (!car.privacy) {
      state.mutable_location()->mutable_latitude()->set_value(1 + value / 1000);
    }
  }
  state.set_observed_at_ms(static_cast<uint64_t>(observed_at.ms));
  const Publish publish{StateTopic(car.ref, group), state.SerializeAsString(), 1, Retain::kYes, 0};
  invariants_.history().Sent(car.ref, group, publish.payload);
  CarSends(car, publish);
}

void World::CarWritesRing(Car& car, const std::set<std::string>& names) {
  ++car.ring_version;
  car.names = names;
  car.opened = KeyRing{car.ref, car.ring_version, bridge::kStoryStart, {}};
  std::string text;
  for (const std::string& name : names) {
    car.opened.keys.push_back(PhoneOf(name).ring_key);
    text += " " + name;
  }
  car.ring = SealKeyRing(car.opened, car.keys->key, car.keys->certificate_der);
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
    names.insert(AllKeys().phones[Pick(AllKeys().phones.size())].name);
  }
  CarWritesRing(car, names);
}

// ---- phones

std::string World::Random10() {
  std::string random10;
  for (int i = 0; i < 10; ++i) {
    random10.push_back(static_cast<char>(Pick(256)));
  }
  return random10;
}

void World::PhoneAsks() {
  const Car& car = cars_[Pick(cars_.size())];
  const auto& phones = AllKeys().phones;
  // Mostly one that is on the ring; and often an owner who takes a key away.
  std::string phone = phones[Pick(phones.size())].name;
  if (!car.names.empty() && Chance(80)) {
    phone = *std::next(car.names.begin(), static_cast<std::ptrdiff_t>(Pick(car.names.size())));
  }
  const Want& want = IsOwner(phone) && Chance(20) ? kTakesAway : kWants.at(Pick(kWants.size()));
  Asked asked;
  asked.ref = car.ref;
  asked.lane = PhoneOf(phone).id;
  CommandRequest request;
  request.issued_at = wall_ - Duration(static_cast<int64_t>(Pick(500)));
  asked.until = wall_ + 30min;
  if (want.life_max.count() > 0) {
    const auto life = static_cast<uint64_t>(want.life_max.count());
    request.expires_at =
        request.issued_at + Duration(static_cast<int64_t>(life / 20 + Pick(life - life / 20)));
    asked.until = *request.expires_at;
  }
  std::string whom = phones[Pick(phones.size())].name;
  for (const std::string& name : car.names) {
    whom = name != phone && Chance(50) ? name : whom;
  }
  SetAction(want.action, whom, request.action);
  PhoneMakes(std::move(asked), request);
}

// A phone takes back what it asked for: from here on it sends only that.
void World::PhoneCancels() {
  if (asked_.empty()) {
    return;
  }
  // Mostly one of the last: the others have ended.
  const uint64_t back = Chance(80) ? Pick(std::min<size_t>(asked_.size(), 4)) : Pick(asked_.size());
  Asked& target = asked_[asked_.size() - 1 - back];
  if (target.cancels || target.cancelled || target.until <= wall_) {
    return;
  }
  target.cancelled = true;
  invariants_.TakenBack(target.id);
  Asked asked;
  asked.ref = target.ref;
  asked.lane = target.lane;
  asked.cancels = true;
  CommandRequest request;
  request.issued_at = wall_;
  asked.until = std::min(target.until + 1min, wall_ + 24h);
  request.expires_at = asked.until;
  request.action.mutable_cancel()->set_command_id(target.id.ToBytes());
  PhoneMakes(std::move(asked), request);
}

void World::PhoneMakes(Asked asked, const CommandRequest& given) {
  CommandRequest request = given;
  request.ref = asked.ref;
  request.id = CommandId::Make(wall_.ms, Random10());
  asked.id = request.id;
  asked.bytes = SealCommand(request, PhoneOf(asked.lane).key).value();
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
  if (wall_ < asked.until && !asked.cancelled) {
    PhoneSends(asked);
  }
}

void World::PhoneSends(const Asked& asked) {
  const Publish publish{CommandTopic(asked.ref, asked.lane), asked.bytes, 1, Retain::kNo, 0};
  if (PluginRefuses(publish)) {
    return;
  }
  invariants_.SentAgain(asked.bytes);
  ToBridge(publish);
  Car& car = CarOf(asked.ref);
  if (car.online) {
    car.inbox.push_back(publish);
  }
}

}  // namespace latchkey::sim
