// SMS to a car: what fits goes through unchanged, and nothing opens without the relay key.
#include "proto/sms.h"

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
  KeyRing ring{kRef,
               1,
               kNow,
               {testing::OnRing(PrivateKey::Generate().Public(), v1::ROLE_GUEST),
                testing::OnRing(key.Public(), v1::ROLE_OWNER)}};
  std::string relay_key = std::string(32, 'r');

  Command Sealed(const v1::Command& action, std::optional<Timestamp> expires_at) const {
    const CommandRequest request{kRef, testing::TestId(), kNow, expires_at, action};
    return ParseCommand(SealCommand(request, key).value(), kRef, lane).value();
  }

  Command Lock() const {
    v1::Command action;
    action.mutable_lock();
    return Sealed(action, kNow + 600 * kSecond);
  }

  // `body` as it stands, signed; parsed.
  Command Signed(const std::string& body) const {
    return ParseCommand(testing::SignCommandBody(body, key), kRef, lane).value();
  }

  Result<std::variant<WakeSms, CommandSms>> Open(std::string_view bytes) const {
    return OpenSms(bytes, kRef, ring, relay_key);
  }
};

TEST_CASE("sms: a wake opens to its time, and is 23 bytes") {
  const World w;
  const std::string bytes = MakeWakeSms(kRef, kNow, w.relay_key);
  CHECK(bytes.size() == 23);
  const auto opened = w.Open(bytes);
  REQUIRE(opened);
  CHECK(std::get<WakeSms>(*opened).at == kNow);
}

TEST_CASE("sms: simple commands go whole and come out as the bytes the phone signed") {
  const World w;

  struct Case {
    const char* what;
    v1::Command action;
    Duration life;
  };

  std::vector<Case> cases;
  const auto add = [&](const char* what, Duration life, const auto& fill) {
    v1::Command action;
    fill(action);
    cases.push_back({what, action, life});
  };
  add("lock", 600 * kSecond, [](auto& a) { a.mutable_lock(); });
  add("unlock", 60 * kSecond, [](auto& a) { a.mutable_unlock(); });
  add("horn", Duration(1), [](auto& a) { a.mutable_sound_horn(); });
  add("climate", 1800 * kSecond, [](auto& a) {
    a.mutable_climate_on()->set_target_temperature(21.5F);
    a.mutable_climate_on()->set_minutes(30);
  });
  add("limit", 86400 * kSecond, [](auto& a) { a.mutable_charge_limit()->set_percent(80); });
  add("cancel", 86400 * kSecond,
      [](auto& a) { a.mutable_cancel()->set_command_id(std::string(16, 'c')); });
  for (const Case& c : cases) {
    CAPTURE(c.what);
    const Command command = w.Sealed(c.action, kNow + c.life);
    const auto bytes = MakeCommandSms(command, w.relay_key);
    REQUIRE(bytes);
    CHECK(bytes->size() <= kSmsBytesMax);
    const auto opened = w.Open(*bytes);
    REQUIRE(opened);
    const auto& inside = std::get<CommandSms>(*opened);
    CHECK(inside.lane == w.lane);
    CHECK(inside.wire == command.wire);
    const auto again = ParseCommand(inside.wire, kRef, inside.lane);
    REQUIRE(again);
    CHECK(CheckAuthority(*again, w.ring, kNow).allowed());
  }
}

TEST_CASE("sms: what is too long or not in canonical order does not fit") {
  const World w;
  v1::Command action;
  action.mutable_install_app()->set_app_id("org.example.a.long.name");
  CHECK(Said(MakeCommandSms(w.Sealed(action, kNow + kSecond), w.relay_key)) == "REASON_TOO_LARGE");
  action.mutable_remove_key()->set_key_id(std::string(22, 'A'));
  CHECK(Said(MakeCommandSms(w.Sealed(action, std::nullopt), w.relay_key)) == "REASON_TOO_LARGE");
  CHECK(Said(MakeCommandSms(w.Sealed(action, kNow + Duration(int64_t{1} << 32)), w.relay_key)) ==
        "REASON_TOO_LARGE");
  v1::SignedCommand lock;
  REQUIRE(lock.ParseFromString(w.Lock().wire));
  const std::string body = lock.command();
  CHECK(Said(MakeCommandSms(w.Signed(body), w.relay_key)) == "allowed");
  const std::vector<std::pair<const char*, std::string>> cases = {
      {"a field after the action", body + "\x28\x05"},
      {"a field twice", "\x28\x05" + body},
      {"the action first", body.substr(body.size() - 3) + body.substr(0, body.size() - 3)},
      {"an unknown field", body + std::string("\xa0\x06\x01", 3)},
      {"a second action", body + std::string("\xa2\x01\x00", 3)},
      {"an unknown field before", std::string("\xa0\x06\x01", 3) + body},
  };
  for (const auto& [what, bytes] : cases) {
    CAPTURE(what);
    CHECK(Said(MakeCommandSms(w.Signed(bytes), w.relay_key)) == "REASON_TOO_LARGE");
  }
  Command outer = w.Lock();
  outer.wire += std::string("\xa0\x06\x01", 3);
  CHECK(Said(MakeCommandSms(outer, w.relay_key)) == "REASON_TOO_LARGE");
}

