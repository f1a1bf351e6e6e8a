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

// nullopt: larger than `bytes_max`, not protobuf, or text that is not UTF-8. Protobuf's own words
// about bad input are kept off stderr: a hostile client must not fill a log.
template <class Message>
std::optional<Message> FromWire(std::string_view bytes, size_t bytes_max) {
  if (bytes.size() > bytes_max) {
    return std::nullopt;
  }
  const google::protobuf::LogSilencer silencer;
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return std::nullopt;
  }
  return message;
}

}  // namespace latchkey
