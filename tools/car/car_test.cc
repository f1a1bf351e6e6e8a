// Stories of the reference car: what it says to a phone, a person and its own memory.
#include "tools/car/car.h"

#include <functional>
#include <string>

#include <doctest/doctest.h>

#include "proto/pairing.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::car {
namespace {

using latchkey::testing::kNow;
using latchkey::testing::kSecond;
using latchkey::testing::OnRing;
using latchkey::testing::Said;
using std::chrono::minutes;

// A car with one owner on its ring, connected, and its clock.
class Story {
 public:
  Story() : phone_(PrivateKey::Generate()) {
    Memory memory = NewMemory(fleet_car_.ref, kNow);
    memory.ring.keys = {OnRing(phone_.Public(), v1::ROLE_OWNER)};
    memory.ring.version = 2;
    stored_ = SerializeMemory(memory);
    Boots();
  }

  // From what is stored. The key is copied by its PEM.
  void Boots() {
    Options options{.ref = fleet_car_.ref,
                    .certificate_der = fleet_car_.certificate_der,
                    .host = "127.0.0.1",
                    .phone_port = 8883,
                    .cell = "local",
                    .limits = limits_};
    car_.emplace(std::move(options), PrivateKey::FromPem(fleet_car_.key.ToPem()).value(),
                 LoadMemory(stored_, fleet_car_.ref).value());
    said_ = "";
    Gives(Start{});
    Gives(Connected{});
    Gives(Subscribed{{1, 1}});
  }

  void Gives(const Input& input) {
    Effects effects;
    car_->Step(input, now_, effects);
    for (const Effect& effect : effects) {
      if (crash_before_ && crash_before_(effect)) {
        return;
      }
      Record(effect);
    }
  }

  void Passes(Duration time) {
    now_.wall = now_.wall + time;
    now_.mono = now_.mono + time;
    Gives(Tick{});
  }

  // A command of `phone`, sealed; living `lives`.
  std::string Seals(const v1::Command& action, char id, Duration lives = kSecond * 30) {
    CommandRequest request{fleet_car_.ref, testing::TestId(id), now_.wall, now_.wall + lives,
                           action};
    if (action.has_remove_key()) {
      request.expires_at.reset();
    }
    return SealCommand(request, phone_).value();
  }

  void Arrives(const std::string& bytes) { ArrivesOn(phone_.Public().Id(), bytes); }

  void ArrivesOn(const KeyId& lane, const std::string& bytes) {
    Gives(Arrived{{CommandTopic(fleet_car_.ref, lane), bytes, 1, Retain::kNo, 0}});
  }

  std::string Heard() { return std::exchange(said_, ""); }

  testing::TestCar fleet_car_ = testing::MakeTestCar("demo", "F3-17");
  PrivateKey phone_;
  Limits limits_;
  std::optional<Car> car_;
  std::string stored_;
  Now now_{kNow, {5000}};
  std::string qr_;
  std::string last_answer_;
  std::function<bool(const Effect&)> crash_before_;

 private:
  void Record(const Effect& effect) {
    if (const auto* persist = std::get_if<Persist>(&effect)) {
      stored_ = persist->bytes;
      said_ += "write ";
    } else if (const auto* act = std::get_if<Act>(&effect)) {
      said_ += "act:" + act->text + " ";
    } else if (const auto* shown = std::get_if<OfferShown>(&effect)) {
      qr_ = shown->qr_text;
    } else if (std::holds_alternative<OfferOver>(effect)) {
      said_ += "over ";
    } else if (std::holds_alternative<AskPerson>(effect)) {
      said_ += "ask ";
    } else if (const auto* send = std::get_if<Send>(&effect)) {
      RecordSend(send->message);
    }
  }

  void RecordSend(const Publish& message) {
    const Topic topic = ParseTopic(message.topic).value();
    if (topic.kind == TopicKind::kReceipt) {
      const Outcome outcome =
          OpenReceipt(message.payload, fleet_car_.ref, fleet_car_.key.Public()).value();
      said_ += std::string(ToText(outcome.state));
      said_ += outcome.reason == v1::REASON_UNSPECIFIED ? " " : ":" + Said(outcome.reason) + " ";
    } else if (topic.kind == TopicKind::kKeyRing) {
      said_ += "ring" + std::to_string(car_->ring().version) + " ";
    } else if (topic.kind == TopicKind::kState) {
      said_ += std::string(ToText(topic.group)) + " ";
      CHECK(ParseState(message.payload, topic.group));
    } else {
      last_answer_ = message.payload;
      said_ += "answer ";
    }
  }

