// Stories of the reference phone: what it sends and says, as text.
#include "tools/phone/phone.h"

#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "proto/pairing.h"
#include "proto/receipt.h"
#include "proto/topic.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::tools {

namespace {

using latchkey::testing::kNow;
using latchkey::testing::kSecond;

PrivateKey CopyOf(const PrivateKey& key) {
  return std::move(PrivateKey::FromPem(key.ToPem()).value());
}

// A phone with a virtual clock, and the car it is paired with.
class Story {
 public:
  Story() : car(testing::MakeTestCar("demo", "car-1")), phone(MakePhone()) {}

  void Step(const Phone::Input& input) {
    Phone::Effects effects;
    phone.Step(input, now, effects);
    for (const Phone::Effect& effect : effects) {
      Note(effect);
    }
  }

  // What was said since the last call.
  std::string Said() { return std::exchange(said_, ""); }

  void Connect() {
    Step(Phone::Connected{});
    Step(Phone::Subscribed{{1, 1, 1, 1, 1}});
    said_.clear();
  }

  void Passes(Duration time) {
    const Instant until = now.mono + time;
    const Timestamp wall_until = now.wall + time;
    for (auto due = phone.NextDeadline(); due && *due <= until; due = phone.NextDeadline()) {
      const Duration step = std::max(*due - now.mono, Duration(0));
      now = {now.wall + step, now.mono + step};
      Step(Phone::Tick{});
    }
    now = {wall_until, until};
  }

  void Sends(void (*choose)(v1::Command&), std::optional<Duration> lifetime = std::nullopt) {
    Phone::Send send{car.ref, {}, lifetime, std::string(10, static_cast<char>('a' + sends_++))};
    choose(send.action);
    Step(send);
  }

  // Sends it, forgets what was said, and takes it back; the cancel's id is `last_id` then.
  CommandId SendsAndCancels(void (*choose)(v1::Command&)) {
    Sends(choose);
    const CommandId id = last_id;
    said_.clear();
    Step(Phone::Cancel{car.ref, id, "", std::string(10, 'z')});
    return id;
  }

  Outcome Of(v1::ReceiptState state, v1::ReceiptSource source,
             Reason reason = v1::REASON_UNSPECIFIED) {
    return MakeOutcome(car.ref, last_id, state, reason, now.wall, source);
  }

  // What the car, or the bridge, says of a command.
  void Says(v1::ReceiptSource by, const CommandId& id, v1::ReceiptState state,
            Reason reason = v1::REASON_UNSPECIFIED) {
    const Outcome outcome = MakeOutcome(car.ref, id, state, reason, now.wall, by);
    Receipt(by == v1::RECEIPT_SOURCE_CAR ? SealCarReceipt(outcome, car.key)
                                         : SealBridgeReceipt(outcome));
  }

  void Receipt(const std::string& bytes) {
    Step(Phone::Arrived{{ReceiptTopic(car.ref, phone.id()), bytes}});
  }

  void CarSays(v1::ReceiptState state) {
    Receipt(SealCarReceipt(Of(state, v1::RECEIPT_SOURCE_CAR), car.key));
  }

  void BridgeSays(v1::ReceiptState state) {
    Receipt(SealBridgeReceipt(Of(state, v1::RECEIPT_SOURCE_BRIDGE)));
  }

  std::string Ring(uint64_t version, bool with_phone) {
    KeyRing ring{car.ref, version, kNow, {}};
    if (with_phone) {
      ring.keys.push_back(testing::OnRing(phone.key().Public(), v1::ROLE_OWNER));
    }
    return SealKeyRing(ring, car.key, car.certificate_der);
  }

  testing::TestCar car;
  Phone phone;
  Now now{kNow, Instant{1000}};
  CommandId last_id;
  std::string last_wire;
  std::string last_payload;
  Phone::RingChanged last_change;

 private:
  Phone MakePhone() { return PhoneOf(PrivateKey::Generate()); }

 public:
  Phone PhoneOf(PrivateKey key) {
    const KeyRing ring{car.ref, 1, kNow, {}};
    const std::string signed_ring = SealKeyRing(ring, car.key, car.certificate_der);
    Pairing pairing{car.ref,          "127.0.0.1",         1883, "local",
                    car.key.Public(), car.certificate_der, ring, signed_ring};
    return {std::move(key), "anna", {std::move(pairing)}};
  }

