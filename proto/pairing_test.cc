// Pairing: the QR text, and that neither a claim nor an answer passes without the secret.
#include "proto/pairing.h"

#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using testing::kNow;
using testing::Said;

struct World {
  testing::TestCar car = testing::MakeTestCar("f1", "car1");
  PrivateKey phone = PrivateKey::Generate();
  PairingOffer offer{"broker.example", 8883, "cell1", car.ref, std::string(16, 's')};
  std::string nonce = std::string(16, 'n');
  std::string label = "Ann's phone";

  KeyId Lane() const { return phone.Public().Id(); }

  std::string ClaimBytes() const { return MakeClaim(offer, phone.Public(), nonce, label); }

  std::string Ring(const CarRef& ref, const PublicKey& on_it) const {
    const KeyRing ring{ref, 1, kNow, {testing::OnRing(on_it, v1::ROLE_OWNER)}};
    return SealKeyRing(ring, car.key, car.certificate_der);
  }

  std::string AnswerBytes(const std::string& ring) const {
    return MakeAnswer(offer, Claim{phone.Public(), nonce, label}, ring);
  }

  Result<Paired> Check(const std::string& answer) const {
    return CheckAnswer(answer, offer, phone.Public(), nonce, label);
  }
};

TEST_CASE("pairing: phone and car meet and each knows the other") {
  const World w;
  const Result<Claim> claim = CheckClaim(w.ClaimBytes(), w.offer, w.Lane());
  REQUIRE(claim);
  CHECK(claim->label == w.label);
  CHECK(claim->key.Id() == w.Lane());
  const std::string ring = w.Ring(w.car.ref, claim->key);
  const Result<Paired> paired = w.Check(MakeAnswer(w.offer, *claim, ring));
  REQUIRE(paired);
  CHECK(paired->ring.Find(w.Lane()) != nullptr);
  CHECK(paired->car_key.ToPoint() == w.car.key.Public().ToPoint());
  CHECK(paired->car_certificate == w.car.certificate_der);
}

TEST_CASE("pairing: the QR text is read back, whatever the order of its keys") {
  const World w;
  const std::string text = ToQrText(w.offer);
  CHECK(text ==
        "latchkey://pair?v=1&h=broker.example&p=8883&cell=cell1&f=f1&c=car1"
        "&s=c3Nzc3Nzc3Nzc3Nzc3Nzcw");
  for (const std::string& each :
       {text, std::string("latchkey://pair?s=c3Nzc3Nzc3Nzc3Nzc3Nzcw&c=car1&f=f1&cell=cell1&p=8883"
                          "&h=broker.example&v=1")}) {
    const Result<PairingOffer> offer = ParseQrText(each);
    REQUIRE(offer);
    CHECK(offer->host == w.offer.host);
    CHECK(offer->port == w.offer.port);
    CHECK(offer->cell == w.offer.cell);
    CHECK(offer->ref == w.offer.ref);
    CHECK(offer->secret == w.offer.secret);
  }
}

