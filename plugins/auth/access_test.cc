// Every kind of principal against every kind of topic, the wanted and the unwanted side.
#include "plugins/auth/access.h"

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey::auth {
namespace {

using testing::kNow;
using testing::kSecond;
using testing::Ref;
using testing::Said;

// Fleet f1 with car1 (ring: owner, guest, early, over) and car2 (no ring known); fleet f2.
struct World {
  testing::TestCar car = testing::MakeTestCar("f1", "car1");
  PrivateKey owner = PrivateKey::Generate();
  PrivateKey guest = PrivateKey::Generate();
  PrivateKey early = PrivateKey::Generate();
  PrivateKey over = PrivateKey::Generate();
  PrivateKey stranger = PrivateKey::Generate();
  std::string ring;
  Trust trust;
  Directory directory;

  World() {
    KeyRing wire{car.ref, 7, kNow, {}};
    for (const PrivateKey* key : {&owner, &guest, &early, &over}) {
      wire.keys.push_back(testing::OnRing(key->Public(), v1::ROLE_OWNER));
    }
    wire.keys[1].permissions = PermissionsOf(v1::ROLE_GUEST);  // no location, no service
    wire.keys[2].not_before = kNow + kSecond;
    wire.keys[3].not_after = kNow;
    ring = SealKeyRing(wire, car.key, car.certificate_der);
    trust.fleet_cas["f1"] = car.ca_der;
    REQUIRE(directory.Apply(ring, trust, std::nullopt));
  }

  // "car1", "car2", "other" (fleet f2), "operator", "operator2" (of f2), "bridge", or a phone.
  Principal Who(std::string_view name) const {
    Principal principal;
    if (name == "car1" || name == "car2" || name == "other") {
      principal.kind = PrincipalKind::kCar;
      principal.car = name == "other" ? Ref("f2", "car1") : Ref("f1", name);
    } else if (name == "operator" || name == "operator2") {
      principal.kind = PrincipalKind::kOperator;
      principal.car.fleet = FleetId::Parse(name == "operator" ? "f1" : "f2").value();
      principal.permissions = Bit(v1::PERMISSION_READ_BODY) | Bit(v1::PERMISSION_READ_ENERGY);
    } else if (name == "bridge") {
      principal.kind = PrincipalKind::kBridge;
    } else {
      principal.key = Key(name).Public().Id();
    }
    return principal;
  }

  const PrivateKey& Key(std::string_view name) const {
    if (name == "owner") {
      return owner;
    }
    if (name == "guest") {
      return guest;
    }
    if (name == "early") {
      return early;
    }
    return name == "over" ? over : stranger;
  }

  // "{name}" stands for that phone's key id.
  std::string Expand(std::string text) const {
    for (const char* name : {"owner", "guest", "early", "over", "stranger"}) {
      const std::string mark = "{" + std::string(name) + "}";
      for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark)) {
        text.replace(at, mark.size(), Key(name).Public().Id().str());
      }
    }
    return text;
  }

  std::string Ask(std::string_view who, Access access, const std::string& topic,
                  std::string_view payload = {}) const {
    const std::string expanded = Expand(topic);
    return Said(CheckAccess(Who(who), {access, expanded, payload}, directory, kNow));
  }

  std::string FlashUntil(Timestamp expires_at) const {
    CommandRequest request{car.ref, testing::TestId(), expires_at - 10 * kSecond, expires_at, {}};
    request.action.mutable_flash_lights();
    return SealCommand(request, owner).value();
  }
};

constexpr std::array<const char*, 11> kWho = {"car1",      "car2",   "other",   "operator",
                                              "operator2", "bridge", "owner",   "guest",
                                              "early",     "over",   "stranger"};

// One letter per principal of kWho: '+' allowed, and for refusals
// n NOT_ALLOWED, c WRONG_CAR, l WRONG_LANE, r NOT_ON_RING, w OUTSIDE_WINDOW, p NOT_PERMITTED.
std::string Letter(const std::string& said) {
  const std::vector<std::pair<std::string, std::string>> letters = {{"allowed", "+"},
                                                                    {"REASON_NOT_ALLOWED", "n"},
                                                                    {"REASON_WRONG_CAR", "c"},
                                                                    {"REASON_WRONG_LANE", "l"},
                                                                    {"REASON_NOT_ON_RING", "r"},
                                                                    {"REASON_OUTSIDE_WINDOW", "w"},
                                                                    {"REASON_NOT_PERMITTED", "p"}};
  for (const auto& [word, letter] : letters) {
    if (said == word) {
      return letter;
    }
  }
  return "[" + said + "]";
}

