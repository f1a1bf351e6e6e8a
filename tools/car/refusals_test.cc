// Every reason a car can give, each reached by a story, with the receipt it sends.
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/car_story.h"

namespace latchkey::car {
namespace {

using latchkey::testing::kNow;
using latchkey::testing::kSecond;
using latchkey::testing::OnRing;
using std::chrono::hours;
using std::chrono::minutes;

struct Row {
  Reason reason;
  std::string heard;  // what the last thing of the story makes the car say
  std::function<void(Story&)> happens;
};

// The body of a command as protobuf, to be changed and signed again.
v1::Command BodyOf(const std::string& sealed) {
  v1::SignedCommand outer;
  v1::Command body;
  REQUIRE(outer.ParseFromString(sealed));
  REQUIRE(body.ParseFromString(outer.command()));
  return body;
}

void ArrivesChanged(Story& s, const std::function<void(v1::Command&)>& change) {
  v1::Command body = BodyOf(s.Seals(Lock(), 'z'));
  change(body);
  s.Heard();
  s.Arrives(testing::SignCommandBody(body.SerializeAsString(), s.phone_));
}

// Puts a guest with these permissions and times on the ring; the guest's key.
PrivateKey Guest(Story& s, const std::function<void(RingKey&)>& change) {
  PrivateKey guest = PrivateKey::Generate();
  RingKey key = OnRing(guest.Public(), v1::ROLE_GUEST);
  change(key);
  s.Arrives(s.Seals(Adds(key), 'A'));
  s.Heard();
  return guest;
}

void Malformed(Story& s) {
  s.Arrives("nonsense");
}

void TooLarge(Story& s) {
  s.Arrives(std::string(kCommandBytesMax + 1, 'x'));
}

void UnknownTopic(Story& s) {
  s.Gives(Arrived{{"lk/1/demo/other/command/" + s.phone_.Public().Id().str(), "x", 1}});
}

void Retained(Story& s) {
  s.Gives(Arrived{{CommandTopic(s.fleet_car_.ref, s.phone_.Public().Id()), s.Seals(Lock(), 'a'), 1,
                   Retain::kYes, 0}});
}

void WrongLane(Story& s) {
  s.ArrivesOn(PrivateKey::Generate().Public().Id(), s.Seals(Lock(), 'a'));
}

void WrongCar(Story& s) {
  CommandRequest request{testing::Ref("demo", "other"), testing::TestId('a'), s.now_.wall,
                         s.now_.wall + kSecond * 30, Lock()};
  s.Arrives(SealCommand(request, s.phone_).value());
}

void UnknownAction(Story& s) {
  ArrivesChanged(s, [](v1::Command& body) { body.clear_action(); });
}

void ImpossibleValue(Story& s) {
  ArrivesChanged(s, [](v1::Command& body) { body.mutable_charge_limit()->set_percent(3); });
}

void NotOnRing(Story& s) {
  s.ArrivesFrom(PrivateKey::Generate(), Lock(), 'a');
}

void NotPermitted(Story& s) {
  const PrivateKey guest = Guest(s, [](RingKey&) {});
  v1::Command unlock;
  unlock.mutable_unlock();
  s.ArrivesFrom(guest, unlock, 'b');
}

void OutsideHours(Story& s) {
  // kNow is a Tuesday, 22:13 UTC; the guest may come Wednesdays from eight to five.
  const PrivateKey guest =
      Guest(s, [](RingKey& key) { key.week = {{2 * 1440 + 480, 2 * 1440 + 1020}}; });
  s.ArrivesFrom(guest, Lock(), 'b');
}

void NotYet(Story& s) {
  const PrivateKey guest = Guest(s, [](RingKey& key) { key.not_before = kNow + hours(1); });
  s.ArrivesFrom(guest, Lock(), 'b');
}

void BadSignature(Story& s) {
  v1::SignedCommand outer;
  REQUIRE(outer.ParseFromString(s.Seals(Lock(), 'a')));
  outer.set_signature(std::string(kSignatureBytes, 's'));
  s.Arrives(outer.SerializeAsString());
}

void Expired(Story& s) {
  const std::string stale = s.Seals(Flash(), 'a');
  s.Passes(kSecond * 30);
  s.Heard();
  s.Arrives(stale);
}

void LivesTooLong(Story& s) {
  ArrivesChanged(s, [](v1::Command& body) {
    body.set_expires_at_ms(body.issued_at_ms() + 3'600'000);  // a lock lives ten minutes
  });
}

void FromTheFuture(Story& s) {
  s.now_.wall = s.now_.wall + minutes(6);
  const std::string future = s.Seals(Lock(), 'a');
  s.now_.wall = s.now_.wall - minutes(6);
  s.Arrives(future);
}

void Duplicate(Story& s) {
  const std::string lock = s.Seals(Lock(), 'a');
  s.Arrives(lock);
  s.Heard();
  s.Arrives(lock);
}

void Superseded(Story& s) {
  const std::string early = s.Seals(Lock(), 'a', minutes(9));
  s.Passes(kSecond);
  s.Arrives(s.Seals(Lock(), 'b'));
  s.Heard();
  s.Arrives(early);
}

void MemoryFull(Story& s) {
  s.limits_.remembered_max = 1;
  s.Boots();
  s.Arrives(s.Seals(Flash(), 'a'));
  s.Heard();
  s.Arrives(s.Seals(Flash(), 'b'));
}

void RingFull(Story& s) {
  Memory memory = LoadMemory(s.stored_, s.fleet_car_.ref).value();
  while (memory.ring.keys.size() < kRingKeysMax) {
    memory.ring.keys.push_back(OnRing(PrivateKey::Generate().Public(), v1::ROLE_GUEST));
  }
  s.stored_ = SerializeMemory(memory);
  s.Boots();
  s.Heard();
  s.Arrives(s.Seals(Adds(OnRing(PrivateKey::Generate().Public(), v1::ROLE_GUEST)), 'a'));
}

void AppsFull(Story& s) {
  v1::Command install;
  Memory memory = LoadMemory(s.stored_, s.fleet_car_.ref).value();
  for (int i = 0; i < kAppsMax; ++i) {
    memory.apps["com.example.app" + std::to_string(i)] = {"1", kNow};
  }
  s.stored_ = SerializeMemory(memory);
  s.Boots();
  install.mutable_install_app()->set_app_id("com.example.last");
  s.Heard();
  s.Arrives(s.Seals(install, 'a'));
}

void NobodyWouldKeepKeys(Story& s) {
  s.Arrives(s.Seals(Removes(s.phone_.Public().Id()), 'a'));
}

void TimeUnknown(Story& s) {
  const std::string flash = s.Seals(Flash(), 'a');
  s.now_.wall = {1000};
  s.Heard();
  s.Arrives(flash);
}

void NoCable(Story& s) {
  v1::Command charge;
  charge.mutable_charge_start();
  s.Arrives(s.Seals(charge, 'a'));
}

void Crash(Story& s) {
  const std::string flash = s.Seals(Flash(), 'a');
  s.crash_before_ = [](const Effect& effect) { return std::holds_alternative<Act>(effect); };
  s.Arrives(flash);
  s.crash_before_ = nullptr;
  s.Boots();
  s.Heard();
  s.Arrives(flash);
}

std::vector<Row> Rows() {
  const std::string refused = "write REFUSED:";
  return {
      {v1::REASON_MALFORMED, "", Malformed},
      {v1::REASON_TOO_LARGE, "", TooLarge},
      {v1::REASON_UNKNOWN_TOPIC, "", UnknownTopic},
      {v1::REASON_RETAIN_NOT_ALLOWED, "", Retained},
      {v1::REASON_WRONG_LANE, "", WrongLane},
      {v1::REASON_WRONG_CAR, "", WrongCar},
      {v1::REASON_UNKNOWN_ACTION, "REFUSED:REASON_UNKNOWN_ACTION ", UnknownAction},
      {v1::REASON_IMPOSSIBLE_VALUE, "REFUSED:REASON_IMPOSSIBLE_VALUE ", ImpossibleValue},
      {v1::REASON_NOT_ON_RING, refused + "REASON_NOT_ON_RING ", NotOnRing},
      {v1::REASON_NOT_PERMITTED, refused + "REASON_NOT_PERMITTED ", NotPermitted},
      {v1::REASON_OUTSIDE_WINDOW, refused + "REASON_OUTSIDE_WINDOW ", OutsideHours},
      {v1::REASON_OUTSIDE_WINDOW, refused + "REASON_OUTSIDE_WINDOW ", NotYet},
      {v1::REASON_BAD_SIGNATURE, "REFUSED:REASON_BAD_SIGNATURE ", BadSignature},
      {v1::REASON_EXPIRED, "EXPIRED:REASON_EXPIRED ", Expired},
      {v1::REASON_LIFETIME_TOO_LONG, refused + "REASON_LIFETIME_TOO_LONG ", LivesTooLong},
      {v1::REASON_LIFETIME_TOO_LONG, refused + "REASON_LIFETIME_TOO_LONG ", FromTheFuture},
      {v1::REASON_DUPLICATE, "DONE ", Duplicate},
      {v1::REASON_SUPERSEDED, "SUPERSEDED:REASON_SUPERSEDED ", Superseded},
      {v1::REASON_FULL, refused + "REASON_FULL ", MemoryFull},
      {v1::REASON_FULL, refused + "REASON_FULL ", RingFull},
      {v1::REASON_FULL, refused + "REASON_FULL ", AppsFull},
      {v1::REASON_NOT_ALLOWED, refused + "REASON_NOT_ALLOWED ", NobodyWouldKeepKeys},
      {v1::REASON_TIME_UNKNOWN, refused + "REASON_TIME_UNKNOWN ", TimeUnknown},
  };
}

}  // namespace

TEST_CASE("car: each refusal has its reason, is counted, and is told to who can hear it") {
  for (const Row& row : Rows()) {
    Story s;
    s.Heard();
    row.happens(s);
    CAPTURE(testing::Said(row.reason));
    CHECK(s.Heard() == row.heard);
    CHECK(s.Refused(row.reason) == 1);
    if (row.heard.find("REFUSED") != std::string::npos) {
      CHECK(s.car_->counters().acted <= 1);  // what put the guest on the ring, at most
    }
  }
}

TEST_CASE("car: what it tried and could not do, and what a crash cut off, is FAILED") {
  Story cable;
  cable.Heard();
  NoCable(cable);
  CHECK(cable.Heard().find("FAILED:REASON_CAR_FAILED") != std::string::npos);
  Story crash;
  Crash(crash);
  CHECK(crash.Heard() == "FAILED:REASON_OUTCOME_UNKNOWN ");
}

TEST_CASE("car: sensors that say the impossible or the old are refused and counted") {
  Story s;
  s.Gives(Observe{"location.latitude", 91.0, s.now_.wall, ""});
  CHECK(s.Refused(v1::REASON_IMPOSSIBLE_VALUE) == 1);
  s.Gives(Observe{"drive.speed", 5.0, s.now_.wall, ""});
  s.Gives(Observe{"drive.speed", 5.0, s.now_.wall - kSecond, ""});
  CHECK(s.Refused(v1::REASON_OLDER_VERSION) == 1);
  CHECK(s.car_->counters().values_refused == 2);
}

TEST_CASE("car: a guest's weekly hours open and close, also over the end of the week") {
  Story s;
  RingKey key = OnRing(PrivateKey::Generate().Public(), v1::ROLE_GUEST);
  const PrivateKey guest = PrivateKey::Generate();
  key = OnRing(guest.Public(), v1::ROLE_GUEST);
  key.week = {{2 * 1440 + 480, 2 * 1440 + 1020}, {6 * 1440 + 1380, 60}};  // and Sunday 23 to 1
  s.Arrives(s.Seals(Adds(key), 'A'));
  const auto says = [&](Timestamp at, char id) {
    s.now_.mono = s.now_.mono + (at - s.now_.wall);
    s.now_.wall = at;
    s.Heard();
    s.ArrivesFrom(guest, Lock(), id);
    return s.Heard().find("DONE") != std::string::npos;
  };
  const Timestamp monday{1'699'833'600'000};  // 2023-11-13 00:00 UTC
  const auto at = [&](int day, int hour, int minute) {
    return monday + hours(24) * day + hours(hour) + minutes(minute);
  };
  CHECK_FALSE(says(at(2, 7, 59), 'b'));
  CHECK(says(at(2, 8, 0), 'c'));
  CHECK(says(at(2, 16, 59), 'd'));
  CHECK_FALSE(says(at(2, 17, 0), 'e'));
  CHECK(says(at(6, 23, 30), 'f'));
  CHECK(says(at(7, 0, 59), 'g'));
  CHECK_FALSE(says(at(7, 1, 0), 'h'));
}

}  // namespace latchkey::car