TEST_CASE("pairing: a QR text with anything missing, doubled, foreign or out of range is refused") {
  const std::string good =
      "latchkey://pair?v=1&h=h&p=1&cell=c&f=f1&c=car1&s=c3Nzc3Nzc3Nzc3Nzc3Nzcw";
  REQUIRE(ParseQrText(good));
  const auto replaced = [&good](const std::string& from, const std::string& to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  const std::vector<std::string> bad = {
      "",
      "latchkey://pair?",
      "latchkey://pair",
      "https://pair?v=1",
      good + "&",
      good + "&x=1",
      good + "&v=1",
      good + std::string(600, 'A'),
      replaced("&p=1", ""),
      replaced("v=1", "v=2"),
      replaced("v=1", "p=1"),
      replaced("v=1", "v"),
      replaced("h=h", "h="),
      replaced("h=h", "h=a b"),
      replaced("h=h", "h=" + std::string(254, 'a')),
      replaced("p=1", "p="),
      replaced("p=1", "p=0"),
      replaced("p=1", "p=-1"),
      replaced("p=1", "p=+1"),
      replaced("p=1", "p=01"),
      replaced("p=1", "p=65536"),
      replaced("p=1", "p=1x"),
      replaced("p=1", "p=99999999999999999999"),
      replaced("cell=c", "cell=c/d"),
      replaced("f=f1", "f=F1"),
      replaced("c=car1", "c=car+1"),
      replaced("s=c3", "s=c"),
      replaced("s=c3", "s=%%"),
      replaced("s=c3Nzc3Nzc3Nzc3Nzc3Nzcw", "s="),
  };
  for (const std::string& text : bad) {
    CAPTURE(text);
    CHECK(Said(ParseQrText(text)) == "REASON_MALFORMED");
  }
  CHECK(ParseQrText(replaced("p=1", "p=65535")));
}

TEST_CASE("pairing: a claim passes only from its own lane and with the secret") {
  const World w;
  const std::string good = w.ClaimBytes();

  struct Case {
    const char* what;
    std::function<void(v1::PairingClaim&)> change;
    const char* said;
  };

  const std::vector<Case> cases = {
      {"untouched", [](v1::PairingClaim&) {}, "allowed"},
      {"no key", [](v1::PairingClaim& c) { c.clear_public_key(); }, "REASON_MALFORMED"},
      {"not a point",
       [](v1::PairingClaim& c) { c.set_public_key("\x02" + std::string(32, '\xff')); },
       "REASON_MALFORMED"},
      {"short nonce", [](v1::PairingClaim& c) { c.set_nonce("n"); }, "REASON_MALFORMED"},
      {"short proof", [](v1::PairingClaim& c) { c.set_proof("p"); }, "REASON_MALFORMED"},
      {"long label", [](v1::PairingClaim& c) { c.set_label(std::string(65, 'x')); },
       "REASON_MALFORMED"},
      {"another's key",
       [](v1::PairingClaim& c) { c.set_public_key(PrivateKey::Generate().Public().ToPoint()); },
       "REASON_WRONG_LANE"},
      {"other nonce", [](v1::PairingClaim& c) { c.set_nonce(std::string(16, 'm')); },
       "REASON_BAD_PROOF"},
      {"other label", [](v1::PairingClaim& c) { c.set_label("Bob"); }, "REASON_BAD_PROOF"},
      {"no tag, as of an app that does not know tags",
       [](v1::PairingClaim& c) { c.clear_offer_tag(); }, "REASON_NO_OFFER"},
      {"other tag", [](v1::PairingClaim& c) { c.set_offer_tag("12345678"); }, "REASON_NO_OFFER"},
      {"longer tag", [](v1::PairingClaim& c) { c.mutable_offer_tag()->push_back('x'); },
       "REASON_NO_OFFER"},
      {"other tag and other proof",
       [](v1::PairingClaim& c) {
         c.set_offer_tag("12345678");
         c.set_proof(std::string(32, 'p'));
       },
       "REASON_NO_OFFER"},
      {"another's key and other tag",
       [](v1::PairingClaim& c) {
         c.set_public_key(PrivateKey::Generate().Public().ToPoint());
         c.clear_offer_tag();
       },
       "REASON_WRONG_LANE"},
      {"other proof", [](v1::PairingClaim& c) { c.set_proof(std::string(32, 'p')); },
       "REASON_BAD_PROOF"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    v1::PairingClaim wire;
    REQUIRE(wire.ParseFromString(good));
    c.change(wire);
    CHECK(Said(CheckClaim(wire.SerializeAsString(), w.offer, w.Lane())) == c.said);
  }
  CHECK(Said(CheckClaim("\xff", w.offer, w.Lane())) == "REASON_MALFORMED");
  PairingOffer other_secret = w.offer;
  other_secret.secret[0] = 'x';
  CHECK(Said(CheckClaim(good, other_secret, w.Lane())) == "REASON_NO_OFFER");
  PairingOffer other_car = w.offer;
  other_car.ref = testing::Ref("f1", "car2");
  CHECK(Said(CheckClaim(good, other_car, w.Lane())) == "REASON_NO_OFFER");
}

TEST_CASE("pairing: only who has seen a claim or the code can make a claim that counts as a try") {
  const World w;
  // A stranger who knows everything but the secret.
  PairingOffer guessed = w.offer;
  guessed.secret = std::string(16, 'g');
  const std::string noise = MakeClaim(guessed, w.phone.Public(), w.nonce, w.label);
  CHECK(Said(CheckClaim(noise, w.offer, w.Lane())) == "REASON_NO_OFFER");
  CHECK(OfferTag(w.offer).size() == kOfferTagBytes);
  PairingOffer other_car = w.offer;
  other_car.ref = testing::Ref("f1", "car2");
  CHECK(OfferTag(other_car) != OfferTag(w.offer));
  CHECK(OfferTag(guessed) != OfferTag(w.offer));
}

TEST_CASE("pairing: a notice tells a key its place on the ring, or that it has none") {
  const World w;
  const std::string ring = w.Ring(w.car.ref, w.phone.Public());
  const Result<KeyNotice> placed = ReadKeyNotice(MakeKeyNotice(ring));
  REQUIRE(placed);
  CHECK(placed->on_ring);
  CHECK(OpenKeyRingOf(placed->signed_ring, w.car.key.Public()).value().Find(w.Lane()) != nullptr);
  const Result<KeyNotice> removed = ReadKeyNotice(MakeRemovalNotice());
  REQUIRE(removed);
  CHECK_FALSE(removed->on_ring);
  CHECK(removed->signed_ring.empty());
  // A notice is no answer to a claim, and no answer is a notice.
  CHECK(Said(w.Check(MakeKeyNotice(ring))) == "REASON_MALFORMED");
  CHECK(Said(w.Check(MakeRemovalNotice())) == "REASON_MALFORMED");

  struct Case {
    const char* what;
    std::string bytes;
  };

  const auto changed = [](const std::string& bytes,
                          const std::function<void(v1::PairingAnswer&)>& change) {
    v1::PairingAnswer answer;
    REQUIRE(answer.ParseFromString(bytes));
    change(answer);
    return answer.SerializeAsString();
  };
  const std::string notice = MakeKeyNotice(ring);
  const std::vector<Case> cases = {
      {"not protobuf", "\xff"},
      {"empty", ""},
      {"too large", notice + std::string(20000, 'x')},
      {"an answer", w.AnswerBytes(ring)},
      {"a refusal", MakeRefusal(w.nonce, v1::REASON_NOT_ON_RING)},
      {"a proof", changed(notice, [](v1::PairingAnswer& a) { a.set_proof("x"); })},
      {"another reason",
       changed(notice, [](v1::PairingAnswer& a) { a.set_reason(v1::REASON_DECLINED); })},
      {"a removal with a ring",
       changed(notice, [](v1::PairingAnswer& a) { a.set_reason(v1::REASON_NOT_ON_RING); })},
      {"an empty ring",
       changed(notice, [](v1::PairingAnswer& a) { a.mutable_key_ring()->clear_key_ring(); })},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    CHECK(Said(ReadKeyNotice(c.bytes)) == "REASON_MALFORMED");
  }
}

std::string Hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    text += {kDigits[byte >> 4U], kDigits[byte & 15U]};
  }
  return text;
}

