// A key given to and taken from many cars, told as stories with a clock of their own.
#include "tools/latchkey/key_round.h"

#include <map>
#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "proto/command.h"
#include "proto/topic.h"
#include "tests/support/wire_fixtures.h"
#include "tools/latchkey/rights.h"

namespace latchkey::cli {

namespace {

using testing::kNow;

// Cars of one fleet, a round over them, and what it said as text.
class Story {
 public:
  explicit Story(int cars, KeyRound::Deed deed = KeyRound::Deed::kGive, RoundLimits limits = {})
      : ca_(tools::MakeCa("fleet demo", kNow, 30)),
        fleet_key_(PrivateKey::Generate()),
        subject_(NewGuest(PrivateKey::Generate().Public(), "guest")) {
    KeyRound::Order order{deed, subject_, PemToDer(ca_.certificate_pem).value(), {}};
    for (int i = 0; i < cars; ++i) {
      const CarRef ref = testing::Ref("demo", "car-" + std::to_string(i));
      order.cars.push_back(ref);
      auto [der, key] = testing::Issue(CarIdentity{ref}, ca_);
      certificates_.emplace(ref.car.str(), std::pair(der, std::move(key)));
    }
    PrivateKey key = PrivateKey::FromPem(fleet_key_.ToPem()).value();
    round_.emplace(std::move(order), std::move(key), limits);
  }

  void Connects() {
    round_->Connected(now_, out_);
    Answer();
  }

  // The broker shows the car's ring; with the guest's key on it or not.
  void ShowsRing(int car, bool with_guest) {
    const CarRef ref = testing::Ref("demo", "car-" + std::to_string(car));
    KeyRing ring{ref, 3, kNow, {}};
    RingKey fleet = NewGuest(fleet_key_.Public(), "fleet demo");
    fleet.role = v1::ROLE_FLEET;
    fleet.permissions = PermissionsOf(v1::ROLE_FLEET);
    ring.keys.push_back(fleet);
    if (with_guest) {
      ring.keys.push_back(subject_);
    }
    const auto& [der, key] = certificates_.at(ref.car.str());
    round_->Arrived({KeyRingTopic(ref), SealKeyRing(ring, key, der), 1, Retain::kYes, 0}, now_,
                    out_);
  }

  // Somebody says this of the last command to the car.
  void Says(int car, v1::ReceiptState state, v1::ReceiptSource source,
            Reason reason = v1::REASON_UNSPECIFIED, bool forged = false) {
    const CarRef ref = testing::Ref("demo", "car-" + std::to_string(car));
    const Outcome outcome = MakeOutcome(ref, sent_.at(ref.car.str()), state, reason, kNow, source);
    const auto& [der, key] = certificates_.at(ref.car.str());
    const std::string wire = source == v1::RECEIPT_SOURCE_BRIDGE ? SealBridgeReceipt(outcome)
                             : forged ? SealCarReceipt(outcome, PrivateKey::Generate())
                                      : SealCarReceipt(outcome, key);
    round_->Arrived({ReceiptTopic(ref, fleet_key_.Public().Id()), wire, 1, Retain::kNo, 0}, now_,
                    out_);
  }

  void BrokerRefuses(int car, int code) {
    const CarRef ref = testing::Ref("demo", "car-" + std::to_string(car));
    round_->Published(CommandTopic(ref, fleet_key_.Public().Id()), code, now_, out_);
  }

  void SubscriptionRefused() { round_->Subscribed({0x87, 0x87}, now_, out_); }

  void Passes(Duration time) {
    const Instant until = now_.mono + time;
    for (;;) {
      const auto due = round_->NextDeadline();
      if (!due || *due > until) {
        break;
      }
      const Duration step = std::max(*due - now_.mono, Duration(0));
      now_ = {now_.wall + step, now_.mono + step};
      round_->Tick(now_, out_);
    }
    now_ = {now_.wall + (until - now_.mono), until};
  }

  // "subscribe car-0 | send car-0 | car-1 done"
  std::string Said() {
    std::string text;
    for (const KeyRound::Effect& effect : std::exchange(out_, {})) {
      std::string word;
      if (const auto* publish = std::get_if<Publish>(&effect)) {
        const auto topic = ParseTopic(publish->topic);
        const CarRef ref = testing::Ref("demo", topic->car);
        const Result<Command> command =
            ParseCommand(publish->payload, ref, fleet_key_.Public().Id());
        REQUIRE(command.has_value());
        sent_[ref.car.str()] = command->id;
        word = "send " + ref.car.str() + " " + std::string(command->action->name);
      } else if (const auto* ask = std::get_if<KeyRound::Subscribe>(&effect)) {
        word = "subscribe " + std::string(ParseFilter(ask->filters[0])->car.value());
      } else if (const auto* over = std::get_if<KeyRound::Word>(&effect)) {
        word = over->ref.car.str() + " " + std::string(ToText(over->end));
      }
      text += (text.empty() ? "" : " | ") + word;
    }
    return text;
  }

  KeyRound& round() { return *round_; }

 private:
  // The broker grants every subscription that is open.
  void Answer() {
    const size_t asked = out_.size();
    for (size_t i = 0; i < asked; ++i) {
      if (std::holds_alternative<KeyRound::Subscribe>(out_[i])) {
        round_->Subscribed({1, 1}, now_, out_);
      }
    }
  }

