// What a cell needs besides its store, as a backup keeps it, and the manifest by which each byte of
// a backup can be checked later.
//
//   DIR/                       0700; [backup] dir of latchkey.toml
//     store/                   storage/rocksdb_backup.h
//     cells/{id}/              beside the store's backup {id}; made whole, then renamed
//       manifest.json          Manifest
//       manifest.sha256        of manifest.json, 64 of lower-case hex
//       files/...              as in the data folder, 0600
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"
#include "storage/backup.h"
#include "tools/latchkey/folder.h"

namespace latchkey::cli {

struct KeptFile {
  std::string path;  // from the data folder, with '/'
  uint64_t bytes = 0;
  std::string sha256;   // lower-case hex
  bool secret = false;  // nobody but its owner could read it
};

enum class Keys : uint8_t { kWith, kWithout };

struct Manifest {
  uint32_t backup = 0;
  Timestamp made_at;
  std::string cell;
  std::string host;
  std::string root;  // the data folder that was backed up
  Keys keys = Keys::kWith;
  storage::BackupFacts store;
  std::string store_sha256;  // of the store's list of files, which has their checksums
  std::vector<KeptFile> files;
};

std::filesystem::path StoreOf(const std::filesystem::path& dir);                  // DIR/store
std::filesystem::path CellOf(const std::filesystem::path& dir, uint32_t backup);  // DIR/cells/{id}

// Copies what the cell's server needs into DIR/cells/{id}: not its store, not what the broker
// retains (mosquitto.db), not cars, phones and logs. Keys::kWithout leaves out private keys, the
// administrator's token and the numbers of cars. Nothing is there before all is. Errors
// REASON_STORE_UNAVAILABLE: a file cannot be read or written.
Result<Manifest> KeepCell(const Folder& folder, const std::filesystem::path& dir,
                          const storage::BackupFacts& store, Keys keys);
// The text of manifest.json, and back. Errors REASON_MALFORMED: it is none of this software's, or
// names a file outside of the data folder; the text begins with a verb, the file's name before it.
std::string ManifestText(const Manifest& manifest);
Result<Manifest> ParseManifest(std::string_view text);
// nullopt: the backup has the store alone. Error REASON_MALFORMED: it is not as it was written.
Result<std::optional<Manifest>> ReadManifest(const std::filesystem::path& dir, uint32_t backup);
// Are all files as they were written? Error REASON_MALFORMED names the first that is not.
Result<void> CheckFiles(const std::filesystem::path& dir, const Manifest& manifest);
// Writes the files into `root`, a data folder that is made. In latchkey.toml and mosquitto.conf the
// paths below the old data folder become paths below `named`. Errors as of CheckFiles and
// WriteFile.
Result<void> GiveBack(const std::filesystem::path& dir, const Manifest& manifest,
                      const std::filesystem::path& root, const std::filesystem::path& named);
// Forgets what lies beside backups of the store that are no more, and what was begun and not ended.
void ForgetCells(const std::filesystem::path& dir, const std::vector<storage::BackupFacts>& kept);

}  // namespace latchkey::cli