 private:
  void Note(const Phone::Effect& effect) {
    std::string word = "?";
    if (const auto* publish = std::get_if<Publish>(&effect)) {
      word = publish->topic.find("/command/") != std::string::npos ? "command" : "claim";
      if (!last_payload.empty() && publish->payload != last_payload) {
        word += " (other bytes)";
      }
      last_payload = publish->payload;
    } else if (const auto* ask = std::get_if<Phone::Subscribe>(&effect)) {
      word = "subscribe " + std::to_string(ask->filters.size());
    } else if (const auto* began = std::get_if<Phone::Began>(&effect)) {
      last_id = began->id;
      last_wire = began->wire;
      last_payload.clear();
      word = began->cancels ? "began cancel" : "began";
    } else if (const auto* receipt = std::get_if<Phone::Receipt>(&effect)) {
      word = (receipt->cancels ? "cancel:" : "") + std::string(ToText(receipt->outcome.state)) +
             (receipt->final ? "!" : "");
      if (receipt->outcome.reason != v1::REASON_UNSPECIFIED) {
        word += " " + testing::Said(receipt->outcome.reason);
      }
      if (receipt->broker_reason != 0) {
        word += " puback " + std::to_string(receipt->broker_reason);
      }
    } else if (const auto* learned = std::get_if<Phone::Learned>(&effect)) {
      word = std::string(learned->paired_now ? "paired" : "ring") +
             (learned->on_ring ? "" : " without this phone");
    } else if (const auto* change = std::get_if<Phone::RingChanged>(&effect)) {
      word = "change +" + std::to_string(change->added.size()) + " -" +
             std::to_string(change->removed.size()) + " ~" + std::to_string(change->changed.size());
      last_change = *change;
    } else if (const auto* failure = std::get_if<Phone::Failed>(&effect)) {
      word = "failed " + testing::Said(failure->error.reason);
    } else if (const auto* ignored = std::get_if<Phone::Ignored>(&effect)) {
      word = "ignored " + testing::Said(ignored->error.reason);
    } else if (std::holds_alternative<Phone::StateChanged>(effect)) {
      word = "state";
    } else if (std::holds_alternative<Phone::PresenceChanged>(effect)) {
      word = "presence";
    }
    said_ += (said_.empty() ? "" : " | ") + word;
  }

  std::string said_;
  int sends_ = 0;
};

void Flash(v1::Command& command) {
  command.mutable_flash_lights();
}

void Lock(v1::Command& command) {
  command.mutable_lock();
}

}  // namespace

TEST_CASE("phone: the car's signed receipts tell what became of a command") {
  Story s;
  s.Connect();
  s.Sends(Flash);
  CHECK(s.Said() == "began | command");
  s.CarSays(v1::RECEIPT_STATE_DELIVERED);
  CHECK(s.Said() == "DELIVERED");
  s.CarSays(v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "DONE!");
  CHECK(s.phone.idle());
  s.CarSays(v1::RECEIPT_STATE_DONE);
  CHECK(s.Said().empty());
}

TEST_CASE("phone: without a receipt the same bytes are sent again until the command expires") {
  Story s;
  s.Connect();
  s.Sends(Flash, 5 * kSecond);
  s.Passes(4 * kSecond);
  CHECK(s.Said() == "began | command | command | command");
  s.Passes(20 * kSecond);
  CHECK(s.Said() == "EXPIRED! REASON_EXPIRED");
  CHECK_FALSE(s.phone.NextDeadline().has_value());
}

TEST_CASE("phone: a receipt that another key signed for the car is not believed") {
  Story s;
  s.Connect();
  s.Sends(Flash);
  s.Said();
  const PrivateKey stranger = PrivateKey::Generate();
  s.Receipt(SealCarReceipt(s.Of(v1::RECEIPT_STATE_DONE, v1::RECEIPT_SOURCE_CAR), stranger));
  CHECK(s.Said() == "ignored REASON_BAD_SIGNATURE");
  v1::Receipt unsigned_done;
  v1::Receipt sealed;
  REQUIRE(sealed.ParseFromString(
      SealCarReceipt(s.Of(v1::RECEIPT_STATE_DONE, v1::RECEIPT_SOURCE_CAR), s.car.key)));
  unsigned_done.set_outcome(sealed.outcome());
  s.Receipt(unsigned_done.SerializeAsString());
  CHECK(s.Said() == "ignored REASON_BAD_SIGNATURE");
  CHECK_FALSE(s.phone.idle());
}

