// The manifest of a backup as text. Its sum may be right and the text a stranger's all the same.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "tools/latchkey/backup_files.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;

Json JsonOf(const Manifest& manifest) {
  Json json = {{"format", kFormat},
               {"backup", manifest.backup},
               {"made_at_ms", manifest.made_at.ms},
               {"cell", manifest.cell},
               {"host", manifest.host},
               {"root", manifest.root},
               {"keys", manifest.keys == Keys::kWith},
               {"store",
                {{"at_ms", manifest.store.at.ms},
                 {"bytes", manifest.store.bytes},
                 {"files", manifest.store.files},
                 {"sha256", manifest.store_sha256}}},
               {"files", Json::array()}};
  for (const KeptFile& file : manifest.files) {
    json["files"].push_back({{"path", file.path},
                             {"bytes", file.bytes},
                             {"sha256", file.sha256},
                             {"secret", file.secret}});
  }
  return json;
}

// A path that stays where it belongs.
bool IsInside(const std::string& path) {
  const fs::path name(path);
  return !path.empty() && path.find('\0') == std::string::npos && name.is_relative() &&
         std::none_of(name.begin(), name.end(), [](const fs::path& part) {
           return part == ".." || part == "." || part.empty();
         });
}

// A whole number from 0 to `most`. Throws as `at` does; what is too large counts as of another
// type.
uint64_t NumberIn(const Json& json, const char* key, uint64_t most) {
  const uint64_t number = json.at(key).get_ref<const Json::number_unsigned_t&>();
  return number <= most ? number : Json().get<uint64_t>();
}

// Throws what was never written by us.
Manifest ManifestOf(const Json& json) {
  Manifest manifest;
  manifest.backup = static_cast<uint32_t>(NumberIn(json, "backup", UINT32_MAX));
  manifest.made_at.ms = static_cast<int64_t>(NumberIn(json, "made_at_ms", INT64_MAX));
  manifest.cell = json.at("cell").get<std::string>();
  manifest.host = json.at("host").get<std::string>();
  manifest.root = json.at("root").get<std::string>();
  manifest.keys = json.at("keys").get<bool>() ? Keys::kWith : Keys::kWithout;
  const Json& store = json.at("store");
  manifest.store = {manifest.backup,
                    Timestamp{static_cast<int64_t>(NumberIn(store, "at_ms", INT64_MAX))},
                    NumberIn(store, "bytes", UINT64_MAX),
                    static_cast<uint32_t>(NumberIn(store, "files", UINT32_MAX)), false};
  manifest.store_sha256 = store.at("sha256").get<std::string>();
  for (const Json& file : json.at("files")) {
    manifest.files.push_back({file.at("path").get<std::string>(),
                              NumberIn(file, "bytes", UINT64_MAX),
                              file.at("sha256").get<std::string>(), file.at("secret").get<bool>()});
  }
  return manifest;
}

}  // namespace

std::string ManifestText(const Manifest& manifest) {
  return JsonOf(manifest).dump(1) + "\n";
}

Result<Manifest> ParseManifest(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  const auto format = json.is_object() ? json.find("format") : json.end();
  if (format == json.end() || *format != kFormat) {
    return Fail(v1::REASON_MALFORMED, "was written by other software than this");
  }
  const auto wrong = [] {
    return Fail(v1::REASON_MALFORMED,
                "is not as it was written: use another backup (`latchkey backup list`)");
  };
  try {
    Manifest manifest = ManifestOf(json);
    const bool inside = std::all_of(manifest.files.begin(), manifest.files.end(),
                                    [](const KeptFile& file) { return IsInside(file.path); });
    return inside ? Result<Manifest>(std::move(manifest)) : wrong();
  } catch (const Json::exception&) {
    return wrong();
  }
}

}  // namespace latchkey::cli
