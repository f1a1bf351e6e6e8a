// The door to zlib.
#include "tools/fleet/file.h"

#include <algorithm>
#include <array>
#include <memory>
#include <system_error>
#include <utility>

#include <zlib.h>

namespace latchkey::fleet {
namespace {

namespace fs = std::filesystem;

// "TripA04.csv.gz" -> "TripA04"
std::string NameOf(const fs::path& path) {
  std::string name = path.filename().string();
  for (const std::string_view ending : {".gz", ".csv"}) {
    if (name.ends_with(ending)) {
      name.resize(name.size() - ending.size());
    }
  }
  return name;
}

bool IsDrive(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.ends_with(".csv") || name.ends_with(".csv.gz");
}

}  // namespace

Result<std::string> ReadMaybeZipped(const fs::path& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose_r);
  if (!file) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, path.string() + " cannot be opened");
  }
  std::string bytes;
  std::array<char, 65536> block{};
  for (;;) {
    const int read = gzread(file.get(), block.data(), block.size());
    int error = Z_OK;
    const char* text = gzerror(file.get(), &error);
    if (read < 0 || error != Z_OK) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  path.string() + " cannot be read: " + (text == nullptr ? "" : text));
    }
    if (read == 0) {
      return bytes;
    }
    if (bytes.size() + static_cast<size_t>(read) > kDriveBytesMax) {
      return Fail(v1::REASON_TOO_LARGE, path.string() + " is larger than 256 MB unzipped");
    }
    bytes.append(block.data(), static_cast<size_t>(read));
  }
}

Result<Drive> LoadDrive(const fs::path& path) {
  LK_TRY(const std::string bytes, ReadMaybeZipped(path));
  const std::string name = NameOf(path);
  std::optional<Timestamp> start;
  const fs::path overview = path.parent_path() / "Overview.tsv";
  std::error_code ignored;
  if (fs::exists(overview, ignored)) {
    LK_TRY(const std::string text, ReadMaybeZipped(overview));
    start = StartOfTrip(text, name);
  }
  return ReadDrive(bytes, name, start);
}

Result<std::vector<Drive>> LoadDrives(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (IsDrive(it->path())) {
      paths.push_back(it->path());
    }
  }
  if (paths.empty()) {
    return Fail(v1::REASON_MALFORMED,
                "folder " + folder.string() + " has no recorded drives (*.csv, *.csv.gz)");
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Drive> drives;
  for (const fs::path& path : paths) {
    LK_TRY(Drive drive, LoadDrive(path));
    drives.push_back(std::move(drive));
  }
  return drives;
}

}  // namespace latchkey::fleet
