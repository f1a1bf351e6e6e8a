// Backups of a RocksDbStore that is open: RocksDB's own incremental backup engine. A table file is
// copied once and shared by all backups that need it; each file has a checksum.
//
//   {folder}/meta/{id}         which files a backup is made of, with their checksums
//   {folder}/shared_checksum/  table files
//   {folder}/private/{id}/     logs, MANIFEST, CURRENT of one backup
//   {folder}/LOCK              one process at a time writes here
//
// What is begun and not finished is no backup: its files are deleted when the next one is made.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "proto/result.h"
#include "storage/backup.h"
#include "storage/rocksdb_store.h"

namespace latchkey::storage {

struct BackupOrder {
  std::filesystem::path folder;                    // made with mode 0700 when it is not there
  uint64_t bytes_per_second = uint64_t{16} << 20;  // read and written, together
  uint32_t keep = 0;                               // the newest so many stay; 0: all
  uint64_t free_bytes_min = uint64_t{256} << 20;   // stay free in the folder
};

// Makes a backup of all that was committed, durably or not, while the store goes on; then forgets
// the oldest beyond `keep`. `go_on` is called every 4 MB or so: false ends it, and nothing of it
// stays. From any thread. Errors REASON_STORE_UNAVAILABLE: too little room (the text says how
// much), a disk that fails, another process is at it, the store is being opened again;
// REASON_CANCELLED: `go_on` said so.
Result<BackupFacts> MakeBackup(const RocksDbStore& store, const BackupOrder& order,
                               const std::function<bool(const BackupProgress&)>& go_on);

// The backups in a folder, oldest first; none when it is not there. Error REASON_STORE_UNAVAILABLE:
// it cannot be read.
Result<std::vector<BackupFacts>> ListBackups(const std::filesystem::path& folder);

// Reads every byte of a backup. Error REASON_STORE_UNAVAILABLE: it is not there, or a file of it is
// not as it was written; the text names it.
Result<void> VerifyBackup(const std::filesystem::path& folder, uint32_t id);

// Writes the store of a backup into `to`, which must not be there or be empty; checks each file on
// the way. On an error what is in `to` is no store. Errors as of VerifyBackup, and when `to` cannot
// be written.
Result<void> RestoreBackup(const std::filesystem::path& folder, uint32_t id,
                           const std::filesystem::path& to);

}  // namespace latchkey::storage