  std::string said_;
};

v1::Command Flash() {
  v1::Command action;
  action.mutable_flash_lights();
  return action;
}

v1::Command Lock() {
  v1::Command action;
  action.mutable_lock();
  return action;
}

}  // namespace

TEST_CASE("car: it writes before it acts, acts, writes, and only then says done") {
  Story s;
  s.Heard();
  s.Arrives(s.Seals(Flash(), 'a'));
  CHECK(s.Heard() == "write DELIVERED act:flash_lights write DONE ");
  s.Arrives(s.Seals(Lock(), 'b'));
  CHECK(s.Heard() == "write DELIVERED act:lock write body DONE ");
}

TEST_CASE(
    "car: a command that comes again gets its receipt again and no effect, also after a boot") {
  Story s;
  const std::string flash = s.Seals(Flash(), 'a');
  s.Arrives(flash);
  s.Heard();
  s.Arrives(flash);
  CHECK(s.Heard() == "DONE ");
  s.Boots();
  s.Heard();
  s.Arrives(flash);
  CHECK(s.Heard() == "DONE ");
  s.Passes(kSecond * 31);
  s.Arrives(s.Seals(Lock(), 'b'));  // raises the floor, the flash is forgotten
  s.Heard();
  s.Arrives(flash);
  CHECK(s.Heard() == "EXPIRED:REASON_EXPIRED ");
}

TEST_CASE("car: after a crash between start and outcome it says unknown and never acts again") {
  Story s;
  s.Heard();
  const std::string flash = s.Seals(Flash(), 'a');
  s.crash_before_ = [](const Effect& effect) { return std::holds_alternative<Act>(effect); };
  s.Arrives(flash);
  CHECK(s.Heard() == "write DELIVERED ");
  s.crash_before_ = nullptr;
  s.Boots();
  CHECK(s.Heard().find("FAILED:REASON_OUTCOME_UNKNOWN") != std::string::npos);
  s.Arrives(flash);
  CHECK(s.Heard() == "FAILED:REASON_OUTCOME_UNKNOWN ");
}

TEST_CASE("car: each refusal of a command has its reason") {
  Story s;
  const std::string stale = s.Seals(Flash(), 'a');
  const std::string early = s.Seals(Lock(), 'c', minutes(9));
  s.Passes(kSecond * 31);
  s.Heard();
  s.Arrives(stale);
  CHECK(s.Heard() == "EXPIRED:REASON_EXPIRED ");
  s.Arrives(s.Seals(Lock(), 'b'));
  s.Heard();
  s.Arrives(early);
  CHECK(s.Heard() == "SUPERSEDED:REASON_SUPERSEDED ");
  const PrivateKey owner = PrivateKey::FromPem(s.phone_.ToPem()).value();
  s.phone_ = PrivateKey::Generate();
  s.Arrives(s.Seals(Flash(), 'd'));
  CHECK(s.Heard() == "REFUSED:REASON_NOT_ON_RING ");
  s.phone_ = PrivateKey::FromPem(owner.ToPem()).value();
  v1::Command charge;
  charge.mutable_charge_start();
  s.Arrives(s.Seals(charge, 'e'));
  CHECK(s.Heard().find("FAILED:REASON_CAR_FAILED") != std::string::npos);
  v1::Command remove;
  remove.mutable_remove_key()->set_key_id(owner.Public().Id().str());
  s.Arrives(s.Seals(remove, 'f'));
  CHECK(s.Heard() == "REFUSED:REASON_NOT_ALLOWED ");
  s.Arrives("nonsense");
  CHECK(s.Heard() == "");
  CHECK(s.car_->counters().refused.at(v1::REASON_MALFORMED) == 1);
}

TEST_CASE(
    "car: a clock set back revives nothing, and without the time only the close class is obeyed") {
  Story s;
  const std::string flash = s.Seals(Flash(), 'a');
  s.Passes(kSecond * 31);
  s.now_.wall = kNow;
  s.Heard();
  s.Arrives(flash);
  CHECK(s.Heard() == "EXPIRED:REASON_EXPIRED ");
  const std::string fresh = s.Seals(Flash(), 'b', kSecond * 60);
  const std::string lock = s.Seals(Lock(), 'c', minutes(5));
  s.now_.wall = {1000};
  s.Arrives(fresh);
  CHECK(s.Heard() == "REFUSED:REASON_TIME_UNKNOWN ");
  s.Arrives(lock);
  CHECK(s.Heard().find("DONE") != std::string::npos);
}