TEST_CASE("phone: the bridge may say HELD and EXPIRED but never DONE") {
  Story s;
  s.Connect();
  s.Sends(Lock);
  s.Said();
  s.BridgeSays(v1::RECEIPT_STATE_HELD);
  CHECK(s.Said() == "HELD");
  s.BridgeSays(v1::RECEIPT_STATE_HELD);
  CHECK(s.Said().empty());
  v1::Outcome wire;
  v1::Receipt receipt;
  REQUIRE(receipt.ParseFromString(
      SealBridgeReceipt(s.Of(v1::RECEIPT_STATE_HELD, v1::RECEIPT_SOURCE_BRIDGE))));
  REQUIRE(wire.ParseFromString(receipt.outcome()));
  wire.set_state(v1::RECEIPT_STATE_DONE);
  receipt.set_outcome(wire.SerializeAsString());
  s.Receipt(receipt.SerializeAsString());
  CHECK(s.Said() == "ignored REASON_NOT_ALLOWED");
  s.BridgeSays(v1::RECEIPT_STATE_EXPIRED);
  CHECK(s.Said() == "EXPIRED!");
}

TEST_CASE("phone: a refused publish ends the command with the broker's reason code") {
  Story s;
  s.Connect();
  s.Sends(Flash);
  s.Said();
  s.Step(Phone::Published{CommandTopic(s.car.ref, s.phone.id()), 0x87});
  CHECK(s.Said() == "REFUSED! REASON_NOT_ALLOWED puback 135");
  CHECK(s.phone.idle());
}

TEST_CASE("phone: a refused resend changes nothing once there is a receipt") {
  Story s;
  s.Connect();
  s.Sends(Lock);
  s.CarSays(v1::RECEIPT_STATE_DELIVERED);
  s.Said();
  s.Step(Phone::Published{CommandTopic(s.car.ref, s.phone.id()), 0x87});
  CHECK(s.Said().empty());
  CHECK_FALSE(s.phone.idle());
}

TEST_CASE("phone: a resend that is refused because its time is over says nothing of the first") {
  Story s;
  s.Connect();
  s.Sends(Flash, 5 * kSecond);
  s.Passes(4 * kSecond);
  CHECK(s.Said() == "began | command | command | command");
  s.now = {s.now.wall + 2 * kSecond, s.now.mono + 2 * kSecond};
  for (const int answer : {0, 0, 0x87}) {
    s.Step(Phone::Published{CommandTopic(s.car.ref, s.phone.id()), answer});
  }
  CHECK(s.Said().empty());
  s.Passes(20 * kSecond);
  CHECK(s.Said() == "EXPIRED! REASON_EXPIRED");
}

TEST_CASE("phone: what is asked for without a connection goes out when the receipt lane is there") {
  Story s;
  s.Sends(Lock);
  CHECK(s.Said() == "began");
  s.Step(Phone::Connected{});
  CHECK(s.Said() == "subscribe 5");
  s.Step(Phone::Subscribed{{1, 1, 1, 1, 1}});
  CHECK(s.Said() == "command");
}

TEST_CASE("phone: a refused subscription is told once and asked for again until it is granted") {
  Story s;
  s.Step(Phone::Connected{});
  s.Said();
  s.Step(Phone::Subscribed{{0x87, 1, 1, 0x87, 1}});
  CHECK(s.Said() == "failed REASON_NOT_ALLOWED | failed REASON_NOT_ALLOWED");
  s.Passes(2 * kSecond);
  CHECK(s.Said() == "subscribe 2");
  s.Step(Phone::Subscribed{{0x87, 0x87}});
  s.Passes(3 * kSecond);
  CHECK(s.Said().empty());
  s.Passes(kSecond);
  CHECK(s.Said() == "subscribe 2");
  s.Step(Phone::Subscribed{{1, 1}});
  s.Passes(60 * kSecond);
  CHECK(s.Said().empty());
}

