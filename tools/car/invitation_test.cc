// Stories of an invitation: a pairing code that was printed before anybody sat in the car. It lets
// in one phone, once, when the person in the car says yes.
#include <string>

#include <doctest/doctest.h>

#include "tests/support/car_story.h"

namespace latchkey::car {
namespace {

constexpr Duration kLife = std::chrono::hours(24 * 90);

struct Invited : Story {
  Invited() {
    Memory memory = LoadMemory(stored_, fleet_car_.ref).value();
    memory.invitation = Invitation{offer, v1::ROLE_OWNER, now_.wall + kLife, 0};
    stored_ = SerializeMemory(memory);
    Boots();
    Heard();
    Read();
  }

  bool StillHolds() const {
    return LoadMemory(stored_, fleet_car_.ref).value().invitation.has_value();
  }

  // Somebody who saw a claim go by: the right tag, a wrong proof.
  void Forges(const PrivateKey& phone, char nonce) {
    v1::PairingClaim claim;
    REQUIRE(
        claim.ParseFromString(MakeClaim(offer, phone.Public(), std::string(16, nonce), "forger")));
    claim.set_proof(std::string(kDigestBytes, 'p'));
    ClaimArrives(phone.Public().Id(), claim.SerializeAsString());
  }

  PairingOffer offer{"127.0.0.1", 8883, "local", fleet_car_.ref,
                     std::string(kPairingSecretBytes, 'i')};
  PrivateKey guest = PrivateKey::Generate();
  PrivateKey other = PrivateKey::Generate();
};

}  // namespace

TEST_CASE("invitation: lets one phone in when the person says yes, and nobody ever after") {
  Invited s;
  s.Passes(std::chrono::hours(24 * 30));
  s.Boots();
  s.Heard();
  s.Claims(s.offer, s.guest);
  CHECK(s.Heard() == "ask ");
  s.Gives(Confirm{Confirm::Word::kYes});
  CHECK(s.Heard() == "write ring3 answer ");
  CHECK(s.Answered(s.offer, s.guest) == "allowed");
  CHECK(!s.StillHolds());
  // The answer may be lost; another phone, or another boot, gets nothing.
  s.Claims(s.offer, s.guest);
  CHECK(s.Heard() == "answer ");
  CHECK(s.Answered(s.offer, s.guest) == "allowed");
  s.Claims(s.offer, s.other, 'o');
  CHECK(s.Answered(s.offer, s.other, 'o') == "REASON_NO_OFFER");
  s.Boots();
  s.Claims(s.offer, s.other, 'q');
  CHECK(s.Answered(s.offer, s.other, 'q') == "REASON_NO_OFFER");
  CHECK(s.car_->ring().keys.size() == 2);
}

TEST_CASE("invitation: a no uses it up, and silence does not") {
  Invited s;
  s.Claims(s.offer, s.guest);
  CHECK(s.Heard() == "ask ");
  s.Passes(kOfferLifetime);
  CHECK(s.Answered(s.offer, s.guest) == "REASON_NO_OFFER");
  CHECK(s.StillHolds());
  s.Gives(Confirm{Confirm::Word::kYes});  // too late: nobody waits
  CHECK(s.car_->ring().keys.size() == 1);
  s.Heard();
  s.Claims(s.offer, s.guest, 'b');
  CHECK(s.Heard() == "ask ");
  s.Gives(Confirm{Confirm::Word::kNo});
  CHECK(s.Heard() == "write answer ");
  CHECK(s.Answered(s.offer, s.guest, 'b') == "REASON_DECLINED");
  CHECK(!s.StillHolds());
  s.Claims(s.offer, s.guest, 'c');
  CHECK(s.Answered(s.offer, s.guest, 'c') == "REASON_NO_OFFER");
}

TEST_CASE("invitation: three wrong proofs burn it, also over boots, and strangers burn nothing") {
  Invited s;
  PairingOffer guess = s.offer;
  for (char secret = 'A'; secret < 'K'; ++secret) {
    guess.secret = std::string(kPairingSecretBytes, secret);
    s.Claims(guess, s.other, secret);
    CHECK(s.Answered(guess, s.other, secret) == "REASON_NO_OFFER");
  }
  CHECK(s.StillHolds());
  s.Forges(s.other, '1');
  s.Boots();
  s.Forges(s.other, '2');
  s.Boots();
  CHECK(s.StillHolds());
  s.Heard();
  s.Forges(s.other, '3');
  CHECK(s.Heard() == "write answer ");
  CHECK(!s.StillHolds());
  CHECK(s.Refused(v1::REASON_BAD_PROOF) == 1);  // since the last boot
  s.Claims(s.offer, s.guest);
  CHECK(s.Answered(s.offer, s.guest) == "REASON_NO_OFFER");
}

TEST_CASE("invitation: it ends with its time, and with a factory reset") {
  Invited s;
  s.Passes(kLife);
  CHECK(!s.StillHolds());
  s.Claims(s.offer, s.guest);
  CHECK(s.Answered(s.offer, s.guest) == "REASON_NO_OFFER");
  Invited t;
  t.Claims(t.offer, t.guest);
  t.Gives(FactoryReset{});
  CHECK(t.Answered(t.offer, t.guest) == "REASON_DECLINED");
  CHECK(!t.StillHolds());
  t.Claims(t.offer, t.guest, 'b');
  CHECK(t.Answered(t.offer, t.guest, 'b') == "REASON_NO_OFFER");
}

TEST_CASE("invitation: one phone at a time waits, and the screen's code works beside it") {
  Invited s;
  const PairingOffer screen = s.Offers(v1::ROLE_GUEST);
  s.Heard();
  s.Claims(s.offer, s.guest);
  CHECK(s.Heard() == "ask ");
  s.Claims(screen, s.other, 'o');
  CHECK(s.Heard() == "answer ");
  CHECK(s.Answered(screen, s.other, 'o') == "REASON_NO_OFFER");
  s.Gives(Confirm{Confirm::Word::kYes});
  CHECK(s.Answered(s.offer, s.guest) == "allowed");
  s.Heard();
  s.Claims(screen, s.other, 'p');
  CHECK(s.Heard() == "ask ");
  s.Gives(Confirm{Confirm::Word::kYes});
  CHECK(s.Answered(screen, s.other, 'p') == "allowed");
  CHECK(s.car_->ring().Find(s.guest.Public().Id())->role == v1::ROLE_OWNER);
  CHECK(s.car_->ring().Find(s.other.Public().Id())->role == v1::ROLE_GUEST);
  // The other way round: a claim to the invitation while a phone waits at the screen.
  Invited t;
  const PairingOffer shown = t.Offers();
  t.Claims(shown, t.other, 'o');
  t.Heard();
  t.Claims(t.offer, t.guest);
  CHECK(t.Answered(t.offer, t.guest) == "REASON_NO_OFFER");
  CHECK(t.StillHolds());
}

}  // namespace latchkey::car
