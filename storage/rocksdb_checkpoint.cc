// See rocksdb_checkpoint.h.
#include "storage/rocksdb_checkpoint.h"

#include <memory>
#include <string>
#include <utility>

#include <fcntl.h>
#include <rocksdb/db.h>
#include <rocksdb/utilities/checkpoint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace latchkey::storage {

namespace {

namespace fs = std::filesystem;

// Calls `visit` for each file; one that goes meanwhile is left out.
template <class Visit>
void ForEachFile(const fs::path& folder, const Visit& visit) {
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    struct stat facts = {};
    if (::lstat(at->path().c_str(), &facts) == 0 && S_ISREG(facts.st_mode)) {
      visit(facts);
    }
  }
}

// Whether another process has the store in `folder` open.
bool InUse(const fs::path& folder) {
  const int file = ::open((folder / "LOCK").c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) {
    return false;
  }
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  const bool locked = ::fcntl(file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  static_cast<void>(::close(file));
  return locked;
}

tl::unexpected<Error> Unavailable(std::string text) {
  return Fail(v1::REASON_STORE_UNAVAILABLE, std::move(text));
}

}  // namespace

uint64_t OwnBytes(const fs::path& folder) {
  constexpr uint64_t kBlock = 512;
  uint64_t bytes = 0;
  ForEachFile(folder, [&](const struct stat& facts) {
    bytes += facts.st_nlink == 1 ? static_cast<uint64_t>(facts.st_blocks) * kBlock : 0;
  });
  return bytes;
}

Result<uint64_t> MakeCheckpoint(const RocksDbStore& store, const fs::path& folder,
                                uint64_t room_min) {
  std::error_code error;
  if (InUse(folder)) {
    return Fail(v1::REASON_NOT_ALLOWED, "the copy of the store in " + folder.string() +
                                            " is in use: wait until who has it is done");
  }
  fs::remove_all(folder, error);
  if (error) {
    return Unavailable("an old copy of the store in " + folder.string() +
                       " cannot be removed: " + error.message());
  }
  struct statvfs facts = {};
  const fs::path beside = folder.parent_path().empty() ? fs::path(".") : folder.parent_path();
  if (::statvfs(beside.c_str(), &facts) != 0) {
    return Unavailable("how much room there is in " + beside.string() + " cannot be told");
  }
  const uint64_t room = uint64_t{facts.f_bavail} * facts.f_frsize;
  if (room < room_min) {
    return Unavailable("a rehearsal needs " + std::to_string(room_min >> 20) + " MB, " +
                       std::to_string(room >> 20) + " MB are free in " + beside.string() +
                       ": make room and ask again");
  }
  LK_CHECK(store.With([&](rocksdb::DB& database) -> Result<void> {
    rocksdb::Checkpoint* raw = nullptr;
    rocksdb::Status status = rocksdb::Checkpoint::Create(&database, &raw);
    const std::unique_ptr<rocksdb::Checkpoint> checkpoint(raw);
    if (status.ok()) {
      status = checkpoint->CreateCheckpoint(folder.string());
    }
    if (!status.ok()) {
      return Unavailable("the copy of the store in " + folder.string() +
                         " cannot be made: " + status.ToString());
    }
    return {};
  }));
  fs::permissions(folder, fs::perms::owner_all, error);
  if (error) {
    fs::remove_all(folder, error);
    return Unavailable("the folder " + folder.string() + " cannot be made private to this user");
  }
  uint64_t bytes = 0;
  ForEachFile(folder, [&](const struct stat& one) { bytes += static_cast<uint64_t>(one.st_size); });
  return bytes;
}

}  // namespace latchkey::storage
