// Backups of an open store: incremental, whole or not there, and every flipped byte is found.
#include "storage/rocksdb_backup.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/resource.h>

namespace latchkey::storage {

namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "lk_backup_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }

  ~Folder() { fs::remove_all(path_); }

  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  fs::path Store() const { return path_ / "store"; }

  fs::path Backups() const { return path_ / "backups"; }

  fs::path Restored() const { return path_ / "restored"; }

 private:
  fs::path path_;
};

std::unique_ptr<RocksDbStore> Open(const fs::path& path) {
  RocksDbOptions options;
  options.path = path;
  options.free_bytes_min = 0;
  auto store = RocksDbStore::Open(options);
  REQUIRE_MESSAGE(store.has_value(), (store ? "" : store.error().text));
  return *std::move(store);
}

CarRef Ref(int number) {
  return {FleetId::Parse("f").value(), CarId::Parse("car" + std::to_string(number)).value()};
}

// Bytes that do not compress.
std::string Noise(int seed, size_t bytes) {
  std::string text;
  uint64_t state = static_cast<uint64_t>(seed) * 0x9E3779B97F4A7C15U + 1;
  while (text.size() < bytes) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    text += static_cast<char>(state >> 56U);
  }
  return text;
}

void Fill(Store& store, int from, int to) {
  for (int i = from; i < to; ++i) {
    REQUIRE(store.Commit(std::vector<Change>{PresenceRecord{Ref(i), {1}, Noise(i, 4000)}},
                         Durability::kSoon));
  }
}

int Count(const Store& store) {
  int count = 0;
  CHECK(store.Snapshot()->Scan(
      Kind::kPresence, std::nullopt, [&](const Record&) { ++count; },
      [](std::string_view, const Error&) { FAIL_CHECK("damaged"); }));
  return count;
}

BackupOrder To(const Folder& folder) {
  BackupOrder order;
  order.folder = folder.Backups();
  order.free_bytes_min = 0;
  order.bytes_per_second = uint64_t{1} << 30;
  return order;
}

bool Always(const BackupProgress&) {
  return true;
}

uint64_t BytesBelow(const fs::path& folder) {
  uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    bytes += entry.is_regular_file() ? entry.file_size() : 0;
  }
  return bytes;
}

void Flip(const fs::path& path, std::streamoff at) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(at);
  const int byte = file.get();
  file.seekp(at);
  file.put(static_cast<char>(byte ^ 0x10));
}

}  // namespace

TEST_CASE("backup: each holds all that was committed before it, and copies only what is new") {
  const Folder folder;
  const auto store = Open(folder.Store());
  Fill(*store, 0, 1000);
  const auto first = MakeBackup(*store, To(folder), Always);
  REQUIRE_MESSAGE(first.has_value(), (first ? "" : first.error().text));
  const uint64_t first_bytes = BytesBelow(folder.Backups());
  CHECK(first_bytes > 4'000'000);
  Fill(*store, 1000, 1010);
  const auto second = MakeBackup(*store, To(folder), Always);
  REQUIRE(second.has_value());
  CHECK(second->id == first->id + 1);
  CHECK(BytesBelow(folder.Backups()) < first_bytes + first_bytes / 10);
  Fill(*store, 1010, 1020);  // in none of them
  REQUIRE(VerifyBackup(folder.Backups(), first->id));
  REQUIRE(VerifyBackup(folder.Backups(), second->id));
  REQUIRE(RestoreBackup(folder.Backups(), first->id, folder.Restored()));
  CHECK(Count(*Open(folder.Restored())) == 1000);
  // Never over what is there.
  CHECK_FALSE(RestoreBackup(folder.Backups(), second->id, folder.Restored()));
  fs::remove_all(folder.Restored());
  REQUIRE(RestoreBackup(folder.Backups(), second->id, folder.Restored()));
  CHECK(Count(*Open(folder.Restored())) == 1010);
  CHECK(Count(*store) == 1020);
  CHECK((fs::status(folder.Backups()).permissions() & fs::perms::mask) == fs::perms::owner_all);
}

