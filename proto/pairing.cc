// Pairing: the QR text and both sides of claim and answer. Who holds the secret holds the proof;
// everything else on this path goes through a server that is not trusted.
#include "proto/pairing.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "proto/reason.h"
#include "proto/wire.h"

namespace latchkey {
namespace {

constexpr std::string_view kTranscriptDomain = "latchkey.v1.pairing";
constexpr std::string_view kClaimDomain = "latchkey.v1.pairing-claim";
constexpr std::string_view kAnswerDomain = "latchkey.v1.pairing-answer";
constexpr std::string_view kQrPrefix = "latchkey://pair?";
constexpr size_t kQrTextBytesMax = 512;
constexpr size_t kNonceBytes = 16;
constexpr size_t kClaimBytesMax = 1024;
constexpr size_t kAnswerBytesMax = kKeyRingBytesMax + 1024;
constexpr size_t kHostBytesMax = 253;
constexpr size_t kCellBytesMax = 64;

bool Plain(std::string_view text, std::string_view more, size_t bytes_max) {
  return !text.empty() && text.size() <= bytes_max &&
         std::all_of(text.begin(), text.end(), [more](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  more.find(c) != std::string_view::npos;
         });
}

// A DNS name or an IP address.
bool ValidHost(std::string_view host) {
  return Plain(host, ".-_:", kHostBytesMax);
}

bool ValidCell(std::string_view cell) {
  return Plain(cell, ".-_", kCellBytesMax);
}

std::optional<int> ParsePort(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || text.front() < '1' || port < 1 || port > 65535) {
    return std::nullopt;
  }
  return port;
}

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

tl::unexpected<Error> BadQr(std::string_view what) {
  return Fail(v1::REASON_MALFORMED,
              "the pairing text " + std::string(what) + ": scan the code on the screen again");
}

constexpr std::array<std::string_view, 7> kQrKeys = {"v", "h", "p", "cell", "f", "c", "s"};
using QrValues = std::array<std::optional<std::string_view>, kQrKeys.size()>;

// Each key exactly once, in any order, and no other. nullopt: else.
std::optional<QrValues> SplitQr(std::string_view rest) {
  QrValues values;
  for (size_t seen = 0; seen < kQrKeys.size(); ++seen) {
    const size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    const size_t equals = pair.find('=');
    const auto* key = std::find(kQrKeys.begin(), kQrKeys.end(), pair.substr(0, equals));
    if (equals == std::string_view::npos || key == kQrKeys.end()) {
      return std::nullopt;
    }
    std::optional<std::string_view>& value =
        values[static_cast<size_t>(std::distance(kQrKeys.begin(), key))];
    const bool last = seen + 1 == kQrKeys.size();
    if (value || last != (end == std::string_view::npos)) {
      return std::nullopt;
    }
    value = pair.substr(equals + 1);
    rest = last ? std::string_view() : rest.substr(end + 1);
  }
  return values;
}

}  // namespace

std::string ToQrText(const PairingOffer& offer) {
  LK_ASSERT(ValidHost(offer.host) && ValidCell(offer.cell));
  LK_ASSERT(offer.port >= 1 && offer.port <= 65535);
  LK_ASSERT(offer.secret.size() == kPairingSecretBytes);
  return std::string(kQrPrefix) + "v=1&h=" + offer.host + "&p=" + std::to_string(offer.port) +
         "&cell=" + offer.cell + "&f=" + offer.ref.fleet.str() + "&c=" + offer.ref.car.str() +
         "&s=" + Base64UrlEncode(offer.secret);
}

Result<PairingOffer> ParseQrText(std::string_view text) {
  if (text.size() > kQrTextBytesMax) {
    return BadQr("is longer than 512 bytes");
  }
  if (!text.starts_with(kQrPrefix)) {
    return BadQr("does not begin with latchkey://pair?");
  }
  const std::optional<QrValues> values = SplitQr(text.substr(kQrPrefix.size()));
  if (!values) {
    return BadQr("does not have v, h, p, cell, f, c and s exactly once each");
  }
  const auto value = [&values](size_t index) { return (*values)[index].value_or(""); };
  if (value(0) != "1") {
    return BadQr("is of another version than 1");
  }
  const std::optional<int> port = value(2).empty() ? std::nullopt : ParsePort(value(2));
  if (!ValidHost(value(1)) || !port || !ValidCell(value(3))) {
    return BadQr("has a host, port or cell that cannot be");
  }
  const std::optional<FleetId> fleet = FleetId::Parse(value(4));
  const std::optional<CarId> car = CarId::Parse(value(5));
  if (!fleet || !car) {
    return BadQr("names a fleet or car that breaks the rules");
  }
  const std::optional<std::string> secret = Base64UrlDecode(value(6));
  if (!secret || secret->size() != kPairingSecretBytes) {
    return BadQr("has a secret that is not 16 bytes");
  }
  return PairingOffer{std::string(value(1)), *port, std::string(value(3)), {*fleet, *car}, *secret};
}

std::string MakeClaim(const PairingOffer& offer, const PublicKey& key, std::string_view nonce,
                      std::string_view label) {
  LK_ASSERT(nonce.size() == kNonceBytes && label.size() <= kLabelBytesMax);
  v1::PairingClaim wire;
  wire.set_public_key(key.ToPoint());
  wire.set_nonce(std::string(nonce));
  wire.set_label(std::string(label));
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
