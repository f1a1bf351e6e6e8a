// A key that falls off the ring loses everything at once: its live connection first.
#include <doctest/doctest.h>

#include "proto/topic.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

TEST_CASE("a removed phone's connection is ended and it can subscribe no more") {
  Cell cell;
  cell.StartBroker();
  const PrivateKey owner = PrivateKey::Generate();
  const PrivateKey guest = PrivateKey::Generate();
  RawCar car(cell, "demo", "car-1");
  REQUIRE(car.PublishRing({{owner.Public(), v1::ROLE_OWNER}, {guest.Public(), v1::ROLE_GUEST}}) ==
          0);
  REQUIRE(car.PublishSpeed(5) == 0);
  const std::string state = StateTopic(car.ref(), Group::kDrive);
  RawClient owner_phone(cell.AsPhone(owner));
  RawClient guest_phone(cell.AsPhone(guest));
  REQUIRE(owner_phone.Connect() == 0);
  REQUIRE(guest_phone.Connect() == 0);
  REQUIRE(owner_phone.Subscribe(state) == 1);
  REQUIRE(guest_phone.Subscribe(state) == 1);
  REQUIRE(guest_phone.NextOn(state).has_value());

  REQUIRE(car.PublishRing({{owner.Public(), v1::ROLE_OWNER}}) == 0);
  CHECK(guest_phone.Ended(std::chrono::seconds(10)) != kNoAnswer);
  CHECK(owner_phone.Ping());
  RawClient again(cell.AsPhone(guest));
  REQUIRE(again.Connect() == 0);
  CHECK(again.Subscribe(state) == 0x87);
  REQUIRE(car.PublishSpeed(6) == 0);
  CHECK(owner_phone.NextOn(state).has_value());
  CHECK_FALSE(again.Next(std::chrono::milliseconds(300)).has_value());

  // And the ring never goes back, also not over a restart with nobody else there.
  cell.broker().Kill();
  cell.StartBroker();
  RawClient after(cell.AsPhone(guest));
  REQUIRE(after.Connect() == 0);
  CHECK(after.Subscribe(state) == 0x87);
  RawClient owner_after(cell.AsPhone(owner));
  REQUIRE(owner_after.Connect() == 0);
  CHECK(owner_after.Subscribe(state) == 1);
}

TEST_CASE("an owner's remove-key takes a second phone off the car's ring and off the broker") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  const std::string first = cell.QrText("car-1");
  REQUIRE(cell.Latchkey({"phone", "init", "bob"}).exit_code == 0);
  const PrivateKey bob_key = cell.PhoneKey("bob");
  const std::string point = Base64UrlEncode(bob_key.Public().ToPoint());
  const Ran added =
      cell.Latchkey({"phone", "send", "anna", "car-1", "add-key", "--arg", "key=" + point, "--arg",
                     "role=guest", "--wait", "--timeout", "20s"});
  INFO(added.output);
  REQUIRE(added.exit_code == 0);
  RawClient bob(cell.AsPhone(bob_key));
  REQUIRE(bob.Connect() == 0);
  REQUIRE(bob.Subscribe("lk/1/demo/car-1/presence") == 1);
  const Ran removed =
      cell.Latchkey({"phone", "send", "anna", "car-1", "remove-key", "--arg",
                     "key_id=" + bob_key.Public().Id().str(), "--wait", "--timeout", "20s"});
  INFO(removed.output);
  REQUIRE(removed.exit_code == 0);
  CHECK(bob.Ended(std::chrono::seconds(10)) != kNoAnswer);
  RawClient again(cell.AsPhone(bob_key));
  REQUIRE(again.Connect() == 0);
  CHECK(again.Subscribe("lk/1/demo/car-1/presence") == 0x87);
}

}  // namespace latchkey::testing
