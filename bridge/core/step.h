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
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"
#include "storage/migration.h"
#include "storage/records.h"

namespace latchkey::bridge {

// A PUBLISH arrived; publish.retain tells that it arrived as a retained message.
struct Message {
  Publish publish;
};

// The MQTT session is up and subscribed. Retained messages follow; unless it was `kept`: it went on
// without a break from the bridge that wrote the store, which had seen and said everything.
struct BrokerUp {
  bool kept = false;
};

// The broker shows what it retains, and BrokerShown comes when it has shown all: until then nobody
// knows what it lacks.
struct BrokerShows {};

struct BrokerShown {};

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

// Something that an administrator had done to the whole cell, for the log alone.
struct Told {
  std::string event;  // snake_case, "backup"
  std::string who;
  std::string note;
};

// State of a car that another system kept, as an administrator brings it.
struct ImportedState {
  CarRef ref;
  Group group = Group::kBody;
  std::string payload;  // v1.StateGroup with a source "import:...", sequence 0
};

// What an import did in all, for the log: counts of the other system's records.
struct ImportEnd {
  std::string source;  // "import:teslafi"
  std::string who;
  uint64_t taken = 0;
  uint64_t changed = 0;
  uint64_t unchanged = 0;
  uint64_t refused = 0;
};

// An import is about to begin, for the log: one that is killed has no end there.
struct ImportBegin {
  std::string source;  // "import:teslafi"
  std::string who;
  uint64_t records = 0;
};

// Some of an import, in order of their time, or its begin, or its end.
struct Import {
  uint64_t id = 0;  // another one for each
  std::vector<ImportedState> states;
  std::optional<ImportEnd> end;
  std::optional<ImportBegin> begin = {};
};

// An administrator's order for the store's migration. The runner carries it out; for the core it is
// no more than time.
struct MigrationRequest {
  uint64_t id = 0;  // another one for each
  storage::MigrationOrder order = storage::MigrationOrder::kPause;
  std::string who;  // the administrator, for the log
};

// A comparison of both shapes of the store came to its end.
struct ComparisonEnd {
  uint64_t id = 0;  // another one for each
  Result<storage::Comparison> found = storage::Comparison{};
};

using Input =
    std::variant<Message, BrokerUp, BrokerShows, BrokerShown, BrokerDown, Tick, FleetCas, Contacts,
                 SmsReport, Told, Erasure, LocationRead, Import, MigrationRequest, ComparisonEnd>;

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

// What became of one imported state.
struct StateImported {
  enum class Word : uint8_t {
    kTaken,
    kHeld,   // exactly this is held
    kOlder,  // something newer is held, or something else of the same time
    kRefused,
  };
  Word word = Word::kTaken;
  Reason reason = v1::REASON_UNSPECIFIED;  // of kRefused
  bool operator==(const StateImported&) const = default;
};

// Tell who imports, after the writes of this turn.
struct ImportAnswer {
  uint64_t id = 0;
  std::vector<StateImported> states;  // as many as the import had
  uint64_t history_kept = 0;          // states of which samples went into history
  uint64_t history_old = 0;           // taken, and older than history goes back
  bool operator==(const ImportAnswer&) const = default;
};

using Effect = std::variant<Publish, Write, LogEvent, Journal, SendSms, ImportAnswer>;
using Effects = std::vector<Effect>;

}  // namespace latchkey::bridge
