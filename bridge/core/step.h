// The whole vocabulary of the bridge on one screen: what can happen to it and what it can do.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "proto/message.h"
#include "proto/time.h"
#include "proto/types.h"
#include "storage/records.h"

namespace latchkey::bridge {

// A PUBLISH arrived; publish.retain tells that it arrived as a retained message.
struct Message {
  Publish publish;
};

// The MQTT session is up and subscribed. Retained messages follow.
struct BrokerUp {};

// The MQTT session is gone.
struct BrokerDown {};

// Time passed: NextDeadline() is due.
struct Tick {};

// CA certificate (DER) per fleet: rings are verified against these. As an input: they are others
// from here on.
using FleetCas = std::map<FleetId, std::string>;

using Input = std::variant<Message, BrokerUp, BrokerDown, Tick, FleetCas>;

// A change to the store. The runner commits all writes of a turn, durably if any is durable, before
// any Publish leaves.
struct Write {
  storage::Change change;
  bool durable = false;
  bool operator==(const Write&) const = default;
};

// A line for the log: logfmt, `event` first. Values are ids, counts and words; never payloads,
// tokens, positions.
struct LogEvent {
  enum class Level : uint8_t { kInfo, kWarning };
  Level level = Level::kInfo;
  std::string event;
  std::vector<std::pair<std::string, std::string>> fields;
  bool operator==(const LogEvent&) const = default;
};

using Effect = std::variant<Publish, Write, LogEvent>;
using Effects = std::vector<Effect>;

}  // namespace latchkey::bridge
