// See store.h.
#include "tests/sim/store.h"

#include <algorithm>
#include <iterator>
#include <type_traits>
#include <utility>
#include <variant>

#include "storage/shape.h"

namespace latchkey::sim {

using storage::Change;
using storage::Kind;

namespace {

constexpr uint64_t kLogCheckedOnceIn = 16;  // reads

std::string CarKey(const CarRef& ref) {
  return ref.fleet.str() + "/" + ref.car.str() + "/";
}

std::string CommandText(const CarRef& ref, const CommandId& id) {
  return CarKey(ref) + id.ToBytes();
}

std::string BlockText(const BlockScope& scope) {
  return scope.key.str() + "/" + scope.fleet.str() + "/" + scope.car.str();
}

// Times as LogKey writes numbers: in their order.
std::string HistoryText(const CarRef& ref, Group group, Timestamp begins_at) {
  return CarKey(ref) + std::string(ToText(group)) + "/" +
         storage::LogKey(static_cast<uint64_t>(begins_at.ms) + 1);
}

std::string SessionText(const CarRef& ref, Timestamp began_at) {
  return CarKey(ref) + storage::LogKey(static_cast<uint64_t>(began_at.ms) + 1);
}

tl::unexpected<Error> Unavailable(const char* why) {
  return Fail(v1::REASON_STORE_UNAVAILABLE, why);
}

// What becomes of a change in a family.
struct Place {
  std::string operator()(const storage::StateRecord& one) const {
    return CarKey(one.ref) + std::string(ToText(one.group));
  }

  std::string operator()(const storage::RingRecord& one) const { return CarKey(one.ref); }

  std::string operator()(const storage::PresenceRecord& one) const { return CarKey(one.ref); }

  std::string operator()(const storage::WakeRecord& one) const { return CarKey(one.ref); }

  std::string operator()(const storage::CommandRecord& one) const {
    return CommandText(one.ref, one.id);
  }

  std::string operator()(const storage::BlockRecord& one) const {
    return BlockText(one.block.scope);
  }

  std::string operator()(const storage::LogRecord& one) const {
    return storage::LogKey(one.sequence);
  }

  std::string operator()(const storage::HistoryRecord& one) const {
    return HistoryText(one.ref, one.group, one.begins_at);
  }

  std::string operator()(const storage::SessionRecord& one) const {
    return SessionText(one.ref, one.began_at);
  }
};

template <class Record>
constexpr Kind KindOf() {
  if constexpr (std::is_same_v<Record, storage::StateRecord>) {
    return Kind::kState;
  } else if constexpr (std::is_same_v<Record, storage::RingRecord>) {
    return Kind::kRing;
  } else if constexpr (std::is_same_v<Record, storage::PresenceRecord>) {
    return Kind::kPresence;
  } else if constexpr (std::is_same_v<Record, storage::CommandRecord>) {
    return Kind::kCommand;
  } else if constexpr (std::is_same_v<Record, storage::BlockRecord>) {
    return Kind::kBlock;
  } else if constexpr (std::is_same_v<Record, storage::LogRecord>) {
    return Kind::kLog;
  } else if constexpr (std::is_same_v<Record, storage::HistoryRecord>) {
    return Kind::kHistory;
  } else if constexpr (std::is_same_v<Record, storage::SessionRecord>) {
    return Kind::kSession;
  } else {
    return Kind::kWake;
  }
}

// A record as its bytes say it: what the bridge loads has been written and
// read. Of the log, which is long, only the last is.
storage::Record AsRead(const storage::Record& record) {
  const storage::KeyValue bytes = storage::Encode(record);
  Result<storage::Record> read = storage::Decode(bytes.kind, bytes.key, bytes.value);
  LK_ASSERT(read.has_value());
  return std::move(*read);
}

}  // namespace

class SimReader final : public storage::Reader {
 public:
  explicit SimReader(const SimStore& store) : store_(store) {}

