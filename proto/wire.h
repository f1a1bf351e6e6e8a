// What every reader of our protobuf messages does first: bound the size, parse, and turn the wire's
// unsigned milliseconds into times that cannot overflow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <google/protobuf/stubs/logging.h>

#include "proto/time.h"

namespace latchkey {

// 9999-12-31T23:59:59.999Z: later times are not times anybody means.
inline constexpr uint64_t kTimestampMsMax = 253402300799999;

// nullopt: after the year 9999.
inline std::optional<Timestamp> TimeFromWire(uint64_t ms) {
  if (ms > kTimestampMsMax) {
    return std::nullopt;
  }
  return Timestamp{static_cast<int64_t>(ms)};
}

// Keeps protobuf's own words about bad input off stderr, from the first call on and for good: a
// hostile client must not fill a log. Once and not for each message, as it takes a lock.
inline void SilenceProtobuf() {
  static const google::protobuf::LogSilencer silencer;
}

// nullopt: larger than `bytes_max`, not protobuf, or text that is not UTF-8.
template <class Message>
std::optional<Message> FromWire(std::string_view bytes, size_t bytes_max) {
  if (bytes.size() > bytes_max) {
    return std::nullopt;
  }
  SilenceProtobuf();
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return std::nullopt;
  }
  return message;
}

}  // namespace latchkey