TEST_CASE("phone: a phone that is cut off hears from the car why before the broker's no is told") {
  for (const bool heard : {true, false}) {
    Story s;
    s.Connect();
    s.Step(Phone::Arrived{{KeyRingTopic(s.car.ref), s.Ring(3, true)}});
    s.Step(Phone::Disconnected{});
    s.Step(Phone::Connected{});
    s.Said();
    s.Step(Phone::Subscribed{{1, 0x87, 1, 0x87, 0x87}});
    CHECK(s.Said().empty());
    if (heard) {
      s.Step(Phone::Arrived{{PairingAnswerTopic(s.car.ref, s.phone.id()), MakeRemovalNotice()}});
      CHECK(s.Said() == "ring without this phone");
    }
    s.Passes(2 * kSecond);
    CHECK(s.Said() == "subscribe 3");
    s.Step(Phone::Subscribed{{0x87, 0x87, 0x87}});
    CHECK(s.Said().find("failed REASON_NOT_ALLOWED") == 0);
  }
}

TEST_CASE("phone: a lifetime above its class and a car it is not paired with are refused") {
  Story s;
  s.Connect();
  s.Sends(Flash, std::chrono::minutes(2));
  CHECK(s.Said() == "failed REASON_LIFETIME_TOO_LONG");
  Phone::Send send{testing::Ref("demo", "car-2"), {}, std::nullopt, std::string(10, 'r')};
  Flash(send.action);
  s.Step(send);
  CHECK(s.Said() == "failed REASON_NOT_ON_RING");
  s.Step(Phone::Send{s.car.ref, {}, std::nullopt, std::string(10, 'r')});
  CHECK(s.Said() == "failed REASON_UNKNOWN_ACTION");
}

TEST_CASE("phone: only a newer ring of the known car is learned") {
  Story s;
  s.Connect();
  const std::string topic = KeyRingTopic(s.car.ref);
  s.Step(Phone::Arrived{{topic, s.Ring(3, true)}});
  CHECK(s.Said() == "paired | change +1 -0 ~0");
  s.Step(Phone::Arrived{{topic, s.Ring(2, true)}});
  CHECK(s.Said().empty());
  const testing::TestCar impostor = testing::MakeTestCar("demo", "car-1");
  const KeyRing forged{s.car.ref, 9, kNow, {}};
  s.Step(Phone::Arrived{{topic, SealKeyRing(forged, impostor.key, impostor.certificate_der)}});
  CHECK(s.Said().find("ignored") == 0);
  CHECK(s.phone.Find(s.car.ref)->pairing.ring.version == 3);
  s.Step(Phone::Arrived{{topic, s.Ring(4, false)}});
  CHECK(s.Said() == "ring without this phone | change +0 -1 ~0");
}

TEST_CASE("phone: an older state never replaces a newer one") {
  Story s;
  s.Connect();
  const auto state = [](uint64_t at, float soc) {
    v1::StateGroup group;
    group.set_observed_at_ms(at);
    group.set_sequence(1);
    group.mutable_energy()->mutable_soc()->set_value(soc);
    return group.SerializeAsString();
  };
  const std::string topic = StateTopic(s.car.ref, Group::kEnergy);
  s.Step(Phone::Arrived{{topic, state(2000, 80)}});
  CHECK(s.Said() == "state");
  s.Step(Phone::Arrived{{topic, state(1000, 10)}});
  CHECK(s.Said().empty());
  const auto& held = s.phone.Find(s.car.ref)->groups[static_cast<size_t>(Group::kEnergy)];
  CHECK(held->energy().soc().value() == 80);
  s.Step(Phone::Arrived{{topic, "\xff"}});
  CHECK(s.Said() == "ignored REASON_MALFORMED");
}

TEST_CASE("phone: values of a car whose clock was ahead do not stay once the clock is right") {
  Story s;
  s.Connect();
  uint64_t sequence = 0;
  const auto says = [&](Duration ahead) {
    v1::StateGroup group;
    group.set_observed_at_ms(static_cast<uint64_t>((s.now.wall + ahead).ms));
    group.set_sequence(++sequence);
    group.mutable_energy()->mutable_soc()->set_value(static_cast<float>(sequence));
    const std::string bytes = group.SerializeAsString();
    s.Step(Phone::Arrived{{StateTopic(s.car.ref, Group::kEnergy), bytes}});
    return bytes;
  };
  const std::string ahead = says(120 * kSecond);
  CHECK(s.Said() == "state");
  s.Passes(5 * kSecond);
  says(Duration(0));
  CHECK(s.Said() == "state");
  s.Step(Phone::Arrived{{StateTopic(s.car.ref, Group::kEnergy), ahead}});
  CHECK_MESSAGE(s.Said().empty(), "the other one, once more");
  const auto& held = s.phone.Find(s.car.ref)->groups[static_cast<size_t>(Group::kEnergy)];
  CHECK(held->energy().soc().value() == 2);
}

