// What only RocksDB can do wrong: a full disk, a torn log, damage on disk, another schema, a second
// process. The test opens RocksDB itself to do the damage.
#include "storage/rocksdb_store.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <rocksdb/db.h>
#include <stdlib.h>
#include <sys/resource.h>

namespace latchkey::storage {

namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "lk_rocksdb_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }

  ~Folder() { fs::remove_all(path_); }

  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  RocksDbOptions Options() const {
    RocksDbOptions options;
    options.path = path_ / "store";
    options.free_bytes_min = 0;
    return options;
  }

 private:
  fs::path path_;
};

CarRef Ref() {
  return {FleetId::Parse("f").value(), CarId::Parse("a").value()};
}

Change Presence(std::string payload) {
  return PresenceRecord{Ref(), {1}, std::move(payload)};
}

Change State(Group group) {
  return StateRecord{Ref(), group, {1}, "s"};
}

std::unique_ptr<RocksDbStore> Open(const RocksDbOptions& options) {
  auto store = RocksDbStore::Open(options);
  REQUIRE_MESSAGE(store.has_value(), (store ? "" : store.error().text));
  return *std::move(store);
}

struct Seen {
  int good = 0;
  int damaged = 0;
};

Seen Read(const Store& store, Kind kind) {
  Seen seen;
  const Result<void> read = store.Snapshot()->Scan(
      kind, std::nullopt, [&](const Record&) { ++seen.good; },
      [&](std::string_view, const Error&) { ++seen.damaged; });
  CHECK(read.has_value());
  return seen;
}

// Puts bytes past our own code; the family is made when it is not there.
void PutBehind(const fs::path& path, const std::string& family, const std::string& key,
               const std::string& value) {
  rocksdb::DBOptions options;
  options.create_missing_column_families = true;
  std::vector<std::string> names;
  REQUIRE(rocksdb::DB::ListColumnFamilies(options, path.string(), &names).ok());
  if (std::find(names.begin(), names.end(), family) == names.end()) {
    names.push_back(family);
  }
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : names) {
    descriptors.emplace_back(name, rocksdb::ColumnFamilyOptions());
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* database = nullptr;
  REQUIRE(rocksdb::DB::Open(options, path.string(), descriptors, &handles, &database).ok());
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    if (handle->GetName() == family) {
      REQUIRE(database->Put({}, handle, key, value).ok());
    }
    database->DestroyColumnFamilyHandle(handle);
  }
  delete database;
}

// Takes a family away: the store is then as software that did not know it left it.
void DropBehind(const fs::path& path, const std::string& family) {
  const rocksdb::DBOptions options;
  std::vector<std::string> names;
  REQUIRE(rocksdb::DB::ListColumnFamilies(options, path.string(), &names).ok());
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : names) {
    descriptors.emplace_back(name, rocksdb::ColumnFamilyOptions());
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* database = nullptr;
  REQUIRE(rocksdb::DB::Open(options, path.string(), descriptors, &handles, &database).ok());
  bool dropped = false;
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    if (handle->GetName() == family) {
      dropped = database->DropColumnFamily(handle).ok();
    }
    database->DestroyColumnFamilyHandle(handle);
  }
  delete database;
  REQUIRE(dropped);
}

}  // namespace

TEST_CASE("rocksdb store: its folder is readable by its user alone") {
  const Folder folder;
  const auto store = Open(folder.Options());
  CHECK(fs::status(folder.Options().path).permissions() == fs::perms::owner_all);
}

TEST_CASE("rocksdb store: below the bound of free bytes nothing is written, and room heals it") {
  const Folder folder;
  uint64_t free_bytes = 1000;
  RocksDbOptions options = folder.Options();
  options.free_bytes_min = 500;
  options.free_bytes = [&] { return free_bytes; };
  const auto store = Open(options);
  REQUIRE(store->Commit(std::vector<Change>{State(Group::kBody)}, Durability::kDurable));
  free_bytes = 499;
  const auto refused = store->Commit(std::vector<Change>{State(Group::kLink)}, Durability::kSoon);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().reason == v1::REASON_STORE_UNAVAILABLE);
  CHECK(refused.error().text.find("make room") != std::string::npos);
  CHECK(Read(*store, Kind::kState).good == 1);
  free_bytes = 500;
  CHECK(store->Commit(std::vector<Change>{State(Group::kLink)}, Durability::kSoon).has_value());
  CHECK(Read(*store, Kind::kState).good == 2);
}

namespace {

// While it lives no file can grow, as on a disk that fails.
class NoGrowth {
 public:
  NoGrowth() {
    ::signal(SIGXFSZ, SIG_IGN);  // then writes fail with EFBIG
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none{0, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &none);
  }

  ~NoGrowth() { ::setrlimit(RLIMIT_FSIZE, &before_); }

