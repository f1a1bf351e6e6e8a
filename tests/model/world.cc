// The history: what changes, how it travels, and the questions after it.
#include "tests/model/world.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include <unistd.h>

#include "plugins/guard/check.h"
#include "proto/pairing.h"
#include "tests/support/hex.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::model {
namespace {

using auth::Access;
using auth::PrincipalKind;

constexpr size_t kPhones = 8;
constexpr int kChangeEvery = 100;  // steps
constexpr int64_t kMinute = 60'000;
constexpr int64_t kDay = 86'400'000;
constexpr Duration kRefusalsRemembered{kDay};

void Require(bool holds, const std::string& what) {
  if (!holds) {
    throw Fault(what);
  }
}

std::string ScratchPath(uint64_t seed) {
  const std::filesystem::path memory = "/dev/shm";
  const std::filesystem::path folder =
      std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
  return folder / ("lk_model." + std::to_string(::getpid()) + "." + std::to_string(seed));
}

Rights RightsOf(const KeyRing& ring) {
  Rights rights;
  for (const RingKey& key : ring.keys) {
    rights[key.id] = {key.permissions, key.not_before, key.not_after, key.week};
  }
  return rights;
}

std::string Text(const Rights& rights) {
  std::string text;
  for (const auto& [key, right] : rights) {
    text += " " + key.str() + ":" + std::to_string(right.permissions);
  }
  return text.empty() ? " nobody" : text;
}

// The same key in every run, so that a seed is one history: SEC 1, PEM, from a scalar.
PrivateKey KeyNumber(size_t number) {
  const std::string der = testing::FromHex("303102010104 20") + Sha256(std::to_string(number)) +
                          testing::FromHex("a00a06082a8648ce3d030107");
  std::string text = Base64UrlEncode(der);
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  text.append((4 - text.size() % 4) % 4, '=');
  return std::move(PrivateKey::FromPem("-----BEGIN EC PRIVATE KEY-----\n" + text +
                                       "\n-----END EC PRIVATE KEY-----\n")
                       .value());
}

v1::Key WireOf(const Right& right, const PublicKey& key) {
  RingKey ring_key = testing::OnRing(key, v1::ROLE_GUEST);
  ring_key.permissions = right.permissions;
  ring_key.not_before = right.from;
  ring_key.not_after = right.until;
  ring_key.week = right.week;
  return KeyToWire(ring_key);
}

}  // namespace

World::World(uint64_t seed, std::ostream* trace)
    : random_(seed), trace_(trace), now_(testing::kNow), ring_path_(ScratchPath(seed)) {
  bridge_skew_ = Duration(static_cast<int64_t>(Below(20 * kMinute)) - 10 * kMinute);
  for (size_t i = 0; i < kPhones; ++i) {
    phones_.push_back(KeyNumber(i));
    keys_.push_back(phones_.back().Public().Id());
  }
  const uint32_t reads = Bit(v1::PERMISSION_READ_BODY) | Bit(v1::PERMISSION_READ_DRIVE);
  for (const char* fleet : {"f1", "f2"}) {
    const tools::Issued ca = tools::MakeCa(fleet, now_, 3650);
    trust_.fleet_cas[fleet] = PemToDer(ca.certificate_pem).value();
    for (const char* car : {"c1", "c2"}) {
      const CarRef ref = testing::Ref(fleet, car);
      auto [der, key] = testing::Issue(CarIdentity{ref}, ca);
      CarSide side;
      side.ref = ref;
      side.key_pem = key.ToPem();
      side.options = {ref, der, "", "broker.example", 8884, "cell-1"};
      side.memory = car::SerializeMemory(car::NewMemory(ref, now_));
      cars_.push_back(std::move(side));
      others_.push_back(ACar(ref));
    }
    const CarRef whole{FleetId::Parse(fleet).value(), {}};
    others_.push_back(Someone(PrincipalKind::kOperator, whole));
    others_.back().permissions = WithImplied(reads);
    others_.push_back(Someone(PrincipalKind::kRegistrar, whole));
  }
  others_.push_back(Someone(PrincipalKind::kBridge));
  others_.push_back(Someone(PrincipalKind::kAdministrator));
  std::filesystem::remove(ring_path_);
  RestartBroker();
  for (CarSide& side : cars_) {
    Reboot(side);
    Connect(side);
  }
}

