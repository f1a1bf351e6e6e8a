// One offer, three wrong proofs, and its time: five minutes on the screen.
#include "tools/car/pairing_desk.h"

#include <utility>

#include "proto/wire.h"

namespace latchkey::car {
namespace {

constexpr size_t kClaimBytesMax = 1024;

}  // namespace

void PairingDesk::Show(PairingOffer offer, v1::Role role, Timestamp now) {
  Stand(std::move(offer), role, now + kOfferLifetime, 0);
}

void PairingDesk::Stand(PairingOffer offer, v1::Role role, Timestamp ends_at, int tries) {
  offer_ = std::move(offer);
  role_ = role;
  ends_at_ = ends_at;
  tries_ = tries;
  waiting_.reset();
}

bool PairingDesk::Means(std::string_view claim, const KeyId& lane) const {
  const auto wire = FromWire<v1::PairingClaim>(claim, kClaimBytesMax);
  if (!wire || wire->nonce().empty()) {
    return false;
  }
  return (lane == answered_lane_ && wire->nonce() == answered_nonce_) ||
         (offer_ && EqualSecrets(wire->offer_tag(), OfferTag(*offer_)));
}

PairingDesk::Answer PairingDesk::Refuse(Answer answer, Reason reason, std::string why) {
  answer.kind = Answer::Kind::kRefuse;
  answer.reason = reason;
  answer.why = std::move(why);
  return answer;
}

PairingDesk::Answer PairingDesk::Take(std::string_view claim, const KeyId& lane, Timestamp now) {
  const auto wire = FromWire<v1::PairingClaim>(claim, kClaimBytesMax);
  Answer answer;
  if (!wire || wire->nonce().empty()) {
    answer.reason = v1::REASON_MALFORMED;
    answer.why = "a phone sent something that is no claim; update its app if it is yours";
    return answer;
  }
  answer.nonce = wire->nonce();
  if (lane == answered_lane_ && wire->nonce() == answered_nonce_) {
    answer.kind = Answer::Kind::kRepeat;
    answer.bytes = answered_bytes_;
    return answer;
  }
  if (!offer_ || now >= ends_at_) {
    return Refuse(std::move(answer), v1::REASON_NO_OFFER,
                  "a phone wants to pair and no code is shown; show one if it is yours");
  }
  if (waiting_ && waiting_->key.Id() != lane) {
    return Refuse(
        std::move(answer), v1::REASON_NO_OFFER,
        "another phone already waits for your yes or no; answer it, then show a new code");
  }
  Result<Claim> checked = CheckClaim(claim, *offer_, lane);
  if (!checked) {
    return TakeBad(std::move(answer), checked.error().reason);
  }
  const bool again = waiting_ && waiting_->nonce == checked->nonce;
  waiting_ = std::move(*checked);
  answer.kind = again ? Answer::Kind::kNothing : Answer::Kind::kAsk;
  return answer;
}

PairingDesk::Answer PairingDesk::TakeBad(Answer answer, Reason reason) {
  if (reason == v1::REASON_MALFORMED) {
    answer.reason = reason;
    answer.why = "a phone sent something that is no claim; update its app if it is yours";
    return answer;
  }
  if (reason == v1::REASON_NO_OFFER) {
    return Refuse(std::move(answer), reason,
                  "a phone means another code than the one on the screen, which stays good; scan "
                  "the one on the screen if it is yours");
  }
  if (reason != v1::REASON_BAD_PROOF) {
    return Refuse(std::move(answer), reason,
                  "a claim names another key than its sender's; the code on the screen stays good");
  }
  ++tries_;
  answer.offer_over = tries_ >= kOfferTriesMax;
  if (answer.offer_over) {
    Withdraw();
  }
  return Refuse(std::move(answer), reason,
                "a phone could not prove that it saw the code, wrong proof " +
                    std::to_string(tries_) + " of " + std::to_string(kOfferTriesMax) +
                    "; scan the code on the screen again if it is yours");
}

void PairingDesk::Answered(std::string bytes) {
  LK_ASSERT(waiting_.has_value());
  answered_lane_ = waiting_->key.Id();
  answered_nonce_ = waiting_->nonce;
  answered_bytes_ = std::move(bytes);
  Withdraw();
}

void PairingDesk::Withdraw() {
  offer_.reset();
  waiting_.reset();
}

}  // namespace latchkey::car
