// Every refusal once: its word in logs and metrics, its MQTT 5 reason code, what it means to a
// person.
#pragma once

#include <cstdint>
#include <string_view>

#include "proto/result.h"

namespace latchkey {

struct ReasonFacts {
  std::string_view word;  // "expired": snake_case, for logs and metric labels
  uint8_t mqtt5;          // MQTT 5.0 section 2.4 reason code
  bool may_have_acted;    // may the car have acted?
  bool retry_can_help;    // can a new try help?
  std::string_view text;  // for people: what happened and what to do next
};

// Facts for any value; an unknown value gives those of REASON_INTERNAL.
const ReasonFacts& FactsOf(Reason reason);

}  // namespace latchkey
