// One MQTT PUBLISH, as pure code sees and makes it.
#pragma once

#include <cstdint>
#include <string>

namespace latchkey {

enum class Retain : uint8_t { kNo, kYes };

struct Publish {
  std::string topic;
  std::string payload;
  int qos = 1;
  Retain retain = Retain::kNo;
  uint32_t expiry_s = 0;  // MQTT 5 message expiry interval, seconds; 0: none
  bool operator==(const Publish&) const = default;
};

}  // namespace latchkey
