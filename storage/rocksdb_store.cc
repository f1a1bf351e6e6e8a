// The door to RocksDB. Options follow measurements for a small machine: one shared 32 MB cache that
// also holds the memtables, logs bounded to 64 MB, two background jobs. Recovery takes every whole
// record of the log and drops a torn tail (kPointInTimeRecovery), and writes what it took into
// tables: what a process that was killed, or a sync that failed, left unsynced in the log is read
// there, and a later sync of the log need not bring it to the disk.
#include "storage/rocksdb_store.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_buffer_manager.h>
#include <sys/statvfs.h>

#include "storage/rocksdb_batch.h"
#include "storage/rocksdb_figures.h"
#include "storage/rocksdb_files.h"
#include "storage/rocksdb_log.h"

namespace latchkey::storage {

namespace {

constexpr std::string_view kVersionKey = "schema_version";
// By Kind, then meta.
constexpr std::array<const char*, kKinds.size() + 1> kFamilies = {
    "state", "ring", "presence", "command", "block", "log", "wake", "history", "session", "meta"};
constexpr size_t kMeta = kKinds.size();
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
  options.max_bgerror_resume_count = 0;  // see Recover
  return options;
}

std::string Newer(const std::string& path, const std::string& what) {
  return "the store in " + path + " was written by newer software (" + what +
         "); this software reads schema version " + std::to_string(kSchemaVersion) +
         ": start the newer one, or restore a backup made by this one";
}

// What a store that is there says of its schema, without changing a byte of it.
Result<void> CheckSchema(const std::string& path) {
  std::vector<std::string> names;
  rocksdb::DBOptions options;
  options.info_log = MakeRocksDbLog(path);
  if (!rocksdb::DB::ListColumnFamilies(options, path, &names).ok()) {
    return {};  // none there; what else is wrong, opening it says
  }
  for (const std::string& name : names) {
    if (name != rocksdb::kDefaultColumnFamilyName &&
        std::find(kFamilies.begin(), kFamilies.end(), name) == kFamilies.end()) {
      return Unavailable(Newer(path, "it has a family '" + name + "'"));
    }
  }
  if (std::find(names.begin(), names.end(), kFamilies[kMeta]) == names.end()) {
    return {};  // a first start that did not finish
  }
  const std::vector<rocksdb::ColumnFamilyDescriptor> families = {
      {rocksdb::kDefaultColumnFamilyName, {}}, {kFamilies[kMeta], {}}};
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  rocksdb::Status status = rocksdb::DB::OpenForReadOnly(options, path, families, &handles, &raw);
  if (!status.ok()) {
    return Unavailable("the store in " + path + " does not open: " + status.ToString());
  }
  const std::unique_ptr<rocksdb::DB> database(raw);
  std::string text;
  status = database->Get({}, handles[1], kVersionKey, &text);
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    database->DestroyColumnFamilyHandle(handle);
  }
  if (status.IsNotFound()) {
    return {};
  }
  uint32_t version = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), version);
  if (!status.ok() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
    return Unavailable("the schema version of the store in " + path +
                       " cannot be read: restore a backup, or move the folder away and start anew");
  }
  if (version > kSchemaVersion) {
    return Unavailable(Newer(path, "schema version " + text));
  }
  return {};
}

// A database that is open, until the last who reads it is done.
struct Opened {
  Opened() = default;
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

  ~Opened() {
    if (database == nullptr) {
      return;
    }
    for (rocksdb::ColumnFamilyHandle* family : families) {
      static_cast<void>(database->DestroyColumnFamilyHandle(family));
    }
    static_cast<void>(database->Close());
  }

  rocksdb::ColumnFamilyHandle* Family(Kind kind) const {
    return families.at(static_cast<size_t>(kind));
  }

  std::unique_ptr<rocksdb::DB> database;
  std::vector<rocksdb::ColumnFamilyHandle*> families;  // by Kind, then meta, then default
};

// Of a store that could not be opened again.
class NoReader final : public Reader {
 public:
  explicit NoReader(const std::string& path)
      : why_(Fail(
            v1::REASON_STORE_UNAVAILABLE,
            "the store " + path +
                " failed and is being opened again: look at the disk; it goes on by itself")) {}

