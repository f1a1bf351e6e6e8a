// Two maps per family: what is readable, and what would survive a loss of power.
#include "storage/memory_rows.h"

#include <utility>
#include <variant>

namespace latchkey::storage {

namespace {

using Rowset = MemoryRows::Rowset;
using Tables = MemoryRows::Tables;

// A lock of a flag: the copies it protects are short, and <mutex> belongs to the bridge's queue.
class Hold {
 public:
  explicit Hold(std::atomic_flag& flag) : flag_(flag) {
    while (flag_.test_and_set(std::memory_order_acquire)) {
      flag_.wait(true, std::memory_order_relaxed);
    }
  }

  ~Hold() {
    flag_.clear(std::memory_order_release);
    flag_.notify_one();
  }

  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  std::atomic_flag& flag_;
};

// From `at` up to `end`, both of one map.
template <class Iterator>
class MemoryCursor final : public RowCursor {
 public:
  MemoryCursor(Iterator at, Iterator end) : at_(at), end_(end) {}

  bool valid() const override { return at_ != end_; }

  std::string_view key() const override { return at_->first; }

  std::string_view value() const override { return at_->second; }

  void Next() override { ++at_; }

  Result<void> status() const override { return {}; }

 private:
  Iterator at_;
  Iterator end_;
};

const Rowset& RowsOf(const Tables& tables, Family family) {
  LK_ASSERT(tables.families.Has(family));
  return tables.rows.at(static_cast<size_t>(family));
}

Result<std::optional<std::string>> GetOf(const Rowset& rows, std::string_view key) {
  const auto found = rows.find(std::string(key));
  return found == rows.end() ? std::nullopt : std::optional(found->second);
}

std::unique_ptr<RowCursor> CursorOf(const Rowset& rows, std::string_view begin,
                                    std::string_view end) {
  const auto first = rows.lower_bound(std::string(begin));
  const auto last = end.empty()    ? rows.end()
                    : end <= begin ? first
                                   : rows.lower_bound(std::string(end));
  return std::make_unique<MemoryCursor<Rowset::const_iterator>>(first, last);
}

std::unique_ptr<RowCursor> CursorBackOf(const Rowset& rows, std::string_view through) {
  return std::make_unique<MemoryCursor<Rowset::const_reverse_iterator>>(
      Rowset::const_reverse_iterator(rows.upper_bound(std::string(through))), rows.rend());
}

class MemorySnapshot final : public RowReader {
 public:
  explicit MemorySnapshot(Tables tables) : tables_(std::move(tables)) {}

  Result<std::optional<std::string>> Get(Family family, std::string_view key) const override {
    return GetOf(RowsOf(tables_, family), key);
  }

  std::unique_ptr<RowCursor> Rows(Family family, std::string_view begin,
                                  std::string_view end) const override {
    return CursorOf(RowsOf(tables_, family), begin, end);
  }

  std::unique_ptr<RowCursor> RowsBack(Family family, std::string_view through) const override {
    return CursorBackOf(RowsOf(tables_, family), through);
  }

 private:
  const Tables tables_;
};

}  // namespace

Result<std::optional<std::string>> MemoryRows::Get(Family family, std::string_view key) const {
  return GetOf(RowsOf(live_, family), key);
}

std::unique_ptr<RowCursor> MemoryRows::Rows(Family family, std::string_view begin,
                                            std::string_view end) const {
  return CursorOf(RowsOf(live_, family), begin, end);
}

std::unique_ptr<RowCursor> MemoryRows::RowsBack(Family family, std::string_view through) const {
  return CursorBackOf(RowsOf(live_, family), through);
}

void MemoryRows::Apply(const RowOp& op, Tables& tables) {
  const Family family = std::visit([](const auto& one) { return one.family; }, op);
  if (!tables.families.Has(family)) {
    return;  // written before it was dropped
  }
  Rowset& rows = tables.rows.at(static_cast<size_t>(family));
  if (const auto* put = std::get_if<PutRow>(&op)) {
    rows.insert_or_assign(put->key, put->value);
  } else if (const auto* one = std::get_if<DeleteRow>(&op)) {
    rows.erase(one->key);
  } else if (const auto& range = std::get<DeleteRows>(op); range.begin < range.end) {
    rows.erase(rows.lower_bound(range.begin), rows.lower_bound(range.end));
  }
}

Result<void> MemoryRows::Write(std::span<const RowOp> ops, Durability durability) {
  {
    const Hold hold(busy_);
    pending_.emplace_back(ops.begin(), ops.end());
    for (const RowOp& op : ops) {
      LK_ASSERT(live_.families.Has(std::visit([](const auto& one) { return one.family; }, op)));
      Apply(op, live_);
    }
  }
  return durability == Durability::kDurable ? Sync() : Result<void>{};
}

Result<void> MemoryRows::Sync() {
  for (const Batch& batch : pending_) {
    for (const RowOp& op : batch) {
      Apply(op, durable_);
    }
  }
  pending_.clear();
  return {};
}

std::unique_ptr<RowReader> MemoryRows::Snapshot() const {
  const Hold hold(busy_);
  return std::make_unique<MemorySnapshot>(live_);
}

// Rows that were written to a family before it was made anew are not those of the new one: what is
// not durable is made so, as an engine does that keeps one log.
Result<void> MemoryRows::SetFamilies(FamilySet families) {
  LK_CHECK(Sync());
  const Hold hold(busy_);
  for (Tables* tables : {&live_, &durable_}) {
    for (const Family family : kFamilies) {
      if (!families.Has(family)) {
        tables->rows.at(static_cast<size_t>(family)).clear();
      }
    }
    tables->families = families;
  }
  return {};
}

FamilySize MemoryRows::SizeOf(Family family) const {
  const Hold hold(busy_);
  FamilySize size;
  for (const auto& [key, value] : live_.rows.at(static_cast<size_t>(family))) {
    ++size.rows;
    size.bytes += key.size() + value.size();
  }
  return size;
}

void MemoryRows::Crash(size_t kept) {
  const Hold hold(busy_);
  for (size_t i = 0; i < kept && i < pending_.size(); ++i) {
    for (const RowOp& op : pending_[i]) {
      Apply(op, durable_);
    }
  }
  pending_.clear();
  live_ = durable_;
}

}  // namespace latchkey::storage
