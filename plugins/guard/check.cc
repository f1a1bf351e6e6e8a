// One check per kind of topic, each the wire library's own parser where it has one.
#include "plugins/guard/check.h"

#include <optional>
#include <utility>

#include "latchkey/v1/certificate.pb.h"
#include "latchkey/v1/control.pb.h"
#include "latchkey/v1/keyring.pb.h"
#include "latchkey/v1/pairing.pb.h"
#include "latchkey/v1/presence.pb.h"
#include "proto/blocks.h"
#include "proto/certificate.h"
#include "proto/command.h"
#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/pairing.h"
#include "proto/receipt.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "proto/wire.h"

namespace latchkey::guard {

namespace {

constexpr size_t kNonceBytes = 16;
constexpr size_t kAnswerTextBytesMax = 256;
constexpr std::string_view kControlPrefix = "$CONTROL/";

template <class T>
Verdict VerdictOf(const Result<T>& result) {
  return result ? Verdict::Allow() : Verdict::Refuse(result.error().reason);
}

Verdict Malformed() {
  return Verdict::Refuse(v1::REASON_MALFORMED);
}

std::optional<CarRef> RefOf(const Topic& topic) {
  std::optional<FleetId> fleet = FleetId::Parse(topic.fleet);
  std::optional<CarId> car = CarId::Parse(topic.car);
  if (!fleet || !car) {
    return std::nullopt;
  }
  return CarRef{std::move(*fleet), std::move(*car)};
}

bool LooksSigned(const v1::SignedKeyRing& ring) {
  return !ring.key_ring().empty() && !ring.certificate().empty() &&
         ring.signature().size() == kSignatureBytes &&
         FromWire<v1::KeyRing>(ring.key_ring(), kKeyRingBytesMax).has_value();
}

Verdict CheckRing(std::string_view payload) {
  const auto ring = FromWire<v1::SignedKeyRing>(payload, kKeyRingBytesMax);
  return ring && LooksSigned(*ring) ? Verdict::Allow() : Malformed();
}

Verdict CheckClaim(const Topic& topic, std::string_view payload) {
  const auto claim = FromWire<v1::PairingClaim>(payload, payload.size());
  if (!claim || claim->nonce().size() != kNonceBytes || claim->proof().size() != kDigestBytes ||
      claim->public_key().size() != kPublicKeyBytes || claim->label().size() > kLabelBytesMax ||
      claim->offer_tag().size() != kOfferTagBytes) {
    return Malformed();
  }
  const Result<PublicKey> key = PublicKey::FromPoint(claim->public_key());
  if (!key) {
    return Malformed();
  }
  return key->Id().str() == topic.lane ? Verdict::Allow() : Verdict::Refuse(v1::REASON_WRONG_LANE);
}

// What a car tells a key that somebody else changed: with the ring that names it, or that no ring
// does.
Verdict CheckNotice(const v1::PairingAnswer& notice) {
  if (!notice.proof().empty()) {
    return Malformed();
  }
  const bool whole = notice.reason() == v1::REASON_UNSPECIFIED
                         ? LooksSigned(notice.key_ring())
                         : notice.reason() == v1::REASON_NOT_ON_RING && !notice.has_key_ring();
  return whole ? Verdict::Allow() : Malformed();
}

Verdict CheckAnswer(std::string_view payload) {
  const auto answer = FromWire<v1::PairingAnswer>(payload, payload.size());
  if (!answer || answer->text().size() > kAnswerTextBytesMax ||
      !v1::Reason_IsValid(answer->reason())) {
    return Malformed();
  }
  if (answer->nonce().empty()) {
    return CheckNotice(*answer);
  }
  if (answer->nonce().size() != kNonceBytes) {
    return Malformed();
  }
  if (answer->reason() != v1::REASON_UNSPECIFIED) {
    return Verdict::Allow();
  }
  const bool whole = answer->proof().size() == kDigestBytes && LooksSigned(answer->key_ring());
  return whole ? Verdict::Allow() : Malformed();
}

// Form only: whose key it is, and the signature, are the registrar's to check.
Verdict CheckCertificateRequest(std::string_view payload) {
  const auto request = FromWire<v1::CertificateRequest>(payload, payload.size());
  const bool whole = request && TimeFromWire(request->requested_at_ms()) &&
                     request->requested_at_ms() > 0 &&
                     request->signature().size() == kSignatureBytes &&
                     request->public_key().size() == kPublicKeyBytes &&
                     PublicKey::FromPoint(request->public_key()).has_value();
  return whole ? Verdict::Allow() : Malformed();
}

// Form only: the car checks what is certified.
Verdict CheckCertificateGrant(std::string_view payload) {
  const auto grant = FromWire<v1::CertificateGrant>(payload, payload.size());
  if (!grant || !TimeFromWire(grant->requested_at_ms()) || !v1::Reason_IsValid(grant->reason()) ||
      grant->text().size() > kAnswerTextBytesMax) {
    return Malformed();
  }
  const bool granted = grant->reason() == v1::REASON_UNSPECIFIED;
  const bool whole = granted ? Certificate::FromDer(grant->certificate()).has_value()
                             : grant->certificate().empty();
  return whole ? Verdict::Allow() : Malformed();
}

Verdict CheckCommand(const Topic& topic, std::string_view payload, Timestamp now) {
  const std::optional<CarRef> ref = RefOf(topic);
  const std::optional<KeyId> lane = KeyId::Parse(topic.lane);
  if (!ref || !lane) {
    return Verdict::Refuse(v1::REASON_UNKNOWN_TOPIC);
  }
  const Result<Command> command = ParseCommand(payload, *ref, *lane);
  return command ? CheckTime(*command, now) : Verdict::Refuse(command.error().reason);
}

Verdict CheckReceipt(const Topic& topic, std::string_view payload) {
  const std::optional<CarRef> ref = RefOf(topic);
  return ref ? VerdictOf(OpenReceipt(payload, *ref, std::nullopt))
             : Verdict::Refuse(v1::REASON_UNKNOWN_TOPIC);
}

Verdict CheckPayload(const Topic& topic, std::string_view payload, Timestamp now) {
  switch (topic.kind) {
    case TopicKind::kState:
      return VerdictOf(CheckState(payload, topic.group));
    case TopicKind::kPresence:
      return FromWire<v1::Presence>(payload, payload.size()) ? Verdict::Allow() : Malformed();
    case TopicKind::kKeyRing:
      return CheckRing(payload);
    case TopicKind::kPairingClaim:
      return CheckClaim(topic, payload);
    case TopicKind::kPairingAnswer:
      return CheckAnswer(payload);
    case TopicKind::kCommand:
      return CheckCommand(topic, payload, now);
    case TopicKind::kReceipt:
      return CheckReceipt(topic, payload);
    case TopicKind::kCertificate:
      return CheckCertificateGrant(payload);
    case TopicKind::kCertificateRequest:
      return CheckCertificateRequest(payload);
  }
  return Verdict::Refuse(v1::REASON_UNKNOWN_TOPIC);
}

Verdict CheckPeerWord(const Arriving& message) {
  if (!message.from_peer) {
    return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  }
  if (message.payload.size() > kControlBytesMax) {
    return Verdict::Refuse(v1::REASON_TOO_LARGE);
  }
  if (message.retain == Retain::kYes) {
    return Verdict::Refuse(v1::REASON_RETAIN_NOT_ALLOWED);
  }
  return FromWire<v1::PeerWord>(message.payload, kControlBytesMax) ? Verdict::Allow() : Malformed();
}

}  // namespace

Verdict CheckMessage(const Arriving& message, Timestamp now) {
  return CheckMessage(message, ParseTopic(message.topic), now);
}

Verdict CheckMessage(const Arriving& message, const std::optional<Topic>& topic, Timestamp now) {
  if (message.topic.substr(0, kControlPrefix.size()) == kControlPrefix) {
    return Verdict::Allow();
  }
  if (message.topic == kPeerTopic) {
    return CheckPeerWord(message);
  }
  if (!topic) {
    return Verdict::Refuse(v1::REASON_UNKNOWN_TOPIC);
  }
  if (topic->kind == TopicKind::kPresence && !message.payload.empty() && !message.from_peer) {
    return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  }
  const TopicRule& rule = RuleOf(topic->kind);
  if (message.payload.size() > rule.payload_bytes_max) {
    return Verdict::Refuse(v1::REASON_TOO_LARGE);
  }
  if ((message.retain == Retain::kYes) != rule.retained) {
    return Verdict::Refuse(v1::REASON_RETAIN_NOT_ALLOWED);
  }
  if (message.payload.empty()) {
    // It empties what is retained; who may is auth's to say.
    return rule.retained ? Verdict::Allow() : Malformed();
  }
  return CheckPayload(*topic, message.payload, now);
}

}  // namespace latchkey::guard
