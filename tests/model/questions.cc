// The topic table once more, written from proto/README.md and not from plugins/auth.
#include "tests/model/questions.h"

namespace latchkey::model {
namespace {

using auth::Access;
using auth::PrincipalKind;

std::string Name(const Asked& asked) {
  switch (asked.kind) {
    case TopicKind::kState:
      return StateTopic(asked.ref, asked.group);
    case TopicKind::kPresence:
      return PresenceTopic(asked.ref);
    case TopicKind::kKeyRing:
      return KeyRingTopic(asked.ref);
    case TopicKind::kPairingClaim:
      return PairingTopic(asked.ref, asked.lane);
    case TopicKind::kPairingAnswer:
      return PairingAnswerTopic(asked.ref, asked.lane);
    case TopicKind::kCommand:
      return CommandTopic(asked.ref, asked.lane);
    case TopicKind::kReceipt:
      return ReceiptTopic(asked.ref, asked.lane);
    case TopicKind::kCertificate:
      return CertificateTopic(asked.ref);
    case TopicKind::kCertificateRequest:
      return CertificateRequestTopic(asked.ref);
  }
  return "";
}

bool Is(TopicKind kind, std::initializer_list<TopicKind> kinds) {
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

// Is a delivery of what it should be? Not asked of a subscription.
bool Fresh(const Asked& asked) {
  const bool judged = Is(asked.kind, {TopicKind::kCommand, TopicKind::kKeyRing});
  return asked.access != Access::kRead || !judged || asked.fresh;
}

bool PhoneMay(const Reference& reference, const Asked& asked, Timestamp now) {
  const KeyId& key = asked.who.key;
  if (reference.Blocked(key, asked.ref)) {
    return false;
  }
  const bool own = asked.lane == key;
  const Right* right = reference.Granted(key, asked.ref, now);
  if (asked.access == Access::kWrite) {
    return own && (asked.kind == TopicKind::kPairingClaim ||
                   (asked.kind == TopicKind::kCommand && right != nullptr));
  }
  if (asked.width != Width::kExact) {
    return asked.width == Width::kBelowCar && right != nullptr;
  }
  if (asked.kind == TopicKind::kPairingAnswer) {
    return own;
  }
  if (asked.kind == TopicKind::kReceipt) {
    return own && right != nullptr;
  }
  if (asked.kind == TopicKind::kState) {
    return right != nullptr && (right->permissions & Bit(ReadPermission(asked.group))) != 0;
  }
  return right != nullptr && Is(asked.kind, {TopicKind::kPresence, TopicKind::kKeyRing}) &&
         Fresh(asked);
}

bool CarMay(const Reference& reference, const Asked& asked, Timestamp now) {
  if (asked.ref != asked.who.car || asked.width == Width::kAnyCar) {
    return false;
  }
  if (asked.access == Access::kSubscribe) {
    return asked.width != Width::kShared;
  }
  if (asked.access == Access::kWrite) {
    return Is(asked.kind, {TopicKind::kState, TopicKind::kKeyRing, TopicKind::kPairingAnswer,
                           TopicKind::kReceipt, TopicKind::kCertificateRequest});
  }
  if (asked.kind == TopicKind::kCommand) {
    return asked.fresh && reference.Granted(asked.lane, asked.ref, now) != nullptr;
  }
  return Is(asked.kind, {TopicKind::kKeyRing, TopicKind::kPairingClaim, TopicKind::kCertificate}) &&
         Fresh(asked);
}

bool OperatorMay(const Asked& asked) {
  if (asked.ref.fleet != asked.who.car.fleet || asked.access == Access::kWrite) {
    return false;
  }
  if (asked.width != Width::kExact) {
    return true;  // each delivery is asked about
  }
  const uint32_t bit = Bit(ReadPermission(asked.group));
  return asked.kind == TopicKind::kPresence ||
         (asked.kind == TopicKind::kState && (asked.who.permissions & bit) != 0);
}

bool RegistrarMay(const Asked& asked) {
  if (asked.ref.fleet != asked.who.car.fleet) {
    return false;
  }
  if (asked.access == Access::kWrite) {
    return asked.kind == TopicKind::kCertificate;
  }
  return asked.kind == TopicKind::kCertificateRequest && asked.width != Width::kBelowCar;
}

bool BridgeMay(const Asked& asked) {
  const auto kinds = {TopicKind::kState, TopicKind::kKeyRing, TopicKind::kCommand,
                      TopicKind::kReceipt};
  if (asked.access == Access::kWrite) {
    return Is(asked.kind, kinds);
  }
  return asked.access == Access::kSubscribe ||
         ((Is(asked.kind, kinds) || asked.kind == TopicKind::kPresence) && Fresh(asked));
}

}  // namespace

std::string Asked::Topic() const {
  std::string name = Name(*this);
  const std::string fleet = "lk/1/" + ref.fleet.str() + "/";
  switch (width) {
    case Width::kExact:
      return name;
    case Width::kBelowCar:
      return fleet + ref.car.str() + "/#";
    case Width::kAnyCar:
      return fleet + "+" + name.substr(fleet.size() + ref.car.str().size());
    case Width::kShared:
      return "$share/group/" + name;
  }
  return "";
}

std::string Asked::ToText() const {
  const char* verb = access == Access::kWrite ? " writes " : " subscribes to ";
  return who.ToText() + (access == Access::kRead ? " reads " : verb) + Topic() +
         (fresh ? "" : " (stale)");
}

bool Allows(const Reference& reference, const Asked& asked, Timestamp now) {
  switch (asked.who.kind) {
    case PrincipalKind::kPhone:
      return PhoneMay(reference, asked, now);
    case PrincipalKind::kCar:
      return CarMay(reference, asked, now);
    case PrincipalKind::kOperator:
      return OperatorMay(asked);
    case PrincipalKind::kRegistrar:
      return RegistrarMay(asked);
    case PrincipalKind::kBridge:
      return BridgeMay(asked);
    case PrincipalKind::kAdministrator:
    case PrincipalKind::kPeer:  // the model has one broker
      return false;
  }
  return false;
}

}  // namespace latchkey::model