  NoGrowth(const NoGrowth&) = delete;
  NoGrowth& operator=(const NoGrowth&) = delete;

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("rocksdb store: after an I/O error it is opened again, and what was kept is there") {
  const Folder folder;
  auto store = Open(folder.Options());
  REQUIRE(store->Commit(std::vector<Change>{State(Group::kBody)}, Durability::kDurable));
  auto reader = store->Snapshot();
  std::vector<Result<void>> refused;
  std::optional<Result<void>> unread;
  {
    const NoGrowth no_growth;
    for (int i = 0; i < 3; ++i) {
      refused.push_back(
          store->Commit(std::vector<Change>{State(Group::kLink)}, Durability::kDurable));
    }
    reader.reset();  // nobody reads any more: it can be closed, and not be opened
    refused.push_back(store->Commit(std::vector<Change>{}, Durability::kDurable));
    refused.push_back(store->Sync());
    unread = store->Snapshot()->Scan(
        Kind::kState, std::nullopt, [](const Record&) {}, [](std::string_view, const Error&) {});
  }
  for (const Result<void>& each : refused) {
    REQUIRE_FALSE(each.has_value());
    CHECK(each.error().reason == v1::REASON_STORE_UNAVAILABLE);
  }
  REQUIRE_FALSE(unread->has_value());
  CHECK(unread->error().text.find("by itself") != std::string::npos);
  REQUIRE(store->Commit(std::vector<Change>{State(Group::kEnergy)}, Durability::kDurable));
  const int kept = Read(*store, Kind::kState).good;
  CHECK_MESSAGE((kept == 2 || kept == 3), "what was refused may be there or not");
  store.reset();
  CHECK(Read(*Open(folder.Options()), Kind::kState).good == kept);
}

TEST_CASE("rocksdb store: it does not open on a disk without room") {
  const Folder folder;
  RocksDbOptions options = folder.Options();
  options.free_bytes_min = 500;
  options.free_bytes = [] { return uint64_t{499}; };
  const auto refused = RocksDbStore::Open(options);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().reason == v1::REASON_STORE_UNAVAILABLE);
}

TEST_CASE("rocksdb store: a second opening of the same folder is refused") {
  const Folder folder;
  const auto store = Open(folder.Options());
  const auto second = RocksDbStore::Open(folder.Options());
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().text.find("another bridge") != std::string::npos);
}

TEST_CASE("rocksdb store: a newer schema version is refused in words and left as it is") {
  const Folder folder;
  {
    const auto store = Open(folder.Options());
  }
  PutBehind(folder.Options().path, "meta", "schema_version", "4");
  const auto refused = RocksDbStore::Open(folder.Options());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().text.find("newer software (schema version 4)") != std::string::npos);
}

TEST_CASE("rocksdb store: a schema version that cannot be read is refused") {
  const Folder folder;
  {
    const auto store = Open(folder.Options());
  }
  PutBehind(folder.Options().path, "meta", "schema_version", "1x");
  CHECK_FALSE(RocksDbStore::Open(folder.Options()).has_value());
}

TEST_CASE("rocksdb store: a family this software does not know is a newer schema") {
  const Folder folder;
  {
    const auto store = Open(folder.Options());
  }
  PutBehind(folder.Options().path, "journal", "k", "v");
  const auto refused = RocksDbStore::Open(folder.Options());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().text.find("'journal'") != std::string::npos);
}

TEST_CASE("rocksdb store: a damaged value is reported and skipped, its neighbours are served") {
  const Folder folder;
  {
    const auto store = Open(folder.Options());
    REQUIRE(store->Commit(std::vector<Change>{State(Group::kBody), State(Group::kLink)},
                          Durability::kDurable));
  }
  KeyValue raw = Encode(StateRecord{Ref(), Group::kEnergy, {1}, "s"});
  raw.value[3] = static_cast<char>(raw.value[3] ^ 4);
  PutBehind(folder.Options().path, "state", raw.key, raw.value);
  const auto store = Open(folder.Options());
  const Seen seen = Read(*store, Kind::kState);
  CHECK(seen.good == 2);
  CHECK(seen.damaged == 1);
}

TEST_CASE("rocksdb store: a log torn in its last record opens with all commits before it") {
  const Folder folder;
  {
    const auto store = Open(folder.Options());
    REQUIRE(store->Commit(std::vector<Change>{State(Group::kBody)}, Durability::kDurable));
    // Two changes in one commit: they must go together.
    REQUIRE(store->Commit(std::vector<Change>{State(Group::kLink), Presence("p")},
                          Durability::kDurable));
  }
  fs::path log;
  for (const auto& entry : fs::directory_iterator(folder.Options().path)) {
    if (entry.path().extension() == ".log" && entry.file_size() > 0) {
      log = entry.path();
    }
  }
  REQUIRE_FALSE(log.empty());
  fs::resize_file(log, fs::file_size(log) - 3);
  const auto store = Open(folder.Options());
  CHECK(Read(*store, Kind::kState).good == 1);
  CHECK(Read(*store, Kind::kPresence).good == 0);
}

