// See backup_files.h.
#include "tools/latchkey/backup_files.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <system_error>
#include <utility>

#include "proto/crypto.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 5> kParts = {"ca", "broker", "bridge", "fleets",
                                                    "operators"};
constexpr size_t kFilesMax = 1'000'000;

std::string Hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    text += kDigits[value >> 4U];
    text += kDigits[value & 15U];
  }
  return text;
}

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// Of the cell's server, and not the store's or a log.
bool IsKept(std::string_view path) {
  const bool other = path.rfind("bridge/store", 0) == 0 || path.rfind("bridge/backup/", 0) == 0 ||
                     path.rfind("broker/mosquitto.db", 0) == 0;
  return !other && !EndsWith(path, ".log.1") && path.find(".new.") == std::string_view::npos &&
         (path == "broker/rings.log" || !EndsWith(path, ".log"));
}

bool IsKey(std::string_view path) {
  return EndsWith(path, ".key") || EndsWith(path, "/admin.token") ||
         path.rfind("bridge/contacts/", 0) == 0;
}

Result<std::vector<std::string>> Names(const Folder& folder, Keys keys) {
  std::vector<std::string> names = {"cell.json"};
  std::error_code error;
  for (const std::string_view part : kParts) {
    if (!fs::is_directory(folder.root() / part, error)) {
      continue;
    }
    fs::recursive_directory_iterator at(folder.root() / part, error);
    for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
      const std::string name = at->path().lexically_relative(folder.root()).generic_string();
      const auto type = at->symlink_status(error).type();
      if (type == fs::file_type::directory && !IsKept(name + "/")) {
        at.disable_recursion_pending();
      } else if (type == fs::file_type::regular && IsKept(name) &&
                 (keys == Keys::kWith || !IsKey(name))) {
        names.push_back(name);
      }
    }
    if (error || names.size() > kFilesMax) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  (folder.root() / part).string() + " cannot be listed: " +
                      (error ? error.message() : std::string("more than a million files")));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

tl::unexpected<Error> NotAsWritten(const fs::path& path) {
  return Fail(v1::REASON_MALFORMED, path.string() +
                                        " is not as it was written: use another backup "
                                        "(`latchkey backup list`)");
}

std::string Replaced(std::string text, const std::string& old, const std::string& fresh) {
  for (size_t at = text.find(old); at != std::string::npos; at = text.find(old, at)) {
    text.replace(at, old.size(), fresh);
    at += fresh.size();
  }
  return text;
}

Result<KeptFile> KeepFile(const Folder& folder, const std::string& name, const fs::path& to) {
  LK_TRY(const std::string bytes, ReadFile(folder.root() / name));
  std::error_code error;
  const auto mode = fs::status(folder.root() / name, error).permissions();
  const bool secret =
      !error && (mode & (fs::perms::group_all | fs::perms::others_all)) == fs::perms::none;
  LK_CHECK(WriteFile(to / "files" / name, bytes, Secrecy::kSecret));
  return KeptFile{name, bytes.size(), Hex(Sha256(bytes)), secret};
}

}  // namespace

fs::path StoreOf(const fs::path& dir) {
  return dir / "store";
}

fs::path CellOf(const fs::path& dir, uint32_t backup) {
  return dir / "cells" / std::to_string(backup);
}

