// See migrations.h.
#include "storage/migrations.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "storage/command_rows.h"
#include "storage/log_rows.h"
#include "storage/records.h"
#include "storage/shape.h"

namespace latchkey::storage {

namespace {

constexpr const char* kMissing = "missing in the new shape";
constexpr const char* kOnlyNew = "only in the new shape";

std::string Hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15U]);
  }
  return text;
}

// "" when they are equal.
std::string Difference(const CommandRecord& old_one, const CommandRecord& new_one) {
  std::string fields;
  const auto compare = [&fields](bool equal, const char* field) {
    if (!equal) {
      fields += fields.empty() ? field : std::string(", ") + field;
    }
  };
  compare(old_one.lane == new_one.lane, "lane");
  compare(old_one.order == new_one.order, "order");
  compare(old_one.received_at == new_one.received_at, "received_at");
  compare(old_one.changed_at == new_one.changed_at, "changed_at");
  compare(old_one.state == new_one.state, "state");
  compare(old_one.reason == new_one.reason, "reason");
  compare(old_one.payload == new_one.payload, "payload");
  return fields.empty() ? (old_one == new_one ? "" : "differs") : "differs in " + fields;
}

Result<std::vector<PutRow>> SplitCommand(std::string_view key, std::string_view value) {
  LK_TRY(const Record record, Decode(Kind::kCommand, key, value));
  const auto& command = std::get<CommandRecord>(record);
  std::vector<PutRow> rows = {EncodeStep(command)};
  if (std::optional<PutRow> message = EncodeMessage(command)) {
    rows.push_back(*std::move(message));
  }
  return rows;
}

Result<RowCheck> CheckCommand(const RowReader& rows, std::string_view key, std::string_view value) {
  const Result<Record> old_one = Decode(Kind::kCommand, key, value);
  if (!old_one) {
    return RowCheck{true, ""};
  }
  LK_TRY(const std::optional<std::string> step, rows.Get(Family::kCommandStep, key));
  LK_TRY(const std::optional<std::string> message, rows.Get(Family::kCommandMessage, key));
  if (!step) {
    return RowCheck{false, kMissing};
  }
  const Result<CommandRecord> new_one = DecodeCommandRows(
      key, *step, message ? std::optional<std::string_view>(*message) : std::nullopt);
  return RowCheck{false, new_one ? Difference(std::get<CommandRecord>(*old_one), *new_one)
                                 : "damaged in the new shape: " + new_one.error().text};
}

// A message without its step is one that nobody reads.
Result<RowCheck> CheckSplit(const RowReader& rows, Family family, std::string_view key) {
  LK_TRY(const std::optional<std::string> old_one, rows.Get(Family::kCommand, key));
  if (!old_one) {
    return RowCheck{false, kOnlyNew};
  }
  if (family == Family::kCommandMessage) {
    LK_TRY(const std::optional<std::string> step, rows.Get(Family::kCommandStep, key));
    if (!step) {
      return RowCheck{false, "its step is missing in the new shape"};
    }
  }
  return RowCheck{};
}

std::string PrintCommand(Family family, std::string_view key) {
  const std::optional<CarKey> parsed = ParseCarKey(key);
  const std::optional<CommandId> id = parsed ? CommandId::FromBytes(parsed->suffix) : std::nullopt;
  const std::string name(FamilyName(family));
  return id ? name + " " + parsed->ref.ToText() + " " + id->ToText() : name + " " + Hex(key);
}

Result<std::vector<PutRow>> NameLog(std::string_view key, std::string_view value) {
  LK_TRY(const Record record, Decode(Kind::kLog, key, value));
  const auto& log = std::get<LogRecord>(record);
  std::vector<PutRow> rows;
  for (const CarRef& ref : CarsOfLog(log.payload)) {
    rows.push_back({Family::kLogByCar, LogByCarKey({ref, log.sequence}), ""});
  }
  return rows;
}

Result<RowCheck> CheckLog(const RowReader& rows, std::string_view key, std::string_view value) {
  const Result<Record> record = Decode(Kind::kLog, key, value);
  if (!record) {
    return RowCheck{true, ""};
  }
  const auto& log = std::get<LogRecord>(*record);
  for (const CarRef& ref : CarsOfLog(log.payload)) {
    LK_TRY(const std::optional<std::string> name,
           rows.Get(Family::kLogByCar, LogByCarKey({ref, log.sequence})));
    if (!name) {
      return RowCheck{false, std::string(kMissing) + " for " + ref.ToText()};
    }
  }
  return RowCheck{};
}

std::optional<std::vector<std::string>> NamesOfLog(std::string_view key, std::string_view value) {
  const Result<Record> record = Decode(Kind::kLog, key, value);
  if (!record) {
    return std::nullopt;
  }
  const auto& log = std::get<LogRecord>(*record);
  std::vector<std::string> keys;
  for (const CarRef& ref : CarsOfLog(log.payload)) {
    keys.push_back(LogByCarKey({ref, log.sequence}));
  }
  return keys;
}

Result<RowCheck> CheckName(const RowReader& rows, Family /*family*/, std::string_view key) {
  const std::optional<LogName> name = ParseLogByCarKey(key);
  if (!name) {
    return RowCheck{false, "its key is not a car and a sequence"};
  }
  const std::string log_key = LogKey(name->sequence);
  LK_TRY(const std::optional<std::string> value, rows.Get(Family::kLog, log_key));
  if (!value) {
    return RowCheck{false, kOnlyNew};
  }
  const Result<Record> record = Decode(Kind::kLog, log_key, *value);
  if (!record) {
    return RowCheck{true, ""};
  }
  const std::vector<CarRef> cars = CarsOfLog(std::get<LogRecord>(*record).payload);
  const bool named = std::find(cars.begin(), cars.end(), name->ref) != cars.end();
  return RowCheck{false, named ? "" : "leads to a record that does not name the car"};
}

std::string PrintLog(Family family, std::string_view key) {
  if (family == Family::kLog) {
    const std::optional<uint64_t> sequence = ParseLogKey(key);
    return "log " + (sequence ? std::to_string(*sequence) : Hex(key));
  }
  const std::optional<LogName> name = ParseLogByCarKey(key);
  return std::string(FamilyName(family)) + " " +
         (name ? name->ref.ToText() + " " + std::to_string(name->sequence) : Hex(key));
}

}  // namespace

Migrations RealMigrations() {
  MigrationSteps split;
  split.from = 1;
  split.to = 2;
  split.name = "split-commands";
  split.summary =
      "The signed bytes of a command get a row of their own, written once, and its row that is "
      "written at each step stays small.";
  split.source = Family::kCommand;
  split.written_percent = 120;
  split.transform = SplitCommand;
  split.check_old = CheckCommand;
  split.check_new = CheckSplit;
  split.print = PrintCommand;
  MigrationSteps log;
  log.from = 2;
  log.to = 3;
  log.name = "log-by-car";
  log.summary =
      "Which records of the log name a car is kept beside it, so that what is asked of one car "
      "does not read the whole log.";
  log.source = Family::kLog;
  log.written_percent = 25;
  log.transform = NameLog;
  log.check_old = CheckLog;
  log.check_new = CheckName;
  log.new_keys = NamesOfLog;
  log.print = PrintLog;
  return {std::move(split), std::move(log)};
}

uint32_t NewestSchema(const Migrations& migrations) {
  return migrations.empty() ? kSchemaVersionMin : migrations.back().to;
}

}  // namespace latchkey::storage