TEST_CASE("phone: pairing repeats its claim until the car answers, and meets the right car") {
  Story s;
  s.Connect();
  const testing::TestCar car = testing::MakeTestCar("demo", "car-9");
  const PairingOffer offer{"127.0.0.1", 8883, "local", car.ref, std::string(16, 's')};
  s.Step(Phone::Pair{offer, std::string(16, 'n')});
  CHECK(s.Said() == "subscribe 1");
  s.Step(Phone::Subscribed{{1}});
  s.Passes(7 * kSecond);
  CHECK(s.Said() == "claim | claim | claim");
  const Claim claim = CheckClaim(s.last_payload, offer, s.phone.id()).value();
  const KeyRing ring{car.ref, 1, kNow, {testing::OnRing(claim.key, v1::ROLE_OWNER)}};
  const std::string topic = PairingAnswerTopic(car.ref, s.phone.id());
  PairingOffer other = offer;
  other.secret = std::string(16, 'x');
  const std::string signed_ring = SealKeyRing(ring, car.key, car.certificate_der);
  s.Step(Phone::Arrived{{topic, MakeAnswer(other, claim, signed_ring)}});
  CHECK(s.Said() == "ignored REASON_BAD_PROOF");
  s.Step(Phone::Arrived{{topic, MakeAnswer(offer, claim, signed_ring)}});
  CHECK(s.Said() == "paired | subscribe 5");
  CHECK(s.phone.Find(car.ref)->pairing.ring.version == 1);
}

TEST_CASE("phone: the car's no ends the pairing, and so does silence") {
  Story s;
  s.Connect();
  const PairingOffer offer{"127.0.0.1", 8883, "local", testing::Ref("demo", "car-9"),
                           std::string(16, 's')};
  s.Step(Phone::Pair{offer, std::string(16, 'n')});
  s.Step(Phone::Subscribed{{1}});
  s.Said();
  const std::string topic = PairingAnswerTopic(offer.ref, s.phone.id());
  s.Step(Phone::Arrived{{topic, MakeRefusal(std::string(16, 'z'), v1::REASON_DECLINED)}});
  CHECK(s.Said() == "ignored REASON_WRONG_LANE");
  s.Step(Phone::Arrived{{topic, MakeRefusal(std::string(16, 'n'), v1::REASON_DECLINED)}});
  CHECK(s.Said() == "failed REASON_DECLINED");
  s.Step(Phone::Pair{offer, std::string(16, 'm')});
  s.Step(Phone::Subscribed{{1}});
  s.Passes(kOfferLifetime + kSecond);
  CHECK(s.Said().find("failed REASON_NO_OFFER") != std::string::npos);
}

// A car that invites this phone, as its owner's phone would show it.
struct Inviting {
  explicit Inviting(Story& story) : s(story) {}

  Invitation Shown() const { return {"127.0.0.1", 8883, "local", car.ref, car.key.Public()}; }

  std::string Ring(uint64_t version, bool with_phone, uint32_t less = 0) const {
    KeyRing ring{car.ref, version, kNow, {testing::OnRing(owner.Public(), v1::ROLE_OWNER)}};
    if (with_phone) {
      ring.keys.push_back(testing::OnRing(s.phone.key().Public(), v1::ROLE_GUEST));
      ring.keys.back().permissions &= ~less;
    }
    return SealKeyRing(ring, car.key, car.certificate_der);
  }

  void Notice(const std::string& bytes) {
    s.Step(Phone::Arrived{{PairingAnswerTopic(car.ref, s.phone.id()), bytes}});
  }

  Story& s;
  testing::TestCar car = testing::MakeTestCar("demo", "car-7");
  PrivateKey owner = PrivateKey::Generate();
};