  Result<void> Scan(
      Kind kind, const std::optional<CarRef>& ref,
      const std::function<void(const storage::Record&)>& visit,
      const std::function<void(std::string_view key, const Error&)>& /*damaged*/) const override {
    LK_ASSERT(!ref);
    store_.awaits_.Pass();
    if (store_.disk == Disk::kUnreadable) {
      return Unavailable("cannot be read");
    }
    store_.CheckRows(kind);
    for (const auto& [key, record] : store_.Of(kind)) {
      visit(AsRead(record));
    }
    return {};
  }

  Result<void> ScanLog(
      uint64_t from, const std::function<bool(const storage::LogRecord&)>& visit,
      const std::function<void(std::string_view key, const Error&)>& /*damaged*/) const override {
    store_.awaits_.Pass();
    if (store_.disk == Disk::kUnreadable) {
      return Unavailable("cannot be read");
    }
    store_.CheckRows(Kind::kLog);
    const SimStore::Records& log = store_.Of(Kind::kLog);
    for (auto at = from == 0 ? log.begin() : log.lower_bound(storage::LogKey(from));
         at != log.end(); ++at) {
      if (!visit(std::get<storage::LogRecord>(at->second))) {
        break;
      }
    }
    return {};
  }

  Result<std::optional<storage::LogRecord>> LastLog(
      uint64_t through,
      const std::function<void(std::string_view key, const Error&)>& /*damaged*/) const override {
    store_.awaits_.Pass();
    if (store_.disk == Disk::kUnreadable) {
      return Unavailable("cannot be read");
    }
    const SimStore::Records& log = store_.Of(Kind::kLog);
    const auto after =
        through == storage::kWholeLog ? log.end() : log.upper_bound(storage::LogKey(through));
    if (after == log.begin()) {
      return std::nullopt;
    }
    return std::get<storage::LogRecord>(AsRead(std::prev(after)->second));
  }

