// Two maps per kind of record: what is readable, and what would survive a loss of power.
#include "storage/memory_store.h"

#include <utility>

namespace latchkey::storage {

namespace {

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

class MemoryReader final : public Reader {
 public:
  explicit MemoryReader(MemoryStore::Families families) : families_(std::move(families)) {}

  Result<void> Scan(
      Kind kind, const std::optional<CarRef>& ref, const std::function<void(const Record&)>& visit,
      const std::function<void(std::string_view, const Error&)>& damaged) const override {
    const std::string prefix = ref ? KeyPrefix(*ref) : "";
    const MemoryStore::Family& family = families_.at(static_cast<size_t>(kind));
    for (auto it = family.lower_bound(prefix);
         it != family.end() && it->first.compare(0, prefix.size(), prefix) == 0; ++it) {
      const Result<Record> record = Decode(kind, it->first, it->second);
      if (record) {
        visit(*record);
      } else {
        damaged(it->first, record.error());
      }
    }
    return {};
  }

  Result<void> ScanLog(
      uint64_t from, const std::function<bool(const LogRecord&)>& visit,
      const std::function<void(std::string_view, const Error&)>& damaged) const override {
    const MemoryStore::Family& family = Log();
    for (auto it = from == 0 ? family.begin() : family.lower_bound(LogKey(from));
         it != family.end(); ++it) {
      const Result<Record> record = Decode(Kind::kLog, it->first, it->second);
      if (!record) {
        damaged(it->first, record.error());
      } else if (!visit(std::get<LogRecord>(*record))) {
        break;
      }
    }
    return {};
  }

  Result<std::optional<LogRecord>> LastLog(
      uint64_t through,
      const std::function<void(std::string_view, const Error&)>& damaged) const override {
    for (auto it = through == 0 ? Log().begin() : Log().upper_bound(LogKey(through));
         it != Log().begin();) {
      --it;
      const Result<Record> record = Decode(Kind::kLog, it->first, it->second);
      if (record) {
        return std::get<LogRecord>(*record);
      }
      damaged(it->first, record.error());
    }
    return std::nullopt;
  }

 private:
  const MemoryStore::Family& Log() const { return families_.at(static_cast<size_t>(Kind::kLog)); }

  MemoryStore::Families families_;
};

}  // namespace

void MemoryStore::Apply(const Put& put, Families& families) {
  Family& family = families.at(static_cast<size_t>(put.kind));
  if (put.value) {
    family.insert_or_assign(put.key, *put.value);
  } else if (put.end) {
    const auto begin = family.lower_bound(put.key);
    const auto end = family.lower_bound(*put.end);
    family.erase(begin, put.key < *put.end ? end : begin);
  } else {
    family.erase(put.key);
  }
}

void MemoryStore::Take(Put put) {
  pending_.push_back(std::move(put));
  Apply(pending_.back(), live_);
}

Result<void> MemoryStore::Commit(std::span<const Change> changes, Durability durability) {
  {
    const Hold hold(busy_);
    for (const Change& change : changes) {
      std::visit(
          [this](const auto& one) {
            using One = std::decay_t<decltype(one)>;
            if constexpr (std::is_same_v<One, EraseCommand>) {
              Take({Kind::kCommand, EncodeKey(one), std::nullopt, std::nullopt});
            } else if constexpr (std::is_same_v<One, EraseBlock>) {
              Take({Kind::kBlock, EncodeKey(one), std::nullopt, std::nullopt});
            } else if constexpr (kErasesRanges<One>) {
              for (KeyRange& range : RangesOf(one)) {
                Take({range.kind, std::move(range.begin), std::nullopt, std::move(range.end)});
              }
            } else {
              KeyValue bytes = Encode(one);
              Take({bytes.kind, std::move(bytes.key), std::move(bytes.value), std::nullopt});
            }
          },
          change);
    }
  }
  return durability == Durability::kDurable ? Sync() : Result<void>{};
}

Result<void> MemoryStore::Sync() {
  for (const Put& put : pending_) {
    Apply(put, durable_);
  }
  pending_.clear();
  return {};
}

std::unique_ptr<Reader> MemoryStore::Snapshot() const {
  const Hold hold(busy_);
  return std::make_unique<MemoryReader>(live_);
}

void MemoryStore::Crash() {
  const Hold hold(busy_);
  pending_.clear();
  live_ = durable_;
}

void MemoryStore::PutRaw(const KeyValue& raw) {
  const Hold hold(busy_);
  Take({raw.kind, raw.key, raw.value, std::nullopt});
}

}  // namespace latchkey::storage
