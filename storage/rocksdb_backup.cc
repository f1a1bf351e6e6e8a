// See rocksdb_backup.h. An engine is opened for each thing that is done: what it remembers of the
// folder may be old by the next.
#include "storage/rocksdb_backup.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <rocksdb/db.h>
#include <rocksdb/metadata.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/utilities/backup_engine.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace latchkey::storage {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kTellEveryBytes = uint64_t{4} << 20;
constexpr int64_t kRefillMicroseconds = 100'000;
constexpr int32_t kFairness = 10;

tl::unexpected<Error> Unavailable(std::string text) {
  return Fail(v1::REASON_STORE_UNAVAILABLE, std::move(text));
}

// Held until the end of its life, by whoever writes alone, by readers together.
class FolderLock {
 public:
  FolderLock(const fs::path& folder, int how) {
    const int flags = how == LOCK_EX ? O_RDWR | O_CREAT : O_RDONLY;
    number_ = ::open((folder / "LOCK").c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    busy_ = number_ >= 0 && ::flock(number_, how | LOCK_NB) != 0;
  }

  ~FolderLock() {
    if (number_ >= 0) {
      ::close(number_);
    }
  }

  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  bool made() const { return number_ >= 0; }

  bool busy() const { return busy_; }

 private:
  int number_ = -1;
  bool busy_ = false;
};

tl::unexpected<Error> Busy(const fs::path& folder) {
  return Unavailable("another process is at the backups in " + folder.string() +
                     ": wait for it and try again");
}

rocksdb::BackupEngineOptions OptionsOf(const fs::path& folder) {
  rocksdb::BackupEngineOptions options(folder.string());
  options.callback_trigger_interval_size = kTellEveryBytes;
  return options;
}

using ReadEngine = std::unique_ptr<rocksdb::BackupEngineReadOnly>;

Result<ReadEngine> OpenToRead(const fs::path& folder) {
  rocksdb::BackupEngineReadOnly* engine = nullptr;
  const rocksdb::Status status =
      rocksdb::BackupEngineReadOnly::Open(OptionsOf(folder), rocksdb::Env::Default(), &engine);
  if (!status.ok()) {
    return Unavailable("the backups in " + folder.string() +
                       " cannot be read: " + status.ToString());
  }
  return ReadEngine(engine);
}

uint64_t FreeBytesAt(const fs::path& folder) {
  struct statvfs facts = {};
  return statvfs(folder.c_str(), &facts) == 0 ? uint64_t{facts.f_bavail} * facts.f_frsize : 0;
}

Result<void> MakeFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error) {
    fs::permissions(folder, fs::perms::owner_all, error);
  }
  if (error) {
    return Unavailable("the folder " + folder.string() +
                       " for backups cannot be made private to this user: " + error.message());
  }
  return {};
}

// Is a table in the folder already? Its name there begins with its number and ends with its size.
bool IsThere(const std::vector<std::string>& shared, const rocksdb::LiveFileMetaData& table) {
  const std::string stem = fs::path(table.name).stem().string();
  const std::string end = "_" + std::to_string(table.size) + ".sst";
  return std::any_of(shared.begin(), shared.end(), [&](const std::string& name) {
    return name.rfind(stem + "_", 0) == 0 && name.size() > end.size() &&
           name.compare(name.size() - end.size(), end.size(), end) == 0;
  });
}

// About: what is in memory is written first, and compacted by itself meanwhile.
uint64_t BytesToCopy(rocksdb::DB& database, const fs::path& folder) {
  std::vector<std::string> shared;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder / "shared_checksum", error)) {
    shared.push_back(entry.path().filename().string());
  }
  std::vector<rocksdb::LiveFileMetaData> tables;
  database.GetLiveFilesMetaData(&tables);
  uint64_t bytes = 0;
  for (const rocksdb::LiveFileMetaData& table : tables) {
    bytes += IsThere(shared, table) ? 0 : table.size;
  }
  uint64_t in_memory = 0;
  database.GetAggregatedIntProperty(rocksdb::DB::Properties::kCurSizeAllMemTables, &in_memory);
  return bytes + in_memory;
}