  Result<void> Scan(
      Kind /*kind*/, const std::optional<CarRef>& /*ref*/,
      const std::function<void(const Record&)>& /*visit*/,
      const std::function<void(std::string_view, const Error&)>& /*damaged*/) const override {
    return why_;
  }

  Result<void> ScanLog(
      uint64_t /*from*/, const std::function<bool(const LogRecord&)>& /*visit*/,
      const std::function<void(std::string_view, const Error&)>& /*damaged*/) const override {
    return why_;
  }

  Result<std::optional<LogRecord>> LastLog(
      uint64_t /*through*/,
      const std::function<void(std::string_view, const Error&)>& /*damaged*/) const override {
    return why_;
  }

 private:
  tl::unexpected<Error> why_;
};

class RocksDbReader final : public Reader {
 public:
  explicit RocksDbReader(std::shared_ptr<const Opened> opened)
      : opened_(std::move(opened)),
        database_(*opened_->database),
        families_(opened_->families),
        snapshot_(database_.GetSnapshot()) {}

  ~RocksDbReader() override { database_.ReleaseSnapshot(snapshot_); }

  RocksDbReader(const RocksDbReader&) = delete;
  RocksDbReader& operator=(const RocksDbReader&) = delete;

  Result<void> Scan(
      Kind kind, const std::optional<CarRef>& ref, const std::function<void(const Record&)>& visit,
      const std::function<void(std::string_view, const Error&)>& damaged) const override {
    std::string begin;
    std::string end;
    rocksdb::Slice end_slice;
    rocksdb::ReadOptions options;
    options.snapshot = snapshot_;
    options.fill_cache = ref.has_value();
    if (ref) {
      begin = KeyPrefix(*ref);
      end = AfterPrefix(begin);
      end_slice = end;
      options.iterate_upper_bound = &end_slice;
    }
    const std::unique_ptr<rocksdb::Iterator> at(
        database_.NewIterator(options, families_.at(static_cast<size_t>(kind))));
    for (at->Seek(begin); at->Valid(); at->Next()) {
      const std::string_view key = at->key().ToStringView();
      const Result<Record> record = Decode(kind, key, at->value().ToStringView());
      if (record) {
        visit(*record);
      } else {
        damaged(key, record.error());
      }
    }
    return Whole(*at);
  }

  Result<void> ScanLog(
      uint64_t from, const std::function<bool(const LogRecord&)>& visit,
      const std::function<void(std::string_view, const Error&)>& damaged) const override {
    const std::unique_ptr<rocksdb::Iterator> at = Log();
    for (at->Seek(from == 0 ? std::string() : LogKey(from)); at->Valid(); at->Next()) {
      const std::string_view key = at->key().ToStringView();
      const Result<Record> record = Decode(Kind::kLog, key, at->value().ToStringView());
      if (!record) {
        damaged(key, record.error());
      } else if (!visit(std::get<LogRecord>(*record))) {
        break;
      }
    }
    return Whole(*at);
  }

  Result<std::optional<LogRecord>> LastLog(
      uint64_t through,
      const std::function<void(std::string_view, const Error&)>& damaged) const override {
    const std::unique_ptr<rocksdb::Iterator> at = Log();
    for (at->SeekForPrev(through == 0 ? std::string() : LogKey(through)); at->Valid(); at->Prev()) {
      const std::string_view key = at->key().ToStringView();
      const Result<Record> record = Decode(Kind::kLog, key, at->value().ToStringView());
      if (record) {
        return std::get<LogRecord>(*record);
      }
      damaged(key, record.error());
    }
    LK_CHECK(Whole(*at));
    return std::nullopt;
  }

 private:
  std::unique_ptr<rocksdb::Iterator> Log() const {
    rocksdb::ReadOptions options;
    options.snapshot = snapshot_;
    options.fill_cache = false;
    return std::unique_ptr<rocksdb::Iterator>(
        database_.NewIterator(options, families_.at(static_cast<size_t>(Kind::kLog))));
  }

