// Pairing: the QR text and both sides of claim and answer. Who holds the secret holds the proof;
// everything else on this path goes through a server that is not trusted.
#include "proto/pairing.h"

#include <array>
#include <span>
#include <utility>
#include <vector>

#include "proto/link.h"
#include "proto/reason.h"
#include "proto/wire.h"

namespace latchkey {
namespace {

constexpr std::string_view kTranscriptDomain = "latchkey.v1.pairing";
constexpr std::string_view kOfferDomain = "latchkey.v1.pairing-offer";
constexpr std::string_view kClaimDomain = "latchkey.v1.pairing-claim";
constexpr std::string_view kAnswerDomain = "latchkey.v1.pairing-answer";
constexpr size_t kNonceBytes = 16;
constexpr size_t kClaimBytesMax = 1024;
constexpr size_t kAnswerBytesMax = kKeyRingBytesMax + 1024;

constexpr std::array<std::string_view, 7> kOfferNames = {"v", "h", "p", "cell", "f", "c", "s"};
constexpr LinkKind kOffer = {"pairing text", "latchkey://pair?", kOfferNames,
                             "scan the code on the screen again"};

std::string Transcript(const CarRef& ref, std::string_view point, std::string_view nonce,
                       std::string_view label) {
  std::string rest = ref.fleet.str();
  rest.push_back('\0');
  rest += ref.car.str();
  rest.push_back('\0');
  rest += point;
  rest += nonce;
  rest.push_back(static_cast<char>(label.size()));
  rest += label;
  return WithDomain(kTranscriptDomain, rest);
}

std::string ClaimProof(const PairingOffer& offer, const Claim& claim) {
  return HmacSha256(offer.secret,
                    WithDomain(kClaimDomain, Transcript(offer.ref, claim.key.ToPoint(), claim.nonce,
                                                        claim.label)));
}

std::string AnswerProof(const PairingOffer& offer, const Claim& claim,
                        const v1::SignedKeyRing& ring) {
  return HmacSha256(
      offer.secret,
      WithDomain(kAnswerDomain,
                 Transcript(offer.ref, claim.key.ToPoint(), claim.nonce, claim.label) +
                     Sha256(ring.certificate()) + Sha256(ring.key_ring())));
}

}  // namespace

std::string ToQrText(const PairingOffer& offer) {
  LK_ASSERT(offer.secret.size() == kPairingSecretBytes);
  return std::string(kOffer.prefix) + "v=1&" +
         PlaceText({offer.host, offer.port, offer.cell, offer.ref}) +
         "&s=" + Base64UrlEncode(offer.secret);
}

Result<PairingOffer> ParseQrText(std::string_view text) {
  LK_TRY(const std::vector<std::string_view> values, SplitLink(text, kOffer));
  LK_TRY(LinkPlace place, ReadPlace(std::span(values).subspan(1, 5), kOffer));
  std::optional<std::string> secret = Base64UrlDecode(values[6]);
  if (!secret || secret->size() != kPairingSecretBytes) {
    return BadLink(kOffer, "has a secret that is not 16 bytes");
  }
  return PairingOffer{std::move(place.host), place.port, std::move(place.cell),
                      std::move(place.ref), std::move(*secret)};
}

std::string OfferTag(const PairingOffer& offer) {
  std::string names = offer.ref.fleet.str();
  names.push_back('\0');
  names += offer.ref.car.str();
  return HmacSha256(offer.secret, WithDomain(kOfferDomain, names)).substr(0, kOfferTagBytes);
}

std::string MakeClaim(const PairingOffer& offer, const PublicKey& key, std::string_view nonce,
                      std::string_view label) {
  LK_ASSERT(nonce.size() == kNonceBytes && label.size() <= kLabelBytesMax);
  v1::PairingClaim wire;
  wire.set_public_key(key.ToPoint());
  wire.set_nonce(std::string(nonce));
  wire.set_label(std::string(label));
  wire.set_offer_tag(OfferTag(offer));
  wire.set_proof(ClaimProof(offer, Claim{key, std::string(nonce), std::string(label)}));
  return wire.SerializeAsString();
}

Result<Claim> CheckClaim(std::string_view bytes, const PairingOffer& offer, const KeyId& lane) {
  const std::optional<v1::PairingClaim> wire = FromWire<v1::PairingClaim>(bytes, kClaimBytesMax);
  if (!wire || wire->public_key().size() != kPublicKeyBytes ||
      wire->nonce().size() != kNonceBytes || wire->proof().size() != kDigestBytes ||
      wire->label().size() > kLabelBytesMax) {
    return Fail(v1::REASON_MALFORMED, "a pairing claim does not parse: refused");
  }
  LK_TRY(const PublicKey key, PublicKey::FromPoint(wire->public_key()));
  if (key.Id() != lane) {
    return Fail(v1::REASON_WRONG_LANE,
                "a pairing claim on lane " + lane.str() + " is for another key: refused");
  }
  if (!EqualSecrets(wire->offer_tag(), OfferTag(offer))) {
    return Fail(v1::REASON_NO_OFFER,
                "the pairing claim of key " + lane.str() +
                    " means another offer than the one on the screen: refused");
  }
  Claim claim{key, wire->nonce(), wire->label()};
  if (!EqualSecrets(wire->proof(), ClaimProof(offer, claim))) {
    return Fail(v1::REASON_BAD_PROOF, "the pairing claim of key " + lane.str() +
                                          " does not fit the secret on the screen: refused");
  }
  return claim;
}

std::string MakeAnswer(const PairingOffer& offer, const Claim& claim,
                       std::string_view signed_ring) {
  const std::optional<v1::SignedKeyRing> ring =
      FromWire<v1::SignedKeyRing>(signed_ring, kKeyRingBytesMax);
  LK_ASSERT(ring.has_value());
  v1::PairingAnswer answer;
  answer.set_nonce(claim.nonce);
  answer.set_proof(AnswerProof(offer, claim, *ring));
  *answer.mutable_key_ring() = *ring;
  return answer.SerializeAsString();
}

std::string MakeRefusal(std::string_view nonce, Reason reason) {
  LK_ASSERT(reason != v1::REASON_UNSPECIFIED);
  v1::PairingAnswer answer;
  answer.set_nonce(std::string(nonce));
  answer.set_reason(reason);
  answer.set_text(std::string(FactsOf(reason).text.substr(0, 256)));
  return answer.SerializeAsString();
}

std::string MakeKeyNotice(std::string_view signed_ring) {
  std::optional<v1::SignedKeyRing> ring =
      FromWire<v1::SignedKeyRing>(signed_ring, kKeyRingBytesMax);
  LK_ASSERT(ring && !ring->key_ring().empty());
  v1::PairingAnswer answer;
  *answer.mutable_key_ring() = std::move(*ring);
  return answer.SerializeAsString();
}

std::string MakeRemovalNotice() {
  return MakeRefusal("", v1::REASON_NOT_ON_RING);
}

Result<KeyNotice> ReadKeyNotice(std::string_view bytes) {
  const std::optional<v1::PairingAnswer> answer =
      FromWire<v1::PairingAnswer>(bytes, kAnswerBytesMax);
  const auto malformed = [](std::string_view what) {
    return Fail(v1::REASON_MALFORMED,
                "a message on this phone's lane " + std::string(what) + ": ignored");
  };
  if (!answer || !answer->nonce().empty() || !answer->proof().empty()) {
    return malformed("is no notice of the car");
  }
  if (answer->reason() == v1::REASON_NOT_ON_RING && !answer->has_key_ring()) {
    return KeyNotice{};
  }
  if (answer->reason() != v1::REASON_UNSPECIFIED || answer->key_ring().key_ring().empty()) {
    return malformed("says neither that the key is on the ring nor that it is not");
  }
  return KeyNotice{true, answer->key_ring().SerializeAsString()};
}

Result<Paired> CheckAnswer(std::string_view bytes, const PairingOffer& offer, const PublicKey& key,
                           std::string_view nonce, std::string_view label) {
  const std::optional<v1::PairingAnswer> answer =
      FromWire<v1::PairingAnswer>(bytes, kAnswerBytesMax);
  if (!answer || answer->nonce().size() != kNonceBytes || !v1::Reason_IsValid(answer->reason())) {
    return Fail(v1::REASON_MALFORMED, "the car's pairing answer does not parse: ignored");
  }
  if (answer->nonce() != nonce) {
    return Fail(v1::REASON_WRONG_LANE, "a pairing answer is for another claim: ignored");
  }
  if (answer->reason() != v1::REASON_UNSPECIFIED) {
    return Fail(answer->reason(), std::string(FactsOf(answer->reason()).text));
  }
  const Claim claim{key, std::string(nonce), std::string(label)};
  if (!EqualSecrets(answer->proof(), AnswerProof(offer, claim, answer->key_ring()))) {
    return Fail(v1::REASON_BAD_PROOF,
                "the pairing answer does not come from the car whose code was scanned: not paired");
  }
  LK_TRY(const Certificate certificate, Certificate::FromDer(answer->key_ring().certificate()));
  LK_TRY(KeyRing ring,
         OpenKeyRingOf(answer->key_ring().SerializeAsString(), certificate.public_key));
  if (ring.ref != offer.ref) {
    return Fail(v1::REASON_WRONG_CAR, "the pairing answer is of car " + ring.ref.ToText() +
                                          ", not of " + offer.ref.ToText() + ": not paired");
  }
  if (ring.Find(key.Id()) == nullptr) {
    return Fail(v1::REASON_NOT_ON_RING,
                "the car's ring does not name this phone: not paired; pair again");
  }
  return Paired{std::move(ring), certificate.public_key, answer->key_ring().certificate()};
}

}  // namespace latchkey
