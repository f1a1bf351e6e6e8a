// One check per kind of topic, each the wire library's own parser where it has one.
#include "plugins/guard/check.h"

#include <optional>
#include <utility>

#include "latchkey/v1/keyring.pb.h"
#include "latchkey/v1/pairing.pb.h"
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
      claim->public_key().size() != kPublicKeyBytes || claim->label().size() > kLabelBytesMax) {
    return Malformed();
  }
  const Result<PublicKey> key = PublicKey::FromPoint(claim->public_key());
  if (!key) {
    return Malformed();
  }
  return key->Id().str() == topic.lane ? Verdict::Allow() : Verdict::Refuse(v1::REASON_WRONG_LANE);
}

Verdict CheckAnswer(std::string_view payload) {
  const auto answer = FromWire<v1::PairingAnswer>(payload, payload.size());
  if (!answer || answer->nonce().size() != kNonceBytes ||
      answer->text().size() > kAnswerTextBytesMax || !v1::Reason_IsValid(answer->reason())) {
    return Malformed();
  }
  if (answer->reason() != v1::REASON_UNSPECIFIED) {
    return Verdict::Allow();
  }
  const bool whole = answer->proof().size() == kDigestBytes && LooksSigned(answer->key_ring());
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
      return VerdictOf(ParseState(payload, topic.group));
    case TopicKind::kPresence:
      return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
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
  }
  return Verdict::Refuse(v1::REASON_UNKNOWN_TOPIC);
}

}  // namespace

Verdict CheckMessage(const Arriving& message, Timestamp now) {
  const std::optional<Topic> topic = ParseTopic(message.topic);
  if (!topic) {
    return Verdict::Refuse(v1::REASON_UNKNOWN_TOPIC);
  }
  if (topic->kind == TopicKind::kPresence) {
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
    return Malformed();
  }
  return CheckPayload(*topic, message.payload, now);
}

}  // namespace latchkey::guard