Result<Manifest> KeepCell(const Folder& folder, const fs::path& dir,
                          const storage::BackupFacts& store, Keys keys) {
  LK_TRY(const Cell cell, folder.LoadCell());
  LK_TRY(const std::string list, ReadFile(StoreOf(dir) / "meta" / std::to_string(store.id)));
  Manifest manifest;
  manifest.backup = store.id;
  manifest.made_at = ReadClocks().wall;
  manifest.cell = cell.name;
  manifest.host = cell.host;
  manifest.root = folder.root().string();
  manifest.keys = keys;
  manifest.store = store;
  manifest.store_sha256 = Hex(Sha256(list));
  const fs::path whole = CellOf(dir, store.id);
  const fs::path part = whole.string() + ".part";
  std::error_code error;
  fs::remove_all(part, error);
  LK_TRY(const std::vector<std::string> names, Names(folder, keys));
  for (const std::string& name : names) {
    LK_TRY(KeptFile kept, KeepFile(folder, name, part));
    manifest.files.push_back(std::move(kept));
  }
  const std::string text = ManifestText(manifest);
  LK_CHECK(WriteFile(part / "manifest.json", text, Secrecy::kSecret));
  LK_CHECK(WriteFile(part / "manifest.sha256", Hex(Sha256(text)) + "\n", Secrecy::kSecret));
  fs::rename(part, whole, error);
  if (error) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, whole.string() + ": " + error.message());
  }
  return manifest;
}

Result<std::optional<Manifest>> ReadManifest(const fs::path& dir, uint32_t backup) {
  const fs::path cell = CellOf(dir, backup);
  std::error_code error;
  if (!fs::exists(cell, error)) {
    return std::optional<Manifest>();
  }
  LK_TRY(const std::string text, ReadFile(cell / "manifest.json"));
  LK_TRY(const std::string sum, ReadFile(cell / "manifest.sha256"));
  if (sum != Hex(Sha256(text)) + "\n") {
    return NotAsWritten(cell / "manifest.json");
  }
  Result<Manifest> manifest = ParseManifest(text);
  if (!manifest) {
    return Fail(manifest.error().reason,
                (cell / "manifest.json").string() + " " + manifest.error().text);
  }
  if (manifest->backup != backup) {
    return NotAsWritten(cell / "manifest.json");
  }
  return std::optional(std::move(*manifest));
}

Result<void> CheckFiles(const fs::path& dir, const Manifest& manifest) {
  const fs::path list = StoreOf(dir) / "meta" / std::to_string(manifest.backup);
  const Result<std::string> store = ReadFile(list);
  if (!store || Hex(Sha256(*store)) != manifest.store_sha256) {
    return NotAsWritten(list);
  }
  for (const KeptFile& file : manifest.files) {
    const fs::path path = CellOf(dir, manifest.backup) / "files" / file.path;
    const Result<std::string> bytes = ReadFile(path);
    if (!bytes || bytes->size() != file.bytes || Hex(Sha256(*bytes)) != file.sha256) {
      return NotAsWritten(path);
    }
  }
  return {};
}

Result<void> GiveBack(const fs::path& dir, const Manifest& manifest, const fs::path& root,
                      const fs::path& named) {
  for (const KeptFile& file : manifest.files) {
    const fs::path path = CellOf(dir, manifest.backup) / "files" / file.path;
    LK_TRY(std::string bytes, ReadFile(path));
    if (Hex(Sha256(bytes)) != file.sha256) {
      return NotAsWritten(path);
    }
    if (file.path == "bridge/latchkey.toml" || file.path == "broker/mosquitto.conf") {
      bytes = Replaced(std::move(bytes), manifest.root + "/", named.string() + "/");
    }
    LK_CHECK(WriteFile(root / file.path, bytes, file.secret ? Secrecy::kSecret : Secrecy::kPublic));
  }
  return {};
}

void ForgetCells(const fs::path& dir, const std::vector<storage::BackupFacts>& kept) {
  std::error_code error;
  std::vector<fs::path> gone;
  for (const auto& entry : fs::directory_iterator(dir / "cells", error)) {
    const std::string name = entry.path().filename().string();
    if (std::none_of(kept.begin(), kept.end(), [&](const storage::BackupFacts& one) {
          return std::to_string(one.id) == name;
        })) {
      gone.push_back(entry.path());
    }
  }
  for (const fs::path& path : gone) {
    fs::remove_all(path, error);
  }
}

}  // namespace latchkey::cli
