// Commands: the action table, the checks in the order of their errors, and that nothing but the
// signed bytes passes.
#include "proto/command.h"

#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using testing::kNow;
using testing::kSecond;
using testing::Said;

const CarRef kRef = testing::Ref("f1", "car1");

struct World {
  PrivateKey key = PrivateKey::Generate();
  KeyId lane = key.Public().Id();
  KeyRing ring{kRef, 1, kNow, {testing::OnRing(key.Public(), v1::ROLE_OWNER)}};

  // A good body: an unlock that lives 30 s.
  v1::Command Body() const {
    v1::Command body;
    body.set_fleet("f1");
    body.set_car("car1");
    body.set_command_id(std::string(16, 'i'));
    body.set_issued_at_ms(static_cast<uint64_t>(kNow.ms));
    body.set_expires_at_ms(static_cast<uint64_t>(kNow.ms) + 30000);
    body.set_key_id(lane.str());
    body.mutable_unlock();
    return body;
  }

  std::string Sign(const v1::Command& body) const {
    return testing::SignCommandBody(body.SerializeAsString(), key);
  }

  Command Parsed(const v1::Command& body) const {
    return ParseCommand(Sign(body), kRef, lane).value();
  }
};

// The action `field` with arguments that are in range.
v1::Command GoodAction(int field) {
  v1::Command body;
  const auto* descriptor = v1::Command::descriptor()->FindFieldByNumber(field);
  body.GetReflection()->MutableMessage(&body, descriptor);
  if (body.has_charge_limit()) {
    body.mutable_charge_limit()->set_percent(80);
  } else if (body.has_send_destination()) {
    v1::Leg* leg = body.mutable_send_destination()->add_legs();
    leg->set_latitude(52.5);
    leg->set_longitude(13.4);
    leg->set_mode(v1::TRAVEL_MODE_DRIVE);
  } else if (body.has_install_app()) {
    body.mutable_install_app()->set_app_id("org.example.radio");
  } else if (body.has_remove_app()) {
    body.mutable_remove_app()->set_app_id("org.example.radio");
  } else if (body.has_add_key()) {
    *body.mutable_add_key()->mutable_key() =
        KeyToWire(testing::OnRing(PrivateKey::Generate().Public(), v1::ROLE_GUEST));
  } else if (body.has_remove_key()) {
    body.mutable_remove_key()->set_key_id(std::string(22, 'A'));
  } else if (body.has_cancel()) {
    body.mutable_cancel()->set_command_id(std::string(16, 'c'));
  }
  return body;
}

TEST_CASE("command: every action of the schema has its class, permission, slot and longest life") {
  using std::chrono::hours;
  using std::chrono::minutes;
  const std::map<v1::CommandClass, Duration> lifetimes = {
      {v1::COMMAND_CLASS_OPEN, minutes(1)},    {v1::COMMAND_CLASS_SIGNAL, minutes(1)},
      {v1::COMMAND_CLASS_CLOSE, minutes(10)},  {v1::COMMAND_CLASS_COMFORT, minutes(30)},
      {v1::COMMAND_CLASS_SETTINGS, hours(24)}, {v1::COMMAND_CLASS_REMOVE_KEY, Duration(0)}};
  CHECK(ActionTable().size() == 23);
  for (const ActionFacts& facts : ActionTable()) {
    CAPTURE(facts.name);
    CHECK(lifetimes.at(facts.command_class) == facts.lifetime_max);
    CHECK(FindAction(facts.field) == &facts);
    CHECK(FindAction(facts.name) == &facts);
  }
  const ActionFacts* unlock = FindAction("unlock");
  REQUIRE(unlock != nullptr);
  CHECK(unlock->command_class == v1::COMMAND_CLASS_OPEN);
  CHECK(unlock->permission == v1::PERMISSION_OPEN);
  CHECK(unlock->slot == v1::SLOT_LOCK);
  CHECK(FindAction("lock")->slot == v1::SLOT_LOCK);
  CHECK(FindAction("add_key")->permission == v1::PERMISSION_KEYS);
  CHECK(FindAction("explode") == nullptr);
  CHECK(FindAction("") == nullptr);
  CHECK(FindAction(0) == nullptr);
  CHECK(FindAction(6) == nullptr);
  CHECK(FindAction(39) == nullptr);
}