World::~World() {
  std::error_code ignored;
  std::filesystem::remove(ring_path_, ignored);
}

uint64_t World::Below(uint64_t bound) {
  return random_() % bound;
}

std::string World::RandomText(size_t bytes) {
  std::string text(bytes, '\0');
  std::generate(text.begin(), text.end(), [this] { return static_cast<char>(Below(256)); });
  return text;
}

bool World::Chance(int percent) {
  return Below(100) < static_cast<uint64_t>(percent);
}

World::CarSide& World::AnyCar() {
  return cars_[Below(cars_.size())];
}

Now World::Both() const {
  return {now_, mono_};
}

void World::Say(const std::string& text) {
  if (trace_ != nullptr) {
    *trace_ << now_.ms << " " << text << "\n";
  }
}

std::string World::Summary() const {
  return std::to_string(changes_) + " changes, " + std::to_string(obeyed_) +
         " key commands obeyed, " + std::to_string(refused_) + " refused, " +
         std::to_string(questions_) + " questions, " + std::to_string(allowed_) + " allowed";
}

void World::Step() {
  if (Below(kChangeEvery) == 0) {
    Change();
    Sweep();
  } else if (Chance(2)) {
    Pass();
  }
  AskAtRandom();
}

// --- Time and cars

// The next moments at which a right at the broker begins or ends.
std::vector<Timestamp> World::Edges() const {
  std::vector<Timestamp> edges;
  const Timestamp minute{now_.ms / kMinute * kMinute};
  for (const auto& [ref, rights] : reference_.at_broker) {
    for (const auto& [key, right] : rights) {
      edges.insert(edges.end(), {right.from, right.until});
      for (const WeekWindow& window : right.week) {
        for (const uint16_t edge : {window.start, window.end}) {
          const int ahead = (edge - MinuteOfWeek(now_) + kWeekMinutes) % kWeekMinutes;
          edges.push_back(minute + Duration(ahead * kMinute));
        }
      }
    }
  }
  std::erase_if(edges, [this](Timestamp edge) { return edge <= now_ + Duration(1); });
  return edges;
}

void World::Pass() {
  const std::array<int64_t, 4> most = {1000, 10 * kMinute, 60 * kMinute, 2 * kDay};
  auto passed = 1 + static_cast<int64_t>(Below(static_cast<uint64_t>(most[Below(4)])));
  if (Chance(40)) {
    const std::vector<Timestamp> edges = Edges();
    if (!edges.empty()) {  // just before, at it, or just after
      const Timestamp edge = edges[Below(edges.size())];
      passed = (edge - now_).count() - 1 + static_cast<int64_t>(Below(3));
    }
  }
  now_ = now_ + Duration(passed);
  mono_ = mono_ + Duration(passed);
  for (const KeyId& key : keys_) {
    for (const CarSide& side : cars_) {
      Ask(OfPhone(key, Access::kWrite, TopicKind::kCommand, side.ref));
    }
  }
}

void World::Change() {
  Pass();
  ++changes_;
  CarSide& side = AnyCar();
  if (!side.online && Chance(40)) {
    ComeOrGo(side);
    return;
  }
  const uint64_t pick = Below(100);
  if (pick < 14) {
    Pair(side);
  } else if (pick < 44) {
    Share(side);
  } else if (pick < 56) {
    Remove(side);
  } else if (pick < 62) {
    BlockAtPlugin();
  } else if (pick < 68) {
    BlockAtBridge();
  } else if (pick < 74) {
    Sync();
  } else if (pick < 77) {
    ReplayBlock();
  } else if (pick < 83) {
    ComeOrGo(side);
  } else if (pick < 88) {
    ReplayRing(side);
  } else if (pick < 93) {
    ReplayCommand(side);
  } else if (pick < 96) {
    Reboot(side);
    Connect(side);
  } else if (pick < 99) {
    RestartBroker();
  } else {
    Reset(side);
  }
}

void World::Run(CarSide& side, const car::Input& input) {
  car::Effects effects;
  side.car->Step(input, Both(), effects);
  for (const car::Effect& effect : effects) {
    if (const auto* persist = std::get_if<car::Persist>(&effect)) {
      side.memory = persist->bytes;
    } else if (const auto* send = std::get_if<car::Send>(&effect)) {
      Route(side, send->message);
    } else if (const auto* shown = std::get_if<car::OfferShown>(&effect)) {
      side.qr_text = shown->qr_text;
    }
  }
}