TEST_CASE("access: every kind of principal may write and read what the table says and no more") {
  const World w;
  const std::string flash = w.FlashUntil(kNow + kSecond);

  struct Case {
    std::string topic;
    std::string write;
    std::string read;
    std::string_view payload;
  };

  // Columns as kWho: car1 car2 other operator operator2 bridge owner guest early over stranger.
  const std::vector<Case> cases = {
      {"state/body", "+ccnn+nnnnn", "nnn+c+++wwr", {}},
      {"state/location", "+ccnn+nnnnn", "nnnpc++pwwr", {}},
      {"presence", "nnnnnnnnnnn", "nnn+c+++wwr", {}},
      {"keyring", "+ccnn+nnnnn", "+ccnn+++wwr", w.ring},
      {"pairing/{owner}", "nnnnnn+llll", "+ccnnnnnnnn", {}},
      {"pairing/{stranger}", "nnnnnnllll+", "+ccnnnnnnnn", {}},
      {"pairing/{stranger}/answer", "+ccnnnnnnnn", "nnnnnnllll+", {}},
      {"command/{owner}", "nnnnn++llll", "+ccnn+nnnnn", flash},
      {"command/{early}", "nnnnn+llwll", "+ccnn+nnnnn", flash},
      {"command/{over}", "nnnnn+lllwl", "+ccnn+nnnnn", flash},
      {"command/{stranger}", "nnnnn+llllr", "+ccnn+nnnnn", flash},
      {"receipt/{guest}", "+ccnn+nnnnn", "nnnnn+l+lll", {}},
      {"receipt/{stranger}", "+ccnn+nnnnn", "nnnnn+llllr", {}},
  };
  for (const Case& c : cases) {
    std::string write;
    std::string read;
    for (const char* who : kWho) {
      write += Letter(w.Ask(who, Access::kWrite, "lk/1/f1/car1/" + c.topic, c.payload));
      read += Letter(w.Ask(who, Access::kRead, "lk/1/f1/car1/" + c.topic, c.payload));
    }
    INFO(c.topic);
    CHECK(write == c.write);
    CHECK(read == c.read);
  }
}

TEST_CASE("access: a phone has nothing of a car whose ring does not name it, known or not") {
  const World w;
  for (const char* car : {"lk/1/f1/car2/", "lk/1/f2/car1/"}) {
    CHECK(w.Ask("owner", Access::kRead, std::string(car) + "state/body") == "REASON_NOT_ON_RING");
    CHECK(w.Ask("owner", Access::kRead, std::string(car) + "keyring") == "REASON_NOT_ON_RING");
    CHECK(w.Ask("owner", Access::kWrite, std::string(car) + "command/{owner}") ==
          "REASON_NOT_ON_RING");
    CHECK(w.Ask("owner", Access::kSubscribe, std::string(car) + "#") == "REASON_NOT_ON_RING");
  }
}

TEST_CASE("access: topics that are not in the table are nobody's") {
  const World w;
  for (const char* who : kWho) {
    for (const char* topic :
         {"", "lk/1/f1/car1", "lk/1/f1/car1/state/other", "lk/2/f1/car1/keyring",
          "lk/1/f1/car1/command/short", "$CONTROL/latchkey/v1", "foo", "$SYS/other"}) {
      INFO(who << " " << topic);
      CHECK(w.Ask(who, Access::kWrite, topic) == "REASON_UNKNOWN_TOPIC");
      CHECK(w.Ask(who, Access::kRead, topic) == "REASON_UNKNOWN_TOPIC");
    }
  }
}

TEST_CASE("access: only the bridge reads the broker's own topics, and nobody writes them") {
  const World w;
  for (const std::string who : kWho) {
    const std::string expected = who == "bridge" ? "allowed" : "REASON_UNKNOWN_TOPIC";
    CHECK(w.Ask(who, Access::kRead, "$SYS/broker/uptime") == expected);
    CHECK(w.Ask(who, Access::kSubscribe, "$SYS/broker/#") == expected);
    CHECK(w.Ask(who, Access::kWrite, "$SYS/broker/uptime") == "REASON_UNKNOWN_TOPIC");
    CHECK(w.Ask(who, Access::kSubscribe, "$SYS/#") == "REASON_UNKNOWN_TOPIC");
  }
}

