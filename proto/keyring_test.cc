// Key rings: who may write one, what must stand in it, and what a key on it may do when.
#include "proto/keyring.h"

#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using testing::kNow;
using testing::kSecond;
using testing::Said;

struct World {
  testing::TestCar car = testing::MakeTestCar("f1", "car1");
  PrivateKey owner = PrivateKey::Generate();
  PrivateKey guest = PrivateKey::Generate();
  KeyRing ring{car.ref,
               7,
               kNow,
               {testing::OnRing(owner.Public(), v1::ROLE_OWNER),
                testing::OnRing(guest.Public(), v1::ROLE_GUEST)}};

  v1::KeyRing Body() const {
    v1::KeyRing body;
    body.set_fleet("f1");
    body.set_car("car1");
    body.set_version(7);
    body.set_written_at_ms(static_cast<uint64_t>(kNow.ms));
    for (const RingKey& key : ring.keys) {
      *body.add_keys() = KeyToWire(key);
    }
    return body;
  }

  std::string Sealed() const { return SealKeyRing(ring, car.key, car.certificate_der); }
};

TEST_CASE("keyring: a sealed ring opens to the same ring") {
  const World w;
  const Result<KeyRing> opened = OpenKeyRing(w.Sealed(), w.car.ca_der, kNow);
  REQUIRE(opened);
  CHECK(*opened == w.ring);
  const Result<KeyRing> of = OpenKeyRingOf(w.Sealed(), w.car.key.Public());
  REQUIRE(of);
  CHECK(*of == w.ring);
  CHECK(FleetOfKeyRing(w.Sealed()).value().str() == "f1");
}

TEST_CASE("keyring: an empty ring, as after a factory reset, is a ring") {
  World w;
  w.ring.keys.clear();
  CHECK(OpenKeyRing(w.Sealed(), w.car.ca_der, kNow).value().keys.empty());
}

TEST_CASE("keyring: who is not a car of the fleet's CA writes no ring") {
  const World w;
  const testing::TestCar stranger = testing::MakeTestCar("f1", "car1");
  const auto [operator_der, operator_key] = testing::Issue(
      OperatorIdentity{w.car.ref.fleet, "ann", Bit(v1::PERMISSION_READ_ENERGY)}, w.car.ca);
  const std::string body = w.Body().SerializeAsString();
  CHECK(Said(OpenKeyRing("\xff\xff", w.car.ca_der, kNow)) == "REASON_MALFORMED");
  CHECK(Said(OpenKeyRing(std::string(kKeyRingBytesMax + 1, '\0'), w.car.ca_der, kNow)) ==
        "REASON_MALFORMED");
  CHECK(Said(OpenKeyRing("", w.car.ca_der, kNow)) == "REASON_BAD_CERTIFICATE");
  CHECK(Said(OpenKeyRing(testing::SignBody(body, operator_key, operator_der), w.car.ca_der,
                         kNow)) == "REASON_BAD_CERTIFICATE");
  CHECK(Said(OpenKeyRing(w.Sealed(), stranger.ca_der, kNow)) == "REASON_BAD_CERTIFICATE");
  CHECK(Said(OpenKeyRing(testing::SignBody(body, stranger.key, w.car.certificate_der), w.car.ca_der,
                         kNow)) == "REASON_BAD_SIGNATURE");
  CHECK(Said(FleetOfKeyRing("\xff")) == "REASON_MALFORMED");
  CHECK(Said(FleetOfKeyRing("")) == "REASON_BAD_CERTIFICATE");
}

TEST_CASE("keyring: the certificate's time counts only when a time is given") {
  const World w;
  const Timestamp later = kNow + std::chrono::hours(24 * 31);
  CHECK(Said(OpenKeyRing(w.Sealed(), w.car.ca_der, later)) == "REASON_BAD_CERTIFICATE");
  CHECK(Said(OpenKeyRing(w.Sealed(), w.car.ca_der, std::nullopt)) == "allowed");
}

