// What is torn and what is damaged, from the files alone.
#include "storage/rocksdb_files.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <rocksdb/db.h>

#include "storage/log_scan.h"
#include "storage/rocksdb_log.h"

namespace latchkey::storage {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kManifest = "MANIFEST-";

tl::unexpected<Error> Damaged(const fs::path& file, std::string_view how) {
  return Fail(v1::REASON_STORE_UNAVAILABLE,
              file.string() + " is damaged " + std::string(how) +
                  ", so commands that were held would be lost: restore a backup, or move the "
                  "folder away and start anew");
}

LogEnd EndOf(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  return FindLogEnd(bytes);
}

uint64_t NumberOf(const fs::path& log) {
  return std::strtoull(log.stem().c_str(), nullptr, 10);
}

// The number of the write-ahead log that recovery begins at; 0: the very first, or it cannot be
// told. What the MANIFEST says behind a torn record does not count.
uint64_t FirstLogNeeded(const std::string& path) {
  rocksdb::DBOptions options;
  options.info_log = MakeRocksDbLog(path);
  const std::vector<rocksdb::ColumnFamilyDescriptor> families = {
      {rocksdb::kDefaultColumnFamilyName, {}}};
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  if (!rocksdb::DB::OpenForReadOnly(options, path, families, &handles, &raw).ok()) {
    return 0;  // why, opening it says
  }
  const std::unique_ptr<rocksdb::DB> database(raw);
  uint64_t number = 0;
  database->GetIntProperty(rocksdb::DB::Properties::kMinLogNumberToKeep, &number);
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    database->DestroyColumnFamilyHandle(handle);
  }
  return number;
}

// Recovery stops at the first record of a write-ahead log that is not whole. At the end of the last
// log that is what a power cut leaves, and nothing of it was synced. Before a whole record, and in
// a log that another one follows (a sync is one of all logs), it is damage to what was. Logs that
// recovery does not read any more do not count: a start that was cut short may leave them.
Result<void> CheckLogs(const std::string& path) {
  std::map<uint64_t, fs::path> logs;  // by number, older first
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.path().extension() == ".log") {
      logs[NumberOf(entry.path())] = entry.path();
    }
  }
  std::optional<uint64_t> torn;
  for (const auto& [number, file] : logs) {
    const LogEnd end = EndOf(file);
    if (end == LogEnd::kDamagedInside && number >= FirstLogNeeded(path)) {
      return Damaged(file, "before its end");
    }
    if (torn && fs::file_size(file, error) > 0 && *torn >= FirstLogNeeded(path)) {
      return Damaged(logs[*torn], "at its end, and a later log goes on");
    }
    torn = end == LogEnd::kTorn ? std::optional(number) : torn;
  }
  return {};
}

// The MANIFEST says which tables there are and where the logs begin. A record of it that a power
// cut tore changed nothing yet: the logs it would have made needless are there. Where they are
// gone, tables have taken their place, and only the record that cannot be read knows of them.
Result<void> CheckManifest(const std::string& path) {
  std::ifstream current(fs::path(path) / "CURRENT");
  std::string name;
  if (!std::getline(current, name) || !name.starts_with(kManifest)) {
    return {};  // no store yet; what else is wrong, opening it says
  }
  const fs::path manifest = fs::path(path) / name;
  const LogEnd end = EndOf(manifest);
  if (end == LogEnd::kDamagedInside) {
    return Damaged(manifest, "before its end");
  }
  if (end == LogEnd::kWhole) {
    return {};
  }
  // A start takes the numbers of its first log and of its MANIFEST in this order, so until it first
  // moves a log into tables, that log's number lies between these two.
  const uint64_t needed = FirstLogNeeded(path);
  const uint64_t through =
      std::max<uint64_t>(needed, std::strtoull(name.c_str() + kManifest.size(), nullptr, 10));
  bool there = false;
  bool tables = false;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    const fs::path& file = entry.path();
    tables = tables || file.extension() == ".sst";
    there = there ||
            (file.extension() == ".log" && NumberOf(file) >= needed && NumberOf(file) <= through);
  }
  return tables && !there ? Result<void>(Damaged(manifest, "at its end")) : Result<void>();
}

}  // namespace

Result<void> CheckFiles(const std::string& path) {
  LK_CHECK(CheckLogs(path));
  return CheckManifest(path);
}

}  // namespace latchkey::storage
