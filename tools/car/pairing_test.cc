// Stories of pairing at the head unit: who gets in, who does not, and what people read about it.
#include <string>

#include <doctest/doctest.h>

#include "tests/support/car_story.h"

namespace latchkey::car {
namespace {

using latchkey::testing::OnRing;

bool Says(Story& s, const std::string& part) {
  const std::string read = s.Read();
  INFO(read);
  return read.find(part) != std::string::npos;
}

PairingOffer Wrong(PairingOffer offer) {
  offer.secret = std::string(kPairingSecretBytes, 'x');
  return offer;
}

// A claim with the right offer's tag and a wrong proof: somebody who saw a claim go by.
std::string ForgedClaim(const PairingOffer& offer, const PrivateKey& phone, char nonce) {
  v1::PairingClaim claim;
  REQUIRE(
      claim.ParseFromString(MakeClaim(offer, phone.Public(), std::string(16, nonce), "forger")));
  claim.set_proof(std::string(kDigestBytes, 'p'));
  return claim.SerializeAsString();
}

}  // namespace

TEST_CASE("car: a phone that saw the code gets a key when the person agrees, and not otherwise") {
  for (const char word : {'y', 'n', 'l'}) {
    Story s;
    const PairingOffer offer = s.Offers();
    const PrivateKey phone = PrivateKey::Generate();
    s.Heard();
    s.Claims(offer, phone);
    CHECK(s.Heard() == "ask ");
    s.Read();
    if (word == 'l') {
      s.Passes(kOfferLifetime);
    } else {
      s.Gives(Confirm{word == 'y' ? Confirm::Word::kYes : Confirm::Word::kNo});
    }
    CHECK(s.Heard() == (word == 'y' ? "write ring3 answer over " : "answer over "));
    CHECK(Says(s, word == 'y'   ? "a phone is paired"
                  : word == 'n' ? "said no; show a new code"
                                : "nobody answered within five minutes"));
    CHECK(s.Answered(offer, phone) == (word == 'y'   ? "allowed"
                                       : word == 'n' ? "REASON_DECLINED"
                                                     : "REASON_NO_OFFER"));
    CHECK(s.car_->ring().keys.size() == (word == 'y' ? 2U : 1U));
    CHECK(s.Refused(v1::REASON_DECLINED) == (word == 'n' ? 1U : 0U));
    // The answer may be lost: the claim that comes again gets the same one, whatever it was.
    const std::string answer = s.last_answer_;
    s.Claims(offer, phone);
    CHECK(s.Heard() == "answer ");
    CHECK(s.last_answer_ == answer);
  }
}

TEST_CASE("car: what pairing gives is what the person at the head unit chose, and they are told") {
  Story s;
  const PrivateKey phone = PrivateKey::Generate();
  const PairingOffer offer = s.Offers(v1::ROLE_GUEST);
  Effects effects;
  s.car_->Step(
      Arrived{{PairingTopic(s.fleet_car_.ref, phone.Public().Id()),
               MakeClaim(offer, phone.Public(), std::string(16, 'n'), "new"), 1, Retain::kNo, 0}},
      s.now_, effects);
  REQUIRE(effects.size() == 1);
  const auto& ask = std::get<AskPerson>(effects.front());
  CHECK(ask.role == v1::ROLE_GUEST);
  CHECK(ask.label == "new");
  CHECK_FALSE(ask.known);
  s.Gives(Confirm{Confirm::Word::kYes});
  const RingKey* key = s.car_->ring().Find(phone.Public().Id());
  REQUIRE(key != nullptr);
  CHECK(key->permissions == PermissionsOf(v1::ROLE_GUEST));
  // The owner's phone comes again: its role would change, and the person reads that it is known.
  s.Heard();
  s.Claims(s.Offers(v1::ROLE_OWNER, 't'), phone, 'm');
  CHECK(s.Heard() == "ask-known ");
}

TEST_CASE("car: three wrong proofs for the code on the screen burn it, and the screen says so") {
  Story s;
  const PairingOffer offer = s.Offers();
  const PrivateKey phone = PrivateKey::Generate();
  const char* const expected[] = {"answer ", "answer ", "answer over ", "answer "};
  for (int i = 0; i < 4; ++i) {
    const char nonce = static_cast<char>('a' + i);
    s.Heard();
    s.Read();
    s.ClaimArrives(phone.Public().Id(), ForgedClaim(offer, phone, nonce));
    CHECK(s.Heard() == expected[i]);
    CHECK(s.Answered(offer, phone, nonce, "forger") ==
          (i < 3 ? "REASON_BAD_PROOF" : "REASON_NO_OFFER"));
    CHECK(Says(s, i < 2    ? "wrong proof " + std::to_string(i + 1) + " of 3"
                  : i == 2 ? "the code on the screen is burnt"
                           : "no code is shown"));
  }
  s.Heard();
  s.Claims(offer, phone, 'r');  // the right one comes too late
  CHECK(s.Heard() == "answer ");
  CHECK(s.car_->ring().keys.size() == 1);
}

TEST_CASE("car: claims for another code are no tries: a stranger cannot burn the owner's code") {
  Story s;
  const PairingOffer offer = s.Offers();
  const PrivateKey stranger = PrivateKey::Generate();
  for (int i = 0; i < 50; ++i) {
    const char nonce = static_cast<char>('A' + i);
    s.Heard();
    s.Claims(Wrong(offer), stranger, nonce);
    CHECK(s.Heard() == "answer ");
    CHECK(s.Answered(Wrong(offer), stranger, nonce) == "REASON_NO_OFFER");
  }
  CHECK(Says(s, "another code than the one on the screen, which stays good"));
  const PrivateKey owner = PrivateKey::Generate();
  s.Heard();
  s.Claims(offer, owner);
  CHECK(s.Heard() == "ask ");
}

TEST_CASE(
    "car: while a phone waits for the person nobody else is heard, and nobody burns its code") {
  Story s;
  const PairingOffer offer = s.Offers();
  const PrivateKey owner = PrivateKey::Generate();
  const PrivateKey forger = PrivateKey::Generate();
  s.Claims(offer, owner);
  s.Claims(offer, owner);  // the phone asks again: the person is not asked twice
  for (const char nonce : {'a', 'b', 'c', 'd'}) {
    s.Heard();
    s.ClaimArrives(forger.Public().Id(), ForgedClaim(offer, forger, nonce));
    CHECK(s.Heard() == "answer ");
  }
  CHECK(Says(s, "another phone already waits for your yes or no"));
  s.Claims(offer, forger, 'e');  // even with the right proof
  CHECK(s.Answered(offer, forger, 'e') == "REASON_NO_OFFER");
  s.Heard();
  s.Gives(Confirm{Confirm::Word::kYes});
  CHECK(s.Heard() == "write ring3 answer over ");
  CHECK(s.Answered(offer, owner) == "allowed");
  CHECK(s.car_->ring().Find(forger.Public().Id()) == nullptr);
}

TEST_CASE(
    "car: claims without a code, after its time, on a foreign lane or in no form are refused") {
  Story s;
  const PrivateKey phone = PrivateKey::Generate();
  const PairingOffer offer = s.Offers();
  s.Passes(kOfferLifetime);
  CHECK(Says(s, "five minutes are over"));
  s.Heard();
  s.Claims(offer, phone);
  CHECK(s.Answered(offer, phone) == "REASON_NO_OFFER");
  CHECK(Says(s, "no code is shown; show one if it is yours"));
  const PairingOffer second = s.Offers(v1::ROLE_OWNER, 't');
  s.ClaimArrives(s.phone_.Public().Id(),
                 MakeClaim(second, phone.Public(), std::string(16, 'n'), "new"));
  CHECK(s.Refused(v1::REASON_WRONG_LANE) == 1);
  CHECK(Says(s, "names another key than its sender's"));
  s.Heard();
  s.ClaimArrives(phone.Public().Id(), "nonsense");
  CHECK(s.Heard() == "");
  CHECK(s.Refused(v1::REASON_MALFORMED) == 1);
  CHECK(Says(s, "something that is no claim"));
  s.Claims(second, phone, 'k');
  CHECK(s.Heard() == "ask ");
}

TEST_CASE("car: a new code takes the place of the old one, and who waited is told") {
  Story s;
  const PrivateKey phone = PrivateKey::Generate();
  const PairingOffer first = s.Offers();
  s.Claims(first, phone);
  s.Heard();
  s.Offers(v1::ROLE_OWNER, 't');
  CHECK(s.Heard() == "answer ");
  CHECK(s.Answered(first, phone) == "REASON_NO_OFFER");
  s.Gives(Confirm{Confirm::Word::kYes});  // to nobody
  CHECK(s.Heard() == "");
}

TEST_CASE("car: a full ring lets nobody in and says what to do") {
  Story s;
  Memory memory = LoadMemory(s.stored_, s.fleet_car_.ref).value();
  while (memory.ring.keys.size() < kRingKeysMax) {
    memory.ring.keys.push_back(OnRing(PrivateKey::Generate().Public(), v1::ROLE_GUEST));
  }
  s.stored_ = SerializeMemory(memory);
  s.Boots();
  const PrivateKey phone = PrivateKey::Generate();
  const PairingOffer offer = s.Offers();
  s.Claims(offer, phone);
  s.Heard();
  s.Gives(Confirm{Confirm::Word::kYes});
  CHECK(s.Heard() == "answer over ");
  CHECK(s.Answered(offer, phone) == "REASON_FULL");
  CHECK(Says(s, "the ring is full with 32 keys: remove one, then show a new code"));
}

}  // namespace latchkey::car
