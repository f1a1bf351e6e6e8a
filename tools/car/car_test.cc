// Stories of the reference car and commands: what it writes, does and says, in which order, and
// what it never does twice.
#include "tools/car/car.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/support/car_story.h"

namespace latchkey::car {
namespace {

using latchkey::testing::kNow;
using latchkey::testing::kSecond;
using latchkey::testing::OnRing;
using latchkey::testing::Said;
using std::chrono::minutes;

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
  s.Passes(kSecond * 91);
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

TEST_CASE("car: what was said in the minute before the connection broke is said again after it") {
  Story s;
  s.Arrives(s.Seals(Flash(), 'a', kSecond * 10));
  s.Passes(kSecond * 59);
  s.Gives(Disconnected{"test", 0});
  s.Heard();
  s.Connects();
  CHECK_MESSAGE(s.Heard().find("DONE") != std::string::npos, "also when nobody can ask any more");
  s.Passes(kSecond);
  s.Gives(Disconnected{"test", 0});
  s.Heard();
  s.Connects();
  CHECK(s.Heard().find("DONE") == std::string::npos);
}

TEST_CASE("car: and however long it was away then, or switched off") {
  for (const bool switched_off : {false, true}) {
    Story s;
    s.Arrives(s.Seals(Flash(), 'a', kSecond * 10));
    s.Arrives(s.Seals(Lock(), 'b'));  // with the next memory the flash counts as told
    s.Gives(Disconnected{"test", 0});
    s.Heard();
    s.Passes(std::chrono::hours(3));
    if (switched_off) {
      s.Boots();
    } else {
      s.Connects();
    }
    CHECK(s.Told("DONE") == 2);
  }
}

TEST_CASE("car: what a connection began with is said twice more, for who listens late") {
  Story s;
  s.Arrives(s.Seals(Flash(), 'a', kSecond * 10));
  s.Gives(Disconnected{"test", 0});
  s.Connects();
  s.Arrives(s.Seals(Lock(), 'b'));
  s.Heard();
  s.Passes(kSecond * 9);
  CHECK(s.Told("DONE") == 0);
  s.Passes(kSecond);
  CHECK_MESSAGE(s.Told("DONE") == 2, "the flash, and the lock that came early");
  s.Passes(kSecond * 49);
  CHECK(s.Told("DONE") == 0);
  s.Passes(kSecond);
  CHECK(s.Told("DONE") == 2);
  s.Passes(std::chrono::hours(2));
  CHECK(s.Told("DONE") == 0);
}

TEST_CASE(
    "car: what the broker refuses is told again in the same connection, less and less often") {
  Story s;
  s.broker_answer_ = 0x97;  // quota exceeded
  s.Arrives(s.Seals(Flash(), 'a', kSecond * 10));
  s.Arrives(s.Seals(Lock(), 'b'));
  s.Heard();
  s.Passes(kSecond * 10);
  CHECK(s.Told("DONE") == 2);
  s.Passes(kSecond * 49);
  CHECK(s.Told("DONE") == 0);
  s.Passes(kSecond);
  CHECK(s.Told("DONE") == 2);
  size_t told = 0;
  for (int minute = 0; minute < 24 * 60; ++minute) {
    s.Passes(std::chrono::minutes(1));
    told += s.Told("DONE");
  }
  CHECK(told >= 2 * 20);
  CHECK_MESSAGE(told <= 2 * 30, "some hourly");
  s.broker_answer_ = 0;
  s.Passes(std::chrono::hours(1));
  CHECK(s.Told("DONE") == 2);
  s.Passes(std::chrono::hours(1));
  CHECK(s.Told("DONE") == 0);
}

TEST_CASE("car: an outcome is told in each connection until the broker has it, however late") {
  Story s;
  s.broker_answer_ = std::nullopt;  // half-open: what is sent does not arrive
  s.Arrives(s.Seals(Flash(), 'a', kSecond * 10));
  s.Passes(std::chrono::hours(2));
  for (const std::optional<int> answer :
       {std::optional<int>(), std::optional<int>(0x87), std::optional<int>(0)}) {
    s.Gives(Disconnected{"test", 0});
    s.Heard();
    s.broker_answer_ = answer;
    s.Boots();
    CHECK(s.Heard().find("DONE") != std::string::npos);
  }
  s.Arrives(s.Seals(Lock(), 'b'));  // with the next memory it is lasting
  s.Passes(kSecond * 61);
  s.Gives(Disconnected{"test", 0});
  s.Heard();
  s.Boots();
  CHECK_MESSAGE(s.Told("DONE") == 1, "the lock's, of which no memory is written since");
}

TEST_CASE("car: a connection that nobody answers is hung up and dialled again") {
  Story s;
  s.Gives(Disconnected{"test", 0});
  s.Passes(kSecond);
  const int dialled = s.connects_;
  s.Gives(Connected{});  // and no SUBACK
  s.Passes(kSecond * 59);
  CHECK(s.connects_ == dialled);
  s.Passes(kSecond * 2);
  s.Passes(kSecond * 2);
  CHECK(s.connects_ == dialled + 1);
  s.Heard();
  s.Connects();
  s.Arrives(s.Seals(Flash(), 'a'));
  CHECK(s.Heard().find("DONE") != std::string::npos);
}

TEST_CASE("car: many outcomes that nobody could hear are told some at a time") {
  Story s;
  s.broker_answer_ = std::nullopt;
  for (char id = 1; id <= 100; ++id) {
    s.Arrives(s.Seals(Flash(), id, std::chrono::minutes(1)));
  }
  s.Gives(Disconnected{"test", 0});
  s.Heard();
  s.Connects();
  CHECK_MESSAGE(s.Told("DONE") == 64, "no more than that without an answer");
  s.Gives(Disconnected{"test", 0});
  s.broker_answer_ = 0;
  s.Connects();
  CHECK(s.Told("DONE") == 100);
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
  CHECK(s.Heard() == "write REFUSED:REASON_TIME_UNKNOWN ");
  s.Arrives(lock);
  CHECK(s.Heard().find("DONE") != std::string::npos);
}

TEST_CASE("car: what was refused stays refused when its bytes come again after the key was added") {
  Story s;
  const PrivateKey guest = PrivateKey::Generate();
  const std::string early = s.SealsAs(guest, Lock(), 'a', minutes(9));
  s.Heard();
  s.ArrivesOn(guest.Public().Id(), early);
  CHECK(s.Heard() == "write REFUSED:REASON_NOT_ON_RING ");
  s.Arrives(s.Seals(Adds(OnRing(guest.Public(), v1::ROLE_GUEST)), 'b'));
  s.Boots();  // it is lasting
  s.Heard();
  s.ArrivesOn(guest.Public().Id(), early);
  CHECK(s.Heard() == "REFUSED:REASON_NOT_ON_RING ");
  s.ArrivesFrom(guest, Lock(), 'c');
  CHECK(s.Heard().find("DONE") != std::string::npos);
}

TEST_CASE("car: a refusal is of the signed bytes: nobody burns another's command by its id") {
  Story s;
  const PrivateKey guest = PrivateKey::Generate();
  const std::string real = s.SealsAs(guest, Lock(), 'a', minutes(9));
  s.ArrivesOn(guest.Public().Id(), s.SealsAs(guest, Flash(), 'a'));  // the same id, other bytes
  s.Arrives(s.Seals(Adds(OnRing(guest.Public(), v1::ROLE_GUEST)), 'b'));
  s.Heard();
  s.ArrivesOn(guest.Public().Id(), real);
  CHECK(s.Heard().find("DONE") != std::string::npos);
  // A wrong signature burns nothing either.
  const std::string flash = s.Seals(Flash(), 'd');
  v1::SignedCommand forged;
  REQUIRE(forged.ParseFromString(flash));
  forged.set_signature(std::string(kSignatureBytes, 'x'));
  s.Heard();
  s.Arrives(forged.SerializeAsString());
  CHECK(s.Heard() == "REFUSED:REASON_BAD_SIGNATURE ");
  s.Arrives(flash);
  CHECK(s.Heard().find("DONE") != std::string::npos);
}

TEST_CASE("car: remembered refusals are bounded and forgotten at their expiry") {
  Story s;
  s.limits_.refused_max = 2;
  s.Boots();
  const PrivateKey guest = PrivateKey::Generate();
  for (const char id : {'a', 'b', 'c'}) {
    s.ArrivesFrom(guest, Lock(), id);
  }
  CHECK(LoadMemory(s.stored_, s.fleet_car_.ref)->refused.size() == 2);
  s.Passes(kSecond * 31);
  s.Arrives(s.Seals(Lock(), 'd'));
  CHECK(LoadMemory(s.stored_, s.fleet_car_.ref)->refused.empty());
}

TEST_CASE("car: a group is published at most once a second, and location not at all in privacy") {
  Story s;
  s.Passes(kSecond * 2);
  s.Heard();
  s.Gives(Observe{"drive.speed", 10.0, s.now_.wall, "replay:x"});
  s.Passes(Duration(0));
  s.Gives(Observe{"drive.speed", 11.0, s.now_.wall, "replay:x"});
  s.Passes(Duration(0));
  CHECK(s.Heard() == "drive ");
  s.Passes(kSecond);
  CHECK(s.Heard() == "drive ");
  v1::Command privacy;
  privacy.mutable_privacy_mode()->set_enabled(true);
  s.Gives(Observe{"location.latitude", 47.0, s.now_.wall, ""});
  s.Passes(kSecond * 2);
  s.Heard();
  s.Arrives(s.Seals(privacy, 'p'));
  // What was said of the place before is taken back, once.
  CHECK(s.Heard() == "write DELIVERED act:privacy_mode on write location area DONE ");
  s.Gives(Observe{"location.latitude", 48.0, s.now_.wall, ""});
  CHECK(s.Heard() == "");
}

TEST_CASE("car: what is observed in one moment leaves together, and at once") {
  Story s;
  s.Passes(kSecond * 2);
  s.Heard();
  s.Gives(Observe{"location.latitude", 48.0, s.now_.wall, ""});
  s.Gives(Observe{"energy.soc", 50.0, s.now_.wall, ""});
  s.Gives(Observe{"location.longitude", 11.0, s.now_.wall, ""});
  CHECK(s.Heard() == "");
  CHECK(s.car_->NextDeadline() <= s.now_.mono);
  s.Passes(Duration(0));
  CHECK(s.Heard() == "energy location area ");
  CHECK(s.car_->NextDeadline() > s.now_.mono + kSecond);
}

TEST_CASE(
    "car: what is observed again and is the same is said before it stops being live or recent") {
  Story s;
  const auto observe = [&s](double speed) {
    s.Gives(Observe{"drive.speed", speed, s.now_.wall, ""});
    s.Gives(Observe{"body.trunk_open", 0.0, s.now_.wall, ""});
    s.Passes(kSecond);
  };
  const auto told = [&](double speed, minutes time) {
    std::string said;
    for (Duration passed(0); passed < time; passed += kSecond) {
      observe(speed);
    }
    return s.Heard();
  };
  const auto count = [](const std::string& text, std::string_view word) {
    size_t found = 0;
    for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
      ++found;
    }
    return found;
  };
  observe(50);
  s.Heard();
  // A car that drives: live are a speed of 5 s and a body of a minute.
  const std::string driving = told(50, minutes(4));
  CHECK(count(driving, "drive") == 48);
  CHECK(count(driving, "body") == 4);
  observe(0);
  s.Heard();
  // One that stands: recent are a speed of an hour and a body of 15 minutes.
  const std::string parked = told(0, minutes(60));
  CHECK(count(parked, "drive") == 2);
  CHECK(count(parked, "body") == 8);
  // What changes is said at once.
  s.Gives(Observe{"body.trunk_open", 1.0, s.now_.wall, ""});
  s.Passes(Duration(0));
  CHECK(s.Heard() == "body ");
  // A sensor that stops has its last word told; what nobody observes any more is not said again.
  observe(0);
  CHECK(s.Heard() == "body ");
  observe(0);
  s.Passes(kSecond * 8);
  CHECK(s.Heard() == "");
  s.Passes(kSecond);
  CHECK(s.Heard() == "body drive ");
  s.Passes(std::chrono::hours(5));
  CHECK(s.Heard() == "");
}

TEST_CASE(
    "car: a clock that is set back freezes no value, and privacy is not said with an old time") {
  Story s;
  s.Passes(kSecond * 2);
  s.now_.wall = s.now_.wall + std::chrono::minutes(4);
  s.Gives(Observe{"drive.speed", 10.0, s.now_.wall, ""});
  s.Gives(Observe{"location.latitude", 47.0, s.now_.wall, ""});
  s.Passes(kSecond * 2);
  s.now_.wall = s.now_.wall - std::chrono::minutes(4);
  s.Passes(kSecond * 2);
  s.Heard();
  s.Gives(Observe{"drive.speed", 11.0, s.now_.wall, ""});
  CHECK(std::get<double>(s.car_->board().Find("drive.speed").value()) == 11.0);
  CHECK(s.car_->board().ObservedAt("drive.speed") == s.now_.wall);
  v1::Command privacy;
  privacy.mutable_privacy_mode()->set_enabled(true);
  s.now_.wall = s.now_.wall + std::chrono::minutes(4);  // for the command
  const std::string sealed = s.Seals(privacy, 'p');
  s.now_.wall = s.now_.wall - std::chrono::minutes(4);
  s.Arrives(sealed);
  CHECK(s.Heard().find("location area") != std::string::npos);
  CHECK(s.hidden_at_ >= s.now_.wall + std::chrono::minutes(3));
}

TEST_CASE("car: the area is published when its cell changes or was not said for long") {
  Story s;
  s.Passes(kSecond * 2);
  s.Heard();
  const auto drive_to = [&s](double latitude, double longitude) {
    s.Gives(Observe{"location.latitude", latitude, s.now_.wall, ""});
    s.Gives(Observe{"location.longitude", longitude, s.now_.wall, ""});
    s.Passes(kSecond * 2);
    return s.Heard();
  };
  CHECK(drive_to(48.1374, 11.5755).find("area") != std::string::npos);
  CHECK(std::get<std::string>(s.car_->board().Find("area.cell").value()) == "u281y");
  CHECK(drive_to(48.1380, 11.5760).find("area") == std::string::npos);
  CHECK(drive_to(52.5200, 13.4050).find("area") != std::string::npos);
  s.Passes(std::chrono::minutes(20));
  s.Heard();
  CHECK(drive_to(52.5201, 13.4051).find("area") != std::string::npos);
  CHECK(drive_to(52.5202, 13.4052).find("area") == std::string::npos);
  // After privacy mode the same cell is told anew.
  v1::Command privacy;
  privacy.mutable_privacy_mode()->set_enabled(true);
  s.Arrives(s.Seals(privacy, 'p'));
  s.Heard();
  CHECK(drive_to(52.5203, 13.4053).find("area") == std::string::npos);
  privacy.mutable_privacy_mode()->set_enabled(false);
  s.Arrives(s.Seals(privacy, 'q'));
  s.Heard();
  CHECK(drive_to(52.5204, 13.4054).find("area") != std::string::npos);
}

TEST_CASE("car: memory comes back as it was stored") {
  Story s;
  const PrivateKey guest = PrivateKey::Generate();
  s.Arrives(s.Seals(Lock(), 'a'));
  s.ArrivesFrom(guest, Lock(), 'b');
  Memory memory = LoadMemory(s.stored_, s.fleet_car_.ref).value();
  memory.ring.keys.front().week = {{480, 1020}, {10000, 60}};
  memory.to_tell = {guest.Public().Id()};
  CHECK(memory.refused.size() == 1);
  CHECK(LoadMemory(SerializeMemory(memory), s.fleet_car_.ref).value() == memory);
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