Result<void> CheckRoom(const BackupOrder& order, uint64_t bytes) {
  const uint64_t free = FreeBytesAt(order.folder);
  if (free < bytes + order.free_bytes_min) {
    return Unavailable("a backup into " + order.folder.string() + " needs " +
                       std::to_string((bytes + order.free_bytes_min) >> 20) + " MB free, " +
                       std::to_string(free >> 20) +
                       " MB are: make room there, or keep fewer backups");
  }
  return {};
}

BackupFacts FactsOf(const rocksdb::BackupInfo& info) {
  return {info.backup_id, Timestamp{info.timestamp * 1000}, info.size, info.number_files, false};
}

// One backup that is being made. The engine's own thread calls Tell.
class Making {
 public:
  Making(rocksdb::BackupEngine& engine, const BackupOrder& order, uint64_t total,
         const std::function<bool(const BackupProgress&)>& go_on)
      : engine_(engine), order_(order), go_on_(go_on), progress_{0, total} {}

  Result<uint32_t> Run(rocksdb::DB& database) {
    rocksdb::CreateBackupOptions options;
    // What is in memory becomes tables, which the next backup need not copy again.
    options.flush_before_backup = true;
    options.progress_callback = [this] { Tell(); };
    options.decrease_background_thread_cpu_priority = true;
    options.background_thread_cpu_priority = rocksdb::CpuPriority::kLow;
    rocksdb::BackupID id = 0;
    const rocksdb::Status status = engine_.CreateNewBackup(options, &database, &id);
    if (status.ok()) {
      return id;
    }
    static_cast<void>(engine_.GarbageCollect());
    if (full_) {
      LK_CHECK(CheckRoom(order_, 0));
    }
    if (stopped_) {
      return Fail(v1::REASON_CANCELLED, "the backup was ended before it was whole");
    }
    return Unavailable("the backup into " + order_.folder.string() + " failed: " +
                       status.ToString() + ": look at the disk; the backups before it are whole");
  }

 private:
  void Tell() {
    progress_.bytes += kTellEveryBytes;
    progress_.total = std::max(progress_.total, progress_.bytes);
    full_ = FreeBytesAt(order_.folder) < order_.free_bytes_min;
    stopped_ = !go_on_(progress_);
    if (full_ || stopped_) {
      engine_.StopBackup();
    }
  }

  rocksdb::BackupEngine& engine_;
  const BackupOrder& order_;
  const std::function<bool(const BackupProgress&)>& go_on_;
  BackupProgress progress_;
  std::atomic<bool> full_ = false;
  std::atomic<bool> stopped_ = false;
};

Result<BackupFacts> Make(rocksdb::DB& database, const BackupOrder& order,
                         const std::function<bool(const BackupProgress&)>& go_on) {
  rocksdb::BackupEngineOptions options = OptionsOf(order.folder);
  options.backup_rate_limiter.reset(rocksdb::NewGenericRateLimiter(
      static_cast<int64_t>(std::max<uint64_t>(order.bytes_per_second, 1 << 20)),
      kRefillMicroseconds, kFairness, rocksdb::RateLimiter::Mode::kAllIo));
  rocksdb::BackupEngine* raw = nullptr;
  const rocksdb::Status opened =
      rocksdb::BackupEngine::Open(options, rocksdb::Env::Default(), &raw);
  if (!opened.ok()) {
    return Unavailable("the backups in " + order.folder.string() +
                       " cannot be opened: " + opened.ToString());
  }
  const std::unique_ptr<rocksdb::BackupEngine> engine(raw);
  static_cast<void>(engine->GarbageCollect());  // of one that was killed
  const uint64_t total = BytesToCopy(database, order.folder);
  LK_CHECK(CheckRoom(order, total));
  if (!go_on({0, total})) {
    return Fail(v1::REASON_CANCELLED, "the backup was ended before it was whole");
  }
  LK_TRY(const uint32_t id, Making(*engine, order, total, go_on).Run(database));
  if (order.keep > 0) {
    const rocksdb::Status purged = engine->PurgeOldBackups(order.keep);
    if (!purged.ok()) {
      return Unavailable("backup " + std::to_string(id) +
                         " is whole, but older ones cannot be deleted: " + purged.ToString());
    }
  }
  rocksdb::BackupInfo info;
  const rocksdb::Status known = engine->GetBackupInfo(id, &info);
  if (!known.ok()) {
    return Unavailable("the backup that was made cannot be read: " + known.ToString());
  }
  return FactsOf(info);
}

}  // namespace