// The expected values were computed with Python's hmac and hashlib from pairing.proto's words.
TEST_CASE("pairing: the proofs are those that pairing.proto states") {
  const World w;
  PairingOffer offer = w.offer;
  for (size_t i = 0; i < offer.secret.size(); ++i) {
    offer.secret[i] = static_cast<char>(i);
  }
  // The base point of P-256.
  const PublicKey key =
      PublicKey::FromPoint(
          std::string("\x03\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2"
                      "\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96",
                      33))
          .value();
  v1::PairingClaim claim;
  REQUIRE(claim.ParseFromString(MakeClaim(offer, key, w.nonce, w.label)));
  CHECK(Hex(claim.offer_tag()) == "13340444d537e838");
  CHECK(Hex(claim.proof()) == "0f5bd9d4d9be88327402c0e49832cb7262db491b9bac61a9ef8d7e690a582f44");
  v1::SignedKeyRing ring;
  ring.set_key_ring("ring");
  ring.set_certificate("certificate");
  v1::PairingAnswer answer;
  REQUIRE(answer.ParseFromString(
      MakeAnswer(offer, Claim{key, w.nonce, w.label}, ring.SerializeAsString())));
  CHECK(Hex(answer.proof()) == "6d9851dfdd1901b56a5f31ad49909f2be1296947d484a802e6291babda02119c");
}