TEST_CASE("phone: an accepted invitation waits quietly until the car names this phone") {
  Story s;
  Inviting car(s);
  s.Connect();
  s.Step(Phone::Accept{car.Shown()});
  CHECK(s.Said() == "ring without this phone | subscribe 5");
  const Pairing& pairing = s.phone.Find(car.car.ref)->pairing;
  CHECK(pairing.ring.version == 0);
  CHECK(pairing.signed_ring.empty());
  s.Step(Phone::Subscribed{{0x87, 0x87, 1, 0x87, 0x87}});
  CHECK(s.Said().empty());
  s.Passes(2 * kSecond);
  CHECK(s.Said() == "subscribe 4");
  s.Step(Phone::Subscribed{{0x87, 0x87, 0x87, 0x87}});
  s.Passes(kSecond);
  CHECK(s.Said().empty());
  car.Notice(MakeKeyNotice(car.Ring(4, true)));  // the broker has the ring before the notice
  CHECK(s.Said() == "paired | subscribe 4");
  CHECK(pairing.ring.version == 4);
  CHECK(pairing.car_certificate == car.car.certificate_der);
  s.Step(Phone::Subscribed{{1, 1, 1, 1}});
  s.Step(Phone::Arrived{{KeyRingTopic(car.car.ref), car.Ring(4, true)}});
  CHECK(s.Said().empty());
}

TEST_CASE("phone: an invitation pins the car's key, and another key in its place is refused") {
  Story s;
  Inviting car(s);
  s.Connect();
  s.Step(Phone::Accept{car.Shown()});
  s.Said();
  Inviting impostor(s);  // the same name, another key
  car.Notice(MakeKeyNotice(impostor.Ring(9, true)));
  CHECK(s.Said() == "ignored REASON_BAD_CERTIFICATE");
  s.Step(Phone::Accept{impostor.Shown()});
  CHECK(s.Said() == "failed REASON_BAD_CERTIFICATE");
  CHECK(s.phone.Find(car.car.ref)->pairing.car_key.ToPoint() == car.car.key.Public().ToPoint());
  s.Step(Phone::Forget{car.car.ref});
  CHECK(s.phone.Find(car.car.ref) == nullptr);
  s.Step(Phone::Accept{impostor.Shown()});
  CHECK(s.Said() == "ring without this phone | subscribe 5");
}

TEST_CASE("phone: everyone on the ring hears who came, who went and whose rights changed") {
  Story s;
  Inviting car(s);
  s.Connect();
  s.Step(Phone::Accept{car.Shown()});
  car.Notice(MakeKeyNotice(car.Ring(2, true)));
  s.Said();
  const std::string topic = KeyRingTopic(car.car.ref);
  s.Step(Phone::Arrived{{topic, car.Ring(3, true, Bit(v1::PERMISSION_COMFORT))}});
  CHECK(s.Said() == "ring | change +0 -0 ~1");
  CHECK(s.last_change.changed.front().id == s.phone.id());
  KeyRing ring{car.car.ref, 4, kNow, s.phone.Find(car.car.ref)->pairing.ring.keys};
  const PrivateKey thief = PrivateKey::Generate();
  ring.keys.push_back(testing::OnRing(thief.Public(), v1::ROLE_OWNER));
  std::erase_if(ring.keys, [&](const RingKey& key) { return key.id == car.owner.Public().Id(); });
  s.Step(Phone::Arrived{{topic, SealKeyRing(ring, car.car.key, car.car.certificate_der)}});
  CHECK(s.Said() == "ring | change +1 -1 ~0");
  CHECK(s.last_change.added.front().id == thief.Public().Id());
  CHECK(s.last_change.removed.front().id == car.owner.Public().Id());
  CHECK(s.last_change.version == 4);
}

TEST_CASE("phone: a notice that it has lost its key is told, and a signed ring takes it back") {
  Story s;
  Inviting car(s);
  s.Connect();
  s.Step(Phone::Accept{car.Shown()});
  car.Notice(MakeKeyNotice(car.Ring(2, true)));
  s.Said();
  car.Notice(MakeRemovalNotice());
  car.Notice(MakeRemovalNotice());
  CHECK(s.Said() == "ring without this phone");
  CHECK(s.phone.Find(car.car.ref)->told_removed);
  s.Step(Phone::Arrived{{KeyRingTopic(car.car.ref), car.Ring(1, true)}});
  CHECK(s.Said().empty());
  s.Step(Phone::Arrived{{KeyRingTopic(car.car.ref), car.Ring(2, true)}});  // it was a false word
  CHECK(s.Said() == "paired");
  CHECK_FALSE(s.phone.Find(car.car.ref)->told_removed);
  car.Notice("nonsense");
  CHECK(s.Said() == "");
}

