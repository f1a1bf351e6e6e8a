// Stories of keys: who may give and take them, who hears of it, and the factory reset.
#include <string>

#include <doctest/doctest.h>

#include "tests/support/car_story.h"

namespace latchkey::car {
namespace {

using latchkey::testing::kNow;
using latchkey::testing::kSecond;
using latchkey::testing::OnRing;
using std::chrono::hours;

// A car with an owner (the story's phone), a driver who may keep keys, and a guest.
struct Family {
  Family() {
    RingKey helper = OnRing(driver.Public(), v1::ROLE_DRIVER);
    helper.permissions |= Bit(v1::PERMISSION_KEYS);
    helper.permissions &= ~Bit(v1::PERMISSION_OPEN);
    s.Arrives(s.Seals(Adds(helper), 'A'));
    s.Arrives(s.Seals(Adds(OnRing(guest.Public(), v1::ROLE_GUEST)), 'B'));
    s.Heard();
  }

  Story s;
  PrivateKey driver = PrivateKey::Generate();  // KEYS, but not OPEN
  PrivateKey guest = PrivateKey::Generate();
};

}  // namespace

TEST_CASE(
    "car: who is added or narrowed by another is told after the ring, who is removed before it") {
  Story s;
  const PrivateKey guest = PrivateKey::Generate();
  RingKey key = OnRing(guest.Public(), v1::ROLE_GUEST);
  s.Heard();
  s.Arrives(s.Seals(Adds(key), 'a'));
  CHECK(s.Heard() == "write DELIVERED act:add_key write ring3 notice:on DONE ");
  s.Arrives(s.Seals(Adds(key), 'b'));  // as it is: nothing to tell
  CHECK(s.Heard() == "write DELIVERED act:add_key write DONE ");
  key.permissions &= ~Bit(v1::PERMISSION_COMFORT);
  s.Arrives(s.Seals(Adds(key), 'c'));
  CHECK(s.Heard() == "write DELIVERED act:add_key write ring4 notice:on DONE ");
  s.Arrives(s.Seals(Removes(key.id), 'd'));
  CHECK(s.Heard() == "write DELIVERED act:remove_key write notice:off ring5 DONE ");
  CHECK(s.car_->ring().keys.size() == 1);
}

TEST_CASE(
    "car: who lost its key is told twice more, for it may have been cut off before it heard") {
  Family f;
  const KeyId guest = f.guest.Public().Id();
  f.s.Passes(kSecond * 10);  // what the connection began with has been said again
  f.s.Passes(kSecond * 50);
  f.s.Arrives(f.s.Seals(Removes(guest), 'c'));
  f.s.Heard();
  f.s.Passes(kSecond);
  CHECK(f.s.Heard() == "notice:off ");
  f.s.Passes(kSecond * 8);
  CHECK(f.s.Heard() == "");
  f.s.Passes(kSecond);
  CHECK(f.s.Heard() == "notice:off ");
  f.s.Passes(kSecond * 60);
  CHECK(f.s.Heard() == "");
  // Who has a key again by then is not told that it has none.
  f.s.Arrives(f.s.Seals(Adds(OnRing(f.guest.Public(), v1::ROLE_GUEST)), 'd'));
  f.s.Arrives(f.s.Seals(Removes(guest), 'e'));
  f.s.Arrives(f.s.Seals(Adds(OnRing(f.guest.Public(), v1::ROLE_GUEST)), 'f'));
  f.s.Heard();
  f.s.Passes(kSecond);
  CHECK(f.s.Heard() == "");
}

TEST_CASE("car: a key that changes its own place needs no notice") {
  Family f;
  f.s.ArrivesFrom(f.driver, Removes(f.driver.Public().Id()), 'c');
  CHECK(f.s.Heard() == "write DELIVERED act:remove_key write ring5 DONE ");
}

TEST_CASE("car: nobody gives what they have not, nor touches a key that has more than they") {
  Family f;
  const PrivateKey friend_key = PrivateKey::Generate();
  RingKey gift = OnRing(friend_key.Public(), v1::ROLE_GUEST);
  gift.permissions |= Bit(v1::PERMISSION_OPEN);
  const std::string no = "write REFUSED:REASON_NOT_PERMITTED ";
  f.s.ArrivesFrom(f.driver, Adds(gift), 'c');
  CHECK(f.s.Heard() == no);
  // The owner's key has OPEN, the driver's has not: neither replaced by less nor removed.
  RingKey demoted = OnRing(f.s.phone_.Public(), v1::ROLE_GUEST);
  f.s.ArrivesFrom(f.driver, Adds(demoted), 'd');
  CHECK(f.s.Heard() == no);
  f.s.ArrivesFrom(f.driver, Removes(f.s.phone_.Public().Id()), 'e');
  CHECK(f.s.Heard() == no);
  CHECK(f.s.car_->ring().Find(f.s.phone_.Public().Id())->role == v1::ROLE_OWNER);
  // A guest has no say in keys at all; what is below the driver the driver may take away.
  f.s.ArrivesFrom(f.guest, Removes(f.guest.Public().Id()), 'f');
  CHECK(f.s.Heard() == no);
  gift.permissions &= ~Bit(v1::PERMISSION_OPEN);
  f.s.ArrivesFrom(f.driver, Adds(gift), 'g');
  CHECK(f.s.Heard().find("notice:on DONE") != std::string::npos);
  f.s.ArrivesFrom(f.driver, Removes(f.guest.Public().Id()), 'h');
  CHECK(f.s.Heard().find("notice:off ring6 DONE") != std::string::npos);
}

TEST_CASE("car: somebody who may keep keys remains, also beyond every key's time") {
  Story s;
  RingKey self = OnRing(s.phone_.Public(), v1::ROLE_DRIVER);
  s.Heard();
  s.Arrives(s.Seals(Adds(self), 'a'));  // would give up KEYS
  CHECK(s.Heard() == "write REFUSED:REASON_NOT_ALLOWED ");
  self = OnRing(s.phone_.Public(), v1::ROLE_OWNER);
  self.not_after = kNow;  // over at once
  s.Arrives(s.Seals(Adds(self), 'b'));
  CHECK(s.Heard() == "write REFUSED:REASON_NOT_ALLOWED ");
  CHECK(s.car_->ring().version == 2);
}

TEST_CASE("car: a factory reset leaves an empty ring of the next version and tells every key") {
  Family f;
  Story& s = f.s;
  v1::Command destination;
  v1::Leg* leg = destination.mutable_send_destination()->add_legs();
  leg->set_latitude(48.1);
  leg->set_mode(v1::TRAVEL_MODE_DRIVE);
  v1::Command install;
  install.mutable_install_app()->set_app_id("com.example.radio");
  v1::Command privacy;
  privacy.mutable_privacy_mode()->set_enabled(true);
  s.Arrives(s.Seals(destination, 'c'));
  s.Arrives(s.Seals(install, 'd'));
  s.Arrives(s.Seals(privacy, 'e'));
  s.Passes(kSecond * 2);
  s.Heard();
  s.Gives(FactoryReset{});
  CHECK(s.Heard() == "write notice:off notice:off notice:off ring5 apps ");
  const KeyRing ring = OpenKeyRingOf(s.last_ring_, s.fleet_car_.key.Public()).value();
  CHECK(ring.keys.empty());
  CHECK(ring.version == 5);
  const Memory memory = LoadMemory(s.stored_, s.fleet_car_.ref).value();
  CHECK(memory.destination.empty());
  CHECK(memory.apps.empty());
  CHECK(memory.settings.empty());
  CHECK_FALSE(memory.privacy);
  CHECK(s.Read().find("3 keys and all settings are gone") != std::string::npos);
}

TEST_CASE("car: after a factory reset nothing recorded before acts, not even for the same key") {
  Story s;
  const std::string done = s.Seals(Lock(), 'a', std::chrono::minutes(9));
  const std::string kept = s.Seals(Lock(), 'b', std::chrono::minutes(9));
  s.Arrives(done);
  s.Gives(FactoryReset{});
  s.Heard();
  s.Arrives(kept);
  CHECK(s.Heard() == "write REFUSED:REASON_NOT_ON_RING ");
  // The same phone pairs again, as the new owner might be the old one.
  s.Claims(s.Offers(), s.phone_);
  s.Gives(Confirm{Confirm::Word::kYes});
  s.Boots();
  s.Heard();
  s.Arrives(done);
  CHECK(s.Heard() == "DONE ");
  s.Arrives(kept);
  CHECK(s.Heard() == "REFUSED:REASON_NOT_ON_RING ");
}

TEST_CASE("car: a factory reset ends the pairing that stands") {
  Story s;
  const PrivateKey phone = PrivateKey::Generate();
  const PairingOffer offer = s.Offers();
  s.Claims(offer, phone);
  s.Heard();
  s.Gives(FactoryReset{});
  CHECK(s.Heard().find("answer over ") == 0);
  CHECK(s.Answered(offer, phone) == "REASON_DECLINED");
  s.Gives(Confirm{Confirm::Word::kYes});
  CHECK(s.car_->ring().keys.empty());
}

TEST_CASE("car: keys that lost their place while the car was offline are told when it connects") {
  Story s;
  s.Gives(Disconnected{"no signal", 1});
  s.Heard();
  s.Gives(FactoryReset{});
  CHECK(s.Heard() == "write ");
  s.Boots();
  CHECK(s.Heard().find("notice:off ring3 ") != std::string::npos);
  s.Gives(Disconnected{"no signal", 1});
  s.Heard();
  s.Connects();
  CHECK(s.Heard().find("notice") == std::string::npos);
}

TEST_CASE("car: a reset of the stored memory is the reset of the car") {
  Family f;
  Memory memory = LoadMemory(f.s.stored_, f.s.fleet_car_.ref).value();
  ResetMemory(memory, {0});  // by a clock that knows nothing
  CHECK(memory.ring.written_at == memory.time_floor);
  CHECK(memory.commands.size() == 2);
  CHECK(memory.to_tell.size() == 3);
  f.s.stored_ = SerializeMemory(memory);
  f.s.Boots();
  CHECK(f.s.Heard().find("notice:off notice:off notice:off ring5 ") != std::string::npos);
}

}  // namespace latchkey::car
