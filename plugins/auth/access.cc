// The table of rights, and the few rules that are not in it: what a delivery may carry, and how
// wide a filter may be.
#include "plugins/auth/access.h"

#include <array>
#include <optional>

#include "proto/command.h"
#include "proto/keyring.h"
#include "proto/topic.h"

namespace latchkey::auth {

namespace {

constexpr std::string_view kBrokerTopics = "$SYS/broker/";

// What a cell of the table asks for.
enum class Need : uint8_t {
  kNever,
  kSelf,      // the car itself; an operator of the fleet; any bridge
  kLane,      // a phone: its own lane, ring or not
  kRing,      // a phone: its key is on the ring and inside its window
  kLaneRing,  // both
  kGroup,     // a phone as kRing, an operator of the fleet: with the state group's permission
};

struct Row {
  std::array<Need, kPrincipalKindCount> write;  // by PrincipalKind: phone, car, operator, bridge
  std::array<Need, kPrincipalKindCount> read;
};

constexpr Need kNo = Need::kNever;
constexpr Need kYes = Need::kSelf;

// By TopicKind.
constexpr std::array<Row, kTopicKindCount> kTable = {{
    // state
    {{kNo, kYes, kNo, kYes}, {Need::kGroup, kNo, Need::kGroup, kYes}},
    // presence
    {{kNo, kNo, kNo, kNo}, {Need::kRing, kNo, kYes, kYes}},
    // keyring
    {{kNo, kYes, kNo, kYes}, {Need::kRing, kYes, kNo, kYes}},
    // pairing
    {{Need::kLane, kNo, kNo, kNo}, {kNo, kYes, kNo, kNo}},
    // pairing answer
    {{kNo, kYes, kNo, kNo}, {Need::kLane, kNo, kNo, kNo}},
    // command
    {{Need::kLaneRing, kNo, kNo, kYes}, {kNo, kYes, kNo, kYes}},
    // receipt
    {{kNo, kYes, kNo, kYes}, {Need::kLaneRing, kNo, kNo, kYes}},
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
      return topic.fleet == principal.car.fleet.str();
    case PrincipalKind::kPhone:
    case PrincipalKind::kBridge:
      return true;
  }
  return false;
}

// The phone's key on the ring of the car, inside its window.
Verdict CheckRing(const Principal& phone, Place place, uint32_t permissions,
                  const Directory& directory, Timestamp now) {
  const HeldRing* ring = directory.Find(place);
  const HeldKey* key = ring == nullptr ? nullptr : ring->Find(phone.key.str());
  if (key == nullptr) {
    return Verdict::Refuse(v1::REASON_NOT_ON_RING);
  }
  const Verdict window = key->CheckWindow(now);
  if (!window.allowed()) {
    return window;
  }
  return (key->permissions & permissions) == permissions
             ? Verdict::Allow()
             : Verdict::Refuse(v1::REASON_NOT_PERMITTED);
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
  if (need == Need::kSelf || need == Need::kLane) {
    return Verdict::Allow();
  }
  const uint32_t permission = need == Need::kGroup ? Bit(ReadPermission(topic.group)) : 0;
  if (principal.kind == PrincipalKind::kPhone) {
    return CheckRing(principal, {topic.fleet, topic.car}, permission, directory, now);
  }
  return (principal.permissions & permission) == permission
             ? Verdict::Allow()
             : Verdict::Refuse(v1::REASON_NOT_PERMITTED);
}

// "Nothing acts late" and "no ring goes back", at the moment of delivery.
Verdict CheckDelivery(const Topic& topic, std::string_view payload, const Directory& directory,
                      Timestamp now) {
  if (topic.kind == TopicKind::kKeyRing) {
    return directory.CheckHeld({topic.fleet, topic.car}, payload);
  }
  if (topic.kind != TopicKind::kCommand) {
    return Verdict::Allow();
  }
  const Result<std::optional<Timestamp>> expiry = ExpiryOf(payload);
  if (!expiry) {
    return Verdict::Refuse(expiry.error().reason);
  }
  return *expiry && now >= **expiry ? Verdict::Refuse(v1::REASON_EXPIRED) : Verdict::Allow();
}

Verdict CheckTopic(const Principal& principal, const Question& question, const Directory& directory,
                   Timestamp now) {
  const bool read = question.access == Access::kRead;
  if (read && principal.kind == PrincipalKind::kBridge &&
      question.topic.substr(0, kBrokerTopics.size()) == kBrokerTopics) {
    return Verdict::Allow();
  }
  const std::optional<Topic> topic = ParseTopic(question.topic);
  if (!topic) {
    return Verdict::Refuse(v1::REASON_UNKNOWN_TOPIC);
  }
  const Need need = NeedOf(principal.kind, question.access, topic->kind);
  const Verdict verdict = CheckNeed(principal, need, *topic, directory, now);
  return verdict.allowed() && read ? CheckDelivery(*topic, question.payload, directory, now)
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
  return CheckRing(phone, {*filter.fleet, *filter.car}, 0, directory, now);
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
  const std::optional<Filter> filter = ParseFilter(question.topic);
  if (!filter) {
    return Verdict::Refuse(v1::REASON_UNKNOWN_TOPIC);
  }
  switch (principal.kind) {
    case PrincipalKind::kBridge:
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
    case PrincipalKind::kPhone: {
      const Verdict place = CheckPhoneFilter(principal, *filter, directory, now);
      return place.allowed() ? CheckExactFilter(principal, question, directory, now) : place;
    }
  }
  return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
}

}  // namespace

Verdict CheckAccess(const Principal& principal, const Question& question,
                    const Directory& directory, Timestamp now) {
  return question.access == Access::kSubscribe ? CheckFilter(principal, question, directory, now)
                                               : CheckTopic(principal, question, directory, now);
}

}  // namespace latchkey::auth
