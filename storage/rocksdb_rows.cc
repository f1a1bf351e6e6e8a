// The door to RocksDB. Options follow measurements for a small machine: one shared 32 MB cache that
// also holds the memtables, logs bounded to 64 MB, two background jobs. Recovery takes every whole
// record of the log and drops a torn tail (kPointInTimeRecovery), and writes what it took into
// tables: what a process that was killed, or a sync that failed, left unsynced in the log is read
// there, and a later sync of the log need not bring it to the disk.
#include "storage/rocksdb_rows.h"

#include <algorithm>
#include <utility>

#include <rocksdb/cache.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>
#include <sys/statvfs.h>

#include "storage/rocksdb_files.h"
#include "storage/rocksdb_log.h"
#include "storage/rocksdb_schema.h"

namespace latchkey::storage {

namespace {

constexpr size_t kCacheBytes = size_t{32} << 20;
constexpr size_t kMemtableBytesMax = size_t{64} << 20;
constexpr size_t kMemtableBytes = size_t{8} << 20;
constexpr uint64_t kLogBytesMax = uint64_t{64} << 20;
constexpr int kOpenFilesMax = 256;

tl::unexpected<Error> Unavailable(std::string text) {
  return Fail(v1::REASON_STORE_UNAVAILABLE, std::move(text));
}

rocksdb::ColumnFamilyOptions FamilyOptions(const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.format_version = 5;
  rocksdb::ColumnFamilyOptions options;
  options.write_buffer_size = kMemtableBytes;
  options.compression = rocksdb::kLZ4Compression;
  options.bottommost_compression = rocksdb::kZSTD;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

rocksdb::DBOptions DatabaseOptions(const std::shared_ptr<rocksdb::Cache>& cache,
                                   const std::shared_ptr<rocksdb::Logger>& log) {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.paranoid_checks = true;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.max_open_files = kOpenFilesMax;
  options.max_total_wal_size = kLogBytesMax;
  options.max_background_jobs = 2;
  options.bytes_per_sync = uint64_t{1} << 20;
  options.wal_bytes_per_sync = uint64_t{1} << 20;
  options.write_buffer_manager =
      std::make_shared<rocksdb::WriteBufferManager>(kMemtableBytesMax, cache);
  options.info_log = log;
  options.max_bgerror_resume_count = 0;  // see Heal
  return options;
}

std::string Name(Family family) {
  return std::string(FamilyName(family));
}

uint64_t FreeBytesAt(const std::string& path) {
  struct statvfs facts = {};
  if (statvfs(path.c_str(), &facts) != 0) {
    return 0;
  }
  return uint64_t{facts.f_bavail} * facts.f_frsize;
}

// An iterator that ends because a file cannot be read does not end quietly.
tl::unexpected<Error> NotRead(const rocksdb::Status& status) {
  return Unavailable("reading the store failed: " + status.ToString());
}

Result<std::optional<std::string>> GetOf(const RocksDbGrip& grip, Family family,
                                         std::string_view key,
                                         const rocksdb::ReadOptions& options) {
  LK_ASSERT(grip.tables->Of(family) != nullptr);
  std::string value;
  const rocksdb::Status status =
      grip.database->Get(options, grip.tables->Of(family), rocksdb::Slice(key), &value);
  if (status.IsNotFound()) {
    return std::nullopt;
  }
  return status.ok() ? Result<std::optional<std::string>>(std::move(value)) : NotRead(status);
}

class RocksDbCursor final : public RowCursor {
 public:
  enum class Way : uint8_t { kForward, kBack };

  // Forward from `begin` up to but without `end`, or back from `begin`.
  RocksDbCursor(const RocksDbGrip& grip, Family family, rocksdb::ReadOptions options,
                std::string_view begin, std::string_view end, Way way)
      : end_(end), end_slice_(end_), way_(way) {
    LK_ASSERT(grip.tables->Of(family) != nullptr);
    // What goes through everything would push what is needed out of the cache.
    options.fill_cache = !end.empty();
    options.iterate_upper_bound = end.empty() ? nullptr : &end_slice_;
    at_.reset(grip.database->NewIterator(options, grip.tables->Of(family)));
    if (way_ == Way::kForward) {
      at_->Seek(rocksdb::Slice(begin));
    } else {
      at_->SeekForPrev(rocksdb::Slice(begin));
    }
  }

  bool valid() const override { return at_->Valid(); }

  std::string_view key() const override { return at_->key().ToStringView(); }

  std::string_view value() const override { return at_->value().ToStringView(); }

  void Next() override {
    if (way_ == Way::kForward) {
      at_->Next();
    } else {
      at_->Prev();
    }
  }

  Result<void> status() const override {
    return at_->status().ok() ? Result<void>() : NotRead(at_->status());
  }

 private:
  const std::string end_;
  const rocksdb::Slice end_slice_;
  const Way way_;
  std::unique_ptr<rocksdb::Iterator> at_;
};

class RocksDbSnapshot final : public RowReader {
 public:
  explicit RocksDbSnapshot(RocksDbGrip grip) : grip_(std::move(grip)) {
    options_.snapshot = grip_.database->GetSnapshot();
  }

  ~RocksDbSnapshot() override { grip_.database->ReleaseSnapshot(options_.snapshot); }

  RocksDbSnapshot(const RocksDbSnapshot&) = delete;
  RocksDbSnapshot& operator=(const RocksDbSnapshot&) = delete;

  Result<std::optional<std::string>> Get(Family family, std::string_view key) const override {
    return GetOf(grip_, family, key, options_);
  }

  std::unique_ptr<RowCursor> Rows(Family family, std::string_view begin,
                                  std::string_view end) const override {
    return std::make_unique<RocksDbCursor>(grip_, family, options_, begin, end,
                                           RocksDbCursor::Way::kForward);
  }

  std::unique_ptr<RowCursor> RowsBack(Family family, std::string_view through) const override {
    return std::make_unique<RocksDbCursor>(grip_, family, options_, through, "",
                                           RocksDbCursor::Way::kBack);
  }

 private:
  const RocksDbGrip grip_;
  rocksdb::ReadOptions options_;
};

// Of a store that could not be opened again.
class NoRows final : public RowReader {
 public:
  explicit NoRows(const std::string& path)
      : why_(Unavailable("the store " + path +
                         " failed and is being opened again: look at the disk; it goes on by "
                         "itself")) {}

  Result<std::optional<std::string>> Get(Family /*family*/,
                                         std::string_view /*key*/) const override {
    return why_;
  }

  std::unique_ptr<RowCursor> Rows(Family /*family*/, std::string_view /*begin*/,
                                  std::string_view /*end*/) const override {
    return std::make_unique<Nowhere>(why_);
  }

  std::unique_ptr<RowCursor> RowsBack(Family /*family*/,
                                      std::string_view /*through*/) const override {
    return std::make_unique<Nowhere>(why_);
  }

 private:
  class Nowhere final : public RowCursor {
   public:
    explicit Nowhere(tl::unexpected<Error> why) : why_(std::move(why)) {}

    bool valid() const override { return false; }

    std::string_view key() const override { return {}; }

    std::string_view value() const override { return {}; }

    void Next() override {}

    Result<void> status() const override { return why_; }

   private:
    const tl::unexpected<Error> why_;
  };

  const tl::unexpected<Error> why_;
};

}  // namespace

std::vector<rocksdb::ColumnFamilyHandle*> RocksDbTables::All() const {
  std::vector<rocksdb::ColumnFamilyHandle*> all;
  for (const Handle& handle : by_family) {
    if (handle != nullptr) {
      all.push_back(handle.get());
    }
  }
  all.push_back(unnamed.get());
  return all;
}

RocksDbRows::RocksDbRows(std::string path, uint64_t free_bytes_min,
                         std::function<uint64_t()> free_bytes)
    : path_(std::move(path)), free_bytes_min_(free_bytes_min), free_bytes_(std::move(free_bytes)) {}

RocksDbRows::~RocksDbRows() {
  if (grip_.database != nullptr && !failed_) {
    static_cast<void>(grip_.database->SyncWAL());
  }
}

void RocksDbRows::Keep(std::shared_ptr<rocksdb::DB> database,
                       std::shared_ptr<const RocksDbTables> tables) {
  const std::scoped_lock lock(mutex_);
  grip_.tables = std::move(tables);
  grip_.database = std::move(database);
}

RocksDbGrip RocksDbRows::Share() const {
  const std::scoped_lock lock(mutex_);
  return grip_;
}

Result<void> RocksDbRows::Open() {
  cache_ = rocksdb::NewLRUCache(kCacheBytes);
  std::vector<std::string> names = RocksDbFamilyNames(path_);
  for (const std::string& needed : {rocksdb::kDefaultColumnFamilyName, Name(Family::kMeta)}) {
    if (std::find(names.begin(), names.end(), needed) == names.end()) {
      names.push_back(needed);
    }
  }
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : names) {
    descriptors.emplace_back(name, FamilyOptions(cache_));
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(DatabaseOptions(cache_, MakeRocksDbLog(path_)),
                                                   path_, descriptors, &handles, &raw);
  if (!status.ok()) {
    return Unavailable("the store in " + path_ + " does not open: " + status.ToString() +
                       (status.IsIOError() ? " (is another bridge using it, or the disk full?)"
                                           : " (restore a backup, or move the folder away)"));
  }
  // The database is closed when the last who reads it is done.
  std::shared_ptr<rocksdb::DB> database(raw, [](rocksdb::DB* closed) {
    static_cast<void>(closed->Close());
    delete closed;
  });
  auto tables = std::make_shared<RocksDbTables>();
  bool unknown = false;
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    RocksDbTables::Handle owned(handle, [raw](rocksdb::ColumnFamilyHandle* done) {
      static_cast<void>(raw->DestroyColumnFamilyHandle(done));
    });
    const std::optional<Family> family = FamilyOfName(handle->GetName());
    const bool is_unnamed = handle->GetName() == rocksdb::kDefaultColumnFamilyName;
    unknown = unknown || (!family && !is_unnamed);
    if (family) {
      tables->by_family.at(static_cast<size_t>(*family)) = std::move(owned);
    } else if (is_unnamed) {
      tables->unnamed = std::move(owned);
    }
  }
  if (unknown) {
    tables.reset();
    return Unavailable("the store in " + path_ + " has a family this software does not know");
  }
  Keep(std::move(database), std::move(tables));
  return {};
}

Result<std::optional<std::string>> RocksDbRows::Get(Family family, std::string_view key) const {
  return GetOf(grip_, family, key, rocksdb::ReadOptions());
}

std::unique_ptr<RowCursor> RocksDbRows::Rows(Family family, std::string_view begin,
                                             std::string_view end) const {
  return std::make_unique<RocksDbCursor>(grip_, family, rocksdb::ReadOptions(), begin, end,
                                         RocksDbCursor::Way::kForward);
}

std::unique_ptr<RowCursor> RocksDbRows::RowsBack(Family family, std::string_view through) const {
  return std::make_unique<RocksDbCursor>(grip_, family, rocksdb::ReadOptions(), through, "",
                                         RocksDbCursor::Way::kBack);
}

// After a write that failed the store is opened again, so that what its log holds is read anew and
// is one thing or the other. To tell RocksDB to go on instead would abort the process in Debian's
// build: it syncs the log that has failed.
Result<bool> RocksDbRows::Heal() {
  if (!failed_) {
    return false;
  }
  // Opening writes a little; on a disk that is full it would abort.
  LK_CHECK(CheckRoom(room(), "the store " + path_));
  {
    const std::scoped_lock lock(mutex_);
    if (grip_.database.use_count() > 1) {
      return Unavailable("the store " + path_ +
                         " failed and is still being read: it is opened again after that");
    }
    grip_.tables.reset();
    grip_.database.reset();
  }
  LK_CHECK(CheckFiles(path_));
  LK_CHECK(Open());
  failed_ = false;
  return true;
}

Result<void> RocksDbRows::Write(std::span<const RowOp> ops, Durability durability) {
  rocksdb::WriteBatch batch;
  rocksdb::Status status;
  for (const RowOp& op : ops) {
    rocksdb::ColumnFamilyHandle* family =
        grip_.tables->Of(std::visit([](const auto& one) { return one.family; }, op));
    LK_ASSERT(family != nullptr);
    if (const auto* put = std::get_if<PutRow>(&op)) {
      status = batch.Put(family, put->key, put->value);
    } else if (const auto* one = std::get_if<DeleteRow>(&op)) {
      status = batch.Delete(family, one->key);
    } else {
      const auto& range = std::get<DeleteRows>(op);
      status = batch.DeleteRange(family, range.begin, range.end);
    }
    if (!status.ok()) {
      return Unavailable("a batch could not be put together: " + status.ToString());
    }
  }
  rocksdb::WriteOptions options;
  options.sync = durability == Durability::kDurable;
  status = grip_.database->Write(options, &batch);
  failed_ = !status.ok();
  if (!status.ok()) {
    return Unavailable("writing to the store " + path_ + " failed: " + status.ToString() +
                       ": look at the disk; the write is tried again");
  }
  return {};
}

Result<void> RocksDbRows::Sync() {
  const rocksdb::Status status = grip_.database->FlushWAL(true);
  if (!status.ok()) {
    failed_ = true;
    return Unavailable("syncing the store " + path_ + " failed: " + status.ToString() +
                       ": look at the disk");
  }
  return {};
}

std::unique_ptr<RowReader> RocksDbRows::Snapshot() const {
  // Under the lock, so that the families are those of its moment or more.
  const std::scoped_lock lock(mutex_);
  if (grip_.database == nullptr) {
    return std::make_unique<NoRows>(path_);
  }
  return std::make_unique<RocksDbSnapshot>(grip_);
}

FamilySet RocksDbRows::families() const {
  FamilySet set;
  for (const Family family : kFamilies) {
    if (grip_.tables != nullptr && grip_.tables->Of(family) != nullptr) {
      set = set.With({family});
    }
  }
  return set;
}

Result<void> RocksDbRows::SetFamilies(FamilySet families) {
  if (families == this->families()) {
    return {};
  }
  auto tables = std::make_shared<RocksDbTables>(*grip_.tables);
  rocksdb::DB* database = grip_.database.get();
  rocksdb::Status status;
  for (const Family family : kFamilies) {
    RocksDbTables::Handle& handle = tables->by_family.at(static_cast<size_t>(family));
    if (status.ok() && handle != nullptr && !families.Has(family)) {
      status = database->DropColumnFamily(handle.get());
      handle.reset();
    } else if (status.ok() && handle == nullptr && families.Has(family)) {
      rocksdb::ColumnFamilyHandle* made = nullptr;
      status = database->CreateColumnFamily(FamilyOptions(cache_), Name(family), &made);
      if (status.ok()) {
        handle.reset(made, [database](rocksdb::ColumnFamilyHandle* done) {
          static_cast<void>(database->DestroyColumnFamilyHandle(done));
        });
      }
    }
  }
  if (!status.ok()) {
    failed_ = true;
    return Unavailable("the families of the store " + path_ +
                       " could not be changed: " + status.ToString() + ": look at the disk");
  }
  const std::scoped_lock lock(mutex_);
  grip_.tables = std::move(tables);
  return {};
}

FamilySize RocksDbRows::SizeOf(Family family) const {
  const RocksDbGrip grip = Share();
  FamilySize size;
  if (grip.database == nullptr || grip.tables->Of(family) == nullptr) {
    return size;
  }
  const auto ask = [&](const std::string& property) {
    uint64_t value = 0;
    return grip.database->GetIntProperty(grip.tables->Of(family), property, &value) ? value
                                                                                    : uint64_t{0};
  };
  size.rows = ask(rocksdb::DB::Properties::kEstimateNumKeys);
  size.bytes = ask(rocksdb::DB::Properties::kTotalSstFilesSize) +
               ask(rocksdb::DB::Properties::kCurSizeAllMemTables);
  return size;
}

Room RocksDbRows::room() const {
  return {free_bytes_ ? free_bytes_() : FreeBytesAt(path_), free_bytes_min_};
}

}  // namespace latchkey::storage