Result<BackupFacts> MakeBackup(const RocksDbStore& store, const BackupOrder& order,
                               const std::function<bool(const BackupProgress&)>& go_on) {
  LK_CHECK(MakeFolder(order.folder));
  const FolderLock lock(order.folder, LOCK_EX);
  if (!lock.made()) {
    return Unavailable("the folder " + order.folder.string() + " for backups cannot be written");
  }
  if (lock.busy()) {
    return Busy(order.folder);
  }
  BackupFacts facts;
  LK_CHECK(store.With([&](rocksdb::DB& database) -> Result<void> {
    LK_TRY(facts, Make(database, order, go_on));
    return {};
  }));
  return facts;
}

Result<std::vector<BackupFacts>> ListBackups(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder / "meta", error)) {
    return std::vector<BackupFacts>();
  }
  LK_TRY(const ReadEngine engine, OpenToRead(folder));
  std::vector<rocksdb::BackupInfo> infos;
  engine->GetBackupInfo(&infos);
  std::vector<BackupFacts> backups;
  for (const rocksdb::BackupInfo& info : infos) {
    backups.push_back(FactsOf(info));
  }
  std::vector<rocksdb::BackupID> damaged;
  engine->GetCorruptedBackups(&damaged);
  for (const rocksdb::BackupID id : damaged) {
    backups.push_back({id, Timestamp{0}, 0, 0, true});
  }
  std::sort(backups.begin(), backups.end(),
            [](const BackupFacts& one, const BackupFacts& other) { return one.id < other.id; });
  return backups;
}

Result<void> VerifyBackup(const fs::path& folder, uint32_t id) {
  const FolderLock lock(folder, LOCK_SH);
  if (lock.busy()) {
    return Busy(folder);
  }
  LK_TRY(const ReadEngine engine, OpenToRead(folder));
  const rocksdb::Status status = engine->VerifyBackup(id, true);
  if (!status.ok()) {
    return Unavailable("backup " + std::to_string(id) + " in " + folder.string() +
                       " is not whole: " + status.ToString() +
                       ": use another one (`latchkey backup list`)");
  }
  return {};
}

Result<void> RestoreBackup(const fs::path& folder, uint32_t id, const fs::path& to) {
  std::error_code error;
  if (fs::exists(to, error) && !fs::is_empty(to, error)) {
    return Unavailable(to.string() + " is not empty: a store is restored beside, never over one");
  }
  LK_CHECK(MakeFolder(to));
  const FolderLock lock(folder, LOCK_SH);
  if (lock.busy()) {
    return Busy(folder);
  }
  LK_TRY(const ReadEngine engine, OpenToRead(folder));
  const rocksdb::Status status =
      engine->RestoreDBFromBackup(rocksdb::RestoreOptions(), id, to.string(), to.string());
  if (!status.ok()) {
    return Unavailable("backup " + std::to_string(id) + " cannot be restored into " + to.string() +
                       ": " + status.ToString());
  }
  return {};
}

}  // namespace latchkey::storage
