// What paho's callbacks share: whose they are, what an answer says, and that nothing leaves them.
#pragma once

#include <algorithm>
#include <string>

#include <MQTTAsync.h>

#include "tools/mqtt/session.h"

namespace latchkey::tools {

inline constexpr int kNoAnswer = -1;  // the connection ended first; that is its own event
inline constexpr int kFirstError =
    0x80;  // MQTT 5.0 section 2.4: reason codes from here on are failures

inline Session& SessionOf(void* context) {
  return *static_cast<Session*>(context);
}

inline std::string TextOf(const char* text, const char* otherwise) {
  return text != nullptr && *text != '\0' ? text : otherwise;
}

// Nothing may leave a callback: paho is C.
template <class Body>
void Guarded(Body body) noexcept {
  try {
    body();
  } catch (...) {  // out of memory: the event is lost, the caller's deadline notices
    return;
  }
}

// What a failure says of the server's answer, 0: there was none.
inline int AnswerOf(const MQTTAsync_failureData* response) {
  return response != nullptr && response->code > 0 ? response->code : 0;
}

// A refused CONNACK has its reason code in `code`, everything else in `reasonCode`.
inline int AnswerOf(const MQTTAsync_failureData5* response) {
  const int reason = response != nullptr ? static_cast<int>(response->reasonCode) : 0;
  return response == nullptr ? 0
                             : std::max({reason >= kFirstError ? reason : 0, response->code, 0});
}

}  // namespace latchkey::tools