TEST_CASE("command: every action seals, parses and passes") {
  const World w;
  for (const ActionFacts& facts : ActionTable()) {
    CAPTURE(facts.name);
    CommandRequest request{kRef, testing::TestId(), kNow, kNow + facts.lifetime_max,
                           GoodAction(facts.field)};
    if (facts.lifetime_max.count() == 0) {
      request.expires_at.reset();
    }
    const std::string wire = SealCommand(request, w.key).value();
    const Result<Command> command = ParseCommand(wire, kRef, w.lane);
    REQUIRE(command);
    CHECK(command->action == &facts);
    CHECK(command->id == testing::TestId());
    CHECK(command->expires_at == request.expires_at);
    CHECK(command->wire == wire);
    CHECK(ExpiryOf(wire).value() == request.expires_at);
    CHECK(Said(CheckTime(*command, kNow)) == "allowed");
    CHECK(Said(CheckAuthority(*command, w.ring, kNow)) == "allowed");
  }
}

TEST_CASE("command: what cannot be sealed") {
  const World w;
  CommandRequest request{kRef, testing::TestId(), kNow, kNow + 60 * kSecond, {}};
  CHECK(Said(SealCommand(request, w.key)) == "REASON_UNKNOWN_ACTION");
  request.action.mutable_unlock();
  CHECK(Said(SealCommand(request, w.key)) == "allowed");
  request.expires_at = kNow + 60 * kSecond + Duration(1);
  CHECK(Said(SealCommand(request, w.key)) == "REASON_LIFETIME_TOO_LONG");
  request.expires_at.reset();
  CHECK(Said(SealCommand(request, w.key)) == "REASON_LIFETIME_TOO_LONG");
  request.expires_at = kNow + kSecond;
  request.action.mutable_cancel()->set_command_id(request.id.ToBytes());
  CHECK_MESSAGE(Said(SealCommand(request, w.key)) == "REASON_IMPOSSIBLE_VALUE", "itself");
  request.action.mutable_charge_limit()->set_percent(101);
  CHECK(Said(SealCommand(request, w.key)) == "REASON_IMPOSSIBLE_VALUE");
}

struct BodyCase {
  const char* what;
  std::function<void(v1::Command&)> change;
  const char* said;
};

