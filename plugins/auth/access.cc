// The table of rights, and the few rules that are not in it: what a delivery may carry, and how
// wide a filter may be.
#include "plugins/auth/access.h"

#include <array>
#include <optional>

#include "proto/blocks.h"
#include "proto/command.h"
#include "proto/keyring.h"
#include "proto/topic.h"

namespace latchkey::auth {

namespace {

constexpr std::string_view kBrokerTopics = "$SYS/broker/";
constexpr std::string_view kRequests = "certificate/request";

// What a cell of the table asks for.
enum class Need : uint8_t {
  kNever,
  kSelf,      // the car itself; an operator or registrar of the fleet; any bridge
  kLane,      // a phone: its own lane, ring or not
  kRing,      // a phone: its key is on the ring and inside its window
  kLaneRing,  // both
  kGroup,     // a phone as kRing, an operator of the fleet: with the state group's permission
};

// By PrincipalKind: phone, car, operator, bridge, registrar, administrator, peer. A peer hands on
// what was allowed at the other broker.
using Columns = std::array<Need, kPrincipalKindCount>;

struct Row {
  Columns write;
  Columns read;
};

constexpr Need kNo = Need::kNever;
constexpr Need kYes = Need::kSelf;

// By TopicKind.
constexpr std::array<Row, kTopicKindCount> kTable = {{
    // state
    {{kNo, kYes, kNo, kYes, kNo, kNo, kYes},
     {Need::kGroup, kNo, Need::kGroup, kYes, kNo, kNo, kYes}},
    // presence
    {{kNo, kNo, kNo, kNo, kNo, kNo, kYes}, {Need::kRing, kNo, kYes, kYes, kNo, kNo, kYes}},
    // keyring
    {{kNo, kYes, kNo, kYes, kNo, kNo, kYes}, {Need::kRing, kYes, kNo, kYes, kNo, kNo, kYes}},
    // pairing
    {{Need::kLane, kNo, kNo, kNo, kNo, kNo, kYes}, {kNo, kYes, kNo, kNo, kNo, kNo, kYes}},
    // pairing answer
    {{kNo, kYes, kNo, kNo, kNo, kNo, kYes}, {Need::kLane, kNo, kNo, kNo, kNo, kNo, kYes}},
    // command
    {{Need::kLaneRing, kNo, kNo, kYes, kNo, kNo, kYes}, {kNo, kYes, kNo, kYes, kNo, kNo, kYes}},
    // receipt
    {{kNo, kYes, kNo, kYes, kNo, kNo, kYes}, {Need::kLaneRing, kNo, kNo, kYes, kNo, kNo, kYes}},
    // certificate
    {{kNo, kNo, kNo, kNo, kYes, kNo, kYes}, {kNo, kYes, kNo, kNo, kNo, kNo, kYes}},
    // certificate request
    {{kNo, kYes, kNo, kNo, kNo, kNo, kYes}, {kNo, kNo, kNo, kNo, kYes, kNo, kYes}},
}};

Need NeedOf(PrincipalKind who, Access access, TopicKind kind) {
  const Row& row = kTable[static_cast<size_t>(kind)];
  const auto column = static_cast<size_t>(who);
  return access == Access::kWrite ? row.write[column] : row.read[column];
}

bool InReach(const Principal& principal, const Topic& topic) {
  switch (principal.kind) {
    case PrincipalKind::kCar:
      return topic.car == principal.car.car.str() && topic.fleet == principal.car.fleet.str();
    case PrincipalKind::kOperator:
    case PrincipalKind::kRegistrar:
      return topic.fleet == principal.car.fleet.str();
    case PrincipalKind::kPhone:
    case PrincipalKind::kBridge:
    case PrincipalKind::kPeer:
      return true;
    case PrincipalKind::kAdministrator:
      return false;
  }
  return false;
}

// The key on the ring of the car, inside its window.
Verdict CheckRing(std::string_view key, Place place, uint32_t permissions,
                  const Directory& directory, Timestamp now) {
  const HeldRing* ring = directory.Find(place);
  const HeldKey* held = ring == nullptr ? nullptr : ring->Find(key);
  if (held == nullptr) {
    return Verdict::Refuse(v1::REASON_NOT_ON_RING);
  }
  const Verdict window = ring->CheckWindow(*held, now);
  if (!window.allowed()) {
    return window;
  }
  return (held->permissions & permissions) == permissions
             ? Verdict::Allow()
             : Verdict::Refuse(v1::REASON_NOT_PERMITTED);
}

Verdict CheckBlocks(std::string_view key, Place place, const Directory& directory) {
  return directory.blocks().Denies(key, place.fleet, place.car)
             ? Verdict::Refuse(v1::REASON_BLOCKED)
             : Verdict::Allow();
}

Verdict CheckNeed(const Principal& principal, Need need, const Topic& topic,
                  const Directory& directory, Timestamp now) {
  if (need == Need::kNever) {
    return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  }
  if (!InReach(principal, topic)) {
    return Verdict::Refuse(v1::REASON_WRONG_CAR);
  }
  const bool lane = need == Need::kLane || need == Need::kLaneRing;
  if (lane && topic.lane != principal.key.str()) {
    return Verdict::Refuse(v1::REASON_WRONG_LANE);
  }
  const Place place{topic.fleet, topic.car};
  if (principal.kind == PrincipalKind::kPhone) {
    const Verdict blocks = CheckBlocks(principal.key.str(), place, directory);
    if (!blocks.allowed()) {
      return blocks;
    }
  }
  if (need == Need::kSelf || need == Need::kLane) {
    return Verdict::Allow();
  }
  const uint32_t permission = need == Need::kGroup ? Bit(ReadPermission(topic.group)) : 0;
  if (principal.kind == PrincipalKind::kPhone) {
    return CheckRing(principal.key.str(), place, permission, directory, now);
  }
  return (principal.permissions & permission) == permission
             ? Verdict::Allow()
             : Verdict::Refuse(v1::REASON_NOT_PERMITTED);
}

// A command from a key that may command this car no more, whoever kept or brought it: one of QoS 2
// that is released late, one that waited in the car's session, one a broker's owner published.
Verdict CheckLane(const Topic& topic, const Directory& directory, Timestamp now) {
  const Place place{topic.fleet, topic.car};
  const Verdict blocks = CheckBlocks(topic.lane, place, directory);
  return blocks.allowed() ? CheckRing(topic.lane, place, 0, directory, now) : blocks;
}

// "Nothing acts late", "no ring goes back" and "no key acts after it is taken", at the moment of
// delivery.
Verdict CheckDelivery(const Principal& principal, const Topic& topic, std::string_view payload,
                      const Directory& directory, Timestamp now) {
  if (topic.kind == TopicKind::kKeyRing) {
    return directory.CheckHeld({topic.fleet, topic.car}, payload);
  }
  if (topic.kind != TopicKind::kCommand) {
    return Verdict::Allow();
  }
  if (principal.kind == PrincipalKind::kCar) {
    const Verdict lane = CheckLane(topic, directory, now);
    if (!lane.allowed()) {
      return lane;
    }
  }
  const Result<std::optional<Timestamp>> expiry = ExpiryOf(payload);
  if (!expiry) {
    return Verdict::Refuse(expiry.error().reason);
  }
  return *expiry && now >= **expiry ? Verdict::Refuse(v1::REASON_EXPIRED) : Verdict::Allow();
}

bool IsCell(PrincipalKind kind) {
  return kind == PrincipalKind::kBridge || kind == PrincipalKind::kAdministrator;
}

// What is retained of a car is emptied when it is erased, by the bridge alone, at whichever broker.
Verdict CheckEmptying(const Principal& principal, const Topic& topic, const Directory& directory,
                      Timestamp now) {
  if (principal.kind == PrincipalKind::kBridge || principal.kind == PrincipalKind::kPeer) {
    return Verdict::Allow();
  }
  const Need need = NeedOf(principal.kind, Access::kWrite, topic.kind);
  const Verdict verdict = CheckNeed(principal, need, topic, directory, now);
  return verdict.allowed() ? Verdict::Refuse(v1::REASON_MALFORMED) : verdict;
}

Verdict CheckTopic(const Principal& principal, const Question& question,
                   const std::optional<Topic>& topic, const Directory& directory, Timestamp now) {
  const bool read = question.access == Access::kRead;
  if (read && principal.kind == PrincipalKind::kBridge &&
      question.topic.substr(0, kBrokerTopics.size()) == kBrokerTopics) {
    return Verdict::Allow();
  }
  if (!read && question.topic == kControlTopic) {
    return IsCell(principal.kind) ? Verdict::Allow() : Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  }
  if (question.topic == kPeerTopic) {
    return principal.kind == PrincipalKind::kPeer ? Verdict::Allow()
                                                  : Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  }
  if (!topic) {
    return Verdict::Refuse(v1::REASON_UNKNOWN_TOPIC);
  }
  if (!read && question.payload.empty() && RuleOf(topic->kind).retained) {
    return CheckEmptying(principal, *topic, directory, now);
  }
  const Need need = NeedOf(principal.kind, question.access, topic->kind);
  const Verdict verdict = CheckNeed(principal, need, *topic, directory, now);
  return verdict.allowed() && read
             ? CheckDelivery(principal, *topic, question.payload, directory, now)
             : verdict;
}

// A phone reads below one car whose ring names it, or waits for the answer on its own lane.
Verdict CheckPhoneFilter(const Principal& phone, const Filter& filter, const Directory& directory,
                         Timestamp now) {
  if (!filter.share.empty()) {
    return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  }
  if (!filter.fleet || !filter.car) {
    return Verdict::Refuse(v1::REASON_WRONG_CAR);
  }
  const Place place{*filter.fleet, *filter.car};
  const Verdict blocks = CheckBlocks(phone.key.str(), place, directory);
  if (!blocks.allowed()) {
    return blocks;
  }
  constexpr std::string_view kPairing = "pairing/";
  constexpr std::string_view kAnswer = "/answer";
  const std::string& key = phone.key.str();
  const std::string_view rest = filter.rest;
  if (rest.size() == kPairing.size() + key.size() + kAnswer.size() &&
      rest.substr(0, kPairing.size()) == kPairing &&
      rest.substr(kPairing.size(), key.size()) == key &&
      rest.substr(kPairing.size() + key.size()) == kAnswer) {
    return Verdict::Allow();
  }
  return CheckRing(key, place, 0, directory, now);
}

// A filter without wildcards is one topic: who could never read it is told so at once.
Verdict CheckExactFilter(const Principal& principal, const Question& question,
                         const Directory& directory, Timestamp now) {
  if (question.topic.find_first_of("+#") != std::string_view::npos) {
    return Verdict::Allow();  // each delivery is checked
  }
  const std::optional<Topic> topic = ParseTopic(question.topic);
  if (!topic) {
    return Verdict::Refuse(v1::REASON_UNKNOWN_TOPIC);
  }
  const Need need = NeedOf(principal.kind, Access::kRead, topic->kind);
  return CheckNeed(principal, need, *topic, directory, now);
}

Verdict CheckFilter(const Principal& principal, const Question& question,
                    const Directory& directory, Timestamp now) {
  const bool bridge = principal.kind == PrincipalKind::kBridge;
  if (bridge && question.topic.substr(0, kBrokerTopics.size()) == kBrokerTopics) {
    return Verdict::Allow();
  }
  if (question.topic == kPeerTopic) {
    return principal.kind == PrincipalKind::kPeer ? Verdict::Allow()
                                                  : Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  }
  const std::optional<Filter> filter = ParseFilter(question.topic);
  if (!filter) {
    return Verdict::Refuse(v1::REASON_UNKNOWN_TOPIC);
  }
  switch (principal.kind) {
    case PrincipalKind::kBridge:
    case PrincipalKind::kPeer:
      return Verdict::Allow();
    case PrincipalKind::kCar:
      if (!filter->share.empty()) {
        return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
      }
      return filter->fleet == principal.car.fleet.str() && filter->car == principal.car.car.str()
                 ? Verdict::Allow()
                 : Verdict::Refuse(v1::REASON_WRONG_CAR);
    case PrincipalKind::kOperator:
      if (filter->fleet != principal.car.fleet.str()) {
        return Verdict::Refuse(v1::REASON_WRONG_CAR);
      }
      return filter->share.empty() ? CheckExactFilter(principal, question, directory, now)
                                   : Verdict::Allow();
    case PrincipalKind::kRegistrar:
      if (filter->fleet != principal.car.fleet.str()) {
        return Verdict::Refuse(v1::REASON_WRONG_CAR);
      }
      return filter->rest == kRequests ? Verdict::Allow() : Verdict::Refuse(v1::REASON_NOT_ALLOWED);
    case PrincipalKind::kAdministrator:
      return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
    case PrincipalKind::kPhone: {
      const Verdict place = CheckPhoneFilter(principal, *filter, directory, now);
      return place.allowed() ? CheckExactFilter(principal, question, directory, now) : place;
    }
  }
  return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
}

}  // namespace

bool MayConcernAuth(std::string_view topic) {
  return topic.ends_with("/presence") || topic.ends_with("/keyring") || topic == kPeerTopic;
}

Verdict CheckSignIn(const Principal& principal, const Directory& directory) {
  return principal.kind == PrincipalKind::kPhone &&
                 directory.blocks().DeniesEverywhere(principal.key.str())
             ? Verdict::Refuse(v1::REASON_BLOCKED)
             : Verdict::Allow();
}

Verdict CheckAccess(const Principal& principal, const Question& question,
                    const Directory& directory, Timestamp now) {
  return question.access == Access::kSubscribe
             ? CheckFilter(principal, question, directory, now)
             : CheckTopic(principal, question, ParseTopic(question.topic), directory, now);
}

Verdict CheckAccess(const Principal& principal, const Question& question,
                    const std::optional<Topic>& topic, const Directory& directory, Timestamp now) {
  LK_ASSERT(question.access != Access::kSubscribe);
  return CheckTopic(principal, question, topic, directory, now);
}

}  // namespace latchkey::auth