TEST_CASE("phone: a key of hundreds of cars listens only where a command is open or asked to") {
  Story s;
  PhoneLimits few;
  few.watch_all = false;
  Pairing pairing = s.phone.Find(s.car.ref)->pairing;
  s.phone = Phone(PrivateKey::Generate(), "fleet demo", {pairing}, few);
  s.Step(Phone::Connected{});
  CHECK(s.Said().empty());
  s.Sends(Lock);
  CHECK(s.Said() == "began | subscribe 3");
  s.Step(Phone::Subscribed{{1, 1, 1}});
  CHECK(s.Said() == "command");
  const Publish presence{PresenceTopic(s.car.ref), "", 1, Retain::kYes, 0};
  s.Step(Phone::Arrived{presence});
  CHECK(s.Said().empty());
  s.CarSays(v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "DONE!");
  s.Sends(Lock);
  CHECK(s.Said() == "began | command");
  s.Step(Phone::Watch{s.car.ref});
  CHECK(s.Said() == "subscribe 2");
  s.Step(Phone::Arrived{presence});
  CHECK(s.Said() == "presence");
  s.CarSays(v1::RECEIPT_STATE_DONE);
  s.Step(Phone::Unwatch{s.car.ref});
  s.Step(Phone::Disconnected{});
  s.Said();
  s.Step(Phone::Connected{});
  CHECK(s.Said().empty());
}

TEST_CASE("phone: what is taken back is sent no more, and its own receipt ends it") {
  Story s;
  s.Connect();
  const CommandId id = s.SendsAndCancels(Lock);
  CHECK(s.Said() == "began cancel | command");
  const Command cancel = ParseCommand(s.last_payload, s.car.ref, s.phone.id()).value();
  CHECK(cancel.body.cancel().command_id() == id.ToBytes());
  CHECK(*cancel.expires_at == s.now.wall + std::chrono::minutes(11));  // a lock's ten and one
  s.Passes(4 * kSecond);
  CHECK(s.Said() == "command | command");  // the cancel's bytes: others would be noted
  s.Says(v1::RECEIPT_SOURCE_BRIDGE, s.last_id, v1::RECEIPT_STATE_HELD);
  s.Says(v1::RECEIPT_SOURCE_BRIDGE, id, v1::RECEIPT_STATE_CANCELLED, v1::REASON_CANCELLED);
  CHECK(s.Said() == "cancel:HELD | CANCELLED! REASON_CANCELLED");
  CHECK(s.phone.idle());
}

TEST_CASE("phone: a cancel that comes too late is told, and so is what became of the command") {
  Story s;
  s.Connect();
  const CommandId id = s.SendsAndCancels(Lock);
  s.Says(v1::RECEIPT_SOURCE_CAR, s.last_id, v1::RECEIPT_STATE_REFUSED, v1::REASON_ENDED);
  CHECK(s.Said() == "began cancel | command | cancel:REFUSED! REASON_ENDED");
  s.Passes(kSecond);
  CHECK(s.Said() == "command (other bytes)");  // asks with the command's own
  s.Says(v1::RECEIPT_SOURCE_CAR, id, v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "DONE!");
  CHECK(s.phone.idle());
}

TEST_CASE("phone: when the car has taken it back and the receipt is lost, the phone knows") {
  for (const bool by_car : {true, false}) {
    Story s;
    s.Connect();
    s.SendsAndCancels(Lock);
    if (by_car) {
      s.Says(v1::RECEIPT_SOURCE_CAR, s.last_id, v1::RECEIPT_STATE_DONE);
    } else {
      s.Says(v1::RECEIPT_SOURCE_BRIDGE, s.last_id, v1::RECEIPT_STATE_CANCELLED,
             v1::REASON_CANCELLED);
    }
    s.Said();
    s.Step(Phone::Disconnected{});
    s.Connect();
    s.Passes(6 * kSecond);
    CHECK(s.Said() == "CANCELLED! REASON_CANCELLED");
    CHECK(s.phone.idle());
  }
}