TEST_CASE("command: what does not parse, in the order of the checks") {
  const World w;
  const std::vector<BodyCase> cases = {
      {"untouched", [](v1::Command&) {}, "allowed"},
      {"bad fleet", [](v1::Command& b) { b.set_fleet("F1"); }, "REASON_MALFORMED"},
      {"no car", [](v1::Command& b) { b.clear_car(); }, "REASON_MALFORMED"},
      {"short id", [](v1::Command& b) { b.set_command_id("id"); }, "REASON_MALFORMED"},
      {"bad key id", [](v1::Command& b) { b.set_key_id("k"); }, "REASON_MALFORMED"},
      {"no time of issue", [](v1::Command& b) { b.clear_issued_at_ms(); }, "REASON_MALFORMED"},
      {"issue too late", [](v1::Command& b) { b.set_issued_at_ms(~0ULL); }, "REASON_MALFORMED"},
      {"expiry too late", [](v1::Command& b) { b.set_expires_at_ms(~0ULL); }, "REASON_MALFORMED"},
      {"no action", [](v1::Command& b) { b.clear_action(); }, "REASON_UNKNOWN_ACTION"},
      {"action of a newer schema",
       [](v1::Command& b) {
         b.clear_action();
         b.GetReflection()->MutableUnknownFields(&b)->AddLengthDelimited(99, "");
       },
       "REASON_UNKNOWN_ACTION"},
      {"unknown action before the wrong car",
       [](v1::Command& b) {
         b.clear_action();
         b.set_car("car2");
       },
       "REASON_UNKNOWN_ACTION"},
      {"argument before the wrong car",
       [](v1::Command& b) {
         b.mutable_charge_limit();
         b.set_car("car2");
       },
       "REASON_IMPOSSIBLE_VALUE"},
      {"other fleet", [](v1::Command& b) { b.set_fleet("f2"); }, "REASON_WRONG_CAR"},
      {"other car", [](v1::Command& b) { b.set_car("car2"); }, "REASON_WRONG_CAR"},
      {"other lane", [](v1::Command& b) { b.set_key_id(std::string(22, 'A')); },
       "REASON_WRONG_LANE"},
  };
  for (const BodyCase& c : cases) {
    CAPTURE(c.what);
    v1::Command body = w.Body();
    c.change(body);
    CHECK(Said(ParseCommand(w.Sign(body), kRef, w.lane)) == c.said);
  }
  const auto parse = [&](const std::string& bytes) {
    return Said(ParseCommand(bytes, kRef, w.lane));
  };
  CHECK(parse(std::string(kCommandBytesMax + 1, '\xff')) == "REASON_TOO_LARGE");
  CHECK(parse(std::string(kCommandBytesMax, '\xff')) == "REASON_MALFORMED");
  CHECK(parse("") == "REASON_MALFORMED");
  CHECK(parse(testing::SignCommandBody("\xff", w.key)) == "REASON_MALFORMED");
  CHECK(parse(testing::SignCommandBody("\x0a\x01\xff", w.key)) == "REASON_MALFORMED");
  v1::SignedCommand unsigned_command;
  unsigned_command.set_command(w.Body().SerializeAsString());
  CHECK(parse(unsigned_command.SerializeAsString()) == "REASON_MALFORMED");
}

v1::Leg* AddLeg(v1::Command& body) {
  v1::Leg* leg = body.mutable_send_destination()->add_legs();
  leg->set_mode(v1::TRAVEL_MODE_WALK);
  return leg;
}

void AddLegs(v1::Command& body, int count) {
  for (int i = 0; i < count; ++i) {
    AddLeg(body);
  }
}

std::vector<BodyCase> SettingCases() {
  return {
      {"climate as set", [](auto& b) { b.mutable_climate_on(); }, "allowed"},
      {"16", [](auto& b) { b.mutable_climate_on()->set_target_temperature(16); }, "allowed"},
      {"28", [](auto& b) { b.mutable_climate_on()->set_target_temperature(28); }, "allowed"},
      {"15.9", [](auto& b) { b.mutable_climate_on()->set_target_temperature(15.9F); }, "no"},
      {"28.1", [](auto& b) { b.mutable_climate_on()->set_target_temperature(28.1F); }, "no"},
      {"nan",
       [](auto& b) {
         b.mutable_climate_on()->set_target_temperature(std::numeric_limits<float>::quiet_NaN());
       },
       "no"},
      {"60 min", [](auto& b) { b.mutable_climate_on()->set_minutes(60); }, "allowed"},
      {"61 min", [](auto& b) { b.mutable_climate_on()->set_minutes(61); }, "no"},
      {"19 %", [](auto& b) { b.mutable_charge_limit()->set_percent(19); }, "no"},
      {"20 %", [](auto& b) { b.mutable_charge_limit()->set_percent(20); }, "allowed"},
      {"100 %", [](auto& b) { b.mutable_charge_limit()->set_percent(100); }, "allowed"},
      {"101 %", [](auto& b) { b.mutable_charge_limit()->set_percent(101); }, "no"},
      {"no departures", [](auto& b) { b.mutable_departure_schedule(); }, "allowed"},
      {"departure 23:59",
       [](auto& b) { b.mutable_departure_schedule()->add_departures()->set_minute_of_day(1439); },
       "allowed"},
      {"departure 24:00",
       [](auto& b) { b.mutable_departure_schedule()->add_departures()->set_minute_of_day(1440); },
       "no"},
      {"eighth weekday",
       [](auto& b) { b.mutable_departure_schedule()->add_departures()->set_weekdays(128); }, "no"},
      {"9 departures",
       [](auto& b) {
         for (int i = 0; i < 9; ++i) {
           b.mutable_departure_schedule()->add_departures();
         }
       },
       "no"},
      {"no windows", [](auto& b) { b.mutable_charge_schedule(); }, "allowed"},
      {"window without days", [](auto& b) { b.mutable_charge_schedule()->add_windows(); }, "no"},
      {"window on Mondays",
       [](auto& b) { b.mutable_charge_schedule()->add_windows()->set_weekdays(1); }, "allowed"},
      {"window ends at 24:00",
       [](auto& b) {
         v1::ChargeWindow* window = b.mutable_charge_schedule()->add_windows();
         window->set_weekdays(1);
         window->set_end_minute(1440);
       },
       "no"},
  };
}