TEST_CASE("backup: the oldest beyond those to keep are forgotten, with what only they needed") {
  const Folder folder;
  const auto store = Open(folder.Store());
  CHECK(ListBackups(folder.Backups()).value().empty());
  BackupOrder order = To(folder);
  order.keep = 2;
  for (int i = 0; i < 4; ++i) {
    Fill(*store, 0, 500);
    REQUIRE(store->Scrub());  // all tables are others
    REQUIRE(MakeBackup(*store, order, Always));
  }
  const auto backups = ListBackups(folder.Backups()).value();
  REQUIRE(backups.size() == 2);
  CHECK(backups[0].id == 3);
  CHECK(backups[1].id == 4);
  CHECK(BytesBelow(folder.Backups()) < 3 * 500 * 4500);
  CHECK_FALSE(VerifyBackup(folder.Backups(), 2));
}

TEST_CASE("backup: one that is ended leaves nothing, and the next is whole") {
  const Folder folder;
  const auto store = Open(folder.Store());
  Fill(*store, 0, 3000);
  int calls = 0;
  const auto ended = MakeBackup(*store, To(folder), [&](const BackupProgress& progress) {
    CHECK(progress.bytes <= progress.total);
    return ++calls < 2;
  });
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().reason == v1::REASON_CANCELLED);
  CHECK(ListBackups(folder.Backups()).value().empty());
  const auto next = MakeBackup(*store, To(folder), Always);
  REQUIRE(next.has_value());
  CHECK(VerifyBackup(folder.Backups(), next->id));
}

TEST_CASE("backup: without room nothing is begun, and the text says how much is needed") {
  const Folder folder;
  const auto store = Open(folder.Store());
  Fill(*store, 0, 10);
  BackupOrder order = To(folder);
  order.free_bytes_min = ~uint64_t{0} >> 2U;
  const auto refused = MakeBackup(*store, order, Always);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().text.find("make room") != std::string::npos);
  CHECK(ListBackups(folder.Backups()).value().empty());
}

TEST_CASE("backup: a disk that takes no more leaves the older ones whole, and the store goes on") {
  const Folder folder;
  const auto store = Open(folder.Store());
  Fill(*store, 0, 10);
  REQUIRE(MakeBackup(*store, To(folder), Always));
  Fill(*store, 10, 2000);
  REQUIRE(store->Scrub());  // nothing is left in memory: the store itself writes no large file
  static_cast<void>(std::signal(SIGXFSZ, SIG_IGN));
  rlimit before = {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit small = before;
  small.rlim_cur = 1 << 20;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto failed = MakeBackup(*store, To(folder), Always);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().reason == v1::REASON_STORE_UNAVAILABLE);
  CHECK(failed.error().text.find("look at the disk") != std::string::npos);
  REQUIRE(ListBackups(folder.Backups()).value().size() == 1);
  CHECK(VerifyBackup(folder.Backups(), 1));
  Fill(*store, 2000, 2010);
  const auto next = MakeBackup(*store, To(folder), Always);
  REQUIRE(next.has_value());
  CHECK(VerifyBackup(folder.Backups(), next->id));
}

TEST_CASE("backup: a second one beside it is refused while one is made") {
  const Folder folder;
  const auto store = Open(folder.Store());
  Fill(*store, 0, 10);
  bool refused = false;
  REQUIRE(MakeBackup(*store, To(folder), [&](const BackupProgress&) {
    refused = !MakeBackup(*store, To(folder), Always) || refused;
    return true;
  }));
  CHECK(refused);
}

TEST_CASE("backup: a byte that is not as it was written is found, in whichever file") {
  const Folder folder;
  {
    const auto store = Open(folder.Store());
    Fill(*store, 0, 300);
    REQUIRE(MakeBackup(*store, To(folder), Always));
  }
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder.Backups())) {
    const std::string path = entry.path().string();
    if (!entry.is_regular_file() || entry.file_size() == 0 ||
        path.find("/meta/") != std::string::npos) {
      continue;  // of meta files whoever keeps a backup keeps a sum
    }
    ++files;
    Flip(entry.path(), static_cast<std::streamoff>(entry.file_size() / 2));
    CAPTURE(path);
    const bool found = !VerifyBackup(folder.Backups(), 1).has_value();
    CHECK(found);
    CHECK_FALSE(RestoreBackup(folder.Backups(), 1, folder.Restored()));
    fs::remove_all(folder.Restored());
    Flip(entry.path(), static_cast<std::streamoff>(entry.file_size() / 2));
    CHECK(VerifyBackup(folder.Backups(), 1));
  }
  CHECK(files >= 3);
}

}  // namespace latchkey::storage
