// See rocksdb_schema.h. The database is opened for reading alone.
#include "storage/rocksdb_schema.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include <rocksdb/db.h>

#include "storage/rocksdb_log.h"
#include "storage/schema_state.h"

namespace latchkey::storage {

std::vector<std::string> RocksDbFamilyNames(const std::string& path) {
  std::vector<std::string> names;
  rocksdb::DBOptions options;
  options.info_log = MakeRocksDbLog(path);
  return rocksdb::DB::ListColumnFamilies(options, path, &names).ok() ? names
                                                                     : std::vector<std::string>();
}

Result<void> CheckRocksDbSchema(const std::string& path, const Migrations& known) {
  const std::string store = "the store in " + path;
  const std::string meta(FamilyName(Family::kMeta));
  const std::vector<std::string> names = RocksDbFamilyNames(path);
  for (const std::string& name : names) {
    if (name != rocksdb::kDefaultColumnFamilyName && !FamilyOfName(name)) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  NewerText(store, "it has a family '" + name + "'", known));
    }
  }
  if (std::find(names.begin(), names.end(), meta) == names.end()) {
    return {};  // none there, or a first start that did not finish; what is wrong, opening it says
  }
  const std::vector<rocksdb::ColumnFamilyDescriptor> families = {
      {rocksdb::kDefaultColumnFamilyName, {}}, {meta, {}}};
  rocksdb::DBOptions options;
  options.info_log = MakeRocksDbLog(path);
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::OpenForReadOnly(options, path, families, &handles, &raw);
  if (!opened.ok()) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, store + " does not open: " + opened.ToString());
  }
  const std::unique_ptr<rocksdb::DB> database(raw);
  bool readable = true;
  const auto get = [&](std::string_view key) -> std::optional<std::string> {
    std::string value;
    const rocksdb::Status status = database->Get({}, handles[1], rocksdb::Slice(key), &value);
    readable = readable && (status.ok() || status.IsNotFound());
    return status.ok() ? std::optional(std::move(value)) : std::nullopt;
  };
  const std::optional<std::string> version = get(kSchemaVersionKey);
  const std::optional<std::string> migration = get(kMigrationKey);
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    database->DestroyColumnFamilyHandle(handle);
  }
  return ParseSchemaState(readable ? version : "", migration, known, store)
      .transform([](const SchemaState&) {});
}

}  // namespace latchkey::storage