std::vector<BodyCase> OtherArgumentCases() {
  return {
      {"no legs", [](auto& b) { b.mutable_send_destination(); }, "no"},
      {"8 legs", [](auto& b) { AddLegs(b, 8); }, "allowed"},
      {"9 legs", [](auto& b) { AddLegs(b, 9); }, "no"},
      {"the pole", [](auto& b) { AddLeg(b)->set_latitude(-90); }, "allowed"},
      {"beyond the pole", [](auto& b) { AddLeg(b)->set_latitude(-90.01); }, "no"},
      {"beyond the date line", [](auto& b) { AddLeg(b)->set_longitude(180.01); }, "no"},
      {"nowhere",
       [](auto& b) { AddLeg(b)->set_latitude(std::numeric_limits<double>::quiet_NaN()); }, "no"},
      {"name of 128", [](auto& b) { AddLeg(b)->set_name(std::string(128, 'x')); }, "allowed"},
      {"name of 129", [](auto& b) { AddLeg(b)->set_name(std::string(129, 'x')); }, "no"},
      {"no mode", [](auto& b) { AddLeg(b)->set_mode(v1::TRAVEL_MODE_UNSPECIFIED); }, "no"},
      {"unknown mode", [](auto& b) { AddLeg(b)->set_mode(static_cast<v1::TravelMode>(9)); }, "no"},
      {"app", [](auto& b) { b.mutable_install_app()->set_app_id("org.example"); }, "allowed"},
      {"app without id", [](auto& b) { b.mutable_install_app(); }, "no"},
      {"app without dot", [](auto& b) { b.mutable_remove_app()->set_app_id("radio"); }, "no"},
      {"app with two dots", [](auto& b) { b.mutable_remove_app()->set_app_id("a..b"); }, "no"},
      {"app ends in a dot", [](auto& b) { b.mutable_remove_app()->set_app_id("a.b."); }, "no"},
      {"app with a path", [](auto& b) { b.mutable_remove_app()->set_app_id("../a.b"); }, "no"},
      {"app of 129",
       [](auto& b) { b.mutable_remove_app()->set_app_id("a." + std::string(127, 'b')); }, "no"},
      {"version of 33",
       [](auto& b) {
         b.mutable_install_app()->set_app_id("a.b");
         b.mutable_install_app()->set_version(std::string(33, '1'));
       },
       "no"},
      {"add nothing", [](auto& b) { b.mutable_add_key(); }, "no"},
      {"remove nothing", [](auto& b) { b.mutable_remove_key(); }, "no"},
      {"cancel nothing", [](auto& b) { b.mutable_cancel(); }, "no"},
      {"cancel 15 bytes", [](auto& b) { b.mutable_cancel()->set_command_id(std::string(15, 'c')); },
       "no"},
      {"cancel another", [](auto& b) { b.mutable_cancel()->set_command_id(std::string(16, 'c')); },
       "allowed"},
      {"cancel itself", [](auto& b) { b.mutable_cancel()->set_command_id(b.command_id()); }, "no"},
  };
}

