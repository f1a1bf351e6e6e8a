// What people say a key shall be allowed, as the key it makes.
#include "tools/latchkey/rights.h"

#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

const Now kAt{testing::kNow, Instant{0}};

RingKey Guest() {
  return NewGuest(PrivateKey::Generate().Public(), "bob");
}

RightsWish Wish(const std::function<void(RightsWish&)>& change) {
  RightsWish wish;
  change(wish);
  return wish;
}

}  // namespace

TEST_CASE("rights: options make the key, anything else is refused with what there is") {
  struct Row {
    RightsWish wish;
    std::string said;  // role, rights and times, or the reason
  };

  const std::string guest = "may signal, close, comfort; sees body, energy, climate, drive";
  const std::vector<Row> rows = {
      {{}, "guest: " + guest},
      {Wish([](auto& w) { w.role = "driver"; }),
       "driver: may open, signal, close, comfort, settings; sees everything"},
      {Wish([](auto& w) { w.role = "owner"; }), "owner: may everything; sees everything"},
      {Wish([](auto& w) { w.role = "fleet"; }), "REASON_MALFORMED"},
      {Wish([](auto& w) { w.role = "king"; }), "REASON_MALFORMED"},
      {Wish([](auto& w) { w.may = {"signal"}; }),
       "guest: may signal; sees body, energy, climate, drive"},
      {Wish([](auto& w) { w.sees = {"body", "location"}; }),
       "guest: may signal, close, comfort; sees body, location, area"},
      {Wish([](auto& w) {
         w.may = {"none"};
         w.sees = {"none"};
       }),
       "guest: may nothing; sees nothing"},
      {Wish([](auto& w) {
         w.role = "owner";
         w.may = {"open", "keys"};
         w.sees = {"all"};
       }),
       "owner: may open, keys; sees everything"},
      {Wish([](auto& w) { w.may = {"fly"}; }), "REASON_MALFORMED"},
      {Wish([](auto& w) { w.may = {"body"}; }), "REASON_MALFORMED"},
      {Wish([](auto& w) { w.may = {"none", "open"}; }), "REASON_MALFORMED"},
      {Wish([](auto& w) { w.sees = {"keys"}; }), "REASON_MALFORMED"},
      {Wish([](auto& w) { w.until = "1970-01-02T00:00Z"; }), "REASON_MALFORMED"},
      {Wish([](auto& w) {
         w.from = "3h";
         w.until = "2h";
       }),
       "REASON_MALFORMED"},
      {Wish([](auto& w) { w.until = "someday"; }), "REASON_MALFORMED"},
      {Wish([](auto& w) { w.until = "never"; }), "guest: " + guest},
      {Wish([](auto& w) { w.hours = {"mon-fri 08:00-18:00"}; }),
       "guest: " + guest + "; mon-fri 08:00-18:00 (UTC+01:00)"},
      {Wish([](auto& w) { w.hours = {"mon-fri"}; }), "REASON_MALFORMED"},
      {Wish([](auto& w) { w.label = std::string(65, 'x'); }), "REASON_TOO_LARGE"},
  };
  for (const Row& row : rows) {
    const Result<RingKey> key = Apply(row.wish, Guest(), kAt, 60);
    const std::string times = key ? TimesText(*key, 60) : "";
    CHECK((key ? RoleText(key->role) + ": " + RightsText(key->permissions) +
                     (times.empty() ? "" : "; " + times)
               : testing::Said(key.error().reason)) == row.said);
    if (key) {
      // What is made is what the wire takes.
      CHECK(KeyFromWire(KeyToWire(*key)) == *key);
    }
  }
}

TEST_CASE("rights: what no option names stays as it is") {
  RingKey key = Guest();
  key.permissions = WithImplied(Bit(v1::PERMISSION_OPEN) | Bit(v1::PERMISSION_READ_LOCATION));
  key.not_after = testing::kNow + std::chrono::hours(5);
  key.week = {{480, 1080}};
  CHECK(Apply({}, key, kAt, 60).value() == key);
  RightsWish wish;
  wish.may = {"signal"};
  const RingKey narrowed = Apply(wish, key, kAt, 60).value();
  CHECK(RightsText(narrowed.permissions) == "may signal; sees location, area");
  CHECK(narrowed.not_after == key.not_after);
  CHECK(narrowed.week == key.week);
  wish.until = "never";
  wish.hours = {"always"};
  const RingKey widened = Apply(wish, key, kAt, 60).value();
  CHECK(widened.not_after.ms == 0);
  CHECK(widened.week.empty());
}

TEST_CASE("rights: nobody gives what they do not have") {
  RingKey owner = Guest();
  owner.permissions = PermissionsOf(v1::ROLE_OWNER);
  RingKey driver = Guest();
  driver.permissions = PermissionsOf(v1::ROLE_DRIVER);
  RingKey keeper = Guest();
  keeper.permissions = PermissionsOf(v1::ROLE_GUEST) | Bit(v1::PERMISSION_KEYS);
  CHECK(MayGive(owner, Guest()).has_value());
  CHECK(MayGive(owner, owner).has_value());
  CHECK(testing::Said(MayGive(driver, Guest())) == "REASON_NOT_PERMITTED");
  CHECK(MayGive(keeper, Guest()).has_value());
  const Result<void> more = MayGive(keeper, driver);
  CHECK(testing::Said(more) == "REASON_NOT_PERMITTED");
  CHECK(more.error().text.find("open, settings, location") != std::string::npos);
}

TEST_CASE("rights: a key is found by its id or by a label that only it has") {
  KeyRing ring{testing::Ref("demo", "car-1"), 2, testing::kNow, {Guest(), Guest(), Guest()}};
  ring.keys[1].label = "carol";
  ring.keys[2].label = "carol";
  CHECK(FindKey(ring, "bob").value() == ring.keys[0]);
  CHECK(FindKey(ring, ring.keys[2].id.str()).value() == ring.keys[2]);
  CHECK(testing::Said(FindKey(ring, "carol")) == "REASON_NOT_ON_RING");
  CHECK(testing::Said(FindKey(ring, "dave")) == "REASON_NOT_ON_RING");
  CHECK(testing::Said(FindKey(ring, "")) == "REASON_NOT_ON_RING");
}

TEST_CASE("show: what somebody else chose cannot drive the terminal") {
  CHECK(Printable("bob") == "bob");
  CHECK(Printable("Jürgen \xf0\x9f\x9a\x97") == "Jürgen \xf0\x9f\x9a\x97");
  CHECK(Printable("\x1b[2J\nbob\x7f") == "?[2J?bob?");
  CHECK(Printable("a\xc2\x9b"
                  "31m") == "a?31m");
}

TEST_CASE("show: progress tells rate and what is left") {
  CHECK(ProgressText(0, 100, Duration(0)) == "[--------------------]  0/100");
  CHECK(ProgressText(50, 100, std::chrono::seconds(10)) ==
        "[##########----------]  50/100  5.0/s  10 s left");
  CHECK(ProgressText(100, 100, std::chrono::seconds(10)) ==
        "[####################]  100/100  10.0/s");
}

}  // namespace latchkey::cli
