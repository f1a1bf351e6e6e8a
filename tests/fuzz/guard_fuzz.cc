// A PUBLISH as the guard judges it: topic, a line feed, payload.
#include <string>

#include "plugins/guard/check.h"
#include "proto/topic.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::fuzz {

void Try(std::string_view input) {
  std::string_view payload = input;
  const std::string_view name = TakeUntil(payload, '\n');
  const std::optional<Topic> topic = ParseTopic(name);
  for (const Retain retain : {Retain::kNo, Retain::kYes}) {
    const Verdict verdict = guard::CheckMessage({name, payload, retain}, testing::kNow);
    if (name.starts_with("$CONTROL/")) {
      continue;
    }
    if (!topic) {
      Require(verdict.reason == v1::REASON_UNKNOWN_TOPIC, "an unknown topic is refused as that");
    } else if (verdict.allowed()) {
      const TopicRule& rule = RuleOf(topic->kind);
      Require(rule.retained == (retain == Retain::kYes), "what passes is retained as it must be");
      Require(payload.size() <= rule.payload_bytes_max,
              "what passes has a size its topic may have");
      Require(!payload.empty() || rule.retained, "only what is retained can be emptied");
      Require(payload.empty() || topic->kind != TopicKind::kPresence,
              "nobody but the broker says presence");
    }
  }
}

}  // namespace latchkey::fuzz
