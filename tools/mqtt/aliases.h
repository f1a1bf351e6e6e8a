// Topic aliases of one MQTT 5 connection (MQTT 5.0 section 3.3.2.3.4): small numbers that stand for
// topics which were sent before on it. Pure.
//
// Only topics of retained messages get one: a car says the same nine groups all day, while a
// receipt's lane may never come again, and a broker takes few (Mosquitto ten).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "proto/message.h"

namespace latchkey::tools {

// How a PUBLISH names its topic.
struct TopicName {
  std::string topic;   // empty: the alias stands for it
  uint16_t alias = 0;  // 0: none
  bool operator==(const TopicName&) const = default;
};

// One thread at a time.
class TopicAliases {
 public:
  // `aliases_max`: Topic Alias Maximum of the CONNACK, 0: none are taken.
  explicit TopicAliases(uint16_t aliases_max = 0) : aliases_max_(aliases_max) {}

  // How the next PUBLISH on `topic` names it. It is sent, after those named before, or Forget is
  // called.
  TopicName Name(const std::string& topic, Retain retain) {
    const auto known = aliases_.find(topic);
    if (known != aliases_.end()) {
      return {"", known->second};
    }
    if (retain == Retain::kNo || last_ >= aliases_max_) {
      return {topic, 0};
    }
    aliases_.emplace(topic, ++last_);
    return {topic, last_};
  }

  // What was named last was not sent: the broker may not know its alias, which is not used again.
  void Forget(const std::string& topic) { aliases_.erase(topic); }

 private:
  uint16_t aliases_max_;
  uint16_t last_ = 0;
  std::map<std::string, uint16_t> aliases_;
};

// Bytes that an alias takes among a PUBLISH's properties.
inline constexpr size_t kTopicAliasBytes = 3;

}  // namespace latchkey::tools
