// May this principal write, read or subscribe to this topic? One table, asked for every message and
// every delivery; a check is one topic split, one hash look-up and no allocation.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "plugins/auth/directory.h"
#include "plugins/auth/identity.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/topic.h"

namespace latchkey::auth {

enum class Access : uint8_t { kRead, kWrite, kSubscribe };

// `topic` is a topic name, for kSubscribe a filter ("$share/{name}/" included). Views.
struct Question {
  Access access = Access::kRead;
  std::string_view topic;
  std::string_view payload;  // empty for kSubscribe
};

// May a message on this topic be more to auth than a right to be checked: a ring, presence, a
// peer's word? False for all others of the topic table, by the topic's end alone, since it is asked
// for each message; true may also be said of what is no topic of ours.
bool MayConcernAuth(std::string_view topic);

// May who has shown this identity connect at all? REASON_BLOCKED: its key is denied everywhere.
Verdict CheckSignIn(const Principal& principal, const Directory& directory);

// In the order checked: REASON_UNKNOWN_TOPIC (not in the topic table, not a filter below lk/1);
// REASON_NOT_ALLOWED (this kind of principal never); REASON_WRONG_CAR (another car, another fleet,
// a filter wider than the principal); REASON_WRONG_LANE (another phone's lane); REASON_BLOCKED (the
// phone's key is denied at this car); REASON_NOT_ON_RING; REASON_OUTSIDE_WINDOW;
// REASON_NOT_PERMITTED (no right to this state group); and for deliveries REASON_BLOCKED,
// REASON_NOT_ON_RING, REASON_OUTSIDE_WINDOW (a command to a car: the key of its lane),
// REASON_EXPIRED, REASON_MALFORMED (a command), REASON_OLDER_VERSION (a ring that is not the one
// held).
Verdict CheckAccess(const Principal& principal, const Question& question,
                    const Directory& directory, Timestamp now);
// The same when ParseTopic(question.topic) is known already; not for kSubscribe.
Verdict CheckAccess(const Principal& principal, const Question& question,
                    const std::optional<Topic>& topic, const Directory& directory, Timestamp now);

}  // namespace latchkey::auth
