// Every kind of principal against every kind of topic, the wanted and the unwanted side.
#include "plugins/auth/access.h"

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "proto/topic.h"
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

  // "car1", "car2", "other" (fleet f2), "operator", "operator2" (of f2), "bridge", "registrar",
  // "registrar2" (of f2), "administrator", or a phone.
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
    } else if (name == "registrar" || name == "registrar2") {
      principal.kind = PrincipalKind::kRegistrar;
      principal.car.fleet = FleetId::Parse(name == "registrar" ? "f1" : "f2").value();
    } else if (name == "administrator") {
      principal.kind = PrincipalKind::kAdministrator;
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

constexpr std::array<const char*, 14> kWho = {
    "car1",  "car2",  "other", "operator", "operator2", "bridge",     "owner",
    "guest", "early", "over",  "stranger", "registrar", "registrar2", "administrator"};

// One letter per principal of kWho: '+' allowed, and for refusals
// n NOT_ALLOWED, c WRONG_CAR, l WRONG_LANE, r NOT_ON_RING, w OUTSIDE_WINDOW, p NOT_PERMITTED,
// b BLOCKED.
std::string Letter(const std::string& said) {
  const std::vector<std::pair<std::string, std::string>> letters = {{"allowed", "+"},
                                                                    {"REASON_NOT_ALLOWED", "n"},
                                                                    {"REASON_BLOCKED", "b"},
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

  // Columns as kWho: car1 car2 other operator operator2 bridge owner guest early over stranger
  // registrar registrar2 administrator.
  const std::vector<Case> cases = {
      {"state/body", "+ccnn+nnnnnnnn", "nnn+c+++wwrnnn", "x"},
      {"state/location", "+ccnn+nnnnnnnn", "nnnpc++pwwrnnn", "x"},
      {"state/area", "+ccnn+nnnnnnnn", "nnnpc++pwwrnnn", "x"},
      {"presence", "nnnnnnnnnnnnnn", "nnn+c+++wwrnnn", "x"},
      {"keyring", "+ccnn+nnnnnnnn", "+ccnn+++wwrnnn", w.ring},
      {"pairing/{owner}", "nnnnnn+llllnnn", "+ccnnnnnnnnnnn", {}},
      {"pairing/{stranger}", "nnnnnnllll+nnn", "+ccnnnnnnnnnnn", {}},
      {"pairing/{stranger}/answer", "+ccnnnnnnnnnnn", "nnnnnnllll+nnn", {}},
      {"command/{owner}", "nnnnn++llllnnn", "+ccnn+nnnnnnnn", flash},
      {"command/{early}", "nnnnn+llwllnnn", "wccnn+nnnnnnnn", flash},
      {"command/{over}", "nnnnn+lllwlnnn", "wccnn+nnnnnnnn", flash},
      {"command/{stranger}", "nnnnn+llllrnnn", "rccnn+nnnnnnnn", flash},
      {"receipt/{guest}", "+ccnn+nnnnnnnn", "nnnnn+l+lllnnn", {}},
      {"receipt/{stranger}", "+ccnn+nnnnnnnn", "nnnnn+llllrnnn", {}},
      {"certificate", "nnnnnnnnnnn+cn", "+ccnnnnnnnnnnn", {}},
      {"certificate/request", "+ccnnnnnnnnnnn", "nnnnnnnnnnn+cn", {}},
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

TEST_CASE("access: only the bridge empties what is retained of a car") {
  const World w;
  for (const std::string who : kWho) {
    for (const char* topic : {"state/body", "state/area", "presence", "keyring"}) {
      INFO(who << " " << topic);
      const std::string said = w.Ask(who, Access::kWrite, std::string("lk/1/f1/car1/") + topic, "");
      CHECK((said == "allowed") == (who == "bridge"));
    }
  }
  CHECK(w.Ask("car1", Access::kWrite, "lk/1/f1/car1/state/body", "") == "REASON_MALFORMED");
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
          "lk/1/f1/car1/command/short", "lk/1/f1/car1/certificate/", "foo", "$SYS/other",
          "$CONTROL/latchkey/v1/response", "$CONTROL/dynamic-security/v1"}) {
      INFO(who << " " << topic);
      CHECK(w.Ask(who, Access::kWrite, topic) == "REASON_UNKNOWN_TOPIC");
      CHECK(w.Ask(who, Access::kRead, topic) == "REASON_UNKNOWN_TOPIC");
    }
  }
}

TEST_CASE(
    "access: the control topic is written by administrators and bridges, and read by nobody") {
  const World w;
  const std::string topic = "$CONTROL/latchkey/v1";
  for (const std::string who : kWho) {
    const bool may = who == "bridge" || who == "administrator";
    CHECK(w.Ask(who, Access::kWrite, topic) == (may ? "allowed" : "REASON_NOT_ALLOWED"));
    CHECK(w.Ask(who, Access::kRead, topic) == "REASON_UNKNOWN_TOPIC");
    CHECK(w.Ask(who, Access::kSubscribe, topic) == "REASON_UNKNOWN_TOPIC");
    CHECK(w.Ask(who, Access::kSubscribe, topic + "/response") == "REASON_UNKNOWN_TOPIC");
    CHECK(w.Ask(who, Access::kSubscribe, "$CONTROL/#") == "REASON_UNKNOWN_TOPIC");
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
    const std::string events(kEventTopic);
    CHECK(w.Ask(who, Access::kRead, events) == expected);
    CHECK(w.Ask(who, Access::kSubscribe, events) == expected);
    CHECK(w.Ask(who, Access::kWrite, events) == "REASON_UNKNOWN_TOPIC");
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
      {"registrar", "lk/1/f1/+/certificate/request", "allowed"},
      {"registrar", "lk/1/f1/car1/certificate/request", "allowed"},
      {"registrar", "$share/x/lk/1/f1/+/certificate/request", "allowed"},
      {"registrar", "lk/1/f2/+/certificate/request", "REASON_WRONG_CAR"},
      {"registrar", "lk/1/+/+/certificate/request", "REASON_WRONG_CAR"},
      {"registrar", "lk/1/f1/+/certificate", "REASON_NOT_ALLOWED"},
      {"registrar", "lk/1/f1/+/certificate/#", "REASON_NOT_ALLOWED"},
      {"registrar", "lk/1/f1/#", "REASON_NOT_ALLOWED"},
      {"administrator", "lk/1/f1/car1/state/body", "REASON_NOT_ALLOWED"},
      {"administrator", "lk/1/#", "REASON_NOT_ALLOWED"},
      {"administrator", "#", "REASON_UNKNOWN_TOPIC"},
      {"administrator", "$SYS/#", "REASON_UNKNOWN_TOPIC"},
      {"car1", "lk/1/f1/car1/certificate", "allowed"},
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

// A block set or lifted on one key.
void Set(World& w, const KeyId& key, const char* fleet, const char* car, bool lifted = false) {
  Block block;
  block.scope.key = key;
  if (*fleet != 0) {
    block.scope.fleet = FleetId::Parse(fleet).value();
  }
  if (*car != 0) {
    block.scope.car = CarId::Parse(car).value();
  }
  block.lifted = lifted;
  block.cause = v1::BLOCK_CAUSE_ADMINISTRATOR;
  REQUIRE(w.directory.blocks().Merge(Change(w.directory.blocks().Find(block.scope), block, kNow)));
}

// What the owner's phone may at car1: its command, ring, state, receipt, claim and answer, filters
// and its command's delivery to the car.
std::string Owner(const World& w) {
  const std::string flash = w.FlashUntil(kNow + kSecond);
  const std::string car = "lk/1/f1/car1/";
  return Letter(w.Ask("owner", Access::kWrite, car + "command/{owner}", flash)) +
         Letter(w.Ask("owner", Access::kWrite, car + "pairing/{owner}")) +
         Letter(w.Ask("owner", Access::kRead, car + "keyring", w.ring)) +
         Letter(w.Ask("owner", Access::kRead, car + "state/body")) +
         Letter(w.Ask("owner", Access::kRead, car + "presence")) +
         Letter(w.Ask("owner", Access::kRead, car + "receipt/{owner}")) +
         Letter(w.Ask("owner", Access::kRead, car + "pairing/{owner}/answer")) +
         Letter(w.Ask("owner", Access::kSubscribe, car + "#")) +
         Letter(w.Ask("owner", Access::kSubscribe, car + "pairing/{owner}/answer")) +
         Letter(w.Ask("car1", Access::kRead, car + "command/{owner}", flash)) +
         Letter(Said(CheckSignIn(w.Who("owner"), w.directory)));
}

TEST_CASE("access: a blocked key has nothing of the car, in both directions, until it is lifted") {
  World w;
  const KeyId owner = w.owner.Public().Id();
  CHECK(Owner(w) == "+++++++++++");

  struct Case {
    const char* fleet;
    const char* car;
    const char* then;
  };

  for (const Case& c : {Case{"f1", "car1", "bbbbbbbbbb+"}, Case{"f1", "", "bbbbbbbbbb+"},
                        Case{"", "", "bbbbbbbbbbb"}, Case{"f1", "car2", "+++++++++++"},
                        Case{"f2", "", "+++++++++++"}, Case{"f2", "car1", "+++++++++++"}}) {
    INFO(c.fleet << "/" << c.car);
    Set(w, owner, c.fleet, c.car);
    CHECK(Owner(w) == c.then);
    CHECK(w.Ask("guest", Access::kRead, "lk/1/f1/car1/state/body") == "allowed");
    // Others of the same car, and what the car and the bridge do, are as before.
    CHECK(w.Ask("car1", Access::kWrite, "lk/1/f1/car1/receipt/{owner}") == "allowed");
    CHECK(w.Ask("bridge", Access::kWrite, "lk/1/f1/car1/command/{owner}") == "allowed");
    Set(w, owner, c.fleet, c.car, true);
    CHECK(Owner(w) == "+++++++++++");
  }
}

TEST_CASE("access: blocks of one key add up, and lifting one leaves the others") {
  World w;
  const KeyId owner = w.owner.Public().Id();
  Set(w, owner, "", "");
  Set(w, owner, "f1", "car1");
  Set(w, owner, "", "", true);
  CHECK(Owner(w) == "bbbbbbbbbb+");
  Set(w, owner, "f1", "car1", true);
  CHECK(Owner(w) == "+++++++++++");
}

TEST_CASE("access: a block subtracts and nothing more: lifting it gives a stranger nothing") {
  World w;
  const KeyId stranger = w.stranger.Public().Id();
  Set(w, stranger, "", "");
  CHECK(w.Ask("stranger", Access::kWrite, "lk/1/f1/car1/pairing/{stranger}") == "REASON_BLOCKED");
  CHECK(w.Ask("stranger", Access::kSubscribe, "lk/1/f1/car1/pairing/{stranger}/answer") ==
        "REASON_BLOCKED");
  CHECK(w.Ask("stranger", Access::kRead, "lk/1/f1/car1/state/body") == "REASON_BLOCKED");
  Set(w, stranger, "", "", true);
  CHECK(w.Ask("stranger", Access::kWrite, "lk/1/f1/car1/pairing/{stranger}") == "allowed");
  CHECK(w.Ask("stranger", Access::kRead, "lk/1/f1/car1/state/body") == "REASON_NOT_ON_RING");
}

TEST_CASE("access: another's lane is said before a block, so that nobody learns who is blocked") {
  World w;
  Set(w, w.owner.Public().Id(), "", "");
  CHECK(w.Ask("guest", Access::kWrite, "lk/1/f1/car1/command/{owner}") == "REASON_WRONG_LANE");
}

TEST_CASE("access: a command is not delivered to a car whose ring names its key no more") {
  World w;
  const std::string flash = w.FlashUntil(kNow + kSecond);
  const std::string topic = "lk/1/f1/car1/command/{owner}";
  CHECK(w.Ask("car1", Access::kRead, topic, flash) == "allowed");
  KeyRing next{w.car.ref, 8, kNow, {testing::OnRing(w.guest.Public(), v1::ROLE_GUEST)}};
  REQUIRE(w.directory.Apply(SealKeyRing(next, w.car.key, w.car.certificate_der), w.trust,
                            std::nullopt));
  CHECK(w.Ask("car1", Access::kRead, topic, flash) == "REASON_NOT_ON_RING");
  CHECK(w.Ask("bridge", Access::kRead, topic, flash) == "allowed");
}

TEST_CASE("access: weekly hours bind what a phone writes, reads and has delivered to the car") {
  World w;
  // kNow is a Tuesday, 22:13 UTC.
  constexpr uint16_t kMinute = 1 * 1440 + 22 * 60 + 13;
  KeyRing next{w.car.ref, 8, kNow, {}};
  for (const PrivateKey* key : {&w.guest, &w.owner, &w.stranger}) {
    next.keys.push_back(testing::OnRing(key->Public(), v1::ROLE_OWNER));
  }
  next.keys[0].week = {{0, 10}, {kMinute + 1, kMinute + 60}};  // guest: not yet
  next.keys[1].week = {{kMinute, kMinute + 1}, {0, 10}};       // owner: now
  next.keys[2].week = {{kMinute - 60, kMinute}};               // stranger: no more
  REQUIRE(w.directory.Apply(SealKeyRing(next, w.car.key, w.car.certificate_der), w.trust,
                            std::nullopt));
  const std::string flash = w.FlashUntil(kNow + kSecond);
  for (const auto& [who, said] :
       {std::pair{"guest", "REASON_OUTSIDE_WINDOW"}, std::pair{"owner", "allowed"},
        std::pair{"stranger", "REASON_OUTSIDE_WINDOW"}}) {
    const std::string lane = "lk/1/f1/car1/command/{" + std::string(who) + "}";
    CHECK(w.Ask(who, Access::kWrite, lane, flash) == said);
    CHECK(w.Ask(who, Access::kRead, "lk/1/f1/car1/state/body") == said);
    CHECK(w.Ask(who, Access::kSubscribe, "lk/1/f1/car1/#") == said);
    CHECK(w.Ask("car1", Access::kRead, lane, flash) == said);
  }
}

TEST_CASE(
    "access: rings, presence and a peer's words concern auth, and no other topic of the table") {
  const CarRef ref{FleetId::Parse("f1").value(), CarId::Parse("car1").value()};
  const KeyId lane = KeyId::Parse(std::string(22, 'k')).value();
  CHECK(MayConcernAuth(KeyRingTopic(ref)));
  CHECK(MayConcernAuth(PresenceTopic(ref)));
  CHECK(MayConcernAuth(kPeerTopic));
  for (const Group group : kGroups) {
    CHECK_FALSE(MayConcernAuth(StateTopic(ref, group)));
  }
  for (const std::string& topic :
       {PairingTopic(ref, lane), PairingAnswerTopic(ref, lane), CommandTopic(ref, lane),
        ReceiptTopic(ref, lane), CertificateTopic(ref), CertificateRequestTopic(ref)}) {
    CHECK_FALSE(MayConcernAuth(topic));
  }
}

}  // namespace
}  // namespace latchkey::auth