TEST_CASE("access: filters are as narrow as who asks") {
  const World w;

  struct Case {
    const char* who;
    const char* filter;
    const char* said;
  };

  const std::vector<Case> cases = {
      {"car1", "lk/1/f1/car1/#", "allowed"},
      {"car1", "lk/1/f1/car1/command/+", "allowed"},
      {"car1", "lk/1/f1/+/command/+", "REASON_WRONG_CAR"},
      {"car1", "lk/1/f1/car2/command/+", "REASON_WRONG_CAR"},
      {"car1", "lk/1/+/car1/command/+", "REASON_WRONG_CAR"},
      {"car1", "lk/1/f2/car1/#", "REASON_WRONG_CAR"},
      {"car1", "$share/x/lk/1/f1/car1/#", "REASON_NOT_ALLOWED"},
      {"car1", "#", "REASON_UNKNOWN_TOPIC"},
      {"car1", "+/1/f1/car1/#", "REASON_UNKNOWN_TOPIC"},
      {"operator", "lk/1/f1/#", "allowed"},
      {"operator", "lk/1/f1/+/state/#", "allowed"},
      {"operator", "$share/x/lk/1/f1/+/state/energy", "allowed"},
      {"operator", "lk/1/f1/car1/state/energy", "allowed"},
      {"operator", "lk/1/f1/car1/state/location", "REASON_NOT_PERMITTED"},
      {"operator", "lk/1/f1/car1/keyring", "REASON_NOT_ALLOWED"},
      {"operator", "lk/1/f1/car1/nothing", "REASON_UNKNOWN_TOPIC"},
      {"operator", "lk/1/+/+/state/#", "REASON_WRONG_CAR"},
      {"operator", "lk/1/f2/#", "REASON_WRONG_CAR"},
      {"operator", "lk/1/#", "REASON_WRONG_CAR"},
      {"bridge", "lk/1/#", "allowed"},
      {"bridge", "lk/1/+/+/command/+", "allowed"},
      {"bridge", "#", "REASON_UNKNOWN_TOPIC"},
      {"owner", "lk/1/f1/car1/#", "allowed"},
      {"owner", "lk/1/f1/car1/state/+", "allowed"},
      {"owner", "lk/1/f1/car1/receipt/{owner}", "allowed"},
      {"owner", "lk/1/f1/car1/receipt/{guest}", "REASON_WRONG_LANE"},
      {"owner", "lk/1/f1/car1/command/{owner}", "REASON_NOT_ALLOWED"},
      {"owner", "lk/1/f1/+/state/+", "REASON_WRONG_CAR"},
      {"owner", "lk/1/#", "REASON_WRONG_CAR"},
      {"owner", "$share/x/lk/1/f1/car1/state/+", "REASON_NOT_ALLOWED"},
      {"owner", "#", "REASON_UNKNOWN_TOPIC"},
      {"guest", "lk/1/f1/car1/state/location", "REASON_NOT_PERMITTED"},
      {"early", "lk/1/f1/car1/#", "REASON_OUTSIDE_WINDOW"},
      {"over", "lk/1/f1/car1/#", "REASON_OUTSIDE_WINDOW"},
      {"stranger", "lk/1/f1/car1/#", "REASON_NOT_ON_RING"},
      {"stranger", "lk/1/f1/car1/pairing/{stranger}/answer", "allowed"},
      {"stranger", "lk/1/f9/any/pairing/{stranger}/answer", "allowed"},
      {"stranger", "lk/1/f1/+/pairing/{stranger}/answer", "REASON_WRONG_CAR"},
      {"stranger", "lk/1/f1/car1/pairing/{owner}/answer", "REASON_NOT_ON_RING"},
      {"stranger", "lk/1/f1/car1/pairing/+/answer", "REASON_NOT_ON_RING"},
  };
  for (const Case& c : cases) {
    INFO(c.who << " " << c.filter);
    CHECK(w.Ask(c.who, Access::kSubscribe, c.filter) == c.said);
  }
}

TEST_CASE(
    "access: a command is not delivered from the moment it expires, nor when it is no command") {
  const World w;
  const std::string topic = "lk/1/f1/car1/command/{owner}";
  for (const char* who : {"car1", "bridge"}) {
    CHECK(w.Ask(who, Access::kRead, topic, w.FlashUntil(kNow + Duration(1))) == "allowed");
    CHECK(w.Ask(who, Access::kRead, topic, w.FlashUntil(kNow)) == "REASON_EXPIRED");
    CHECK(w.Ask(who, Access::kRead, topic, w.FlashUntil(kNow - kSecond)) == "REASON_EXPIRED");
    CHECK(w.Ask(who, Access::kRead, topic, "garbage") == "REASON_MALFORMED");
  }
}

TEST_CASE("access: a ring that is not the one held is not delivered") {
  const World w;
  KeyRing older{w.car.ref, 6, kNow, {testing::OnRing(w.stranger.Public(), v1::ROLE_OWNER)}};
  const std::string bytes = SealKeyRing(older, w.car.key, w.car.certificate_der);
  for (const char* who : {"car1", "bridge", "owner"}) {
    CHECK(w.Ask(who, Access::kRead, "lk/1/f1/car1/keyring", bytes) == "REASON_OLDER_VERSION");
    CHECK(w.Ask(who, Access::kRead, "lk/1/f1/car1/keyring", "") == "REASON_MALFORMED");
  }
  CHECK(w.Ask("bridge", Access::kRead, "lk/1/f1/car2/keyring", bytes) == "allowed");
}

}  // namespace
}  // namespace latchkey::auth
