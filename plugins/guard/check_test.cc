// What may pass, topic by topic; each row ends in the reason, in the order of the checks.
#include "plugins/guard/check.h"

#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "latchkey/v1/certificate.pb.h"
#include "latchkey/v1/pairing.pb.h"
#include "latchkey/v1/state.pb.h"
#include "proto/pairing.h"
#include "proto/receipt.h"
#include "proto/renewal.h"
#include "proto/topic.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::guard {
namespace {

using testing::kNow;
using testing::kSecond;
using testing::Said;

struct World {
  testing::TestCar car = testing::MakeTestCar("f1", "car1");
  PrivateKey phone = PrivateKey::Generate();
  std::string key = phone.Public().Id().str();
  PairingOffer offer{"host", 1, "cell", car.ref, std::string(16, 's')};
  std::string nonce = std::string(16, 'n');
  std::string ring =
      SealKeyRing({car.ref, 1, kNow, {testing::OnRing(phone.Public(), v1::ROLE_OWNER)}}, car.key,
                  car.certificate_der);
  std::string claim = MakeClaim(offer, phone.Public(), nonce, "phone");
  std::string answer = MakeAnswer(offer, Claim{phone.Public(), nonce, "phone"}, ring);
  std::string refusal = MakeRefusal(nonce, v1::REASON_DECLINED);
  std::string certificate_request = MakeCertificateRequest(car.ref, car.key, kNow);
  std::string certificate_grant = MakeCertificateGrant(kNow, car.certificate_der);

  static std::string State(float soc = 50) {
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>(kNow.ms));
    state.set_sequence(1);
    state.mutable_energy()->mutable_soc()->set_value(soc);
    return state.SerializeAsString();
  }

  std::string Flash(Duration lives) const {
    CommandRequest request{car.ref, testing::TestId(), kNow, kNow + lives, {}};
    request.action.mutable_flash_lights();
    return SealCommand(request, phone).value();
  }

  // As Flash, with a body that our own code would not make.
  std::string Odd(const std::function<void(v1::Command&)>& change) const {
    v1::Command body;
    body.set_fleet("f1");
    body.set_car("car1");
    body.set_command_id(std::string(16, 'i'));
    body.set_issued_at_ms(static_cast<uint64_t>(kNow.ms));
    body.set_expires_at_ms(static_cast<uint64_t>(kNow.ms) + 1000);
    body.set_key_id(key);
    body.mutable_flash_lights();
    change(body);
    return testing::SignCommandBody(body.SerializeAsString(), phone);
  }

  std::string Receipt(v1::ReceiptState state, v1::ReceiptSource source) const {
    const Outcome outcome =
        MakeOutcome(car.ref, testing::TestId(), state, v1::REASON_UNSPECIFIED, kNow, source);
    return source == v1::RECEIPT_SOURCE_CAR ? SealCarReceipt(outcome, car.key)
                                            : SealBridgeReceipt(outcome);
  }

  std::string Ask(const std::string& tail, const std::string& payload, Retain retain) const {
    return Said(CheckMessage({"lk/1/f1/car1/" + tail, payload, retain}, kNow));
  }
};

constexpr Retain kYes = Retain::kYes;
constexpr Retain kNo = Retain::kNo;

std::string Oversized(TopicKind kind) {
  return std::string(RuleOf(kind).payload_bytes_max + 1, 'x');
}

// A receipt that only the car may give, in the bridge's name.
std::string BridgeSaysDone() {
  v1::Outcome outcome;
  outcome.set_fleet("f1");
  outcome.set_car("car1");
  outcome.set_command_id(std::string(16, 'i'));
  outcome.set_state(v1::RECEIPT_STATE_DONE);
  outcome.set_source(v1::RECEIPT_SOURCE_BRIDGE);
  outcome.set_at_ms(static_cast<uint64_t>(kNow.ms));
  v1::Receipt receipt;
  receipt.set_outcome(outcome.SerializeAsString());
  return receipt.SerializeAsString();
}