  // An iterator that ends because a file cannot be read does not end quietly.
  static Result<void> Whole(const rocksdb::Iterator& at) {
    if (!at.status().ok()) {
      return Unavailable("reading the store failed: " + at.status().ToString());
    }
    return {};
  }

  const std::shared_ptr<const Opened> opened_;
  rocksdb::DB& database_;
  const std::vector<rocksdb::ColumnFamilyHandle*>& families_;
  const rocksdb::Snapshot* snapshot_;
};

uint64_t FreeBytesAt(const std::string& path) {
  struct statvfs facts = {};
  if (statvfs(path.c_str(), &facts) != 0) {
    return 0;
  }
  return uint64_t{facts.f_bavail} * facts.f_frsize;
}

}  // namespace

struct RocksDbStore::Impl {
  RocksDbOptions options;
  std::string path;
  // The runner's thread alone changes it, under the mutex. Null: it could not be opened again.
  std::shared_ptr<Opened> opened;
  mutable std::mutex mutex;
  bool failed = false;  // the last write failed

  ~Impl();
  Result<void> OpenDatabase();
  Result<void> Recover();
  Result<void> CheckRoom() const;

  std::shared_ptr<const Opened> Share() const {
    const std::scoped_lock lock(mutex);
    return opened;
  }
};

RocksDbStore::Impl::~Impl() {
  if (opened != nullptr && !failed) {
    static_cast<void>(opened->database->SyncWAL());
  }
}

Result<void> RocksDbStore::Impl::OpenDatabase() {
  const auto cache = rocksdb::NewLRUCache(kCacheBytes);
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const char* name : kFamilies) {
    descriptors.emplace_back(name, FamilyOptions(cache));
  }
  descriptors.emplace_back(rocksdb::kDefaultColumnFamilyName, FamilyOptions(cache));
  auto fresh = std::make_shared<Opened>();
  rocksdb::DB* raw = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(DatabaseOptions(cache, MakeRocksDbLog(path)), path,
                                             descriptors, &fresh->families, &raw);
  if (!status.ok()) {
    return Unavailable("the store in " + path + " does not open: " + status.ToString() +
                       (status.IsIOError() ? " (is another bridge using it, or the disk full?)"
                                           : " (restore a backup, or move the folder away)"));
  }
  fresh->database.reset(raw);
  std::string text;
  status = raw->Get({}, fresh->families[kMeta], kVersionKey, &text);
  if (status.IsNotFound()) {
    rocksdb::WriteOptions durable;
    durable.sync = true;
    status = raw->Put(durable, fresh->families[kMeta], kVersionKey, std::to_string(kSchemaVersion));
  }
  if (!status.ok()) {
    return Unavailable("the schema version of the store in " + path +
                       " cannot be kept: " + status.ToString());
  }
  const std::scoped_lock lock(mutex);
  opened = std::move(fresh);
  return {};
}

// After a write that failed the store is opened again, so that what its log holds is read anew and
// is one thing or the other. To tell RocksDB to go on instead would abort the process in Debian's
// build: it syncs the log that has failed.
Result<void> RocksDbStore::Impl::Recover() {
  {
    const std::scoped_lock lock(mutex);
    if (opened.use_count() > 1) {
      return Unavailable("the store " + path +
                         " failed and is still being read: it is opened again after that");
    }
    opened.reset();
  }
  LK_CHECK(CheckFiles(path));
  return OpenDatabase();
}

Result<void> RocksDbStore::Impl::CheckRoom() const {
  const uint64_t free = options.free_bytes ? options.free_bytes() : FreeBytesAt(path);
  if (free < options.free_bytes_min) {
    return Unavailable("only " + std::to_string(free >> 20) + " MB are free where the store " +
                       path + " is, " + std::to_string(options.free_bytes_min >> 20) +
                       " MB are needed: make room, writing goes on by itself");
  }
  return {};
}

RocksDbStore::RocksDbStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

RocksDbStore::~RocksDbStore() = default;

