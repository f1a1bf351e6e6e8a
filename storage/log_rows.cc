// See log_rows.h.
#include "storage/log_rows.h"

#include "latchkey/v1/log.pb.h"
#include "proto/log_chain.h"
#include "storage/records.h"
#include "storage/row_bytes.h"

namespace latchkey::storage {

std::string LogByCarKey(const LogName& name) {
  return KeyPrefix(name.ref) + LogKey(name.sequence);
}

std::optional<LogName> ParseLogByCarKey(std::string_view key) {
  const std::optional<CarKey> parsed = ParseCarKey(key);
  const std::optional<uint64_t> sequence = parsed ? ParseLogKey(parsed->suffix) : std::nullopt;
  return sequence ? std::optional(LogName{parsed->ref, *sequence}) : std::nullopt;
}

std::vector<CarRef> CarsOfLog(std::string_view payload) {
  v1::LogRecord record;
  v1::LogEntry entry;
  const auto parse = [](google::protobuf::MessageLite& message, std::string_view bytes) {
    return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  };
  if (!parse(record, payload) || record.body().empty() || !parse(entry, record.body())) {
    return {};
  }
  return CarsNamed(entry);
}

}  // namespace latchkey::storage
