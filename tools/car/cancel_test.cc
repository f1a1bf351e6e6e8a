// Stories of commands that are taken back: what has not begun never does, and what has an outcome
// keeps it.
#include <string>

#include <doctest/doctest.h>

#include "tests/support/car_story.h"

namespace latchkey::car {
namespace {

using latchkey::testing::kSecond;
using latchkey::testing::OnRing;
using latchkey::testing::TestId;
using std::chrono::minutes;

v1::Command Cancels(char id) {
  v1::Command action;
  action.mutable_cancel()->set_command_id(TestId(id).ToBytes());
  return action;
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE(
    "cancel: a command that comes after it was taken back is never begun, also after a boot") {
  Story s;
  const std::string flash = s.Seals(Flash(), 'a');
  s.Heard();
  s.Arrives(s.Seals(Cancels('a'), 'c', kSecond * 90));
  CHECK(s.Heard() == "write CANCELLED:REASON_CANCELLED DONE ");
  CHECK(s.car_->counters().taken_back == 1);
  s.Arrives(flash);
  CHECK(s.Heard() == "CANCELLED:REASON_CANCELLED ");
  s.Boots();
  s.Heard();
  s.Arrives(flash);
  CHECK(s.Heard() == "CANCELLED:REASON_CANCELLED ");
  CHECK(s.car_->counters().acted == 0);
}

TEST_CASE(
    "cancel: nothing is said before it is written, so that a crash forgets no cancel it told") {
  Story s;
  const std::string cancel = s.Seals(Cancels('a'), 'c', kSecond * 90);
  s.Heard();
  s.crash_before_ = [](const Effect& effect) { return std::holds_alternative<Persist>(effect); };
  s.Arrives(cancel);
  CHECK(s.Heard() == "");
  s.crash_before_ = nullptr;
  s.Boots();
  s.Heard();
  s.Arrives(cancel);
  CHECK(s.Heard() == "write CANCELLED:REASON_CANCELLED DONE ");
}

TEST_CASE("cancel: what is done, failed or refused keeps its outcome, which is said again") {
  Story s;
  s.Arrives(s.Seals(Flash(), 'a'));
  v1::Command charge;
  charge.mutable_charge_start();
  s.Arrives(s.Seals(charge, 'b'));  // no cable
  const PrivateKey guest = PrivateKey::Generate();
  s.Arrives(s.Seals(Adds(OnRing(guest.Public(), v1::ROLE_GUEST)), 'g'));
  v1::Command unlock;
  unlock.mutable_unlock();
  s.ArrivesFrom(guest, unlock, 'd');
  s.Heard();
  const std::string late = s.Seals(Cancels('a'), 'c');
  s.Arrives(late);
  CHECK(s.Heard() == "write REFUSED:REASON_ENDED DONE ");
  s.Arrives(late);
  CHECK_MESSAGE(s.Heard() == "REFUSED:REASON_ENDED DONE ", "a repeat says both again");
  s.Arrives(s.Seals(Cancels('b'), 'e'));
  CHECK(s.Heard() == "write REFUSED:REASON_ENDED FAILED:REASON_CAR_FAILED ");
  s.ArrivesFrom(guest, Cancels('d'), 'f');
  CHECK(s.Heard() == "write REFUSED:REASON_ENDED REFUSED:REASON_NOT_PERMITTED ");
  s.ArrivesFrom(guest, unlock, 'd');
  CHECK(s.Heard() == "REFUSED:REASON_NOT_PERMITTED ");
  CHECK(s.Refused(v1::REASON_ENDED) == 3);
}

TEST_CASE("cancel: other bytes that were refused under the same id do not save a command") {
  Story s;
  const PrivateKey guest = PrivateKey::Generate();
  s.ArrivesFrom(guest, Flash(), 'a');  // not on the ring
  s.Arrives(s.Seals(Adds(OnRing(guest.Public(), v1::ROLE_GUEST)), 'b'));
  s.ArrivesFrom(guest, Cancels('a'), 'c');
  s.Heard();
  s.ArrivesFrom(guest, Lock(), 'a');
  CHECK(s.Heard() == "CANCELLED:REASON_CANCELLED ");
}

TEST_CASE("cancel: nobody takes back the command of another key, and every key its own") {
  Story s;
  const PrivateKey guest = PrivateKey::Generate();
  RingKey key = OnRing(guest.Public(), v1::ROLE_GUEST);
  key.permissions = Bit(v1::PERMISSION_CLOSE);
  s.Arrives(s.Seals(Adds(key), 'b'));
  const std::string lock = s.Seals(Lock(), 'a');
  const std::string own = s.SealsAs(guest, Lock(), 'd');
  s.ArrivesFrom(guest, Cancels('a'), 'c');
  s.ArrivesFrom(guest, Cancels('d'), 'e');
  s.Heard();
  s.Arrives(lock);
  CHECK(Has(s.Heard(), "DONE"));
  s.ArrivesOn(guest.Public().Id(), own);
  CHECK(s.Heard() == "CANCELLED:REASON_CANCELLED ");
  const PrivateKey stranger = PrivateKey::Generate();
  s.ArrivesFrom(stranger, Cancels('z'), 'y');
  CHECK(s.Heard() == "write REFUSED:REASON_NOT_ON_RING ");
}

TEST_CASE("cancel: what is taken back does not supersede what came before it in its slot") {
  Story s;
  const std::string early = s.Seals(Lock(), 'a', minutes(5));
  s.Passes(kSecond);
  s.Arrives(s.Seals(Cancels('b'), 'c'));
  s.Heard();
  s.Arrives(early);
  CHECK(Has(s.Heard(), "DONE"));
}

TEST_CASE(
    "cancel: one that comes late, when the car has forgotten nothing yet, is told the truth") {
  Story s;
  const std::string flash = s.Seals(Flash(), 'a', kSecond * 30);
  const std::string cancel = s.Seals(Cancels('a'), 'c', kSecond * 90);  // a minute more
  s.Arrives(flash);
  s.Passes(kSecond * 89);
  s.Arrives(s.Seals(Lock(), 'b'));  // raises the floor
  s.Heard();
  s.Arrives(cancel);
  CHECK(s.Heard() == "write REFUSED:REASON_ENDED DONE ");
  s.Passes(kSecond);
  s.Arrives(s.Seals(Cancels('a'), 'd', kSecond));
  CHECK_MESSAGE(Has(s.Heard(), "REFUSED:REASON_ENDED"), "as long as it is remembered");
}

TEST_CASE("cancel: ids taken back are forgotten after the cancel has expired") {
  Story s;
  s.Arrives(s.Seals(Cancels('a'), 'c'));
  CHECK(LoadMemory(s.stored_, s.fleet_car_.ref)->commands.size() == 2);
  s.Passes(kSecond * 90);
  s.Arrives(s.Seals(Lock(), 'b'));
  CHECK(LoadMemory(s.stored_, s.fleet_car_.ref)->commands.size() == 1);
}

TEST_CASE("cancel: one key cannot fill the car's memory with what it takes back") {
  Story s;
  s.limits_.cancelled_max = 2;
  s.Boots();
  const PrivateKey guest = PrivateKey::Generate();
  s.Arrives(s.Seals(Adds(OnRing(guest.Public(), v1::ROLE_GUEST)), 'g'));
  s.Heard();
  s.ArrivesFrom(guest, Cancels('a'), '1');
  s.ArrivesFrom(guest, Cancels('b'), '2');
  CHECK(Has(s.Heard(), "DONE"));
  s.ArrivesFrom(guest, Cancels('c'), '3');
  CHECK(s.Heard() == "write REFUSED:REASON_FULL ");
  s.Arrives(s.Seals(Cancels('d'), '4'));
  CHECK_MESSAGE(Has(s.Heard(), "DONE"), "another key still can");
}

TEST_CASE("cancel: a full car takes nothing back, and has no more commands than it may") {
  Story s;
  s.limits_.remembered_max = 2;
  s.Boots();
  s.Arrives(s.Seals(Flash(), 'a'));
  s.Heard();
  s.Arrives(s.Seals(Cancels('b'), 'c'));
  CHECK(s.Heard() == "write REFUSED:REASON_FULL ");
  s.Arrives(s.Seals(Flash(), 'd'));
  CHECK(Has(s.Heard(), "DONE"));
}

TEST_CASE("cancel: dead commands that are kept to be told are bounded, the oldest go first") {
  Story s;
  s.limits_.remembered_max = 2;
  s.Boots();
  for (const char id : {'a', 'b', 'c', 'd'}) {
    s.Arrives(s.Seals(Flash(), id, kSecond));
    s.Passes(kSecond);
  }
  const Memory memory = LoadMemory(s.stored_, s.fleet_car_.ref).value();
  REQUIRE(memory.commands.size() == 3);
  CHECK(memory.commands.front().id == TestId('b'));
}

}  // namespace latchkey::car