TEST_CASE("keyring: a paired phone takes rings of its car's key only") {
  const World w;
  const PrivateKey other = PrivateKey::Generate();
  CHECK(Said(OpenKeyRingOf("\xff", w.car.key.Public())) == "REASON_MALFORMED");
  CHECK(Said(OpenKeyRingOf(w.Sealed(), other.Public())) == "REASON_BAD_CERTIFICATE");
  CHECK(Said(OpenKeyRingOf(
            testing::SignBody(w.Body().SerializeAsString(), other, w.car.certificate_der),
            w.car.key.Public())) == "REASON_BAD_SIGNATURE");
}

struct BodyCase {
  const char* what;
  std::function<void(v1::KeyRing&)> change;
  const char* said;
};

void FillWithKeys(v1::KeyRing& body, int count) {
  body.clear_keys();
  for (int i = 0; i < count; ++i) {
    *body.add_keys() = KeyToWire(testing::OnRing(PrivateKey::Generate().Public(), v1::ROLE_DRIVER));
  }
}

TEST_CASE("keyring: a body that breaks a rule is refused though its signature is right") {
  const World w;
  const PublicKey owner = w.owner.Public();
  const std::string uncompressed = "\x04" + owner.X() + owner.Y();
  const std::vector<BodyCase> cases = {
      {"untouched", [](v1::KeyRing&) {}, "allowed"},
      {"other fleet", [](v1::KeyRing& b) { b.set_fleet("f2"); }, "REASON_WRONG_CAR"},
      {"other car", [](v1::KeyRing& b) { b.set_car("car2"); }, "REASON_WRONG_CAR"},
      {"version 0", [](v1::KeyRing& b) { b.set_version(0); }, "REASON_MALFORMED"},
      {"time too large", [](v1::KeyRing& b) { b.set_written_at_ms(~0ULL); }, "REASON_MALFORMED"},
      {"32 keys", [](v1::KeyRing& b) { FillWithKeys(b, 32); }, "allowed"},
      {"33 keys", [](v1::KeyRing& b) { FillWithKeys(b, 33); }, "REASON_FULL"},
      {"key twice", [](v1::KeyRing& b) { *b.add_keys() = b.keys(0); }, "REASON_MALFORMED"},
      {"empty key", [](v1::KeyRing& b) { b.mutable_keys(0)->clear_public_key(); },
       "REASON_MALFORMED"},
      {"not on the curve",
       [](v1::KeyRing& b) { b.mutable_keys(0)->set_public_key("\x02" + std::string(32, '\xff')); },
       "REASON_MALFORMED"},
      {"65-byte point", [&](v1::KeyRing& b) { b.mutable_keys(0)->set_public_key(uncompressed); },
       "REASON_MALFORMED"},
      {"no role", [](v1::KeyRing& b) { b.mutable_keys(0)->clear_role(); }, "REASON_MALFORMED"},
      {"unknown role",
       [](v1::KeyRing& b) { b.mutable_keys(0)->set_role(static_cast<v1::Role>(99)); },
       "REASON_MALFORMED"},
      {"permission 0",
       [](v1::KeyRing& b) { b.mutable_keys(0)->add_permissions(v1::PERMISSION_UNSPECIFIED); },
       "REASON_MALFORMED"},
      {"what every key may",
       [](v1::KeyRing& b) { b.mutable_keys(0)->add_permissions(v1::PERMISSION_ANY_KEY); },
       "REASON_MALFORMED"},
      {"unknown permission",
       [](v1::KeyRing& b) { b.mutable_keys(0)->add_permissions(static_cast<v1::Permission>(30)); },
       "REASON_MALFORMED"},
      {"too many permissions",
       [](v1::KeyRing& b) {
         for (int i = 0; i < 33; ++i) {
           b.mutable_keys(0)->add_permissions(v1::PERMISSION_OPEN);
         }
       },
       "REASON_MALFORMED"},
      {"window time too large", [](v1::KeyRing& b) { b.mutable_keys(0)->set_not_after_ms(~0ULL); },
       "REASON_MALFORMED"},
      {"14 weekly hours",
       [](v1::KeyRing& b) {
         for (uint32_t i = 0; i < 14; ++i) {
           b.mutable_keys(0)->add_week()->set_start_minute(i);
         }
       },
       "allowed"},
      {"15 weekly hours",
       [](v1::KeyRing& b) {
         for (uint32_t i = 0; i < 15; ++i) {
           b.mutable_keys(0)->add_week()->set_start_minute(i);
         }
       },
       "REASON_MALFORMED"},
      {"last minute of the week",
       [](v1::KeyRing& b) {
         b.mutable_keys(0)->add_week()->set_start_minute(10079);
         b.mutable_keys(0)->add_week()->set_end_minute(10079);
       },
       "allowed"},
      {"a start no week has",
       [](v1::KeyRing& b) { b.mutable_keys(0)->add_week()->set_start_minute(10080); },
       "REASON_MALFORMED"},
      {"an end no week has",
       [](v1::KeyRing& b) { b.mutable_keys(0)->add_week()->set_end_minute(~0U); },
       "REASON_MALFORMED"},
      {"label of 64 bytes",
       [](v1::KeyRing& b) { b.mutable_keys(0)->set_label(std::string(64, 'x')); }, "allowed"},
      {"label of 65 bytes",
       [](v1::KeyRing& b) { b.mutable_keys(0)->set_label(std::string(65, 'x')); },
       "REASON_MALFORMED"},
  };
  for (const BodyCase& c : cases) {
    CAPTURE(c.what);
    v1::KeyRing body = w.Body();
    c.change(body);
    const std::string bytes =
        testing::SignBody(body.SerializeAsString(), w.car.key, w.car.certificate_der);
    CHECK(Said(OpenKeyRing(bytes, w.car.ca_der, kNow)) == c.said);
  }
  const std::string broken = testing::SignBody("\xff", w.car.key, w.car.certificate_der);
  CHECK(Said(OpenKeyRing(broken, w.car.ca_der, kNow)) == "REASON_MALFORMED");
  const std::string not_utf8 = testing::SignBody("\x0a\x01\xff", w.car.key, w.car.certificate_der);
  CHECK(Said(OpenKeyRing(not_utf8, w.car.ca_der, kNow)) == "REASON_MALFORMED");
}