// What a car that the broker knows sends.
void World::Route(CarSide& side, const Publish& message) {
  const std::optional<Topic> topic = ParseTopic(message.topic);
  Require(topic.has_value(), "a car sends on no topic: " + message.topic);
  const auth::Principal who = ACar(side.ref);
  const Verdict may =
      auth::CheckAccess(who, {Access::kWrite, message.topic, message.payload}, directory_, now_);
  const Verdict looks = guard::CheckMessage({message.topic, message.payload, message.retain}, now_);
  Require(may.allowed() && looks.allowed(), "a car's own message is refused: " + message.topic +
                                                " " + testing::Said(may.allowed() ? looks : may));
  if (topic->kind != TopicKind::kKeyRing) {
    return;
  }
  const KeyRing& ring = side.car->ring();
  side.rings.push_back({ring.version, message.payload, reference_.at_car[side.ref]});
  if (side.online && !side.losing) {
    TakeRing(side, side.rings.back());
  }
}

// A ring reaches the broker, from its car or from somebody who kept it.
void World::TakeRing(CarSide& side, const SentRing& sent) {
  const auto held = reference_.version.find(side.ref);
  const bool newer = held == reference_.version.end() || sent.version > held->second;
  const bool same = held != reference_.version.end() && sent.version == held->second;
  const auth::Place place{side.ref.fleet.str(), side.ref.car.str()};
  const Result<auth::Applied> applied = directory_.Apply(sent.bytes, trust_, place);
  Require(applied.has_value() == (newer || same), "ring version " + std::to_string(sent.version) +
                                                      " of " + side.ref.ToText() + ": " +
                                                      testing::Said(applied));
  if (!newer) {
    Require(!applied || !applied->changed, "the ring held changes nothing");
    return;
  }
  for (const auto& [key, right] : reference_.at_broker[side.ref]) {
    const bool told = std::find(applied->fell_off.begin(), applied->fell_off.end(), key) !=
                      applied->fell_off.end();
    Require(told == !sent.rights.contains(key), "key " + key.str() +
                                                    (told ? " fell" : " did not fall") +
                                                    " off the ring of " + side.ref.ToText());
  }
  Require(ring_file_->Append(auth::RecordKind::kRing, sent.bytes).has_value(), "a ring is saved");
  reference_.at_broker[side.ref] = sent.rights;
  reference_.version[side.ref] = sent.version;
  for (const KeyId& key : keys_) {  // an owner's block has done its work
    const Block* block = bridge_.Find({key, side.ref.fleet, side.ref.car});
    if (block != nullptr && !block->lifted && block->cause == v1::BLOCK_CAUSE_OWNER &&
        !sent.rights.contains(key)) {
      Sent of{{}, key, {}, {}, {}, *block->command};
      OwnerBlocks(side, of, true);
    }
  }
}

void World::CheckCar(const CarSide& side) {
  const Rights has = RightsOf(side.car->ring());
  const Rights& should = reference_.at_car[side.ref];
  Require(has == should, "the ring of car " + side.ref.ToText() + " names" + Text(has) +
                             ", it should name" + Text(should));
}

void World::Connect(CarSide& side) {
  side.online = true;
  Run(side, car::Connected{});
  Run(side, car::Subscribed{{1, 1, 1}});
  CheckCar(side);
  while (side.online && !side.held.empty()) {
    const Sent sent = side.held.front();
    side.held.pop_front();
    Deliver(side, sent, true);
    if (!sent.after) {
      OwnerBlocks(side, sent, true);  // the car has answered
    }
  }
}

void World::ComeOrGo(CarSide& side) {
  Say(side.ref.ToText() + (side.online ? " goes" : " comes"));
  if (side.online) {
    Go(side);
  } else {
    Connect(side);
  }
}

void World::Go(CarSide& side) {
  side.online = false;
  Run(side, car::Disconnected{"away", Below(1000)});
}

// The car starts anew with what it has persisted.
void World::Reboot(CarSide& side) {
  Say(side.ref.ToText() + " reboots");
  side.online = false;
  PrivateKey key = std::move(PrivateKey::FromPem(side.key_pem).value());
  Result<car::Memory> memory = car::LoadMemory(side.memory, side.ref);
  Require(memory.has_value(), "a car's memory loads");
  side.car = std::make_unique<car::Car>(side.options, std::move(key), std::move(*memory));
  Run(side, car::Start{});
  CheckCar(side);
}