TEST_CASE("guard: what each topic carries passes") {
  const World w;
  CHECK(w.Ask("state/energy", World::State(), kYes) == "allowed");
  CHECK(w.Ask("keyring", w.ring, kYes) == "allowed");
  CHECK(w.Ask("pairing/" + w.key, w.claim, kNo) == "allowed");
  CHECK(w.Ask("pairing/" + w.key + "/answer", w.answer, kNo) == "allowed");
  CHECK(w.Ask("pairing/" + w.key + "/answer", w.refusal, kNo) == "allowed");
  CHECK(w.Ask("pairing/" + w.key + "/answer", MakeKeyNotice(w.ring), kNo) == "allowed");
  CHECK(w.Ask("pairing/" + w.key + "/answer", MakeRemovalNotice(), kNo) == "allowed");
  CHECK(w.Ask("certificate/request", w.certificate_request, kNo) == "allowed");
  CHECK(w.Ask("certificate", w.certificate_grant, kNo) == "allowed");
  CHECK(w.Ask("certificate", MakeCertificateRefusal(kNow, v1::REASON_NOT_ALLOWED), kNo) ==
        "allowed");
  CHECK(w.Ask("command/" + w.key, w.Flash(kSecond), kNo) == "allowed");
  CHECK(w.Ask("receipt/" + w.key, w.Receipt(v1::RECEIPT_STATE_DONE, v1::RECEIPT_SOURCE_CAR), kNo) ==
        "allowed");
  CHECK(w.Ask("receipt/" + w.key, w.Receipt(v1::RECEIPT_STATE_HELD, v1::RECEIPT_SOURCE_BRIDGE),
              kNo) == "allowed");
}

TEST_CASE("guard: a full ring whose keys all have weekly hours passes") {
  const World w;
  KeyRing ring{w.car.ref, 1, kNow, {}};
  for (size_t i = 0; i < kRingKeysMax; ++i) {
    ring.keys.push_back(testing::OnRing(PrivateKey::Generate().Public(), v1::ROLE_GUEST));
    ring.keys.back().label = std::string(kLabelBytesMax, 'l');
    ring.keys.back().week.assign(kWeekWindowsMax, WeekWindow{10000, 10079});
  }
  CHECK(w.Ask("keyring", SealKeyRing(ring, w.car.key, w.car.certificate_der), kYes) == "allowed");
}

TEST_CASE("guard: a certificate request or grant of another form is refused") {
  const World w;
  const auto request = [&](const std::function<void(v1::CertificateRequest&)>& change) {
    v1::CertificateRequest wire;
    REQUIRE(wire.ParseFromString(w.certificate_request));
    change(wire);
    return w.Ask("certificate/request", wire.SerializeAsString(), kNo);
  };
  CHECK(request([](auto&) {}) == "allowed");
  CHECK(request([](auto& r) { r.set_public_key(std::string(33, 'x')); }) == "REASON_MALFORMED");
  CHECK(request([](auto& r) { r.clear_public_key(); }) == "REASON_MALFORMED");
  CHECK(request([](auto& r) { r.set_signature("short"); }) == "REASON_MALFORMED");
  CHECK(request([](auto& r) { r.clear_requested_at_ms(); }) == "REASON_MALFORMED");
  CHECK(request([](auto& r) { r.set_requested_at_ms(UINT64_MAX); }) == "REASON_MALFORMED");
  const auto grant = [&](const std::function<void(v1::CertificateGrant&)>& change) {
    v1::CertificateGrant wire;
    REQUIRE(wire.ParseFromString(w.certificate_grant));
    change(wire);
    return w.Ask("certificate", wire.SerializeAsString(), kNo);
  };
  CHECK(grant([](auto&) {}) == "allowed");
  CHECK(grant([](auto& g) { g.set_certificate("not a certificate"); }) == "REASON_MALFORMED");
  CHECK(grant([](auto& g) { g.clear_certificate(); }) == "REASON_MALFORMED");
  CHECK(grant([](auto& g) { g.set_reason(v1::REASON_NOT_ALLOWED); }) == "REASON_MALFORMED");
  CHECK(grant([](auto& g) { g.set_text(std::string(257, 'x')); }) == "REASON_MALFORMED");
  CHECK(grant([](auto& g) { g.set_reason(static_cast<v1::Reason>(999)); }) == "REASON_MALFORMED");
}

