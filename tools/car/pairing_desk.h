// The head unit's side of pairing: one offer, its time and tries, one phone that waits for the
// person in the car to say yes. The car has two desks: of the offer on the screen, and of an
// invitation that was printed before. Pure; the car turns what it says into messages.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proto/pairing.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::car {

class PairingDesk {
 public:
  // What came of a claim or of an end.
  struct Answer {
    enum class Kind : uint8_t {
      kNothing,  // say nothing: the claim does not parse, or waits already
      kAsk,      // ask the person about `label`
      kRefuse,   // refuse with `reason`
      kRepeat,   // this claim has been answered: `bytes` again
    };
    Kind kind = Kind::kNothing;
    Reason reason = v1::REASON_UNSPECIFIED;
    std::string nonce;
    std::string bytes;
    std::string why;          // for the person in the car: what happened, what to do next
    bool offer_over = false;  // the secret is burnt: show a new one
  };

  // Puts a new offer on the screen; a phone that waits is forgotten.
  void Show(PairingOffer offer, v1::Role role, Timestamp now);

  // Likewise an offer that stands longer, of which so many wrong proofs have come before.
  void Stand(PairingOffer offer, v1::Role role, Timestamp ends_at, int tries);

  // Does the claim mean the offer of this desk, or was it answered here?
  bool Means(std::string_view claim, const KeyId& lane) const;

  // A claim from `lane`. Reasons: REASON_NO_OFFER (none stands, it is over, the claim means another
  // one, or another phone waits), REASON_WRONG_LANE, REASON_BAD_PROOF (a wrong proof for the offer
  // on the screen: a try; the third burns the secret), REASON_MALFORMED. While a phone that proved
  // itself waits for the person, claims on other lanes are not looked at: nobody burns its secret.
  Answer Take(std::string_view claim, const KeyId& lane, Timestamp now);

  // The claim that waits for the person; nullptr: none.
  const Claim* waiting() const { return waiting_ ? &*waiting_ : nullptr; }

  const PairingOffer* offer() const { return offer_ ? &*offer_ : nullptr; }

  v1::Role role() const { return role_; }

  // Wrong proofs so far.
  int tries() const { return tries_; }

  // When the offer ends by itself; nullopt: none stands.
  std::optional<Timestamp> ends_at() const {
    return offer_ ? std::optional(ends_at_) : std::nullopt;
  }

  // The waiting claim was answered with `bytes`, yes or no: the secret is used. A repeat of the
  // claim gets the same bytes.
  void Answered(std::string bytes);
  // The offer is over without an answer.
  void Withdraw();

 private:
  static Answer Refuse(Answer answer, Reason reason, std::string why);
  Answer TakeBad(Answer answer, Reason reason);

  std::optional<PairingOffer> offer_;
  v1::Role role_ = v1::ROLE_OWNER;
  Timestamp ends_at_;
  int tries_ = 0;
  std::optional<Claim> waiting_;
  KeyId answered_lane_;
  std::string answered_nonce_;
  std::string answered_bytes_;
};

}  // namespace latchkey::car