TEST_CASE("command: arguments outside the range the schema states are refused") {
  const World w;
  std::vector<BodyCase> cases = SettingCases();
  const std::vector<BodyCase> more = OtherArgumentCases();
  cases.insert(cases.end(), more.begin(), more.end());
  for (const BodyCase& c : cases) {
    CAPTURE(c.what);
    v1::Command body = w.Body();
    c.change(body);
    const std::string said =
        std::string(c.said) == "no" ? "REASON_IMPOSSIBLE_VALUE" : std::string(c.said);
    CHECK(Said(ParseCommand(w.Sign(body), kRef, w.lane)) == said);
  }
}

// A Command as bytes, wrapped without a signature: what ExpiryOf reads.
std::string Wrapped(const std::string& body) {
  v1::SignedCommand outer;
  outer.set_command(body);
  return outer.SerializeAsString();
}

TEST_CASE("command: the cheap expiry is what a full parse says") {
  const World w;
  const v1::Command good = w.Body();
  const std::string body = good.SerializeAsString();
  const auto expiry = [](const std::string& bytes) { return ExpiryOf(bytes).value().value().ms; };
  CHECK(expiry(Wrapped(body)) == kNow.ms + 30000);
  CHECK_MESSAGE(expiry(Wrapped(body + "\x28\x05")) == 5, "the last occurrence wins");
  CHECK_MESSAGE(expiry(Wrapped("\x28\x05" + body)) == kNow.ms + 30000, "the last occurrence wins");
  CHECK_MESSAGE(expiry(Wrapped(body + std::string("\x28\x85\x80\x80\x00", 5))) == 5,
                "a varint may be longer than it must");
  CHECK_MESSAGE(expiry(Wrapped(body + "\x2a\x01\x05")) == kNow.ms + 30000,
                "another wire type is another field");
  CHECK_MESSAGE(expiry(Wrapped(body + "\xf3\x07\x28\x05\xf4\x07")) == kNow.ms + 30000,
                "a field inside a group is not ours");
  v1::Command early = good;
  early.set_expires_at_ms(7);
  CHECK_MESSAGE(expiry(Wrapped(body) + Wrapped(early.SerializeAsString())) == 7,
                "the last body wins");
}