TEST_CASE("pairing: no damaged claim or answer passes") {
  const World w;
  testing::ForEachDamaged(w.ClaimBytes(), [&](const std::string& damaged) {
    CHECK_FALSE(CheckClaim(damaged, w.offer, w.Lane()).has_value());
  });
  const std::string answer = w.AnswerBytes(w.Ring(w.car.ref, w.phone.Public()));
  testing::ForEachDamaged(answer, [&](const std::string& damaged) {
    // The text and an unset field's default are not under the proof; everything believed is.
    const Result<Paired> paired = w.Check(damaged);
    CHECK((!paired || paired->car_certificate == w.car.certificate_der));
  });
}

TEST_CASE("pairing: an answer passes only with the secret, for this claim, car and phone") {
  const World w;
  const std::string good = w.AnswerBytes(w.Ring(w.car.ref, w.phone.Public()));
  CHECK(Said(w.Check(good)) == "allowed");
  CHECK(Said(w.Check("\xff")) == "REASON_MALFORMED");
  CHECK(Said(w.Check("")) == "REASON_MALFORMED");
  v1::PairingAnswer unknown;
  unknown.set_nonce(w.nonce);
  unknown.set_reason(static_cast<v1::Reason>(999));
  CHECK(Said(w.Check(unknown.SerializeAsString())) == "REASON_MALFORMED");
  CHECK(Said(CheckAnswer(good, w.offer, w.phone.Public(), std::string(16, 'x'), w.label)) ==
        "REASON_WRONG_LANE");
  CHECK(Said(w.Check(MakeRefusal(w.nonce, v1::REASON_DECLINED))) == "REASON_DECLINED");
  CHECK(Said(w.Check(MakeRefusal(w.nonce, v1::REASON_NO_OFFER))) == "REASON_NO_OFFER");
  PairingOffer other_secret = w.offer;
  other_secret.secret[15] = 'x';
  CHECK(Said(CheckAnswer(good, other_secret, w.phone.Public(), w.nonce, w.label)) ==
        "REASON_BAD_PROOF");
  v1::PairingAnswer unproven;
  REQUIRE(unproven.ParseFromString(good));
  unproven.clear_proof();
  CHECK(Said(w.Check(unproven.SerializeAsString())) == "REASON_BAD_PROOF");
  v1::PairingAnswer empty;
  empty.set_nonce(w.nonce);
  CHECK(Said(w.Check(empty.SerializeAsString())) == "REASON_BAD_PROOF");
}

TEST_CASE("pairing: an answer with the secret but a ring that is not right is refused") {
  const World w;
  const PublicKey phone = w.phone.Public();
  const testing::TestCar other = testing::MakeTestCar("f1", "car2");
  const KeyRing others_ring{other.ref, 1, kNow, {testing::OnRing(phone, v1::ROLE_OWNER)}};
  const std::string others = SealKeyRing(others_ring, other.key, other.certificate_der);
  CHECK(Said(w.Check(w.AnswerBytes(others))) == "REASON_WRONG_CAR");
  CHECK(Said(w.Check(w.AnswerBytes(w.Ring(other.ref, phone)))) == "REASON_WRONG_CAR");
  CHECK(Said(w.Check(w.AnswerBytes(w.Ring(w.car.ref, w.car.key.Public())))) ==
        "REASON_NOT_ON_RING");
  v1::SignedKeyRing ring;
  REQUIRE(ring.ParseFromString(w.Ring(w.car.ref, phone)));
  ring.set_signature(std::string(64, 'x'));
  CHECK(Said(w.Check(w.AnswerBytes(ring.SerializeAsString()))) == "REASON_BAD_SIGNATURE");
  ring.clear_certificate();
  CHECK(Said(w.Check(w.AnswerBytes(ring.SerializeAsString()))) == "REASON_BAD_CERTIFICATE");
}

TEST_CASE("pairing: making what cannot be is our own fault") {
  const World w;
  PairingOffer bad = w.offer;
  bad.port = 0;
  CHECK_THROWS_AS(ToQrText(bad), Fault);
  CHECK_THROWS_AS(MakeClaim(w.offer, w.phone.Public(), "short", ""), Fault);
  CHECK_THROWS_AS(MakeKeyNotice(""), Fault);
  CHECK_THROWS_AS(MakeRefusal(w.nonce, v1::REASON_UNSPECIFIED), Fault);
}

}  // namespace
}  // namespace latchkey
