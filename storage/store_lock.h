// Who has a store open: RocksDB keeps a lock on the file LOCK in its folder, and the kernel knows
// which process that is.
#pragma once

#include <filesystem>
#include <optional>

#include <sys/types.h>

namespace latchkey::storage {

// The process that has the store in `path` open; nullopt: none has, or there is no store. Not to be
// called by a process that has it open itself: looking would take its own lock away.
std::optional<pid_t> LockHolder(const std::filesystem::path& path);

}  // namespace latchkey::storage
