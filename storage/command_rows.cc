// See command_rows.h. The step counts the bytes of its message: a message that is lost is found.
#include "storage/command_rows.h"

#include <cstddef>

#include "storage/bytes.h"
#include "storage/row_bytes.h"

namespace latchkey::storage {

namespace {

constexpr size_t kLaneBytes = 22;

tl::unexpected<Error> NotItsFields() {
  return Fail(v1::REASON_MALFORMED, "the record's fields are not those of its kind");
}

struct Step {
  CommandRecord record;  // without its payload
  uint64_t message_bytes = 0;
};

Result<Step> DecodeStep(std::string_view key, std::string_view value) {
  const std::optional<CarKey> parsed = ParseCarKey(key);
  const std::optional<CommandId> id = parsed ? CommandId::FromBytes(parsed->suffix) : std::nullopt;
  if (!id) {
    return Fail(v1::REASON_MALFORMED, "the key is not a car and a command");
  }
  LK_TRY(const std::string_view fields, Unseal(Family::kCommandStep, key, value));
  Cursor cursor(fields);
  const std::optional<KeyId> lane = KeyId::Parse(cursor.Take(kLaneBytes));
  Step step;
  CommandRecord& record = step.record;
  record.ref = parsed->ref;
  record.id = *id;
  record.order = cursor.Number(8);
  record.received_at = cursor.Time();
  record.changed_at = cursor.Time();
  const int state = static_cast<int>(cursor.Number(1));
  const int reason = static_cast<int>(cursor.Number(2));
  step.message_bytes = cursor.Number(4);
  if (!cursor.ok() || !cursor.Rest().empty() || !lane || state == 0 ||
      !v1::ReceiptState_IsValid(state) || !v1::Reason_IsValid(reason)) {
    return NotItsFields();
  }
  record.lane = *lane;
  record.state = static_cast<v1::ReceiptState>(state);
  record.reason = static_cast<Reason>(reason);
  return step;
}

}  // namespace

std::string CommandKey(const CarRef& ref, const CommandId& id) {
  return KeyPrefix(ref) + id.ToBytes();
}

PutRow EncodeStep(const CommandRecord& record) {
  LK_ASSERT(record.lane.str().size() == kLaneBytes && record.payload.size() < UINT32_MAX);
  std::string fields = record.lane.str();
  PutNumber(fields, record.order, 8);
  PutTime(fields, record.received_at);
  PutTime(fields, record.changed_at);
  PutNumber(fields, static_cast<uint64_t>(record.state), 1);
  PutNumber(fields, static_cast<uint64_t>(record.reason), 2);
  PutNumber(fields, record.payload.size(), 4);
  std::string key = CommandKey(record.ref, record.id);
  std::string value = Seal(Family::kCommandStep, key, fields);
  return {Family::kCommandStep, std::move(key), std::move(value)};
}

std::optional<PutRow> EncodeMessage(const CommandRecord& record) {
  if (record.payload.empty()) {
    return std::nullopt;
  }
  std::string key = CommandKey(record.ref, record.id);
  std::string value = Seal(Family::kCommandMessage, key, record.payload);
  return PutRow{Family::kCommandMessage, std::move(key), std::move(value)};
}

Result<CommandRecord> DecodeCommandRows(std::string_view key, std::string_view step,
                                        const std::optional<std::string_view>& message) {
  LK_TRY(Step decoded, DecodeStep(key, step));
  if (message) {
    LK_TRY(const std::string_view payload, Unseal(Family::kCommandMessage, key, *message));
    decoded.record.payload = std::string(payload);
  }
  if (decoded.record.payload.size() != decoded.message_bytes ||
      message.has_value() != (decoded.message_bytes > 0)) {
    return Fail(v1::REASON_MALFORMED, message ? "its signed bytes are not those of its step"
                                              : "its signed bytes are missing");
  }
  return std::move(decoded.record);
}

}  // namespace latchkey::storage