// --- Keys

void World::Pair(CarSide& side) {
  const size_t phone = Below(phones_.size());
  if (!side.online) {
    return;
  }
  const std::array<v1::Role, 4> roles = {v1::ROLE_OWNER, v1::ROLE_OWNER, v1::ROLE_DRIVER,
                                         v1::ROLE_GUEST};
  const v1::Role role = roles[Below(roles.size())];
  Run(side, car::ShowOffer{RandomText(16), role});
  const PairingOffer offer = ParseQrText(side.qr_text).value();
  const std::string nonce = RandomText(16);
  if (Chance(30)) {  // strangers who have not seen the code do not burn it
    PairingOffer guess = offer;
    guess.secret = std::string(16, '?');
    for (int i = 0; i < 4; ++i) {
      const PrivateKey& other = phones_[Below(phones_.size())];
      const std::string noise = MakeClaim(guess, other.Public(), nonce, "noise");
      Run(side, car::Arrived{{PairingTopic(side.ref, other.Public().Id()), noise}});
    }
  }
  const KeyId& key = keys_[phone];
  const bool passes = Ask(OfPhone(key, Access::kWrite, TopicKind::kPairingClaim, side.ref));
  Say("pair " + key.str() + " with " + side.ref.ToText() + (passes ? "" : ": blocked"));
  if (!passes) {
    return;
  }
  const std::string claim = MakeClaim(offer, phones_[phone].Public(), nonce, "phone");
  Run(side, car::Arrived{{PairingTopic(side.ref, key), claim}});
  const bool yes = Chance(90);
  if (yes) {
    reference_.at_car[side.ref][key] = {PermissionsOf(role), {}, {}, {}};
  }
  side.losing = Chance(10);
  Run(side, car::Confirm{yes ? car::Confirm::Word::kYes : car::Confirm::Word::kNo});
  CheckCar(side);
  if (std::exchange(side.losing, false)) {
    Go(side);
  }
}

Right World::RandomRight(uint32_t signer) {
  const uint32_t all = PermissionsOf(v1::ROLE_OWNER);
  Right right;
  right.permissions = static_cast<uint32_t>(random_()) & (Chance(75) ? signer : all);
  if (Chance(25)) {
    right.permissions |= signer & Bit(v1::PERMISSION_KEYS);
  }
  right.permissions = WithImplied(right.permissions);
  const auto near = [this] {
    return now_ + Duration(static_cast<int64_t>(Below(4 * kDay)) - 2 * kDay);
  };
  right.from = Chance(25) ? near() : Timestamp();
  right.until = Chance(25) ? near() : Timestamp();
  for (uint64_t windows = Chance(30) ? 1 + Below(3) : 0; windows > 0; --windows) {
    right.week.push_back(
        {static_cast<uint16_t>(Below(kWeekMinutes)), static_cast<uint16_t>(Below(kWeekMinutes))});
  }
  return right;
}

// Mostly somebody who keeps keys there.
size_t World::AnySigner(const CarSide& side) {
  std::vector<size_t> keepers;
  for (size_t i = 0; i < keys_.size(); ++i) {
    const Right* right = Reference::Find(reference_.at_car, side.ref, keys_[i], now_);
    if (right != nullptr && (right->permissions & Bit(v1::PERMISSION_KEYS)) != 0) {
      keepers.push_back(i);
    }
  }
  return keepers.empty() || Chance(20) ? Below(keys_.size()) : keepers[Below(keepers.size())];
}

void World::Share(CarSide& side) {
  const size_t signer = AnySigner(side);
  const auto& rights = reference_.at_car[side.ref];
  const auto own = rights.find(keys_[signer]);
  const KeyId& touched = keys_[Below(keys_.size())];
  Command(side, signer, touched, RandomRight(own == rights.end() ? ~0U : own->second.permissions));
}

void World::Remove(CarSide& side) {
  Command(side, AnySigner(side), keys_[Below(keys_.size())], std::nullopt);
}