TEST_CASE("rocksdb store: a log damaged before its end is refused with its name, not cut there") {
  const Folder folder;
  {
    const auto store = Open(folder.Options());
    REQUIRE(store->Commit(std::vector<Change>{State(Group::kBody)}, Durability::kDurable));
    REQUIRE(store->Commit(std::vector<Change>{Presence("p")}, Durability::kDurable));
  }
  for (const auto& entry : fs::directory_iterator(folder.Options().path)) {
    if (entry.path().extension() == ".log" && entry.file_size() > 0) {
      std::fstream file(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
      file.seekg(20);
      const int byte = file.get();
      file.seekp(20);
      file.put(static_cast<char>(byte ^ 1));
    }
  }
  const auto store = RocksDbStore::Open(folder.Options());
  REQUIRE_FALSE(store.has_value());
  CHECK(store.error().reason == v1::REASON_STORE_UNAVAILABLE);
  CHECK(store.error().text.find(".log is damaged before its end") != std::string::npos);
}

TEST_CASE(
    "rocksdb store: no bit of the MANIFEST can be flipped so that something is lost silently") {
  const Folder folder;
  const fs::path store = folder.Options().path;
  {
    const auto opened = Open(folder.Options());
    REQUIRE(opened->Commit(std::vector<Change>{State(Group::kBody)}, Durability::kDurable));
  }
  // Opening it moves what the log held into a table, deletes the log and says so in the MANIFEST.
  {
    const auto opened = Open(folder.Options());
  }
  fs::path manifest;
  for (const auto& entry : fs::directory_iterator(store)) {
    if (entry.path().filename().string().starts_with("MANIFEST")) {
      manifest = entry.path().filename();
    }
  }
  const RocksDbOptions flipped = [&] {
    RocksDbOptions options = folder.Options();
    options.path += ".flipped";
    return options;
  }();
  const auto copy = [&] {
    fs::remove_all(flipped.path);
    fs::copy(store, flipped.path, fs::copy_options::recursive);
  };
  int refused = 0;
  const auto bytes = static_cast<long>(fs::file_size(store / manifest));
  for (long bit = 0; bit < bytes * 8; ++bit) {
    copy();
    {
      std::fstream file(flipped.path / manifest, std::ios::binary | std::ios::in | std::ios::out);
      file.seekg(bit / 8);
      const int byte = file.get();
      file.seekp(bit / 8);
      file.put(static_cast<char>(byte ^ 1 << bit % 8));
    }
    const auto opened = RocksDbStore::Open(flipped);
    refused += opened ? 0 : 1;
    REQUIRE_MESSAGE((!opened || Read(**opened, Kind::kState).good == 1), "bit " << bit);
  }
  CHECK(refused > bytes * 7);
}

TEST_CASE("rocksdb store: a MANIFEST torn while a table was being made opens, nothing lost") {
  const Folder folder;
  const fs::path store = folder.Options().path;
  for (int starts = 0; starts < 6; ++starts) {
    {
      const auto opened = Open(folder.Options());
      CHECK(Read(*opened, Kind::kState).good == (starts > 1 ? 1 : 0));
      if (starts % 3 == 1) {
        REQUIRE(opened->Commit(std::vector<Change>{State(Group::kBody)}, Durability::kDurable));
      }
    }
    for (const auto& entry : fs::directory_iterator(store)) {
      if (entry.path().filename().string().starts_with("MANIFEST")) {
        std::ofstream(entry.path(), std::ios::binary | std::ios::app) << "half a record";
      }
    }
    std::ofstream(store / "000999.sst") << "half a table";
  }
}

TEST_CASE("rocksdb store: a log damaged at its end is refused when a later one goes on") {
  const Folder folder;
  {
    const auto opened = Open(folder.Options());
    REQUIRE(opened->Commit(std::vector<Change>{State(Group::kBody)}, Durability::kDurable));
  }
  for (const auto& entry : fs::directory_iterator(folder.Options().path)) {
    if (entry.path().extension() == ".log" && entry.file_size() > 0) {
      const fs::path later = entry.path().parent_path() / "009999.log";
      fs::copy(entry.path(), later);
      fs::resize_file(entry.path(), entry.file_size() - 1);
      break;
    }
  }
  const auto opened = RocksDbStore::Open(folder.Options());
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().text.find("a later log goes on") != std::string::npos);
}

