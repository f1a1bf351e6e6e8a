// A copy of an open store as it is at one moment, in a folder of the same file system: tables are
// linked, not copied, so it is there at once and takes room only when either of the two changes.
#pragma once

#include <cstdint>
#include <filesystem>

#include "proto/result.h"
#include "storage/rocksdb_store.h"

namespace latchkey::storage {

// Makes `folder` (mode 0700) beside live traffic; from any thread. A copy that is there already,
// left behind by who was killed, is removed first: it must be a folder for nothing else. Bytes of
// the files in it. Errors REASON_NOT_ALLOWED: another process has the copy that is there open;
// REASON_STORE_UNAVAILABLE: it cannot be made, or fewer than `room_min` bytes are free: the text
// says how many.
Result<uint64_t> MakeCheckpoint(const RocksDbStore& store, const std::filesystem::path& folder,
                                uint64_t room_min);

// What files below `folder` take on the disk that is not shared with another folder.
uint64_t OwnBytes(const std::filesystem::path& folder);

}  // namespace latchkey::storage