TEST_CASE("keyring: no damaged copy of a ring opens as anything else") {
  const World w;
  const PublicKey car_key = w.car.key.Public();
  testing::ForEachDamaged(w.Sealed(), [&](const std::string& damaged) {
    CHECK_FALSE(OpenKeyRing(damaged, w.car.ca_der, kNow).has_value());
    // Who knows the car's key does not read the CA's signature, so damage there is no damage.
    const Result<KeyRing> of = OpenKeyRingOf(damaged, car_key);
    CHECK((!of || *of == w.ring));
  });
}

TEST_CASE("keyring: a key may what its permissions say, inside its window") {
  World w;
  const KeyId guest = w.guest.Public().Id();
  w.ring.keys[1].not_before = kNow;
  w.ring.keys[1].not_after = kNow + 10 * kSecond;

  struct Case {
    const char* what;
    KeyId key;
    v1::Permission permission;
    Timestamp now;
    const char* said;
  };

  const std::vector<Case> cases = {
      {"stranger", PrivateKey::Generate().Public().Id(), v1::PERMISSION_CLOSE, kNow,
       "REASON_NOT_ON_RING"},
      {"a ms early", guest, v1::PERMISSION_CLOSE, {kNow.ms - 1}, "REASON_OUTSIDE_WINDOW"},
      {"at its beginning", guest, v1::PERMISSION_CLOSE, kNow, "allowed"},
      {"a ms before its end", guest, v1::PERMISSION_CLOSE, {kNow.ms + 9999}, "allowed"},
      {"at its end", guest, v1::PERMISSION_CLOSE, {kNow.ms + 10000}, "REASON_OUTSIDE_WINDOW"},
      {"window before permission", guest, v1::PERMISSION_OPEN, {0}, "REASON_OUTSIDE_WINDOW"},
      {"without the permission", guest, v1::PERMISSION_OPEN, kNow, "REASON_NOT_PERMITTED"},
      {"permission 0", guest, v1::PERMISSION_UNSPECIFIED, kNow, "REASON_NOT_PERMITTED"},
      {"owner, no window", w.owner.Public().Id(), v1::PERMISSION_KEYS, {1}, "allowed"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    CHECK(Said(May(w.ring, c.key, c.permission, c.now)) == c.said);
  }
}

// 2023-11-13 was a Monday.
constexpr Timestamp kMonday{1'699'833'600'000};

Timestamp AtMinute(int64_t minute) {
  return kMonday + Duration(minute * 60'000);
}

TEST_CASE("keyring: weekly hours hold from their first minute to just before their end") {
  struct Case {
    const char* what;
    std::vector<WeekWindow> week;
    Timestamp now;
    bool inside;
  };

  const WeekWindow office{8 * 60, 17 * 60};              // Monday 8 to 17
  const WeekWindow weekend{5 * 1440 + 18 * 60, 6 * 60};  // Saturday 18:00 to Monday 6:00
  const WeekWindow whole{4242, 4242};
  const std::vector<Case> cases = {
      {"none", {}, AtMinute(0), true},
      {"a ms before", {office}, AtMinute(480) - Duration(1), false},
      {"at the start", {office}, AtMinute(480), true},
      {"a ms before the end", {office}, AtMinute(1020) - Duration(1), true},
      {"at the end", {office}, AtMinute(1020), false},
      {"the same hour on Tuesday", {office}, AtMinute(1440 + 600), false},
      {"the same hour a year later", {office}, AtMinute(52 * 10080 + 600), true},
      {"over the end of the week, before", {weekend}, AtMinute(10079), true},
      {"over the end of the week, after", {weekend}, AtMinute(10080), true},
      {"over the end of the week, at its end", {weekend}, AtMinute(360), false},
      {"over the end of the week, in the middle", {weekend}, AtMinute(5000), false},
      {"over the end of the week, at its start", {weekend}, AtMinute(5 * 1440 + 1080), true},
      {"any of two, the first", {office, weekend}, AtMinute(500), true},
      {"any of two, the second", {office, weekend}, AtMinute(10000), true},
      {"any of two, neither", {office, weekend}, AtMinute(2000), false},
      {"the whole week", {whole}, AtMinute(4242), true},
      {"the whole week, just before", {whole}, AtMinute(4241), true},
      {"until midnight on Sunday", {{10000, 0}}, AtMinute(10080) - Duration(1), true},
      {"not beyond", {{10000, 0}}, AtMinute(10080), false},
      {"1970 began on a Thursday", {{3 * 1440, 3 * 1440 + 1}}, {0}, true},
      {"and was Wednesday before", {{3 * 1440 - 1, 3 * 1440}}, {-1}, true},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    CHECK(InWeek(c.week, c.now) == c.inside);
  }
}

TEST_CASE("keyring: hours and window hold together, and go over the wire") {
  World w;
  RingKey& guest = w.ring.keys[1];
  guest.week = {{8 * 60, 17 * 60}, {10000, 10}};
  guest.not_before = kMonday;
  guest.not_after = AtMinute(2 * 10080);
  CHECK(Said(CheckWindow(guest, AtMinute(600))) == "allowed");
  CHECK(Said(CheckWindow(guest, AtMinute(600) - Duration(10080 * 60'000))) ==
        "REASON_OUTSIDE_WINDOW");
  CHECK(Said(CheckWindow(guest, AtMinute(10080 + 600))) == "allowed");
  CHECK(Said(CheckWindow(guest, AtMinute(2 * 10080 + 600))) == "REASON_OUTSIDE_WINDOW");
  CHECK(Said(CheckWindow(guest, AtMinute(1440 + 600))) == "REASON_OUTSIDE_WINDOW");
  CHECK(Said(May(w.ring, guest.id, v1::PERMISSION_CLOSE, AtMinute(1440 + 600))) ==
        "REASON_OUTSIDE_WINDOW");
  CHECK(Said(May(w.ring, guest.id, v1::PERMISSION_CLOSE, AtMinute(600))) == "allowed");
  const Result<KeyRing> opened = OpenKeyRing(w.Sealed(), w.car.ca_der, kNow);
  REQUIRE(opened);
  CHECK(*opened == w.ring);
}

TEST_CASE("keyring: 32 keys with everything a key can have fit a ring") {
  World w;
  w.ring.keys.clear();
  for (size_t i = 0; i < kRingKeysMax; ++i) {
    RingKey key = testing::OnRing(PrivateKey::Generate().Public(), v1::ROLE_OWNER);
    key.not_before = {1};
    key.not_after = {253402300799999};
    key.label = std::string(kLabelBytesMax, 'x');
    key.week.assign(kWeekWindowsMax, WeekWindow{10078, 10079});
    w.ring.keys.push_back(key);
  }
  CHECK(w.Sealed().size() <= kKeyRingBytesMax);
  CHECK(Said(OpenKeyRing(w.Sealed(), w.car.ca_der, kNow)) == "allowed");
}

TEST_CASE("keyring: roles get what the design gives them, and masks turn into lists and back") {
  const uint32_t owner = PermissionsOf(v1::ROLE_OWNER);
  CHECK(PermissionList(owner).size() == 15);
  CHECK(PermissionsOf(v1::ROLE_DRIVER) == (owner & ~Bit(v1::PERMISSION_KEYS)));
  CHECK(PermissionsOf(v1::ROLE_FLEET) == owner);
  const uint32_t guest = PermissionsOf(v1::ROLE_GUEST);
  CHECK((guest & Bit(v1::PERMISSION_OPEN)) == 0);
  CHECK((guest & Bit(v1::PERMISSION_READ_LOCATION)) == 0);
  CHECK((guest & Bit(v1::PERMISSION_READ_ENERGY)) != 0);
  CHECK(PermissionsOf(v1::ROLE_UNSPECIFIED) == 0);
  CHECK(PermissionsOf(static_cast<v1::Role>(99)) == 0);
  CHECK(PermissionList(0xffffffffU).size() == 15);
  CHECK((guest & Bit(v1::PERMISSION_READ_AREA)) == 0);
  uint32_t again = 0;
  for (const v1::Permission permission : PermissionList(guest)) {
    again |= Bit(permission);
  }
  CHECK(again == guest);
}

TEST_CASE("keyring: who may read the location may read the area, and the ring need not say so") {
  constexpr uint32_t kArea = Bit(v1::PERMISSION_READ_AREA);
  constexpr uint32_t kLocation = Bit(v1::PERMISSION_READ_LOCATION);
  RingKey key = testing::OnRing(PrivateKey::Generate().Public(), v1::ROLE_OWNER);
  CHECK((key.permissions & kArea) != 0);
  const v1::Key owner = KeyToWire(key);
  CHECK(std::count(owner.permissions().begin(), owner.permissions().end(),
                   v1::PERMISSION_READ_AREA) == 0);
  CHECK(KeyFromWire(owner).value().permissions == key.permissions);
  key.permissions = kArea;
  const v1::Key coarse = KeyToWire(key);
  REQUIRE(coarse.permissions_size() == 1);
  CHECK(KeyFromWire(coarse).value().permissions == kArea);
  CHECK(WithImplied(kLocation) == (kLocation | kArea));
  CHECK(WithImplied(kArea) == kArea);
}

}  // namespace
}  // namespace latchkey
