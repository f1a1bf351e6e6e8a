// Pairing: the QR text, and both sides of claim and answer as pure checks. See pairing.proto for
// the transcript. State (offer's tries and time, person's answer) lives in the reference car.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "latchkey/v1/pairing.pb.h"
#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey {

inline constexpr size_t kPairingSecretBytes = 16;
inline constexpr Duration kOfferLifetime = std::chrono::minutes(5);
inline constexpr int kOfferTriesMax = 3;  // wrong proofs until the secret is burnt

// What the head unit shows.
struct PairingOffer {
  std::string host;  // broker for phones
  int port = 0;
  std::string cell;  // `aud` of the phone's tokens
  CarRef ref;
  std::string secret;  // 16 bytes
  bool operator==(const PairingOffer&) const = default;
};

// latchkey://pair?v=1&h={host}&p={port}&cell={cell}&f={fleet}&c={car}&s={base64url secret}
std::string ToQrText(const PairingOffer& offer);
// Error REASON_MALFORMED with what is wrong.
Result<PairingOffer> ParseQrText(std::string_view text);

// Phone: a serialized PairingClaim for `key` with `nonce` (16 random bytes).
std::string MakeClaim(const PairingOffer& offer, const PublicKey& key, std::string_view nonce,
                      std::string_view label);

inline constexpr size_t kOfferTagBytes = 8;

// What a claim names the offer by; see pairing.proto.
std::string OfferTag(const PairingOffer& offer);

struct Claim {
  PublicKey key;
  std::string nonce;
  std::string label;
};

// Car: checks a claim from `lane` against the offer on the screen.
// Errors, in the order checked: REASON_MALFORMED, REASON_WRONG_LANE (key's id is not the lane),
// REASON_NO_OFFER (another offer's tag: not a try), REASON_BAD_PROOF (a try).
Result<Claim> CheckClaim(std::string_view bytes, const PairingOffer& offer, const KeyId& lane);

// Car: serialized PairingAnswer that says yes with the serialized SignedKeyRing that names the
// phone.
std::string MakeAnswer(const PairingOffer& offer, const Claim& claim, std::string_view signed_ring);
// Car: serialized PairingAnswer that says no.
std::string MakeRefusal(std::string_view nonce, Reason reason);

// Car: serialized PairingAnswer that tells a key what somebody else made of it: its place on
// `signed_ring`, or that it has none.
std::string MakeKeyNotice(std::string_view signed_ring);
std::string MakeRemovalNotice();

// A notice as read by the phone. Error REASON_MALFORMED: not a notice.
struct KeyNotice {
  bool on_ring = false;
  std::string
      signed_ring;  // serialized SignedKeyRing when on_ring; to be opened with the car's key
};

Result<KeyNotice> ReadKeyNotice(std::string_view bytes);

struct Paired {
  KeyRing ring;
  PublicKey car_key;
  std::string car_certificate;  // DER
};

// Phone: checks an answer to its claim. Errors: REASON_MALFORMED, REASON_WRONG_LANE (another
// claim's nonce), the car's own reason for a refusal, REASON_BAD_PROOF, and those of OpenKeyRingOf;
// REASON_NOT_ON_RING when the ring does not name the phone.
Result<Paired> CheckAnswer(std::string_view bytes, const PairingOffer& offer, const PublicKey& key,
                           std::string_view nonce, std::string_view label);

}  // namespace latchkey