TEST_CASE("rocksdb store: one made before there was a log opens and takes it") {
  const Folder folder;
  {
    const auto store = Open(folder.Options());
    REQUIRE(store->Commit(std::vector<Change>{State(Group::kBody)}, Durability::kDurable));
  }
  DropBehind(folder.Options().path, "log");
  DropBehind(folder.Options().path, "wake");
  {
    const auto store = Open(folder.Options());
    CHECK(Read(*store, Kind::kState).good == 1);
    REQUIRE(store->Commit(std::vector<Change>{LogRecord{1, "r"}, WakeRecord{Ref(), {1}, 1, {1}}},
                          Durability::kDurable));
  }
  const auto store = Open(folder.Options());
  CHECK(Read(*store, Kind::kLog).good == 1);
  CHECK(Read(*store, Kind::kWake).good == 1);
}

TEST_CASE("rocksdb store: one made before there was history opens and takes it") {
  const Folder folder;
  {
    const auto store = Open(folder.Options());
    REQUIRE(store->Commit(std::vector<Change>{State(Group::kBody)}, Durability::kDurable));
  }
  DropBehind(folder.Options().path, "history");
  DropBehind(folder.Options().path, "session");
  {
    const auto store = Open(folder.Options());
    CHECK(Read(*store, Kind::kState).good == 1);
    REQUIRE(store->Commit(std::vector<Change>{HistoryRecord{Ref(), Group::kBody, {1}, "h"},
                                              SessionRecord{Ref(), {1}, "s"}},
                          Durability::kDurable));
  }
  const auto store = Open(folder.Options());
  CHECK(Read(*store, Kind::kHistory).good == 1);
  CHECK(Read(*store, Kind::kSession).good == 1);
}

TEST_CASE("rocksdb store: a damaged last record of the log does not hide the one before it") {
  const Folder folder;
  {
    const auto store = Open(folder.Options());
    REQUIRE(store->Commit(std::vector<Change>{LogRecord{1, "a"}, LogRecord{2, "b"}},
                          Durability::kDurable));
  }
  KeyValue raw = Encode(LogRecord{2, "b"});
  raw.value[1] = 'c';
  PutBehind(folder.Options().path, "log", raw.key, raw.value);
  const auto store = Open(folder.Options());
  std::string damaged;
  const auto last = store->Snapshot()->LastLog(
      kWholeLog, [&](std::string_view key, const Error&) { damaged = std::string(key); });
  REQUIRE(last.has_value());
  REQUIRE(last->has_value());
  CHECK(last->value().payload == "a");
  CHECK(ParseLogKey(damaged) == 2);
  CHECK(Read(*store, Kind::kLog).damaged == 1);
}

TEST_CASE("rocksdb store: one made before there were blocks opens, keeps its records, takes them") {
  const Folder folder;
  {
    const auto store = Open(folder.Options());
    REQUIRE(store->Commit(std::vector<Change>{State(Group::kBody)}, Durability::kDurable));
  }
  DropBehind(folder.Options().path, "block");
  Block block;
  block.scope.key = KeyId::Parse("abcdefghijklmnopqrstuA").value();
  block.changed_at = {7};
  block.cause = v1::BLOCK_CAUSE_ADMINISTRATOR;
  {
    const auto store = Open(folder.Options());
    CHECK(Read(*store, Kind::kState).good == 1);
    CHECK(Read(*store, Kind::kBlock).good == 0);
    REQUIRE(store->Commit(std::vector<Change>{BlockRecord{block}}, Durability::kDurable));
  }
  const auto store = Open(folder.Options());
  CHECK(Read(*store, Kind::kState).good == 1);
  CHECK(Read(*store, Kind::kBlock).good == 1);
}

TEST_CASE("rocksdb: its figures name each family with its bytes, and its memory") {
  const Folder folder;
  const auto store = Open(folder.Options());
  REQUIRE(store->Commit(std::vector<Change>{State(Group::kBody), State(Group::kEnergy)},
                        Durability::kSoon));
  const auto of = [](const RocksDbFigures& figures, const std::string& name) {
    for (const RocksDbFigures::Family& family : figures.families) {
      if (family.name == name) {
        return family;
      }
    }
    return RocksDbFigures::Family{};
  };
  const RocksDbFigures written = store->Figures();
  CHECK(of(written, "state").name == "state");
  CHECK(of(written, "state").keys == 2);
  CHECK(of(written, "state").table_bytes == 0);
  CHECK(written.memtable_bytes > 0);
  REQUIRE(store->Scrub());
  const RocksDbFigures flushed = store->Figures();
  CHECK(of(flushed, "state").keys == 2);
  CHECK(of(flushed, "state").table_bytes > 0);
  CHECK(of(flushed, "history").table_bytes == 0);
  // The place that the cache keeps for memtables is no memory.
  CHECK(flushed.cache_bytes < size_t{256} << 10);
}

}  // namespace latchkey::storage