void World::Command(CarSide& side, size_t signer, const KeyId& touched,
                    const std::optional<Right>& after) {
  CommandRequest request{side.ref,
                         CommandId::Make(now_.ms, RandomText(10)),
                         now_,
                         now_ + Duration(kMinute * static_cast<int64_t>(1 + Below(60))),
                         {}};
  if (after) {
    const auto index = static_cast<size_t>(
        std::distance(keys_.begin(), std::find(keys_.begin(), keys_.end(), touched)));
    *request.action.mutable_add_key()->mutable_key() = WireOf(*after, phones_[index].Public());
  } else {
    request.action.mutable_remove_key()->set_key_id(touched.str());
    if (Chance(50)) {
      request.expires_at.reset();
    }
  }
  const std::string bytes = SealCommand(request, phones_[signer]).value();
  const Sent sent{keys_[signer], touched, after, request.expires_at, bytes, request.id};
  Say(std::string(after ? "add " : "remove ") + touched.str() + " at " + side.ref.ToText() +
      " by " + sent.signer.str());
  const bool passes = Ask(OfPhone(sent.signer, Access::kWrite, TopicKind::kCommand, side.ref));
  const bool forced = Chance(10);  // who owns the broker carries it anyway
  if (!passes && !forced) {
    return;
  }
  // What the bridge does with a removal that its copy of the ring allows.
  Reference broker = reference_;
  broker.at_car = broker.at_broker;
  if (passes && !after && broker.Obeys(side.ref, sent.signer, touched, nullptr, now_)) {
    OwnerBlocks(side, sent, false);
  }
  if (!side.online) {
    if (passes) {
      side.held.push_back(sent);
    }
    return;
  }
  Deliver(side, sent, !forced);
  if (!after) {
    OwnerBlocks(side, sent, true);
  }
}

// `checked`: the broker is asked at the delivery.
void World::Deliver(CarSide& side, const Sent& sent, bool checked) {
  Asked asked{
      ACar(side.ref), Access::kRead, Width::kExact, TopicKind::kCommand,
      Group::kBody,   side.ref,      sent.signer,   !sent.expires_at || now_ < *sent.expires_at,
      sent.bytes};
  if (!Ask(asked) && checked) {
    ++refused_;
    return;
  }
  const Right* after = sent.after ? &*sent.after : nullptr;
  const bool obeys =
      asked.fresh && reference_.Obeys(side.ref, sent.signer, sent.touched, after, now_);
  Say(obeys ? "obeyed" : "not obeyed");
  if (obeys && after != nullptr) {
    reference_.at_car[side.ref][sent.touched] = *after;
  } else if (obeys) {
    reference_.at_car[side.ref].erase(sent.touched);
  }
  ++(obeys ? obeyed_ : refused_);
  side.done.push_back({sent, obeys, now_});
  side.losing = obeys && Chance(10);
  Run(side, car::Arrived{{CommandTopic(side.ref, sent.signer), sent.bytes}});
  CheckCar(side);
  if (std::exchange(side.losing, false)) {
    Go(side);
  }
}

void World::Reset(CarSide& side) {
  Say(side.ref.ToText() + " is reset");
  reference_.at_car[side.ref].clear();
  Run(side, car::FactoryReset{});
  CheckCar(side);
}

void World::ReplayRing(CarSide& side) {
  if (!side.rings.empty()) {
    const SentRing sent = side.rings[Below(side.rings.size())];
    Say("replay ring " + std::to_string(sent.version) + " of " + side.ref.ToText());
    TakeRing(side, sent);
    const CarSide& other = AnyCar();
    const auth::Place place{other.ref.fleet.str(), other.ref.car.str()};
    const Result<auth::Applied> applied = directory_.Apply(sent.bytes, trust_, place);
    Require(other.ref == side.ref || testing::Said(applied) == "REASON_WRONG_CAR",
            "a ring is of one car");
  }
}

// Whatever has reached the car changes nothing a second time. Left out: a removal without expiry
// that was refused, once the car has forgotten that.
void World::ReplayCommand(CarSide& side) {
  if (side.done.empty() || !side.online) {
    return;
  }
  const Done& done = side.done[Below(side.done.size())];
  const bool forgotten =
      !done.obeyed && !done.sent.expires_at && now_ >= done.at + kRefusalsRemembered;
  if (forgotten) {
    return;
  }
  Say("replay a command to " + side.ref.ToText());
  Run(side, car::Arrived{{CommandTopic(side.ref, done.sent.signer), done.sent.bytes}});
  CheckCar(side);
}

}  // namespace latchkey::model
