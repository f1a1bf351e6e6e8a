// The whole vocabulary of the bridge on one screen: what can happen to it and what it can do.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "latchkey/v1/log.pb.h"
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

// How a car is reached by SMS. The relay key (proto/sms.h) is secret: never logged.
struct Contact {
  std::string number;  // E.164: '+' and 8 to 15 digits
  std::string relay_key;
  bool operator==(const Contact&) const = default;
};

// All cars that have a number. As an input: from here on these.
using Contacts = std::map<CarRef, Contact>;

// What a gateway says of an SMS it was given, in order, each at most once.
struct SmsReport {
  enum class What : uint8_t {
    kSent,       // the network has taken it
    kDelivered,  // the car's modem has it
    kFailed,     // it will not arrive
  };
  uint64_t id = 0;  // SendSms.id
  What what = What::kSent;
  std::string text;  // the gateway's own words, for the log
};

// An administrator wants everything forgotten that is kept of one car, or of one key.
struct Erasure {
  uint64_t id = 0;  // another one for each
  std::variant<CarRef, KeyId> of;
  std::string who;  // the administrator, for the log
};

// A program of this machine read where a car is.
struct LocationRead {
  CarRef ref;
};

using Input = std::variant<Message, BrokerUp, BrokerDown, Tick, FleetCas, Contacts, SmsReport,
                           Erasure, LocationRead>;

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

// An entry of the log that people are shown later (proto/log_chain.h). The runner gives it salt,
// sequence and place in the chain and commits it with the writes of the same turn.
struct Journal {
  v1::LogEntry entry;

  bool operator==(const Journal& other) const {
    return entry.SerializeAsString() == other.entry.SerializeAsString();
  }
};

// Hand an SMS to the gateway, after the writes of this turn.
struct SendSms {
  uint64_t id = 0;
  CarRef ref;
  std::string number;
  std::string bytes;                    // at most kSmsBytesMax
  std::optional<Timestamp> expires_at;  // of no use to anybody afterwards
  bool operator==(const SendSms&) const = default;
};

using Effect = std::variant<Publish, Write, LogEvent, Journal, SendSms>;
using Effects = std::vector<Effect>;

}  // namespace latchkey::bridge