TEST_CASE("car: a full memory of commands refuses and forgets nothing") {
  Story s;
  s.limits_.remembered_max = 1;
  s.Boots();
  s.Arrives(s.Seals(Flash(), 'a'));
  s.Heard();
  s.Arrives(s.Seals(Flash(), 'b'));
  CHECK(s.Heard() == "REFUSED:REASON_FULL ");
}

TEST_CASE("car: a phone that saw the code gets a key when the person agrees, and not otherwise") {
  for (const char word : {'y', 'n', 'l'}) {
    Story s;
    s.Gives(ShowOffer{std::string(16, 's')});
    const PairingOffer offer = ParseQrText(s.qr_).value();
    const PrivateKey phone = PrivateKey::Generate();
    const std::string nonce(16, 'n');
    const Publish claim{PairingTopic(s.fleet_car_.ref, phone.Public().Id()),
                        MakeClaim(offer, phone.Public(), nonce, "new"), 1, Retain::kNo, 0};
    s.Heard();
    s.Gives(Arrived{claim});
    CHECK(s.Heard() == "ask ");
    if (word == 'l') {
      s.Passes(kOfferLifetime);
    } else {
      s.Gives(Confirm{word == 'y' ? Confirm::Word::kYes : Confirm::Word::kNo});
    }
    CHECK(s.Heard() == (word == 'y' ? "write ring3 answer over " : "answer over "));
    const auto paired = CheckAnswer(s.last_answer_, offer, phone.Public(), nonce, "new");
    CHECK(Said(paired) == (word == 'y'   ? "allowed"
                           : word == 'n' ? "REASON_DECLINED"
                                         : "REASON_NO_OFFER"));
    CHECK(s.car_->ring().keys.size() == (word == 'y' ? 2U : 1U));
  }
}

TEST_CASE("car: the third wrong proof burns the secret") {
  Story s;
  s.Gives(ShowOffer{std::string(16, 's')});
  PairingOffer wrong = ParseQrText(s.qr_).value();
  wrong.secret = std::string(16, 'x');
  const PrivateKey phone = PrivateKey::Generate();
  s.Heard();
  const char* const expected[] = {"answer ", "answer ", "answer over ", "answer "};
  for (int i = 0; i < 4; ++i) {
    const std::string nonce(16, static_cast<char>('a' + i));
    s.Gives(Arrived{{PairingTopic(s.fleet_car_.ref, phone.Public().Id()),
                     MakeClaim(wrong, phone.Public(), nonce, "p"), 1, Retain::kNo, 0}});
    CHECK(s.Heard() == expected[i]);
    const auto answer = CheckAnswer(s.last_answer_, wrong, phone.Public(), nonce, "p");
    CHECK(Said(answer) == (i < 3 ? "REASON_BAD_PROOF" : "REASON_NO_OFFER"));
  }
}

TEST_CASE("car: a group is published at most once a second, and location not at all in privacy") {
  Story s;
  s.Passes(kSecond * 2);
  s.Heard();
  s.Gives(Observe{"drive.speed", 10.0, s.now_.wall, "replay:x"});
  s.Gives(Observe{"drive.speed", 11.0, s.now_.wall, "replay:x"});
  CHECK(s.Heard() == "drive ");
  s.Passes(kSecond);
  CHECK(s.Heard() == "drive ");
  v1::Command privacy;
  privacy.mutable_privacy_mode()->set_enabled(true);
  s.Arrives(s.Seals(privacy, 'p'));
  s.Heard();
  s.Gives(Observe{"location.latitude", 48.0, s.now_.wall, ""});
  CHECK(s.Heard() == "");
}

TEST_CASE("car: broken memory is an error and never an empty ring") {
  Story s;
  for (size_t at = 0; at < s.stored_.size(); at += 7) {
    std::string broken = s.stored_;
    broken[at] = static_cast<char>(broken[at] ^ 1);
    CHECK(Said(LoadMemory(broken, s.fleet_car_.ref)) == "REASON_MALFORMED");
  }
  CHECK(Said(LoadMemory("", s.fleet_car_.ref)) == "REASON_MALFORMED");
  CHECK(Said(LoadMemory(s.stored_, testing::Ref("demo", "other"))) == "REASON_WRONG_CAR");
}

}  // namespace latchkey::car