TEST_CASE("guard: what each topic does not carry is refused with its reason") {
  const World w;
  const std::string other = PrivateKey::Generate().Public().Id().str();
  const auto claim = [&](const std::function<void(v1::PairingClaim&)>& change) {
    v1::PairingClaim wire;
    REQUIRE(wire.ParseFromString(w.claim));
    change(wire);
    return wire.SerializeAsString();
  };
  const auto answer = [&](const std::function<void(v1::PairingAnswer&)>& change) {
    v1::PairingAnswer wire;
    REQUIRE(wire.ParseFromString(w.answer));
    change(wire);
    return wire.SerializeAsString();
  };

  struct Case {
    std::string tail;
    std::string payload;
    Retain retain;
    const char* said;
  };

  const std::vector<Case> cases = {
      {"nothing", "x", kNo, "REASON_UNKNOWN_TOPIC"},
      {"state/other", World::State(), kYes, "REASON_UNKNOWN_TOPIC"},
      {"presence", std::string("\x08\x01"), kYes, "REASON_NOT_ALLOWED"},
      {"state/energy", Oversized(TopicKind::kState), kYes, "REASON_TOO_LARGE"},
      {"keyring", Oversized(TopicKind::kKeyRing), kYes, "REASON_TOO_LARGE"},
      {"command/" + w.key, Oversized(TopicKind::kCommand), kNo, "REASON_TOO_LARGE"},
      {"state/energy", World::State(), kNo, "REASON_RETAIN_NOT_ALLOWED"},
      {"keyring", w.ring, kNo, "REASON_RETAIN_NOT_ALLOWED"},
      {"pairing/" + w.key, w.claim, kYes, "REASON_RETAIN_NOT_ALLOWED"},
      {"pairing/" + w.key + "/answer", w.answer, kYes, "REASON_RETAIN_NOT_ALLOWED"},
      {"command/" + w.key, w.Flash(kSecond), kYes, "REASON_RETAIN_NOT_ALLOWED"},
      {"receipt/" + w.key, "x", kYes, "REASON_RETAIN_NOT_ALLOWED"},
      {"state/energy", "", kYes, "allowed"},
      {"keyring", "", kYes, "allowed"},
      {"presence", "", kYes, "allowed"},
      {"command/" + w.key, "", kNo, "REASON_MALFORMED"},
      {"state/energy", "garbage", kYes, "REASON_MALFORMED"},
      {"state/body", World::State(), kYes, "REASON_MALFORMED"},
      {"state/energy", World::State(101), kYes, "REASON_IMPOSSIBLE_VALUE"},
      {"keyring", "garbage", kYes, "REASON_MALFORMED"},
      {"pairing/" + w.key, "garbage", kNo, "REASON_MALFORMED"},
      {"pairing/" + w.key, claim([](auto& c) { c.set_nonce("short"); }), kNo, "REASON_MALFORMED"},
      {"pairing/" + w.key, claim([](auto& c) { c.clear_proof(); }), kNo, "REASON_MALFORMED"},
      {"pairing/" + w.key, claim([](auto& c) { c.set_public_key(std::string(33, 'x')); }), kNo,
       "REASON_MALFORMED"},
      {"pairing/" + w.key, claim([](auto& c) { c.set_label(std::string(65, 'x')); }), kNo,
       "REASON_MALFORMED"},
      {"pairing/" + w.key, claim([](auto& c) { c.clear_offer_tag(); }), kNo, "REASON_MALFORMED"},
      {"pairing/" + w.key, claim([](auto& c) { c.set_offer_tag(std::string(9, 't')); }), kNo,
       "REASON_MALFORMED"},
      {"pairing/" + other, w.claim, kNo, "REASON_WRONG_LANE"},
      {"pairing/" + w.key + "/answer", answer([](auto& a) { a.clear_key_ring(); }), kNo,
       "REASON_MALFORMED"},
      {"pairing/" + w.key + "/answer", answer([](auto& a) { a.clear_proof(); }), kNo,
       "REASON_MALFORMED"},
      {"pairing/" + w.key + "/answer", answer([](auto& a) { a.set_text(std::string(257, 'x')); }),
       kNo, "REASON_MALFORMED"},
      {"pairing/" + w.key + "/answer", answer([](auto& a) { a.set_nonce("short"); }), kNo,
       "REASON_MALFORMED"},
      // Notices: no nonce and no proof; the ring, or that there is none.
      {"pairing/" + w.key + "/answer", answer([](auto& a) { a.clear_nonce(); }), kNo,
       "REASON_MALFORMED"},
      {"pairing/" + w.key + "/answer", answer([](auto& a) {
         a.clear_nonce();
         a.clear_proof();
         a.clear_key_ring();
       }),
       kNo, "REASON_MALFORMED"},
      {"pairing/" + w.key + "/answer", answer([](auto& a) {
         a.clear_nonce();
         a.clear_proof();
         a.set_reason(v1::REASON_NOT_ON_RING);
       }),
       kNo, "REASON_MALFORMED"},
      {"pairing/" + w.key + "/answer", answer([](auto& a) {
         a.clear_nonce();
         a.clear_proof();
         a.clear_key_ring();
         a.set_reason(v1::REASON_DECLINED);
       }),
       kNo, "REASON_MALFORMED"},
      {"certificate/request", "garbage", kNo, "REASON_MALFORMED"},
      {"certificate/request", w.certificate_request, kYes, "REASON_RETAIN_NOT_ALLOWED"},
      {"certificate/request", Oversized(TopicKind::kCertificateRequest), kNo, "REASON_TOO_LARGE"},
      {"certificate", w.certificate_grant, kYes, "REASON_RETAIN_NOT_ALLOWED"},
      {"certificate", Oversized(TopicKind::kCertificate), kNo, "REASON_TOO_LARGE"},
      {"certificate", "", kNo, "REASON_MALFORMED"},
      {"command/" + w.key, "garbage", kNo, "REASON_MALFORMED"},
      {"command/" + w.key, w.Odd([](v1::Command& c) { c.clear_action(); }), kNo,
       "REASON_UNKNOWN_ACTION"},
      {"command/" + w.key,
       w.Odd([](v1::Command& c) { c.mutable_charge_limit()->set_percent(101); }), kNo,
       "REASON_IMPOSSIBLE_VALUE"},
      {"command/" + w.key, w.Odd([](v1::Command& c) { c.set_car("car2"); }), kNo,
       "REASON_WRONG_CAR"},
      {"command/" + other, w.Flash(kSecond), kNo, "REASON_WRONG_LANE"},
      {"command/" + w.key,
       w.Odd([](v1::Command& c) { c.set_expires_at_ms(static_cast<uint64_t>(kNow.ms)); }), kNo,
       "REASON_EXPIRED"},
      {"command/" + w.key,
       w.Odd([](v1::Command& c) { c.set_expires_at_ms(c.issued_at_ms() + 60001); }), kNo,
       "REASON_LIFETIME_TOO_LONG"},
      {"receipt/" + w.key, "garbage", kNo, "REASON_MALFORMED"},
      {"receipt/" + w.key, BridgeSaysDone(), kNo, "REASON_NOT_ALLOWED"},
  };
  for (const Case& c : cases) {
    INFO(c.tail << " " << c.payload.substr(0, 20) << " -> " << c.said);
    CHECK(w.Ask(c.tail, c.payload, c.retain) == c.said);
  }
}