TEST_CASE("phone: a cancel that is refused leaves the command as it was") {
  Story s;
  s.Connect();
  s.SendsAndCancels(Lock);
  s.Step(Phone::Published{CommandTopic(s.car.ref, s.phone.id()), 0});
  s.Said();
  s.Step(Phone::Published{CommandTopic(s.car.ref, s.phone.id()), 0x87});
  CHECK(s.Said() == "cancel:REFUSED! REASON_NOT_ALLOWED puback 135");
  s.Passes(Duration(0));
  CHECK(s.Said() == "command (other bytes)");
  CHECK_FALSE(s.phone.idle());
}

TEST_CASE("phone: nobody answers a cancel: the command ends at its time, and what it did is open") {
  Story s;
  s.Connect();
  const CommandId id = s.SendsAndCancels(Lock);
  s.Step(Phone::Cancel{s.car.ref, id, "", std::string(10, 'y')});  // once is enough
  s.Passes(std::chrono::minutes(9));
  s.Said();
  s.Passes(std::chrono::minutes(2));
  const std::string said = s.Said();
  CHECK(said.find("EXPIRED! REASON_EXPIRED") != std::string::npos);
  CHECK(said.find("cancel:") == std::string::npos);
  CHECK(s.phone.idle());
  s.Step(Phone::Cancel{s.car.ref, id, s.last_wire, std::string(10, 'y')});
  CHECK(s.Said() == "failed REASON_MALFORMED");  // those of the cancel
}

TEST_CASE("phone: another run takes back or goes on with what an earlier one sent") {
  Story s;
  s.Sends(Lock);
  const std::string wire = s.last_wire;
  const CommandId id = s.last_id;
  s.Step(Phone::Forget{s.car.ref});
  for (const bool known : {true, false}) {
    Story again;
    again.car = {s.car.ca, s.car.ca_der, s.car.ref, CopyOf(s.car.key), s.car.certificate_der};
    again.phone = again.PhoneOf(CopyOf(s.phone.key()));
    again.Connect();
    again.Step(Phone::Cancel{s.car.ref, id, known ? wire : "", std::string(10, 'z')});
    CHECK(again.Said() == "began cancel | command");
    again.Says(v1::RECEIPT_SOURCE_CAR, again.last_id, v1::RECEIPT_STATE_REFUSED, v1::REASON_ENDED);
    again.Said();
    again.Passes(6 * kSecond);
    CHECK(again.Said() == (known ? "command (other bytes) | command | command"
                                 : "EXPIRED! REASON_OUTCOME_UNKNOWN"));
  }
  Story resumed;
  resumed.car = {s.car.ca, s.car.ca_der, s.car.ref, CopyOf(s.car.key), s.car.certificate_der};
  resumed.phone = resumed.PhoneOf(CopyOf(s.phone.key()));
  resumed.Connect();
  resumed.Step(Phone::Resume{s.car.ref, wire, v1::RECEIPT_STATE_HELD});
  CHECK(resumed.Said() == "began | command");
  CHECK(resumed.last_payload == wire);
  CHECK(resumed.last_id == id);
  resumed.Step(Phone::Resume{s.car.ref, wire, v1::RECEIPT_STATE_HELD});
  CHECK(resumed.Said().empty());
  resumed.Says(v1::RECEIPT_SOURCE_CAR, id, v1::RECEIPT_STATE_DONE);
  CHECK(resumed.Said() == "DONE!");
  resumed.now.wall = resumed.now.wall + std::chrono::minutes(11);
  resumed.Step(Phone::Resume{s.car.ref, wire, v1::RECEIPT_STATE_HELD});
  resumed.Passes(kSecond);
  CHECK(resumed.Said() == "began | EXPIRED! REASON_OUTCOME_UNKNOWN");
  resumed.Step(Phone::Cancel{s.car.ref, id, wire, std::string(10, 'z')});
  CHECK(resumed.Said() == "failed REASON_ENDED");
  resumed.Step(Phone::Resume{s.car.ref, "rubbish", v1::RECEIPT_STATE_HELD});
  CHECK(resumed.Said() == "failed REASON_MALFORMED");
}

}  // namespace latchkey::tools
