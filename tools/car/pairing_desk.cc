// One offer, three wrong proofs, five minutes.
#include "tools/car/pairing_desk.h"

#include <utility>

#include "proto/wire.h"

namespace latchkey::car {
namespace {

constexpr size_t kClaimBytesMax = 1024;

}  // namespace

void PairingDesk::Show(PairingOffer offer, v1::Role role, Timestamp now) {
  offer_ = std::move(offer);
  role_ = role;
  ends_at_ = now + kOfferLifetime;
  tries_ = 0;
  waiting_.reset();
}

PairingDesk::Answer PairingDesk::Take(std::string_view claim, const KeyId& lane, Timestamp now) {
  const auto wire = FromWire<v1::PairingClaim>(claim, kClaimBytesMax);
  Answer answer;
  if (!wire || wire->nonce().empty()) {
    answer.reason = v1::REASON_MALFORMED;
    return answer;
  }
  answer.nonce = wire->nonce();
  if (lane == answered_lane_ && wire->nonce() == answered_nonce_) {
    answer.kind = Answer::Kind::kRepeat;
    answer.bytes = answered_bytes_;
    return answer;
  }
  answer.kind = Answer::Kind::kRefuse;
  answer.reason = v1::REASON_NO_OFFER;
  if (!offer_ || now >= ends_at_) {
    return answer;
  }
  Result<Claim> checked = CheckClaim(claim, *offer_, lane);
  if (!checked) {
    answer.reason = checked.error().reason;
    if (answer.reason == v1::REASON_MALFORMED) {
      answer.kind = Answer::Kind::kNothing;
    }
    if (answer.reason == v1::REASON_BAD_PROOF && ++tries_ >= kOfferTriesMax) {
      Withdraw();
      answer.offer_over = true;
    }
    return answer;
  }
  if (waiting_ && waiting_->key.Id() != lane) {
    return answer;
  }
  const bool again = waiting_ && waiting_->nonce == checked->nonce;
  waiting_ = std::move(*checked);
  answer.kind = again ? Answer::Kind::kNothing : Answer::Kind::kAsk;
  answer.reason = v1::REASON_UNSPECIFIED;
  return answer;
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
