// See rocksdb_store.h.
#include "storage/rocksdb_store.h"

#include <utility>

#include "storage/rocksdb_figures.h"
#include "storage/rocksdb_files.h"
#include "storage/rocksdb_rows.h"
#include "storage/rocksdb_schema.h"

namespace latchkey::storage {

namespace {

tl::unexpected<Error> Unavailable(std::string text) {
  return Fail(v1::REASON_STORE_UNAVAILABLE, std::move(text));
}

}  // namespace

RocksDbStore::RocksDbStore(std::unique_ptr<RocksDbRows> rows, const RocksDbOptions& options)
    : TypedStore(*rows, options.migrations, options.fresh_schema, "the store " + rows->path()),
      rows_(std::move(rows)) {}

RocksDbStore::~RocksDbStore() = default;

Result<std::unique_ptr<RocksDbStore>> RocksDbStore::Open(const RocksDbOptions& options) {
  namespace fs = std::filesystem;
  const std::string path = options.path.string();
  std::error_code error;
  fs::create_directories(options.path, error);
  if (!error) {
    fs::permissions(options.path, fs::perms::owner_all, error);
  }
  if (error) {
    return Unavailable("the folder " + path +
                       " for the store cannot be made private to this user: " + error.message());
  }
  auto rows = std::make_unique<RocksDbRows>(path, options.free_bytes_min, options.free_bytes);
  // Opening writes a little; on a disk that is full it would abort.
  LK_CHECK(CheckRoom(rows->room(), "the store " + path));
  LK_CHECK(CheckFiles(path));
  LK_CHECK(CheckRocksDbSchema(path, options.migrations));
  LK_CHECK(rows->Open());
  std::unique_ptr<RocksDbStore> store(new RocksDbStore(std::move(rows), options));
  LK_CHECK(store->Load());
  return store;
}

Result<void> RocksDbStore::MayOpen(const RocksDbOptions& options) {
  const std::string path = options.path.string();
  const RocksDbRows rows(path, options.free_bytes_min, options.free_bytes);
  LK_CHECK(CheckRoom(rows.room(), "the store " + path));
  return CheckRocksDbSchema(path, options.migrations);
}

Result<void> RocksDbStore::Scrub() const {
  const RocksDbGrip grip = rows_->Share();
  if (grip.database == nullptr) {
    return Unavailable("the store is being opened again");
  }
  const std::vector<rocksdb::ColumnFamilyHandle*> families = grip.tables->All();
  const Room room = rows_->room();
  uint64_t bytes = room.free_bytes_min;
  for (rocksdb::ColumnFamilyHandle* family : families) {
    uint64_t of_family = 0;
    grip.database->GetIntProperty(family, "rocksdb.total-sst-files-size", &of_family);
    bytes += of_family;
  }
  if (room.free_bytes < bytes) {
    return Unavailable("rewriting the store " + rows_->path() + " needs " +
                       std::to_string(bytes >> 20) + " MB free: make room and try again");
  }
  // What was written last goes into tables, too, and its log is deleted.
  rocksdb::Status status = grip.database->Flush(rocksdb::FlushOptions(), families);
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  for (size_t i = 0; status.ok() && i < families.size(); ++i) {
    status = grip.database->CompactRange(options, families[i], nullptr, nullptr);
  }
  if (!status.ok()) {
    return Unavailable("rewriting the store " + rows_->path() + " failed: " + status.ToString());
  }
  return {};
}

Result<void> RocksDbStore::Flush() const {
  LK_CHECK(CheckRoom(rows_->room(), "the store " + rows_->path()));
  const RocksDbGrip grip = rows_->Share();
  if (grip.database == nullptr) {
    return Unavailable("the store is being opened again: try again");
  }
  const rocksdb::Status status = grip.database->Flush(rocksdb::FlushOptions(), grip.tables->All());
  return status.ok() ? Result<void>()
                     : Unavailable("writing the store " + rows_->path() +
                                   " out failed: " + status.ToString());
}

RocksDbFigures RocksDbStore::Figures() const {
  const RocksDbGrip grip = rows_->Share();
  return grip.database == nullptr ? RocksDbFigures{}
                                  : FiguresOf(*grip.database, grip.tables->All());
}

Result<void> RocksDbStore::With(
    const std::function<Result<void>(rocksdb::DB& database)>& use) const {
  const RocksDbGrip grip = rows_->Share();
  return grip.database == nullptr ? Unavailable("the store is being opened again: try again")
                                  : use(*grip.database);
}

}  // namespace latchkey::storage