TEST_CASE("command: an expiry that cannot be read, or is missing where one is needed, is refused") {
  const World w;
  v1::Command no_expiry = w.Body();
  no_expiry.clear_expires_at_ms();
  CHECK(Said(ExpiryOf(w.Sign(no_expiry))) == "REASON_MALFORMED");
  no_expiry.mutable_remove_key();
  CHECK(ExpiryOf(w.Sign(no_expiry)).value() == std::nullopt);
  no_expiry.clear_action();
  CHECK(Said(ExpiryOf(w.Sign(no_expiry))) == "REASON_MALFORMED");
  v1::Command far = w.Body();
  far.set_expires_at_ms(~0ULL);
  CHECK(Said(ExpiryOf(w.Sign(far))) == "REASON_MALFORMED");
  const std::vector<std::string> hostile = {
      "",
      "\x0a",
      "\x0a\x05\x01",
      "\x0a\xff\xff\xff\xff\x0f",
      "\x0a\xff\xff\xff\xff\x07",
      std::string("\x00", 1),
      "\x0c",
      "\x0b",
      Wrapped("\x28"),
      Wrapped("\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
      Wrapped("\x2b"),
      std::string(kCommandBytesMax + 1, '\x0a'),
      std::string(kCommandBytesMax, '\x0b'),
  };
  for (const std::string& bytes : hostile) {
    CAPTURE(bytes.size());
    CHECK(Said(ExpiryOf(bytes)) == "REASON_MALFORMED");
  }
}

TEST_CASE("command: time is checked to the millisecond") {
  const World w;

  struct Case {
    const char* what;
    int64_t issued;
    int64_t expires;  // 0: none
    const char* said;
  };

  // Of an unlock, relative to now; an unlock lives a minute at most.
  const std::vector<Case> cases = {
      {"expires in a ms", -1000, 1, "allowed"},
      {"expires at this ms", -1000, 0, "REASON_EXPIRED"},
      {"expired long ago, and too long", -200000, -1, "REASON_EXPIRED"},
      {"expires when issued", 10, 10, "REASON_EXPIRED"},
      {"expires before issued", 10, 9, "REASON_EXPIRED"},
      {"a minute", -1, 59999, "allowed"},
      {"a minute and a ms", -1, 60000, "REASON_LIFETIME_TOO_LONG"},
      {"issued 5 min ahead", 300000, 360000, "allowed"},
      {"issued 5 min and a ms ahead", 300001, 360000, "REASON_LIFETIME_TOO_LONG"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    v1::Command body = w.Body();
    body.set_issued_at_ms(static_cast<uint64_t>(kNow.ms + c.issued));
    body.set_expires_at_ms(static_cast<uint64_t>(kNow.ms + c.expires));
    CHECK(Said(CheckTime(w.Parsed(body), kNow)) == c.said);
  }
  v1::Command body = w.Body();
  body.clear_expires_at_ms();
  CHECK(Said(CheckTime(w.Parsed(body), kNow)) == "REASON_LIFETIME_TOO_LONG");
  *body.mutable_remove_key() = GoodAction(36).remove_key();
  CHECK(Said(CheckTime(w.Parsed(body), kNow + std::chrono::hours(24 * 365))) == "allowed");
  body.set_expires_at_ms(static_cast<uint64_t>(kNow.ms) + 1);
  CHECK(Said(CheckTime(w.Parsed(body), kNow + Duration(1))) == "REASON_EXPIRED");
}

TEST_CASE(
    "command: every key on the ring may cancel inside its window, also one that may nothing") {
  const World w;
  v1::Command body = w.Body();
  *body.mutable_cancel() = GoodAction(38).cancel();
  const Command command = w.Parsed(body);
  KeyRing ring = w.ring;
  ring.keys[0].permissions = 0;
  CHECK(Said(CheckAuthority(command, ring, kNow)) == "allowed");
  ring.keys[0].not_after = kNow;
  CHECK(Said(CheckAuthority(command, ring, kNow)) == "REASON_OUTSIDE_WINDOW");
  ring.keys.clear();
  CHECK(Said(CheckAuthority(command, ring, kNow)) == "REASON_NOT_ON_RING");
}

TEST_CASE("command: authority is ring, window, permission, signature, in this order") {
  const World w;
  const Command command = w.Parsed(w.Body());
  CHECK(Said(CheckAuthority(command, w.ring, kNow)) == "allowed");
  KeyRing ring = w.ring;
  ring.keys[0].not_after = kNow;
  ring.keys[0].permissions = 0;
  CHECK(Said(CheckAuthority(command, ring, kNow)) == "REASON_OUTSIDE_WINDOW");
  ring.keys[0].not_after = kNow + Duration(1);
  CHECK(Said(CheckAuthority(command, ring, kNow)) == "REASON_NOT_PERMITTED");
  ring.keys[0].permissions = Bit(v1::PERMISSION_OPEN);
  CHECK(Said(CheckAuthority(command, ring, kNow)) == "allowed");
  ring.keys[0].public_key = PrivateKey::Generate().Public().ToPoint();
  CHECK(Said(CheckAuthority(command, ring, kNow)) == "REASON_BAD_SIGNATURE");
  ring.keys[0].public_key = "not a point";
  CHECK(Said(CheckAuthority(command, ring, kNow)) == "REASON_BAD_SIGNATURE");
  ring.keys.clear();
  CHECK(Said(CheckAuthority(command, ring, kNow)) == "REASON_NOT_ON_RING");
  KeyRing others = w.ring;
  others.ref = testing::Ref("f1", "car2");
  CHECK(Said(CheckAuthority(command, others, kNow)) == "REASON_NOT_ON_RING");
}

TEST_CASE("command: nobody adds a key that may more than they may") {
  World w;
  v1::Command body = w.Body();
  *body.mutable_add_key()->mutable_key() =
      KeyToWire(testing::OnRing(PrivateKey::Generate().Public(), v1::ROLE_GUEST));
  CHECK(Said(CheckAuthority(w.Parsed(body), w.ring, kNow)) == "allowed");
  w.ring.keys[0].permissions &= ~Bit(v1::PERMISSION_READ_ENERGY);
  CHECK(Said(CheckAuthority(w.Parsed(body), w.ring, kNow)) == "REASON_NOT_PERMITTED");
}

TEST_CASE("command: nobody replaces or removes a key that may more than they may") {
  World w;
  const PrivateKey other = PrivateKey::Generate();
  RingKey held = testing::OnRing(other.Public(), v1::ROLE_OWNER);
  w.ring.keys.push_back(held);
  v1::Command narrow = w.Body();
  *narrow.mutable_add_key()->mutable_key() =
      KeyToWire(testing::OnRing(other.Public(), v1::ROLE_GUEST));
  v1::Command remove = w.Body();
  remove.mutable_remove_key()->set_key_id(held.id.str());
  const auto said = [&w](const v1::Command& body) {
    return Said(CheckAuthority(w.Parsed(body), w.ring, kNow));
  };
  CHECK(said(narrow) == "allowed");
  CHECK(said(remove) == "allowed");
  // A signer who keeps keys but may not open: the other owner is above them.
  w.ring.keys[0].permissions &= ~Bit(v1::PERMISSION_OPEN);
  CHECK(said(narrow) == "REASON_NOT_PERMITTED");
  CHECK(said(remove) == "REASON_NOT_PERMITTED");
  w.ring.keys[1].permissions = w.ring.keys[0].permissions;
  CHECK(said(narrow) == "allowed");
  CHECK(said(remove) == "allowed");
  // Oneself may always be removed; a key that is not on the ring has nothing.
  w.ring.keys.pop_back();
  CHECK(said(remove) == "allowed");
  remove.mutable_remove_key()->set_key_id(w.lane.str());
  CHECK(said(remove) == "allowed");
}

TEST_CASE("command: a key outside its weekly hours has no authority") {
  World w;
  const Command command = w.Parsed(w.Body());
  // kNow is Tuesday, 22:13:20 UTC.
  w.ring.keys[0].week = {{1440 + 22 * 60, 1440 + 22 * 60 + 14}};
  CHECK(Said(CheckAuthority(command, w.ring, kNow)) == "allowed");
  w.ring.keys[0].week = {{1440 + 22 * 60, 1440 + 22 * 60 + 13}};
  CHECK(Said(CheckAuthority(command, w.ring, kNow)) == "REASON_OUTSIDE_WINDOW");
}

TEST_CASE("command: no damaged copy of a command passes") {
  const World w;
  testing::ForEachDamaged(w.Sign(w.Body()), [&](const std::string& damaged) {
    const Result<Command> command = ParseCommand(damaged, kRef, w.lane);
    CHECK((!command || !CheckAuthority(*command, w.ring, kNow).allowed()));
    const Result<std::optional<Timestamp>> expiry = ExpiryOf(damaged);
    if (command) {
      // What may not be without an expiry has none to read; else both agree.
      const bool needs = !command->expires_at && command->action->lifetime_max.count() != 0;
      CHECK((needs ? !expiry : expiry.value() == command->expires_at));
    }
  });
}

}  // namespace
}  // namespace latchkey
