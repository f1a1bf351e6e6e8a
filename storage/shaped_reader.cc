// See shaped_reader.h.
#include "storage/shaped_reader.h"

#include <algorithm>
#include <string>
#include <utility>

#include "storage/command_rows.h"
#include "storage/log_rows.h"
#include "storage/shape.h"

namespace latchkey::storage {

namespace {

using Visit = std::function<void(const Record&)>;
using VisitLog = std::function<bool(const LogRecord&)>;
using Damaged = std::function<void(std::string_view key, const Error&)>;

class ShapedReader final : public Reader {
 public:
  ShapedReader(std::unique_ptr<RowReader> rows, Result<uint32_t> schema)
      : rows_(std::move(rows)), schema_(std::move(schema)) {}

  Result<void> Scan(Kind kind, const std::optional<CarRef>& ref, const Visit& visit,
                    const Damaged& damaged) const override {
    LK_TRY(const FamilySet families, Families());
    const std::string begin = ref ? KeyPrefix(*ref) : "";
    const std::string end = ref ? AfterPrefix(begin) : "";
    if (kind == Kind::kCommand && families.Has(Family::kCommandStep)) {
      return ScanCommands(begin, end, visit, damaged);
    }
    return rows_->Each(FamilyOf(kind), begin, end,
                       [&](std::string_view key, std::string_view value) {
                         const Result<Record> record = Decode(kind, key, value);
                         if (record) {
                           visit(*record);
                         } else {
                           damaged(key, record.error());
                         }
                         return true;
                       });
  }

  Result<void> ScanLog(uint64_t from, const VisitLog& visit,
                       const Damaged& damaged) const override {
    LK_CHECK(Families());
    return rows_->Each(Family::kLog, from == 0 ? std::string() : LogKey(from), "",
                       [&](std::string_view key, std::string_view value) {
                         return Give(key, value, visit, damaged);
                       });
  }

  Result<void> ScanLogOf(const CarRef& ref, uint64_t from, const VisitLog& visit,
                         const Damaged& damaged) const override {
    LK_TRY(const FamilySet families, Families());
    if (!families.Has(Family::kLogByCar)) {
      return ScanLog(from, visit, damaged);
    }
    const std::unique_ptr<RowCursor> at =
        rows_->Rows(Family::kLogByCar, LogByCarKey({ref, std::max<uint64_t>(from, 1)}),
                    AfterPrefix(KeyPrefix(ref)));
    for (; at->valid(); at->Next()) {
      const std::optional<LogName> name = ParseLogByCarKey(at->key());
      if (!name) {
        continue;  // leads nowhere
      }
      const std::string key = LogKey(name->sequence);
      LK_TRY(const std::optional<std::string> value, rows_->Get(Family::kLog, key));
      if (value && !Give(key, *value, visit, damaged)) {
        return {};
      }
    }
    return at->status();
  }

  Result<std::optional<LogRecord>> LastLog(uint64_t through,
                                           const Damaged& damaged) const override {
    LK_CHECK(Families());
    if (through == 0) {
      return std::nullopt;
    }
    const std::unique_ptr<RowCursor> at = rows_->RowsBack(Family::kLog, LogKey(through));
    for (; at->valid(); at->Next()) {
      Result<Record> record = Decode(Kind::kLog, at->key(), at->value());
      if (record) {
        return std::get<LogRecord>(*std::move(record));
      }
      damaged(at->key(), record.error());
    }
    LK_CHECK(at->status());
    return std::nullopt;
  }

 private:
  Result<FamilySet> Families() const {
    LK_TRY(const uint32_t version, schema_);
    return FamiliesOf(version);
  }

  // False: it was enough.
  static bool Give(std::string_view key, std::string_view value, const VisitLog& visit,
                   const Damaged& damaged) {
    const Result<Record> record = Decode(Kind::kLog, key, value);
    if (!record) {
      damaged(key, record.error());
      return true;
    }
    return visit(std::get<LogRecord>(*record));
  }

  // Steps and messages are in the same order.
  Result<void> ScanCommands(const std::string& begin, const std::string& end, const Visit& visit,
                            const Damaged& damaged) const {
    const std::unique_ptr<RowCursor> step = rows_->Rows(Family::kCommandStep, begin, end);
    const std::unique_ptr<RowCursor> message = rows_->Rows(Family::kCommandMessage, begin, end);
    for (; step->valid(); step->Next()) {
      while (message->valid() && message->key() < step->key()) {
        message->Next();
      }
      LK_CHECK(message->status());
      const bool has_message = message->valid() && message->key() == step->key();
      const Result<CommandRecord> record = DecodeCommandRows(
          step->key(), step->value(), has_message ? std::optional(message->value()) : std::nullopt);
      if (record) {
        visit(*record);
      } else {
        damaged(step->key(), record.error());
      }
    }
    return step->status();
  }

  const std::unique_ptr<RowReader> rows_;
  const Result<uint32_t> schema_;
};

}  // namespace

std::unique_ptr<Reader> MakeShapedReader(std::unique_ptr<RowReader> rows, Result<uint32_t> schema) {
  return std::make_unique<ShapedReader>(std::move(rows), std::move(schema));
}

}  // namespace latchkey::storage
