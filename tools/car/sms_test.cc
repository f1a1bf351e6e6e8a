// Stories of a car that is reached by SMS: it wakes once per wake, obeys a whole command as if it
// had come by MQTT, and tells when it is connected.
#include "proto/sms.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/support/car_story.h"

namespace latchkey::car {
namespace {

using latchkey::testing::kNow;
using latchkey::testing::kSecond;
using latchkey::testing::OnRing;
using std::chrono::hours;
using std::chrono::minutes;

const std::string kRelayKey(kRelayKeyBytes, 'r');

// A car with a relay key that has lost its connection.
struct Asleep : Story {
  Asleep() {
    relay_key_ = kRelayKey;
    Boots();
    Sleeps();
  }

  void Sleeps() {
    Gives(Disconnected{"asleep", 59999});
    Heard();
    connects_ = 0;
  }

  void Wakes(Timestamp at) { Gives(SmsArrived{MakeWakeSms(fleet_car_.ref, at, relay_key_)}); }

  std::string Whole(const std::string& wire, const PrivateKey& phone) const {
    const KeyId lane = phone.Public().Id();
    return MakeCommandSms(ParseCommand(wire, fleet_car_.ref, lane).value(), kRelayKey).value();
  }
};

}  // namespace

TEST_CASE("sms: a wake makes the car connect at once, and once") {
  Asleep s;
  s.Wakes(s.now_.wall);
  CHECK(s.Heard() == "write ");
  CHECK(s.connects_ == 1);
  s.Passes(kSecond);
  s.Wakes(s.now_.wall);
  CHECK_MESSAGE(s.connects_ == 1, "it is connecting");
  s.Connects();
  s.Passes(kSecond);
  s.Wakes(s.now_.wall);
  CHECK_MESSAGE(s.connects_ == 1, "it is connected");
  CHECK(s.car_->counters().sms_taken == 3);
}

TEST_CASE("sms: a wake that is played back wakes nobody, also after a boot") {
  Asleep s;
  const Timestamp at = s.now_.wall;
  s.Wakes(at);
  s.Sleeps();
  s.Wakes(at);
  s.Wakes(at - Duration(1));
  CHECK(s.connects_ == 0);
  CHECK(s.Refused(v1::REASON_DUPLICATE) == 2);
  s.Boots();
  s.Sleeps();
  s.Wakes(at);
  CHECK(s.connects_ == 0);
  CHECK(s.Refused(v1::REASON_DUPLICATE) == 1);
}

TEST_CASE("sms: a wake a day old, from the future, forged or cut wakes nobody") {
  Asleep s;
  s.Wakes(s.now_.wall - hours(24) - Duration(1));
  CHECK(s.Refused(v1::REASON_EXPIRED) == 1);
  s.Wakes(s.now_.wall + minutes(5) + Duration(1));
  CHECK(s.Refused(v1::REASON_CLOCK_AHEAD) == 1);
  s.Gives(SmsArrived{MakeWakeSms(s.fleet_car_.ref, s.now_.wall, std::string(32, 'x'))});
  CHECK(s.Refused(v1::REASON_BAD_SIGNATURE) == 1);
  s.Gives(SmsArrived{MakeWakeSms(testing::Ref("demo", "other"), s.now_.wall, kRelayKey)});
  CHECK(s.Refused(v1::REASON_BAD_SIGNATURE) == 2);
  s.Gives(SmsArrived{"hello"});
  CHECK(s.Refused(v1::REASON_MALFORMED) == 1);
  s.Gives(SmsArrived{std::string(141, '\x01')});
  CHECK(s.Refused(v1::REASON_TOO_LARGE) == 1);
  CHECK(s.Heard() == "");
  CHECK(s.connects_ == 0);
  s.Wakes(s.now_.wall - hours(24));
  CHECK(s.connects_ == 1);
}

TEST_CASE("sms: a car that does not know the time takes a wake that is newer than the last") {
  Asleep s;
  s.now_.wall = {1000};
  s.Wakes(kNow + hours(1000));
  CHECK(s.connects_ == 1);
}

TEST_CASE("sms: a car without a relay key takes none") {
  Asleep s;
  s.relay_key_.clear();
  s.Boots();
  s.Sleeps();
  s.Gives(SmsArrived{MakeWakeSms(s.fleet_car_.ref, s.now_.wall, std::string(32, '\0'))});
  CHECK(s.connects_ == 0);
  CHECK(s.Refused(v1::REASON_NOT_ALLOWED) == 1);
}

TEST_CASE("sms: a whole command is done at once, and its outcome told when the car is connected") {
  Asleep s;
  s.Gives(SmsArrived{s.Whole(s.Seals(Lock(), 'a'), s.phone_)});
  CHECK(s.Heard() == "write act:lock write ");
  CHECK(s.connects_ == 1);
  s.Gives(Connected{});
  CHECK(s.Heard() == "");
  s.Gives(Subscribed{{1, 1, 1}});
  const std::string said = s.Heard();
  CHECK(said.find(" DONE ") != std::string::npos);
  CHECK_MESSAGE(said.find("DELIVERED") == std::string::npos, "only the last word of each");
  s.Passes(minutes(1));
  s.Sleeps();
  s.Connects();
  CHECK_MESSAGE(s.Heard().find("DONE") == std::string::npos, "and not for ever");
}

TEST_CASE("sms: a command that came by SMS and by MQTT is done once, whatever came first") {
  Asleep s;
  const std::string lock = s.Seals(Lock(), 'a');
  const std::string flash = s.Seals(Flash(), 'b');
  s.Gives(SmsArrived{s.Whole(lock, s.phone_)});
  s.Gives(SmsArrived{s.Whole(lock, s.phone_)});
  s.Connects();
  s.Heard();
  s.Arrives(lock);
  CHECK(s.Heard() == "DONE ");
  s.Arrives(flash);
  s.Heard();
  s.Gives(SmsArrived{s.Whole(flash, s.phone_)});
  CHECK(s.Heard() == "DONE ");
  CHECK(s.car_->counters().acted == 2);
}

TEST_CASE("sms: what is done by SMS is done once across a boot before anybody heard of it") {
  Asleep s;
  const std::string lock = s.Seals(Lock(), 'a');
  s.Gives(SmsArrived{s.Whole(lock, s.phone_)});
  s.Boots();
  s.Heard();
  s.Arrives(lock);
  CHECK(s.Heard() == "DONE ");
}

TEST_CASE("sms: a command that has expired or is repeated wakes nobody") {
  Asleep s;
  const std::string bytes = s.Whole(s.Seals(Lock(), 'a'), s.phone_);
  s.Passes(kSecond * 30);
  s.Sleeps();
  s.Gives(SmsArrived{bytes});
  CHECK(s.connects_ == 0);
  CHECK(s.Refused(v1::REASON_EXPIRED) == 1);
  const std::string fresh = s.Whole(s.Seals(Lock(), 'b'), s.phone_);
  s.Gives(SmsArrived{fresh});
  CHECK(s.connects_ == 1);
  s.Sleeps();
  s.Gives(SmsArrived{fresh});
  CHECK(s.connects_ == 0);
  CHECK(s.Refused(v1::REASON_DUPLICATE) == 1);
}

TEST_CASE("sms: the car's own ring and hours judge what comes: a key it does not know is refused") {
  Asleep s;
  const PrivateKey stranger = PrivateKey::Generate();
  s.Gives(SmsArrived{s.Whole(s.SealsAs(stranger, Lock(), 'a'), stranger)});
  CHECK(s.Refused(v1::REASON_NOT_ON_RING) == 1);
  CHECK(s.Heard() == "");
  CHECK(s.connects_ == 0);
  s.Connects();
  const PrivateKey guest = PrivateKey::Generate();
  RingKey key = OnRing(guest.Public(), v1::ROLE_GUEST);
  key.permissions = Bit(v1::PERMISSION_SIGNAL);
  s.Arrives(s.Seals(Adds(key), 'g'));
  s.Sleeps();
  s.Gives(SmsArrived{s.Whole(s.SealsAs(guest, Lock(), 'b'), guest)});
  CHECK(s.Heard() == "write ");
  CHECK(s.Refused(v1::REASON_NOT_PERMITTED) == 1);
  s.Connects();
  CHECK(s.Heard().find("REFUSED:REASON_NOT_PERMITTED") != std::string::npos);
}

TEST_CASE("sms: a car that was never started starts") {
  Asleep s;
  Options options;
  options.ref = s.fleet_car_.ref;
  options.certificate_der = s.fleet_car_.certificate_der;
  options.relay_key = kRelayKey;
  s.car_.emplace(std::move(options), CopyOf(s.fleet_car_.key),
                 LoadMemory(s.stored_, s.fleet_car_.ref).value());
  s.Wakes(s.now_.wall);
  CHECK(s.connects_ == 1);
  s.Connects();
  CHECK(s.Heard().find("ring2") != std::string::npos);
}

TEST_CASE("sms: a command that takes another back goes by SMS, too") {
  Asleep s;
  const std::string lock = s.Seals(Lock(), 'a');
  v1::Command cancel;
  cancel.mutable_cancel()->set_command_id(testing::TestId('a').ToBytes());
  s.Gives(SmsArrived{s.Whole(s.Seals(cancel, 'c'), s.phone_)});
  s.Connects();
  s.Heard();
  s.Arrives(lock);
  CHECK(s.Heard() == "CANCELLED:REASON_CANCELLED ");
}

TEST_CASE("sms: what was done while nobody could be told is told once somebody can") {
  Asleep s;
  for (int i = 0; i < 70; ++i) {
    const std::string wire = s.Seals(Flash(), static_cast<char>('0' + i));
    s.Gives(SmsArrived{s.Whole(wire, s.phone_)});
  }
  s.Heard();
  s.Connects();
  CHECK(s.Told("DONE") == 70);
}

}  // namespace latchkey::car
