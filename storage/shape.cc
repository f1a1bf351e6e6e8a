// See shape.h.
#include "storage/shape.h"

#include <algorithm>
#include <type_traits>

#include "storage/command_rows.h"
#include "storage/log_rows.h"

namespace latchkey::storage {

namespace {

constexpr FamilySet kVersion1 = {
    Family::kState, Family::kRing, Family::kPresence, Family::kCommand, Family::kBlock,
    Family::kLog,   Family::kWake, Family::kHistory,  Family::kSession, Family::kMeta};
constexpr FamilySet kVersion2 =
    kVersion1.Without({Family::kCommand}).With({Family::kCommandStep, Family::kCommandMessage});
constexpr FamilySet kVersion3 = kVersion2.With({Family::kLogByCar});

constexpr FamilySet kLookedAt = {Family::kCommandMessage, Family::kLog, Family::kLogByCar,
                                 Family::kHistory, Family::kSession};
// The log stays when a car goes, and what names its records goes with their content.
constexpr FamilySet kNotOfCar = {Family::kLog, Family::kLogByCar, Family::kMeta};

PutRow RowOf(KeyValue bytes) {
  return {FamilyOf(bytes.kind), std::move(bytes.key), std::move(bytes.value)};
}

// Which sequence a record of the log has, and what it names; nullopt: it is damaged.
std::optional<std::vector<CarRef>> NamedBy(std::string_view key, std::string_view value) {
  const Result<Record> record = Decode(Kind::kLog, key, value);
  return record ? std::optional(CarsOfLog(std::get<LogRecord>(*record).payload)) : std::nullopt;
}

}  // namespace

FamilySet FamiliesOf(uint32_t version) {
  LK_ASSERT(version >= kSchemaVersionMin && version <= kSchemaVersionMax);
  return version == 1 ? kVersion1 : version == 2 ? kVersion2 : kVersion3;
}

Result<void> RowBatch::Add(const Change& change) {
  return std::visit(
      [this](const auto& one) -> Result<void> {
        using One = std::decay_t<decltype(one)>;
        if constexpr (std::is_same_v<One, LogRecord> || std::is_same_v<One, EraseLog>) {
          return Take(one);
        } else if constexpr (std::is_same_v<One, EraseHistory> ||
                             std::is_same_v<One, EraseSessions>) {
          return EraseEach(RangesOf(one).front());
        } else if constexpr (std::is_same_v<One, CommandRecord> ||
                             std::is_same_v<One, EraseCommand> || std::is_same_v<One, EraseCar>) {
          Take(one);
        } else if constexpr (std::is_same_v<One, EraseBlock>) {
          Delete(Family::kBlock, EncodeKey(one));
        } else {
          Put(RowOf(Encode(one)));
        }
        return {};
      },
      change);
}

// The core says a command whole at each step. Its signed bytes are written when they are not there
// as they are to be: one look at a row that is in memory or that a filter rules out. Where that
// look fails, writing them again is right, too.
void RowBatch::Take(const CommandRecord& record) {
  if (families_.Has(Family::kCommand)) {
    Put(RowOf(Encode(record)));
  }
  if (!families_.Has(Family::kCommandStep)) {
    return;
  }
  Put(EncodeStep(record));
  std::string key = CommandKey(record.ref, record.id);
  const Result<std::optional<std::string>> there = Find(Family::kCommandMessage, key);
  std::optional<PutRow> message = EncodeMessage(record);
  if (!message && (!there || *there)) {
    Delete(Family::kCommandMessage, std::move(key));
  } else if (message && (!there || *there != message->value)) {
    Put(*std::move(message));
  }
}

void RowBatch::Take(const EraseCommand& erase) {
  for (const Family family : {Family::kCommand, Family::kCommandStep, Family::kCommandMessage}) {
    if (families_.Has(family)) {
      Delete(family, EncodeKey(erase));
    }
  }
}

// A record takes the place of another one where its content is erased, or where the chain goes on
// in the place of a damaged one.
Result<void> RowBatch::Take(const LogRecord& record) {
  PutRow row = RowOf(Encode(record));
  if (families_.Has(Family::kLogByCar)) {
    const std::vector<CarRef> cars = CarsOfLog(record.payload);
    LK_TRY(const std::optional<std::string> there, Find(Family::kLog, row.key));
    if (there) {
      const std::optional<std::vector<CarRef>> named = NamedBy(row.key, *there);
      if (!named) {
        LK_CHECK(Unname({record.sequence}));
      }
      for (const CarRef& ref : named.value_or(std::vector<CarRef>())) {
        if (std::find(cars.begin(), cars.end(), ref) == cars.end()) {
          Delete(Family::kLogByCar, LogByCarKey({ref, record.sequence}));
        }
      }
    }
    for (const CarRef& ref : cars) {
      Put({Family::kLogByCar, LogByCarKey({ref, record.sequence}), ""});
    }
  }
  Put(std::move(row));
  return {};
}

Result<void> RowBatch::Take(const EraseLog& erase) {
  KeyRange range = RangesOf(erase).front();
  if (families_.Has(Family::kLogByCar)) {
    std::set<uint64_t> damaged;
    std::vector<std::string> names;
    LK_CHECK(ForEach(Family::kLog, range.begin, range.end,
                     [&](std::string_view key, std::string_view value) {
                       const uint64_t sequence = ParseLogKey(key).value_or(0);
                       const std::optional<std::vector<CarRef>> named = NamedBy(key, value);
                       if (!named) {
                         damaged.insert(sequence);
                       }
                       for (const CarRef& ref : named.value_or(std::vector<CarRef>())) {
                         names.push_back(LogByCarKey({ref, sequence}));
                       }
                     }));
    for (std::string& key : names) {
      Delete(Family::kLogByCar, std::move(key));
    }
    if (!damaged.empty()) {
      LK_CHECK(Unname(damaged));
    }
  }
  DeleteRange(Family::kLog, std::move(range.begin), std::move(range.end));
  return {};
}

// Which cars a damaged record named nobody can tell: all rows that lead to it go. That reads the
// whole family, which is as rare as damage on a disk.
Result<void> RowBatch::Unname(const std::set<uint64_t>& sequences) {
  std::vector<std::string> names;
  LK_CHECK(ForEach(Family::kLogByCar, "", "", [&](std::string_view key, std::string_view) {
    const std::optional<LogName> name = ParseLogByCarKey(key);
    if (name && sequences.contains(name->sequence)) {
      names.emplace_back(key);
    }
  }));
  for (std::string& key : names) {
    Delete(Family::kLogByCar, std::move(key));
  }
  return {};
}

void RowBatch::Take(const EraseCar& erase) {
  const std::string begin = KeyPrefix(erase.ref);
  for (const Family family : kFamilies) {
    if (families_.Has(family) && !kNotOfCar.Has(family)) {
      DeleteRange(family, begin, AfterPrefix(begin));
    }
  }
}

Result<void> RowBatch::EraseEach(const KeyRange& range) {
  std::vector<std::string> keys;
  LK_CHECK(ForEach(FamilyOf(range.kind), range.begin, range.end,
                   [&](std::string_view key, std::string_view) { keys.emplace_back(key); }));
  for (std::string& key : keys) {
    Delete(FamilyOf(range.kind), std::move(key));
  }
  return {};
}

void RowBatch::Put(PutRow row) {
  if (kLookedAt.Has(row.family)) {
    seen_.insert_or_assign(std::pair(row.family, row.key), ops_.size());
  }
  ops_.emplace_back(std::move(row));
}

void RowBatch::Delete(Family family, std::string key) {
  if (kLookedAt.Has(family)) {
    seen_.insert_or_assign(std::pair(family, key), std::nullopt);
  }
  ops_.emplace_back(DeleteRow{family, std::move(key)});
}

void RowBatch::DeleteRange(Family family, std::string begin, std::string end) {
  DeleteRows range{family, std::move(begin), std::move(end)};
  if (kLookedAt.Has(family)) {
    for (auto at = seen_.lower_bound({family, range.begin});
         at != seen_.end() && at->first < std::pair(family, range.end); ++at) {
      at->second.reset();
    }
    gone_.push_back(range);
  }
  ops_.emplace_back(std::move(range));
}

Result<std::optional<std::string>> RowBatch::Find(Family family, const std::string& key) const {
  const auto seen = seen_.find({family, key});
  if (seen != seen_.end()) {
    return seen->second ? std::optional(std::get<PutRow>(ops_[*seen->second]).value) : std::nullopt;
  }
  return Gone(family, key) ? std::optional<std::string>() : now_.Get(family, key);
}

Result<void> RowBatch::ForEach(
    Family family, const std::string& begin, const std::string& end,
    const std::function<void(std::string_view key, std::string_view value)>& visit) const {
  for (auto at = seen_.lower_bound({family, begin});
       at != seen_.end() && at->first.first == family && (end.empty() || at->first.second < end);
       ++at) {
    if (at->second) {
      visit(at->first.second, std::get<PutRow>(ops_[*at->second]).value);
    }
  }
  return now_.Each(family, begin, end, [&](std::string_view key, std::string_view value) {
    if (!seen_.contains({family, std::string(key)}) && !Gone(family, key)) {
      visit(key, value);
    }
    return true;
  });
}

bool RowBatch::Gone(Family family, std::string_view key) const {
  return std::any_of(gone_.begin(), gone_.end(), [&](const DeleteRows& range) {
    return range.family == family && range.begin <= key && key < range.end;
  });
}

}  // namespace latchkey::storage
