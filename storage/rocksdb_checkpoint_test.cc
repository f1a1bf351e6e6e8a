// A copy of an open store: what is in it, that it goes its own way, and what is in its way.
#include "storage/rocksdb_checkpoint.h"

#include <string>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace latchkey::storage {

namespace {

namespace fs = std::filesystem;

// Removed at the end.
struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "checkpoint_test.XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }

  ~Folder() {
    std::error_code error;
    fs::remove_all(path, error);
  }

  fs::path path;
};

StateRecord State(const std::string& car) {
  return {{*FleetId::Parse("demo"), *CarId::Parse(car)}, Group::kBody, {1}, "payload of " + car};
}

std::unique_ptr<RocksDbStore> Open(const fs::path& path) {
  RocksDbOptions options;
  options.path = path;
  Result<std::unique_ptr<RocksDbStore>> store = RocksDbStore::Open(options);
  REQUIRE_MESSAGE(store, store.error().text);
  return *std::move(store);
}

void Put(Store& store, const std::string& car) {
  const std::vector<Change> changes = {State(car)};
  REQUIRE(store.Commit(changes, Durability::kSoon));
}

size_t Count(const Store& store) {
  size_t count = 0;
  REQUIRE(store.Snapshot()->Scan(
      Kind::kState, std::nullopt, [&](const Record&) { ++count; },
      [](std::string_view, const Error& error) { FAIL(error.text); }));
  return count;
}

}  // namespace

TEST_CASE("checkpoint: the copy has what the store had, also unsynced, and goes its own way") {
  const Folder folder;
  const auto live = Open(folder.path / "store");
  Put(*live, "car-1");
  Put(*live, "car-2");
  const fs::path copy = folder.path / "store.rehearsal";
  const Result<uint64_t> bytes = MakeCheckpoint(*live, copy, 1);
  REQUIRE_MESSAGE(bytes, bytes.error().text);
  CHECK(*bytes > 0);
  struct stat facts = {};
  REQUIRE(::stat(copy.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0700);
  Put(*live, "car-3");
  {
    const auto other = Open(copy);
    CHECK(Count(*other) == 2);
    Put(*other, "car-4");
    Put(*other, "car-5");
    CHECK(Count(*other) == 4);
  }
  CHECK(Count(*live) == 3);
  CHECK(OwnBytes(copy) > 0);
  fs::remove_all(copy);
  CHECK(Count(*live) == 3);
  CHECK(OwnBytes(copy) == 0);
}

TEST_CASE("checkpoint: one that was left behind is replaced, one in use is not touched") {
  const Folder folder;
  const auto live = Open(folder.path / "store");
  Put(*live, "car-1");
  const fs::path copy = folder.path / "store.rehearsal";
  REQUIRE(MakeCheckpoint(*live, copy, 1));
  Put(*live, "car-2");
  REQUIRE(MakeCheckpoint(*live, copy, 1));
  CHECK(Count(*Open(copy)) == 2);

  // Another process has it open: a lock as RocksDB takes it.
  int ready[2] = {};
  int done[2] = {};
  REQUIRE(::pipe(ready) == 0);
  REQUIRE(::pipe(done) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  char byte = 0;
  if (child == 0) {
    const int file = ::open((copy / "LOCK").c_str(), O_RDWR);
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    byte = file >= 0 && ::fcntl(file, F_SETLK, &lock) == 0 ? 'y' : 'n';
    ::close(done[1]);
    if (::write(ready[1], &byte, 1) == 1) {
      static_cast<void>(!::read(done[0], &byte, 1));
    }
    ::_exit(0);
  }
  ::close(done[0]);
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  REQUIRE(byte == 'y');
  const Result<uint64_t> refused = MakeCheckpoint(*live, copy, 1);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == v1::REASON_NOT_ALLOWED);
  CHECK(fs::exists(copy / "CURRENT"));
  ::close(done[1]);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  ::close(ready[0]);
  ::close(ready[1]);
  CHECK(MakeCheckpoint(*live, copy, 1));
}

TEST_CASE("checkpoint: too little room is said with how much it takes") {
  const Folder folder;
  const auto live = Open(folder.path / "store");
  const Result<uint64_t> refused =
      MakeCheckpoint(*live, folder.path / "store.rehearsal", uint64_t{1} << 60);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == v1::REASON_STORE_UNAVAILABLE);
  CHECK(refused.error().text.find("MB are free") != std::string::npos);
  CHECK_FALSE(fs::exists(folder.path / "store.rehearsal"));
}

}  // namespace latchkey::storage
