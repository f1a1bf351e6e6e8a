// RocksDB's own notes ("LOG" in the store's folder), kept by a logger that cannot fail: the one of
// Debian's build aborts the process at the second note that a full or failing disk does not take.
#pragma once

#include <filesystem>
#include <memory>

#include <rocksdb/env.h>

namespace latchkey::storage {

// Warnings and errors go to `folder`/LOG, at most 4 MB, then that becomes LOG.old. What cannot be
// written is dropped.
std::shared_ptr<rocksdb::Logger> MakeRocksDbLog(const std::filesystem::path& folder);

}  // namespace latchkey::storage