Result<std::unique_ptr<RocksDbStore>> RocksDbStore::Open(const RocksDbOptions& options) {
  namespace fs = std::filesystem;
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->path = options.path.string();
  std::error_code error;
  fs::create_directories(options.path, error);
  if (!error) {
    fs::permissions(options.path, fs::perms::owner_all, error);
  }
  if (error) {
    return Unavailable("the folder " + impl->path +
                       " for the store cannot be made private to this user: " + error.message());
  }
  // Opening writes a little; on a disk that is full it would abort.
  LK_CHECK(impl->CheckRoom());
  LK_CHECK(CheckFiles(impl->path));
  LK_CHECK(CheckSchema(impl->path));
  LK_CHECK(impl->OpenDatabase());
  return std::unique_ptr<RocksDbStore>(new RocksDbStore(std::move(impl)));
}

Result<void> RocksDbStore::Commit(std::span<const Change> changes, Durability durability) {
  LK_CHECK(impl_->CheckRoom());
  if (impl_->failed) {
    LK_CHECK(impl_->Recover());
  }
  const Opened& opened = *impl_->opened;
  RocksDbBatch batch(*opened.database, [&](Kind kind) { return opened.Family(kind); });
  for (const Change& change : changes) {
    const rocksdb::Status status = batch.Add(change);
    if (!status.ok()) {
      return Unavailable("a batch could not be put together: " + status.ToString());
    }
  }
  rocksdb::WriteOptions options;
  options.sync = durability == Durability::kDurable;
  const rocksdb::Status status = opened.database->Write(options, &batch.batch());
  impl_->failed = !status.ok();
  if (!status.ok()) {
    return Unavailable("writing to the store " + impl_->path + " failed: " + status.ToString() +
                       ": look at the disk; the write is tried again");
  }
  return {};
}

Result<void> RocksDbStore::Sync() {
  if (impl_->failed) {
    LK_CHECK(impl_->Recover());
  }
  const rocksdb::Status status = impl_->opened->database->FlushWAL(true);
  if (!status.ok()) {
    impl_->failed = true;
    return Unavailable("syncing the store " + impl_->path + " failed: " + status.ToString() +
                       ": look at the disk");
  }
  return {};
}

Result<void> RocksDbStore::Scrub() const {
  const std::shared_ptr<const Opened> opened = impl_->Share();
  if (opened == nullptr) {
    return Unavailable("the store is being opened again");
  }
  uint64_t bytes = impl_->options.free_bytes_min;
  for (rocksdb::ColumnFamilyHandle* family : opened->families) {
    uint64_t of_family = 0;
    opened->database->GetIntProperty(family, "rocksdb.total-sst-files-size", &of_family);
    bytes += of_family;
  }
  if (FreeBytesAt(impl_->path) < bytes) {
    return Unavailable("rewriting the store " + impl_->path + " needs " +
                       std::to_string(bytes >> 20) + " MB free: make room and try again");
  }
  // What was written last goes into tables, too, and its log is deleted.
  rocksdb::Status status = opened->database->Flush(rocksdb::FlushOptions(), opened->families);
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  for (size_t i = 0; status.ok() && i < opened->families.size(); ++i) {
    status = opened->database->CompactRange(options, opened->families[i], nullptr, nullptr);
  }
  if (!status.ok()) {
    return Unavailable("rewriting the store " + impl_->path + " failed: " + status.ToString());
  }
  return {};
}

RocksDbFigures RocksDbStore::Figures() const {
  const std::shared_ptr<const Opened> opened = impl_->Share();
  return opened == nullptr ? RocksDbFigures{} : FiguresOf(*opened->database, opened->families);
}

Result<void> RocksDbStore::With(
    const std::function<Result<void>(rocksdb::DB& database)>& use) const {
  const std::shared_ptr<const Opened> opened = impl_->Share();
  return opened == nullptr ? Unavailable("the store is being opened again: try again")
                           : use(*opened->database);
}

std::unique_ptr<Reader> RocksDbStore::Snapshot() const {
  std::shared_ptr<const Opened> opened = impl_->Share();
  if (opened == nullptr) {
    return std::make_unique<NoReader>(impl_->path);
  }
  return std::make_unique<RocksDbReader>(std::move(opened));
}

}  // namespace latchkey::storage