TEST_CASE("guard: topics outside the grammar pass for nobody") {
  const World w;
  for (const char* topic : {"", "foo", "lk/1", "$SYS/broker/latchkey/blocks", "$CONTROL",
                            "lk/2/f1/car1/keyring", "lk/1/f1/car1/$CONTROL/"}) {
    CHECK(Said(CheckMessage({topic, w.ring, Retain::kYes}, kNow)) == "REASON_UNKNOWN_TOPIC");
  }
}

TEST_CASE("guard: control topics are left to the plugin that answers them") {
  for (const char* topic : {"$CONTROL/latchkey/v1", "$CONTROL/other/v1"}) {
    CHECK(Said(CheckMessage({topic, "", Retain::kNo}, kNow)) == "allowed");
    CHECK(Said(CheckMessage({topic, "anything", Retain::kYes}, kNow)) == "allowed");
  }
}

TEST_CASE("guard: no damaged copy of a message throws") {
  const World w;
  for (const std::string& good :
       {World::State(), w.claim, w.Flash(kSecond), w.certificate_request, MakeRemovalNotice()}) {
    testing::ForEachDamaged(good, [&](const std::string& bytes) {
      for (const std::string& tail : {std::string("state/energy"), std::string("keyring")}) {
        CHECK_NOTHROW(w.Ask(tail, bytes, kYes));
      }
      for (const std::string kind : {"pairing/", "command/", "receipt/"}) {
        CHECK_NOTHROW(w.Ask(kind + w.key, bytes, kNo));
      }
      for (const std::string& tail :
           {"pairing/" + w.key + "/answer", std::string("certificate/request"),
            std::string("certificate")}) {
        CHECK_NOTHROW(w.Ask(tail, bytes, kNo));
      }
    });
  }
}

}  // namespace
}  // namespace latchkey::guard
