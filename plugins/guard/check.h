// What may pass: does a published message look like what its topic carries? Who sent it is not
// asked here; that is auth's.
#pragma once

#include <optional>
#include <string_view>

#include "proto/message.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/topic.h"

namespace latchkey::guard {

// A PUBLISH as it comes in. Views.
struct Arriving {
  std::string_view topic;
  std::string_view payload;
  Retain retain = Retain::kNo;
  bool from_peer = false;  // handed on by the broker this one is joined with
};

// Client user properties that begin like this are taken off: the name space is the service's.
inline constexpr std::string_view kReservedProperty = "lk-";

// Topics below "$CONTROL/" are allowed: they are a plugin's own, which decides and checks. Else, in
// the order checked: REASON_UNKNOWN_TOPIC; REASON_NOT_ALLOWED (presence: only brokers say it; a
// peer's own topic); REASON_TOO_LARGE; REASON_RETAIN_NOT_ALLOWED (not as the topic table wants it);
// REASON_MALFORMED (also: empty, which would delete what is retained); then what the topic's own
// parser says: REASON_IMPOSSIBLE_VALUE, REASON_UNKNOWN_ACTION, REASON_WRONG_CAR, REASON_WRONG_LANE,
// REASON_NOT_ALLOWED (a receipt its source may not give), REASON_EXPIRED, REASON_LIFETIME_TOO_LONG.
Verdict CheckMessage(const Arriving& message, Timestamp now);
// The same for who has parsed the topic: `topic` is what ParseTopic makes of message.topic.
Verdict CheckMessage(const Arriving& message, const std::optional<Topic>& topic, Timestamp now);

}  // namespace latchkey::guard