  tools::Issued ca_;
  PrivateKey fleet_key_;
  RingKey subject_;
  std::map<std::string, std::pair<std::string, PrivateKey>> certificates_;
  std::map<std::string, CommandId> sent_;
  std::optional<KeyRound> round_;
  KeyRound::Effects out_;
  Now now_{kNow, Instant{1'000}};
};

constexpr auto kCar = v1::RECEIPT_SOURCE_CAR;
constexpr auto kBridge = v1::RECEIPT_SOURCE_BRIDGE;

}  // namespace

TEST_CASE("key round: a car that lacks the key gets it, one that has it is left alone") {
  Story s(2);
  s.Connects();
  CHECK(s.Said() == "subscribe car-0 | subscribe car-1");
  s.ShowsRing(0, false);
  s.ShowsRing(1, true);
  CHECK(s.Said() == "send car-0 add_key | car-1 had");
  s.Says(0, v1::RECEIPT_STATE_DELIVERED, kCar);
  CHECK(s.Said() == "");
  s.Says(0, v1::RECEIPT_STATE_DONE, kCar);
  CHECK(s.Said() == "car-0 done");
  CHECK(s.round().over() == 2);
  CHECK(s.round().in_flight() == 0);
}

TEST_CASE("key round: taking sends remove_key where the key stands") {
  Story s(2, KeyRound::Deed::kTake);
  s.Connects();
  s.Said();
  s.ShowsRing(0, true);
  s.ShowsRing(1, false);
  CHECK(s.Said() == "send car-0 remove_key | car-1 had");
  s.Says(0, v1::RECEIPT_STATE_HELD, kBridge);
  CHECK(s.Said() == "car-0 held");
}

TEST_CASE("key round: only the car's own signature makes it done") {
  Story s(1);
  s.Connects();
  s.ShowsRing(0, false);
  s.Said();
  s.Says(0, v1::RECEIPT_STATE_DONE, kCar, v1::REASON_UNSPECIFIED, true);
  CHECK(s.Said() == "");
  s.Says(0, v1::RECEIPT_STATE_REFUSED, kCar, v1::REASON_NOT_PERMITTED);
  CHECK(s.Said() == "car-0 refused");
}

TEST_CASE("key round: no more cars are in flight than may be, and each end lets the next begin") {
  RoundLimits limits;
  limits.in_flight_max = 2;
  Story s(4, KeyRound::Deed::kGive, limits);
  s.Connects();
  CHECK(s.Said() == "subscribe car-0 | subscribe car-1");
  s.ShowsRing(1, true);
  CHECK(s.Said() == "car-1 had | subscribe car-2");
  s.SubscriptionRefused();
  CHECK(s.Said() == "car-2 refused | subscribe car-3");
  CHECK(s.round().in_flight() == 2);
}

TEST_CASE("key round: commands keep to the rate that the broker allows one key") {
  RoundLimits limits;
  limits.burst = 2;
  limits.per_second = 1;
  Story s(4, KeyRound::Deed::kGive, limits);
  s.Connects();
  for (int car = 0; car < 4; ++car) {
    s.ShowsRing(car, false);
  }
  s.Said();
  s.Says(0, v1::RECEIPT_STATE_DONE, kCar);
  s.Says(1, v1::RECEIPT_STATE_DONE, kCar);
  CHECK(s.Said() == "car-0 done | car-1 done");
  s.Passes(std::chrono::milliseconds(1200));
  CHECK(s.Said() == "send car-2 add_key");
  s.Says(2, v1::RECEIPT_STATE_DONE, kCar);
  s.Passes(std::chrono::milliseconds(1000));
  CHECK(s.Said() == "car-2 done | send car-3 add_key");
}

TEST_CASE("key round: a command without answer is sent again, and given up in the end") {
  Story s(1);
  s.Connects();
  s.ShowsRing(0, false);
  CHECK(s.Said() == "subscribe car-0 | send car-0 add_key");
  s.Passes(std::chrono::seconds(4));
  CHECK(s.Said() == "send car-0 add_key");
  s.Passes(std::chrono::seconds(60));
  const std::string said = s.Said();
  CHECK(said.substr(said.rfind('|') + 2) == "car-0 silent");
}

TEST_CASE("key round: a car without a ring at the broker is told as such and nothing is sent") {
  Story s(1);
  s.Connects();
  s.Said();
  s.Passes(std::chrono::seconds(10));
  CHECK(s.Said() == "car-0 silent");
}

TEST_CASE("key round: a refused publish is tried again before it counts") {
  Story s(1);
  s.Connects();
  s.ShowsRing(0, false);
  s.Said();
  s.BrokerRefuses(0, 0x87);
  s.Passes(std::chrono::seconds(4));
  CHECK(s.Said() == "send car-0 add_key");
  s.BrokerRefuses(0, 0x87);
  s.BrokerRefuses(0, 0x87);
  CHECK(s.Said() == "car-0 refused");
}

TEST_CASE("key round: after a lost connection the same bytes go out again") {
  Story s(1);
  s.Connects();
  s.ShowsRing(0, false);
  CHECK(s.Said() == "subscribe car-0 | send car-0 add_key");
  s.round().Disconnected();
  s.Connects();
  CHECK(s.Said() == "subscribe car-0 | send car-0 add_key");
  s.Says(0, v1::RECEIPT_STATE_DONE, kCar);
  CHECK(s.Said() == "car-0 done");
}

}  // namespace latchkey::cli