 private:
  const SimStore& store_;
};

void SimStore::Put(Kind kind, const std::string& key, storage::Record record, Undo& undo) {
  const auto [at, added] = FamilyOf(kind).try_emplace(key);
  undo.push_back(
      {kind, key, added ? std::nullopt : std::optional<storage::Record>(std::move(at->second))});
  at->second = std::move(record);
}

void SimStore::Erase(Kind kind, const std::string& key, Undo& undo) {
  Records& family = FamilyOf(kind);
  const auto at = family.find(key);
  if (at != family.end()) {
    undo.push_back({kind, key, std::move(at->second)});
    family.erase(at);
  }
}

void SimStore::EraseRange(Kind kind, const std::string& begin, const std::string& end, Undo& undo) {
  const Records& family = FamilyOf(kind);
  for (auto at = family.lower_bound(begin); at != family.end() && at->first < end;
       at = family.lower_bound(begin)) {
    Erase(kind, std::string(at->first), undo);
  }
}

void SimStore::EraseCar(const CarRef& ref, Undo& undo) {
  const std::string begin = CarKey(ref);
  const std::string end = begin.substr(0, begin.size() - 1) + static_cast<char>('/' + 1);
  for (const Kind kind : storage::kKinds) {
    if (kind != Kind::kLog && kind != Kind::kBlock) {
      EraseRange(kind, begin, end, undo);
    }
  }
  std::vector<std::string> blocks;
  for (const auto& [key, record] : Of(Kind::kBlock)) {
    const BlockScope& scope = std::get<storage::BlockRecord>(record).block.scope;
    if (scope.fleet == ref.fleet && scope.car == ref.car) {
      blocks.push_back(key);
    }
  }
  for (const std::string& key : blocks) {
    Erase(Kind::kBlock, key, undo);
  }
}

void SimStore::Apply(const Batch& batch) {
  Undo undo;
  for (const Change& change : batch) {
    std::visit(
        [&](const auto& one) {
          using One = std::decay_t<decltype(one)>;
          if constexpr (std::is_same_v<One, storage::EraseCommand>) {
            Erase(Kind::kCommand, CommandText(one.ref, one.id), undo);
          } else if constexpr (std::is_same_v<One, storage::EraseBlock>) {
            Erase(Kind::kBlock, BlockText(one.scope), undo);
          } else if constexpr (std::is_same_v<One, storage::EraseLog>) {
            EraseRange(Kind::kLog, storage::LogKey(1), storage::LogKey(one.through + 1), undo);
          } else if constexpr (std::is_same_v<One, storage::EraseHistory>) {
            EraseRange(Kind::kHistory, HistoryText(one.ref, one.group, {0}),
                       HistoryText(one.ref, one.group, one.before), undo);
          } else if constexpr (std::is_same_v<One, storage::EraseSessions>) {
            EraseRange(Kind::kSession, SessionText(one.ref, {0}), SessionText(one.ref, one.before),
                       undo);
          } else if constexpr (std::is_same_v<One, storage::EraseCar>) {
            EraseCar(one.ref, undo);
          } else {
            Put(KindOf<One>(), Place{}(one), one, undo);
          }
        },
        change);
  }
  unsynced_.push_back(std::move(undo));
  if (rows_) {
    LK_ASSERT(rows_->Commit(batch, storage::Durability::kSoon));
    MigrateALittle();
    rows_unsynced_.push_back(rows_->pending());
  }
}

void SimStore::Synced() {
  unsynced_.clear();
  if (rows_) {
    LK_ASSERT(rows_->Sync());
    rows_unsynced_.clear();
    MigrateOnwards();
  }
}

void SimStore::MigrateAtRandom(uint64_t seed) {
  LK_ASSERT(!rows_ && unsynced_.empty());
  random_.seed(seed);
  rows_ = std::make_unique<storage::MemoryStore>(
      storage::MemoryOptions{1, storage::RealMigrations(), {}});
}

void SimStore::MigrateALittle() {
  if (random_() % 3 == 0) {
    LK_ASSERT(rows_->Sweep(random_() % 8 + 1, Timestamp{1}));
  }
}

// Orders are durable, so they are given when everything else is.
void SimStore::MigrateOnwards() {
  using storage::MigrationOrder;
  using storage::MigrationPhase;
  const storage::MigrationStatus status = rows_->Migration();
  const uint64_t chance = random_() % 100;
  const auto order = [this](MigrationOrder one) {
    LK_ASSERT(rows_->Migrate(one, Timestamp{1}));
    cut_overs_ += one == MigrationOrder::kCutOver ? 1 : 0;
  };
  switch (status.phase) {
    case MigrationPhase::kNone:
      if (status.schema < storage::kSchemaVersionMax && chance < 30) {
        order(MigrationOrder::kStart);
      }
      break;
    case MigrationPhase::kBackfill:
      if (chance < 20) {
        order(status.paused ? MigrationOrder::kResume : MigrationOrder::kPause);
      } else if (chance < 23) {
        order(MigrationOrder::kRollback);
      }
      break;
    case MigrationPhase::kFilled:
    case MigrationPhase::kDiffers:
    case MigrationPhase::kVerified:
      if (status.phase == MigrationPhase::kVerified && chance < 30) {
        order(chance < 25 ? MigrationOrder::kCutOver : MigrationOrder::kRollback);
      } else {
        const auto comparison = rows_->Compare([](uint64_t) { return true; });
        LK_ASSERT(comparison && comparison->differences == 0 && comparison->damaged == 0);
        LK_ASSERT(rows_->Compared(*comparison, Timestamp{1}));
      }
      break;
    case MigrationPhase::kCutOver:
      if (chance < 12) {
        order(chance == 0 ? MigrationOrder::kFinish : MigrationOrder::kRollback);
      }
      break;
  }
}

void SimStore::CheckRows(Kind kind) const {
  // The log is long and read often.
  if (!rows_ || (kind == Kind::kLog && ++log_reads_ % kLogCheckedOnceIn != 0)) {
    return;
  }
  size_t count = 0;
  const Result<void> read = rows_->Snapshot()->Scan(
      kind, std::nullopt,
      [&](const storage::Record& record) {
        const std::string key = std::visit(Place{}, record);
        const auto found = Of(kind).find(key);
        LK_ASSERT(found != Of(kind).end() && AsRead(found->second) == record);
        ++count;
      },
      [](std::string_view, const Error&) { LK_ASSERT(false); });
  LK_ASSERT(read && count == Of(kind).size());
}

Result<void> SimStore::Commit(std::span<const Change> changes, storage::Durability durability) {
  awaits_.Pass();
  const bool durable = durability == storage::Durability::kDurable;
  Batch batch(changes.begin(), changes.end());
  if (disk == Disk::kFull || disk == Disk::kUnreadable) {
    ++failures;
    return Unavailable("no space left on device");
  }
  if (disk == Disk::kNoSync && durable) {
    ++failures;
    if (!batch.empty()) {
      limbo_ = std::move(batch);
    }
    return Unavailable("fdatasync: input/output error");
  }
  if (limbo_) {
    // It writes again: what was left of the failed batch is there or not, for
    // good.
    if (limbo_stays()) {
      Apply(*limbo_);
    }
    limbo_.reset();
    recovered();
  }
  Apply(batch);
  if (durable) {
    Synced();
  }
  watch(changes, durable);
  awaits_.Pass();
  return {};
}

Result<void> SimStore::Sync() {
  awaits_.Pass();
  if (disk != Disk::kGood) {
    ++failures;
    return Unavailable("fdatasync: input/output error");
  }
  Synced();
  awaits_.Pass();
  return {};
}

bool SimStore::Open() {
  if (disk == Disk::kUnreadable || (disk != Disk::kGood && !unsynced_.empty())) {
    return false;
  }
  Synced();
  return true;
}

std::unique_ptr<storage::Reader> SimStore::Snapshot() const {
  return std::make_unique<SimReader>(*this);
}

void SimStore::Restart(std::optional<size_t> kept, bool limbo) {
  if (limbo_ && limbo && kept.value_or(unsynced_.size()) >= unsynced_.size()) {
    Apply(*limbo_);
    kept = kept ? std::optional<size_t>(unsynced_.size()) : std::nullopt;
  }
  limbo_.reset();
  if (!kept) {
    return;
  }
  if (rows_) {
    const size_t writes = std::min(*kept, rows_unsynced_.size());
    rows_->Crash(*kept >= rows_unsynced_.size() ? rows_->pending()
                 : writes == 0                  ? 0
                                                : rows_unsynced_[writes - 1]);
    rows_unsynced_.clear();
  }
  for (; unsynced_.size() > *kept; unsynced_.pop_back()) {
    Undo& undo = unsynced_.back();
    for (auto one = undo.rbegin(); one != undo.rend(); ++one) {
      if (one->before) {
        FamilyOf(one->kind).insert_or_assign(one->key, std::move(*one->before));
      } else {
        FamilyOf(one->kind).erase(one->key);
      }
    }
  }
  unsynced_.clear();
}

bool SimStore::OnDisk(const CarRef& ref, const CommandId& id) const {
  const std::string key = CommandText(ref, id);
  const auto touches = [&](const Undo& undo) {
    return std::any_of(undo.begin(), undo.end(), [&](const Replaced& one) {
      return one.kind == Kind::kCommand && one.key == key && !one.before;
    });
  };
  return Of(Kind::kCommand).count(key) > 0 &&
         std::none_of(unsynced_.begin(), unsynced_.end(), touches);
}

}  // namespace latchkey::sim
