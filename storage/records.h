// What survives, as types. Key and value bytes are in records.cc; storage/README.md is their
// grammar.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "latchkey/v1/receipt.pb.h"
#include "proto/blocks.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"
#include "storage/row_bytes.h"
#include "storage/rows.h"

namespace latchkey::storage {

// Newest message of one group of one car.
struct StateRecord {
  CarRef ref;
  Group group = Group::kBody;
  Timestamp received_at;
  std::string payload;  // v1.StateGroup as carried
  bool operator==(const StateRecord&) const = default;
};

// Newest key ring of one car.
struct RingRecord {
  CarRef ref;
  uint64_t version = 0;
  Timestamp received_at;
  std::string payload;  // v1.SignedKeyRing as carried
  bool operator==(const RingRecord&) const = default;
};

// Newest presence of one car.
struct PresenceRecord {
  CarRef ref;
  Timestamp received_at;
  std::string payload;  // v1.Presence as carried
  bool operator==(const PresenceRecord&) const = default;
};

// One command that the bridge has answered for, until it is forgotten after its outcome.
struct CommandRecord {
  CarRef ref;
  KeyId lane;
  CommandId id;
  uint64_t order = 0;  // rises per store: delivery order
  Timestamp received_at;
  Timestamp changed_at;  // when `state` was reached
  v1::ReceiptState state = v1::RECEIPT_STATE_HELD;
  Reason reason = v1::REASON_UNSPECIFIED;
  std::string payload;  // v1.SignedCommand as carried; empty once final
  bool operator==(const CommandRecord&) const = default;
};

// What is known of a key that is denied, or was (proto/blocks.h).
struct BlockRecord {
  Block block;
  bool operator==(const BlockRecord&) const = default;
};

// One record of the log (proto/log_chain.h), by its sequence.
struct LogRecord {
  uint64_t sequence = 0;  // from 1
  std::string payload;    // v1.LogRecord
  bool operator==(const LogRecord&) const = default;
};

// How often a car has been woken by SMS: a wake drains its 12 V battery.
struct WakeRecord {
  CarRef ref;
  Timestamp day;  // begin of the 24 h that are counted
  uint32_t count = 0;
  Timestamp last_at;
  bool operator==(const WakeRecord&) const = default;
};

// What one group of one car said over some time, packed (latchkey/v1/history.proto).
struct HistoryRecord {
  CarRef ref;
  Group group = Group::kBody;
  Timestamp begins_at;  // received time of its first sample: chunks of a group come in this order
  std::string payload;  // v1.HistoryChunk
  bool operator==(const HistoryRecord&) const = default;
};

// One MQTT session of a car that has ended (latchkey/v1/session.proto).
struct SessionRecord {
  CarRef ref;
  Timestamp began_at;
  std::string payload;  // v1.Session
  bool operator==(const SessionRecord&) const = default;
};

using Record = std::variant<StateRecord, RingRecord, PresenceRecord, CommandRecord, BlockRecord,
                            LogRecord, WakeRecord, HistoryRecord, SessionRecord>;

// Forgets one command.
struct EraseCommand {
  CarRef ref;
  CommandId id;
  bool operator==(const EraseCommand&) const = default;
};

// Forgets what is known of one scope.
struct EraseBlock {
  BlockScope scope;
  bool operator==(const EraseBlock&) const = default;
};

// Forgets the log up to and with this sequence.
struct EraseLog {
  uint64_t through = 0;
  bool operator==(const EraseLog&) const = default;
};

// Forgets the chunks of one group of one car that begin before this.
struct EraseHistory {
  CarRef ref;
  Group group = Group::kBody;
  Timestamp before;
  bool operator==(const EraseHistory&) const = default;
};

// Forgets the sessions of one car that began before this.
struct EraseSessions {
  CarRef ref;
  Timestamp before;
  bool operator==(const EraseSessions&) const = default;
};

// Forgets one car: every record of it but those of the log.
struct EraseCar {
  CarRef ref;
  bool operator==(const EraseCar&) const = default;
};

using Change = std::variant<StateRecord, RingRecord, PresenceRecord, CommandRecord, EraseCommand,
                            BlockRecord, EraseBlock, LogRecord, EraseLog, WakeRecord, HistoryRecord,
                            EraseHistory, SessionRecord, EraseSessions, EraseCar>;

// True of a change that forgets ranges of keys (RangesOf).
template <class One>
inline constexpr bool kErasesRanges =
    std::is_same_v<One, EraseLog> || std::is_same_v<One, EraseHistory> ||
    std::is_same_v<One, EraseSessions> || std::is_same_v<One, EraseCar>;

// Kinds of record. Each has the number of the family that keeps it at schema version 1.
enum class Kind : uint8_t {
  kState,
  kRing,
  kPresence,
  kCommand,
  kBlock,
  kLog,
  kWake,
  kHistory,
  kSession,
};

inline constexpr std::array<Kind, 9> kKinds = {Kind::kState,   Kind::kRing,    Kind::kPresence,
                                               Kind::kCommand, Kind::kBlock,   Kind::kLog,
                                               Kind::kWake,    Kind::kHistory, Kind::kSession};

constexpr Family FamilyOf(Kind kind) {
  return static_cast<Family>(kind);
}

struct KeyValue {
  Kind kind = Kind::kState;
  std::string key;
  std::string value;
};

// Keys of a kind from `begin` up to but without `end`.
struct KeyRange {
  Kind kind = Kind::kState;
  std::string begin;
  std::string end;
};

// Bytes of a record as schema version 1 has them, and back; of all but commands the later ones have
// the same. Error REASON_MALFORMED: not what Encode writes (bad version byte, short, bad names,
// checksum).
KeyValue Encode(const Record& record);
std::string EncodeKey(const EraseCommand& erase);
std::string EncodeKey(const EraseBlock& erase);
// What these forget, a kind at most once. Times that begin before 1970 are a fault of ours.
std::vector<KeyRange> RangesOf(const EraseLog& erase);
std::vector<KeyRange> RangesOf(const EraseHistory& erase);
std::vector<KeyRange> RangesOf(const EraseSessions& erase);
std::vector<KeyRange> RangesOf(const EraseCar& erase);
// Key of a log record, and its sequence again; nullopt: it is no such key.
std::string LogKey(uint64_t sequence);
std::optional<uint64_t> ParseLogKey(std::string_view key);
Result<Record> Decode(Kind kind, std::string_view key, std::string_view value);

}  // namespace latchkey::storage
