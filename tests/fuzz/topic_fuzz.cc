// Topic names and subscription filters. Input: name, LF, filter.
#include <algorithm>
#include <string>

#include "proto/topic.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {
namespace {

std::string Rebuilt(const Topic& topic) {
  const CarRef ref{FleetId::Parse(topic.fleet).value(), CarId::Parse(topic.car).value()};
  const KeyId lane = KeyId::Parse(topic.lane).value_or(KeyId());
  switch (topic.kind) {
    case TopicKind::kState:
      return StateTopic(ref, topic.group);
    case TopicKind::kPresence:
      return PresenceTopic(ref);
    case TopicKind::kKeyRing:
      return KeyRingTopic(ref);
    case TopicKind::kPairingClaim:
      return PairingTopic(ref, lane);
    case TopicKind::kPairingAnswer:
      return PairingAnswerTopic(ref, lane);
    case TopicKind::kCommand:
      return CommandTopic(ref, lane);
    case TopicKind::kReceipt:
      return ReceiptTopic(ref, lane);
    case TopicKind::kCertificate:
      return CertificateTopic(ref);
    case TopicKind::kCertificateRequest:
      return CertificateRequestTopic(ref);
  }
  return {};
}

}  // namespace

void Try(std::string_view input) {
  std::string_view filter = input;
  const std::string_view name = TakeUntil(filter, '\n');
  const std::optional<Topic> topic = ParseTopic(name);
  if (topic) {
    Require(Rebuilt(*topic) == name, "a topic that parses is written the same way");
    Require(FilterMatches(name, name), "a topic matches itself");
    Require(ParseFilter(name).has_value(), "a topic is a filter");
  }
  const std::optional<Filter> parsed = ParseFilter(filter);
  const bool matches = FilterMatches(filter, name);
  if (parsed && parsed->share.empty() && matches) {
    Require(name == "lk/1" || name.starts_with("lk/1/"), "our filters match below lk/1 only");
    if (topic && parsed->fleet) {
      Require(*parsed->fleet == topic->fleet, "a fleet named is the fleet matched");
    }
    if (topic && parsed->car) {
      Require(*parsed->car == topic->car, "a car named is the car matched");
    }
  }
}

}  // namespace latchkey::fuzz
