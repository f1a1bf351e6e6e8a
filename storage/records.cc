// Key and value bytes of every record; the grammar with examples is storage/README.md. Layouts are
// fixed and hand-made so that a record has exactly one encoding, and each value ends in a CRC-32C
// over kind, key and value: a flipped bit, or a value under another's key, is found and not served.
#include "storage/records.h"

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include "storage/bytes.h"
#include "storage/row_bytes.h"

namespace latchkey::storage {

namespace {

constexpr size_t kLaneBytes = 22;
constexpr size_t kSequenceBytes = 8;
constexpr size_t kTimeBytes = 8;

// As ParseCarKey, with the names that a block's scope leaves out empty; the suffix is its key.
std::optional<BlockScope> ParseBlockKey(std::string_view key) {
  const size_t fleet_end = key.find('\0');
  const size_t car_end =
      fleet_end == std::string_view::npos ? fleet_end : key.find('\0', fleet_end + 1);
  if (car_end == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string_view fleet_text = key.substr(0, fleet_end);
  const std::string_view car_text = key.substr(fleet_end + 1, car_end - fleet_end - 1);
  const auto fleet = FleetId::Parse(fleet_text);
  const auto car = CarId::Parse(car_text);
  const auto id = KeyId::Parse(key.substr(car_end + 1));
  if (!id || (!fleet && !fleet_text.empty()) || (!car && !car_text.empty()) || (car && !fleet)) {
    return std::nullopt;
  }
  return BlockScope{*id, fleet.value_or(FleetId()), car.value_or(CarId())};
}

std::string BlockKey(const BlockScope& scope) {
  LK_ASSERT(!scope.key.empty() && (scope.car.empty() || !scope.fleet.empty()));
  std::string key = scope.fleet.str();
  key.push_back('\0');
  key += scope.car.str();
  key.push_back('\0');
  return key + scope.key.str();
}

KeyValue Sealed(Kind kind, std::string key, const std::string& fields) {
  std::string value = Seal(FamilyOf(kind), key, fields);
  return {kind, std::move(key), std::move(value)};
}

KeyValue EncodeState(const StateRecord& record) {
  std::string body;
  PutTime(body, record.received_at);
  body += record.payload;
  return Sealed(Kind::kState, KeyPrefix(record.ref) + std::string(ToText(record.group)), body);
}

KeyValue EncodeRing(const RingRecord& record) {
  std::string body;
  PutNumber(body, record.version, 8);
  PutTime(body, record.received_at);
  body += record.payload;
  return Sealed(Kind::kRing, KeyPrefix(record.ref), body);
}

KeyValue EncodePresence(const PresenceRecord& record) {
  std::string body;
  PutTime(body, record.received_at);
  body += record.payload;
  return Sealed(Kind::kPresence, KeyPrefix(record.ref), body);
}

KeyValue EncodeLog(const LogRecord& record) {
  return Sealed(Kind::kLog, LogKey(record.sequence), record.payload);
}

KeyValue EncodeWake(const WakeRecord& record) {
  std::string body;
  PutTime(body, record.day);
  PutNumber(body, record.count, 4);
  PutTime(body, record.last_at);
  return Sealed(Kind::kWake, KeyPrefix(record.ref), body);
}

KeyValue EncodeCommand(const CommandRecord& record) {
  LK_ASSERT(record.lane.str().size() == kLaneBytes);
  std::string body;
  body += record.lane.str();
  PutNumber(body, record.order, 8);
  PutTime(body, record.received_at);
  PutTime(body, record.changed_at);
  PutNumber(body, static_cast<uint64_t>(record.state), 1);
  PutNumber(body, static_cast<uint64_t>(record.reason), 2);
  body += record.payload;
  return Sealed(Kind::kCommand, KeyPrefix(record.ref) + record.id.ToBytes(), body);
}

KeyValue EncodeBlock(const BlockRecord& record) {
  const Block& block = record.block;
  std::string body;
  PutTime(body, block.changed_at);
  PutNumber(body, block.lifted ? 1 : 0, 1);
  PutNumber(body, static_cast<uint64_t>(block.cause), 1);
  const std::string command = block.command ? block.command->ToBytes() : "";
  PutNumber(body, command.size(), 1);
  body += command;
  body += block.note;
  return Sealed(Kind::kBlock, BlockKey(block.scope), body);
}

// Times in keys are from 1970 on, so that their bytes are in their order.
std::string TimeKey(Timestamp time) {
  LK_ASSERT(time.ms >= 0);
  std::string key;
  PutTime(key, time);
  return key;
}

std::optional<Timestamp> ParseTimeKey(std::string_view key) {
  Cursor cursor(key);
  const Timestamp time = cursor.Time();
  return key.size() == kTimeBytes && time.ms >= 0 ? std::optional(time) : std::nullopt;
}

std::string HistoryPrefix(const CarRef& ref, Group group) {
  std::string prefix = KeyPrefix(ref) + std::string(ToText(group));
  prefix.push_back('\0');
  return prefix;
}

KeyValue EncodeHistory(const HistoryRecord& record) {
  return Sealed(Kind::kHistory, HistoryPrefix(record.ref, record.group) + TimeKey(record.begins_at),
                record.payload);
}

KeyValue EncodeSession(const SessionRecord& record) {
  return Sealed(Kind::kSession, KeyPrefix(record.ref) + TimeKey(record.began_at), record.payload);
}

std::optional<Record> DecodeHistory(const CarKey& key, Cursor& cursor) {
  const size_t group_end = key.suffix.find('\0');
  if (group_end == std::string_view::npos) {
    return std::nullopt;
  }
  const std::optional<Group> group = ParseGroup(key.suffix.substr(0, group_end));
  const std::optional<Timestamp> begins_at = ParseTimeKey(key.suffix.substr(group_end + 1));
  if (!group || !begins_at) {
    return std::nullopt;
  }
  return HistoryRecord{key.ref, *group, *begins_at, cursor.Rest()};
}

std::optional<Record> DecodeSession(const CarKey& key, Cursor& cursor) {
  const std::optional<Timestamp> began_at = ParseTimeKey(key.suffix);
  if (!began_at) {
    return std::nullopt;
  }
  return SessionRecord{key.ref, *began_at, cursor.Rest()};
}

std::optional<Record> DecodeState(const CarKey& key, Cursor& cursor) {
  const std::optional<Group> group = ParseGroup(key.suffix);
  if (!group) {
    return std::nullopt;
  }
  StateRecord record;
  record.ref = key.ref;
  record.group = *group;
  record.received_at = cursor.Time();
  record.payload = cursor.Rest();
  return record;
}

std::optional<Record> DecodeRing(const CarKey& key, Cursor& cursor) {
  if (!key.suffix.empty()) {
    return std::nullopt;
  }
  RingRecord record;
  record.ref = key.ref;
  record.version = cursor.Number(8);
  record.received_at = cursor.Time();
  record.payload = cursor.Rest();
  return record;
}

std::optional<Record> DecodePresence(const CarKey& key, Cursor& cursor) {
  if (!key.suffix.empty()) {
    return std::nullopt;
  }
  PresenceRecord record;
  record.ref = key.ref;
  record.received_at = cursor.Time();
  record.payload = cursor.Rest();
  return record;
}

std::optional<Record> DecodeWake(const CarKey& key, Cursor& cursor) {
  if (!key.suffix.empty()) {
    return std::nullopt;
  }
  WakeRecord record;
  record.ref = key.ref;
  record.day = cursor.Time();
  record.count = static_cast<uint32_t>(cursor.Number(4));
  record.last_at = cursor.Time();
  return cursor.Rest().empty() ? std::optional<Record>(record) : std::nullopt;
}

std::optional<Record> DecodeCommand(const CarKey& key, Cursor& cursor) {
  const std::optional<CommandId> id = CommandId::FromBytes(key.suffix);
  const std::optional<KeyId> lane = KeyId::Parse(cursor.Take(kLaneBytes));
  if (!id || !lane) {
    return std::nullopt;
  }
  CommandRecord record;
  record.ref = key.ref;
  record.lane = *lane;
  record.id = *id;
  record.order = cursor.Number(8);
  record.received_at = cursor.Time();
  record.changed_at = cursor.Time();
  const int state = static_cast<int>(cursor.Number(1));
  const int reason = static_cast<int>(cursor.Number(2));
  if (state == 0 || !v1::ReceiptState_IsValid(state) || !v1::Reason_IsValid(reason)) {
    return std::nullopt;
  }
  record.state = static_cast<v1::ReceiptState>(state);
  record.reason = static_cast<Reason>(reason);
  record.payload = cursor.Rest();
  return record;
}

std::optional<Record> DecodeBlock(const BlockScope& scope, Cursor& cursor) {
  Block block;
  block.scope = scope;
  block.changed_at = cursor.Time();
  const uint64_t lifted = cursor.Number(1);
  const int cause = static_cast<int>(cursor.Number(1));
  const size_t command_bytes = static_cast<size_t>(cursor.Number(1));
  const std::string_view command = cursor.Take(command_bytes);
  block.note = cursor.Rest();
  block.lifted = lifted == 1;
  if (command_bytes > 0) {
    block.command = CommandId::FromBytes(command);
  }
  if (!cursor.ok() || lifted > 1 || !v1::BlockCause_IsValid(cause) ||
      block.command.has_value() != (command_bytes > 0)) {
    return std::nullopt;
  }
  block.cause = static_cast<v1::BlockCause>(cause);
  // The wire's own rules hold for what is kept, too.
  return BlockFromWire(BlockToWire(block)) ? std::optional<Record>(BlockRecord{std::move(block)})
                                           : std::nullopt;
}

bool IsKeyOf(Kind kind, std::string_view key) {
  switch (kind) {
    case Kind::kState:
    case Kind::kRing:
    case Kind::kPresence:
    case Kind::kCommand:
    case Kind::kWake:
    case Kind::kHistory:
    case Kind::kSession:
      return ParseCarKey(key).has_value();
    case Kind::kBlock:
      return ParseBlockKey(key).has_value();
    case Kind::kLog:
      return ParseLogKey(key).has_value();
  }
  return false;
}

std::optional<Record> DecodeBody(Kind kind, std::string_view bytes, Cursor& cursor) {
  if (kind == Kind::kLog) {
    return LogRecord{ParseLogKey(bytes).value_or(0), cursor.Rest()};
  }
  if (kind == Kind::kBlock) {
    const std::optional<BlockScope> scope = ParseBlockKey(bytes);
    return scope ? DecodeBlock(*scope, cursor) : std::nullopt;
  }
  const std::optional<CarKey> parsed = ParseCarKey(bytes);
  if (!parsed) {
    return std::nullopt;
  }
  const CarKey& key = *parsed;
  switch (kind) {
    case Kind::kState:
      return DecodeState(key, cursor);
    case Kind::kRing:
      return DecodeRing(key, cursor);
    case Kind::kPresence:
      return DecodePresence(key, cursor);
    case Kind::kCommand:
      return DecodeCommand(key, cursor);
    case Kind::kWake:
      return DecodeWake(key, cursor);
    case Kind::kHistory:
      return DecodeHistory(key, cursor);
    case Kind::kSession:
      return DecodeSession(key, cursor);
    case Kind::kBlock:
    case Kind::kLog:
      break;
  }
  return std::nullopt;
}

}  // namespace

KeyValue Encode(const Record& record) {
  if (const auto* state = std::get_if<StateRecord>(&record)) {
    return EncodeState(*state);
  }
  if (const auto* ring = std::get_if<RingRecord>(&record)) {
    return EncodeRing(*ring);
  }
  if (const auto* presence = std::get_if<PresenceRecord>(&record)) {
    return EncodePresence(*presence);
  }
  if (const auto* block = std::get_if<BlockRecord>(&record)) {
    return EncodeBlock(*block);
  }
  if (const auto* log = std::get_if<LogRecord>(&record)) {
    return EncodeLog(*log);
  }
  if (const auto* wake = std::get_if<WakeRecord>(&record)) {
    return EncodeWake(*wake);
  }
  if (const auto* history = std::get_if<HistoryRecord>(&record)) {
    return EncodeHistory(*history);
  }
  if (const auto* session = std::get_if<SessionRecord>(&record)) {
    return EncodeSession(*session);
  }
  return EncodeCommand(std::get<CommandRecord>(record));
}

std::string EncodeKey(const EraseCommand& erase) {
  return KeyPrefix(erase.ref) + erase.id.ToBytes();
}

std::string EncodeKey(const EraseBlock& erase) {
  return BlockKey(erase.scope);
}

std::vector<KeyRange> RangesOf(const EraseLog& erase) {
  // The end of a range is left out of it.
  return {{Kind::kLog, LogKey(1),
           erase.through == ~uint64_t{0} ? std::string(kSequenceBytes + 1, '\xff')
                                         : LogKey(erase.through + 1)}};
}

std::vector<KeyRange> RangesOf(const EraseHistory& erase) {
  const std::string prefix = HistoryPrefix(erase.ref, erase.group);
  return {{Kind::kHistory, prefix + TimeKey({0}), prefix + TimeKey(erase.before)}};
}

std::vector<KeyRange> RangesOf(const EraseSessions& erase) {
  const std::string prefix = KeyPrefix(erase.ref);
  return {{Kind::kSession, prefix + TimeKey({0}), prefix + TimeKey(erase.before)}};
}

std::vector<KeyRange> RangesOf(const EraseCar& erase) {
  const std::string begin = KeyPrefix(erase.ref);
  std::vector<KeyRange> ranges;
  for (const Kind kind : kKinds) {
    if (kind != Kind::kLog) {
      ranges.push_back({kind, begin, AfterPrefix(begin)});
    }
  }
  return ranges;
}

std::string LogKey(uint64_t sequence) {
  LK_ASSERT(sequence > 0);
  std::string key;
  PutNumber(key, sequence, kSequenceBytes);
  return key;
}

std::optional<uint64_t> ParseLogKey(std::string_view key) {
  Cursor cursor(key);
  const uint64_t sequence = cursor.Number(kSequenceBytes);
  return key.size() == kSequenceBytes && sequence > 0 ? std::optional(sequence) : std::nullopt;
}

Result<Record> Decode(Kind kind, std::string_view key, std::string_view value) {
  if (!IsKeyOf(kind, key)) {
    return Fail(v1::REASON_MALFORMED, kind == Kind::kLog
                                          ? "the key is not a sequence of the log"
                                          : "the key does not begin with a fleet and a car");
  }
  LK_TRY(const std::string_view fields, Unseal(FamilyOf(kind), key, value));
  Cursor cursor(fields);
  std::optional<Record> record = DecodeBody(kind, key, cursor);
  if (!record || !cursor.ok()) {
    return Fail(v1::REASON_MALFORMED, "the record's fields are not those of its kind");
  }
  return *std::move(record);
}

}  // namespace latchkey::storage
