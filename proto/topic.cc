// The topic table, and parsing and matching of topic names and filters (MQTT 5.0 section 4.7).
#include "proto/topic.h"

#include <algorithm>
#include <array>

#include "proto/command.h"
#include "proto/keyring.h"
#include "proto/receipt.h"
#include "proto/renewal.h"
#include "proto/state.h"

namespace latchkey {

namespace {

constexpr std::string_view kPrefix = "lk/1/";
constexpr std::string_view kSharePrefix = "$share/";
constexpr size_t kTopicBytesMax = 256;   // ours have at most 111
constexpr size_t kFilterBytesMax = 512;  // room for a share name

// By TopicKind.
constexpr std::array<TopicRule, kTopicKindCount> kRules = {{
    {"state", true, kStateBytesMax},
    {"presence", true, 256},
    {"keyring", true, kKeyRingBytesMax},
    {"pairing", false, 1024},
    {"answer", false, kKeyRingBytesMax + 1024},
    {"command", false, kCommandBytesMax},
    {"receipt", false, kReceiptBytesMax},
    {"certificate", false, kCertificateGrantBytesMax},
    {"request", false, kCertificateRequestBytesMax},
}};

// Takes the text up to the next '/' off `rest`; `more` says whether there was a '/'.
std::string_view TakeLevel(std::string_view& rest, bool& more) {
  const size_t slash = rest.find('/');
  const std::string_view level = rest.substr(0, slash);
  more = slash != std::string_view::npos;
  rest = more ? rest.substr(slash + 1) : std::string_view();
  return level;
}

// Printable ASCII only: no name of ours has anything else, and NUL is forbidden by MQTT.
bool IsPlain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// '+' and '#' stand alone in their level, '#' in the last one (section 4.7.1).
bool WildcardsValid(std::string_view filter) {
  bool more = true;
  while (more) {
    const std::string_view level = TakeLevel(filter, more);
    const bool wild = level.find_first_of("+#") != std::string_view::npos;
    if (wild && level.size() != 1) {
      return false;
    }
    if (level == "#" && more) {
      return false;
    }
  }
  return true;
}

// `rest` is what follows the kind's word.
bool ParseLane(std::string_view rest, Topic& topic) {
  bool more = false;
  topic.lane = TakeLevel(rest, more);
  if (!KeyRule::Valid(topic.lane)) {
    return false;
  }
  if (!more) {
    return true;
  }
  if (topic.kind != TopicKind::kPairingClaim || rest != "answer") {
    return false;
  }
  topic.kind = TopicKind::kPairingAnswer;
  return true;
}

bool ParseKind(std::string_view word, bool more, std::string_view rest, Topic& topic) {
  if (!more) {
    if (word == "presence") {
      topic.kind = TopicKind::kPresence;
      return true;
    }
    if (word == "certificate") {
      topic.kind = TopicKind::kCertificate;
      return true;
    }
    topic.kind = TopicKind::kKeyRing;
    return word == "keyring";
  }
  if (word == "certificate") {
    topic.kind = TopicKind::kCertificateRequest;
    return rest == "request";
  }
  if (word == "state") {
    const std::optional<Group> group = ParseGroup(rest);
    topic.kind = TopicKind::kState;
    topic.group = group.value_or(Group::kBody);
    return group.has_value();
  }
  if (word == "command") {
    topic.kind = TopicKind::kCommand;
  } else if (word == "receipt") {
    topic.kind = TopicKind::kReceipt;
  } else if (word == "pairing") {
    topic.kind = TopicKind::kPairingClaim;
  } else {
    return false;
  }
  return ParseLane(rest, topic);
}

std::string Below(const CarRef& ref, std::string_view tail) {
  std::string topic(kPrefix);
  topic += ref.fleet.str();
  topic += '/';
  topic += ref.car.str();
  topic += '/';
  topic += tail;
  return topic;
}

// nullopt outside: the level names nothing that can be. nullopt inside: '+'.
template <class Rule>
std::optional<std::optional<std::string_view>> NameLevel(std::string_view level) {
  if (level == "+") {
    return std::optional<std::string_view>();
  }
  if (!Rule::Valid(level)) {
    return std::nullopt;
  }
  return std::optional<std::string_view>(level);
}

}  // namespace

const TopicRule& RuleOf(TopicKind kind) {
  return kRules[static_cast<size_t>(kind)];
}

std::optional<Topic> ParseTopic(std::string_view name) {
  if (name.size() > kTopicBytesMax || name.substr(0, kPrefix.size()) != kPrefix) {
    return std::nullopt;
  }
  std::string_view rest = name.substr(kPrefix.size());
  Topic topic;
  bool more = false;
  topic.fleet = TakeLevel(rest, more);
  if (!more || !FleetRule::Valid(topic.fleet)) {
    return std::nullopt;
  }
  topic.car = TakeLevel(rest, more);
  if (!more || !CarRule::Valid(topic.car)) {
    return std::nullopt;
  }
  const std::string_view word = TakeLevel(rest, more);
  if (!ParseKind(word, more, rest, topic)) {
    return std::nullopt;
  }
  return topic;
}

const std::optional<Topic>& LastTopic::Parse(std::string_view name) {
  if (name != name_) {
    name_ = name.size() > kTopicBytesMax ? std::string_view() : name;  // the empty one is none, too
    topic_ = ParseTopic(name_);
  }
  return topic_;
}

std::string StateTopic(const CarRef& ref, Group group) {
  return Below(ref, "state/") + std::string(ToText(group));
}

std::string PresenceTopic(const CarRef& ref) {
  return Below(ref, "presence");
}

std::string KeyRingTopic(const CarRef& ref) {
  return Below(ref, "keyring");
}

std::string PairingTopic(const CarRef& ref, const KeyId& lane) {
  return Below(ref, "pairing/") + lane.str();
}

std::string PairingAnswerTopic(const CarRef& ref, const KeyId& lane) {
  return PairingTopic(ref, lane) + "/answer";
}

std::string CommandTopic(const CarRef& ref, const KeyId& lane) {
  return Below(ref, "command/") + lane.str();
}

std::string ReceiptTopic(const CarRef& ref, const KeyId& lane) {
  return Below(ref, "receipt/") + lane.str();
}

std::string CertificateTopic(const CarRef& ref) {
  return Below(ref, "certificate");
}

std::string CertificateRequestTopic(const CarRef& ref) {
  return Below(ref, "certificate/request");
}

std::optional<Filter> ParseFilter(std::string_view filter) {
  if (filter.size() > kFilterBytesMax || !IsPlain(filter)) {
    return std::nullopt;
  }
  Filter parsed;
  bool more = false;
  if (filter.substr(0, kSharePrefix.size()) == kSharePrefix) {
    filter.remove_prefix(kSharePrefix.size());
    parsed.share = TakeLevel(filter, more);
    if (!more || parsed.share.empty() || parsed.share.find_first_of("+#") != parsed.share.npos) {
      return std::nullopt;
    }
  }
  if (filter.substr(0, kPrefix.size()) != kPrefix || !WildcardsValid(filter)) {
    return std::nullopt;
  }
  std::string_view rest = filter.substr(kPrefix.size());
  if (rest == "#") {
    parsed.rest = rest;
    return parsed;
  }
  const auto fleet = NameLevel<FleetRule>(TakeLevel(rest, more));
  if (!fleet || !more) {
    return std::nullopt;
  }
  parsed.fleet = *fleet;
  if (rest == "#") {
    parsed.rest = rest;
    return parsed;
  }
  const auto car = NameLevel<CarRule>(TakeLevel(rest, more));
  if (!car || !more || rest.empty()) {
    return std::nullopt;
  }
  parsed.car = *car;
  parsed.rest = rest;
  return parsed;
}

bool FilterMatches(std::string_view filter, std::string_view name) {
  if (filter.empty() || name.empty() || name.find_first_of("+#") != std::string_view::npos ||
      !WildcardsValid(filter)) {
    return false;
  }
  // Section 4.7.2: a filter that begins with a wildcard does not match names that begin with '$'.
  if (name.front() == '$' && (filter.front() == '+' || filter.front() == '#')) {
    return false;
  }
  bool filter_more = true;
  bool name_more = true;
  while (filter_more) {
    const std::string_view want = TakeLevel(filter, filter_more);
    if (want == "#") {
      return true;  // also the parent level: "sport/#" matches "sport"
    }
    if (!name_more) {
      return false;
    }
    const std::string_view level = TakeLevel(name, name_more);
    if (want != "+" && want != level) {
      return false;
    }
  }
  return !name_more;
}

}  // namespace latchkey