TEST_CASE("sms: no damaged message opens, and none with another key, fleet or car") {
  const World w;
  for (const std::string& bytes :
       {MakeWakeSms(kRef, kNow, w.relay_key), MakeCommandSms(w.Lock(), w.relay_key).value()}) {
    testing::ForEachDamaged(
        bytes, [&](const std::string& damaged) { CHECK_FALSE(w.Open(damaged).has_value()); });
    CHECK(Said(OpenSms(bytes, kRef, w.ring, std::string(32, 'x'))) == "REASON_BAD_SIGNATURE");
    CHECK(Said(OpenSms(bytes, testing::Ref("f2", "car1"), w.ring, w.relay_key)) ==
          "REASON_BAD_SIGNATURE");
    CHECK(Said(OpenSms(bytes, testing::Ref("f1", "car2"), w.ring, w.relay_key)) ==
          "REASON_BAD_SIGNATURE");
  }
}

TEST_CASE("sms: what does not open, in the order of the checks") {
  const World w;
  const std::string lock = MakeCommandSms(w.Lock(), w.relay_key).value();
  CHECK(Said(w.Open(lock + std::string(kSmsBytesMax, 'x'))) == "REASON_TOO_LARGE");
  CHECK(Said(w.Open("")) == "REASON_MALFORMED");
  CHECK(Said(w.Open("\x03" + lock.substr(1))) == "REASON_MALFORMED");
  CHECK(Said(w.Open("\x01" + lock.substr(1))) == "REASON_MALFORMED");
  CHECK(Said(w.Open(MakeWakeSms(kRef, kNow, w.relay_key) + "x")) == "REASON_MALFORMED");
  KeyRing ring = w.ring;
  ring.keys.pop_back();
  CHECK(Said(OpenSms(lock, kRef, ring, w.relay_key)) == "REASON_NOT_ON_RING");
  CHECK(Said(OpenSms(lock, kRef, ring, std::string(32, 'x'))) == "REASON_BAD_SIGNATURE");
}

// A message of the server, whatever it says: the HMAC is right.
std::string WithMac(const std::string& bytes, const std::string& relay_key) {
  const std::string covered = std::string("latchkey.v1.sms") + '\0' + "f1" + '\0' + "car1" + '\0';
  return bytes + HmacSha256(relay_key, covered + bytes).substr(0, 16);
}

TEST_CASE("sms: the relay key alone moves nothing") {
  const World w;
  const std::string lock = MakeCommandSms(w.Lock(), w.relay_key).value();
  const std::string bytes = lock.substr(0, lock.size() - 16);
  CHECK(WithMac(bytes, w.relay_key) == lock);
  for (size_t at = 1; at < bytes.size(); ++at) {
    CAPTURE(at);
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    const auto opened = w.Open(WithMac(changed, w.relay_key));
    if (!opened) {
      continue;
    }
    const auto& inside = std::get<CommandSms>(*opened);
    const auto command = ParseCommand(inside.wire, kRef, inside.lane);
    CHECK_FALSE((command && CheckAuthority(*command, w.ring, kNow).allowed()));
  }
  std::string nothing = bytes;
  nothing.erase(1 + 16 + 6 + 4 + 8, 3);
  CHECK(Said(w.Open(WithMac(nothing, w.relay_key))) == "REASON_MALFORMED");
  std::string header = bytes;
  header.replace(1 + 16 + 6 + 4 + 8, 3, std::string("\x0a\x01x", 3));
  CHECK_MESSAGE(Said(w.Open(WithMac(header, w.relay_key))) == "REASON_MALFORMED",
                "no other car can be named");
  const std::string late = "\x01" + std::string(6, '\xff');
  CHECK(Said(w.Open(WithMac(late, w.relay_key))) == "REASON_MALFORMED");
}

TEST_CASE("sms: a key id whose last character stands for half bytes is named like any other") {
  for (int i = 0; i < 64; ++i) {
    const World w;
    const auto opened = w.Open(MakeCommandSms(w.Lock(), w.relay_key).value());
    REQUIRE(opened);
    CHECK(std::get<CommandSms>(*opened).lane == w.lane);
  }
}

TEST_CASE("sms: a relay key of another length is our own fault") {
  const World w;
  CHECK_THROWS_AS(MakeWakeSms(kRef, kNow, "short"), Fault);
}

}  // namespace
}  // namespace latchkey
