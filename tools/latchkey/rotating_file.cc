// Plain writes and renames: who follows the file by its name sees each line once.
#include "tools/latchkey/rotating_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace latchkey::cli {

namespace {

tl::unexpected<Error> Failed(const std::filesystem::path& path, int code) {
  return Fail(v1::REASON_STORE_UNAVAILABLE,
              path.string() + ": " + std::generic_category().message(code) +
                  ": check the folder, its owner and the room on the disk");
}

std::filesystem::path Aside(const std::filesystem::path& path, int number) {
  return path.string() + "." + std::to_string(number);
}

}  // namespace

Result<uint64_t> ParseBytes(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, uint64_t>, 5> kUnits = {
      {{"", 1}, {"B", 1}, {"kB", 1000}, {"MB", 1'000'000}, {"GB", 1'000'000'000}}};
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  const auto* found = std::find_if(kUnits.begin(), kUnits.end(),
                                   [unit](const auto& one) { return one.first == unit; });
  if (error != std::errc() || found == kUnits.end() || number == 0 || number > 1'000'000'000) {
    return Fail(v1::REASON_MALFORMED,
                "\"" + std::string(text) + "\" is not a size: write 500kB, 10MB or 1GB");
  }
  return number * found->second;
}

RotatingFile::RotatingFile(std::filesystem::path path, uint64_t bytes_max, int keep)
    : path_(std::move(path)), bytes_max_(bytes_max), keep_(keep) {}

RotatingFile::~RotatingFile() {
  if (number_ >= 0) {
    ::close(number_);
  }
}

Result<std::unique_ptr<RotatingFile>> RotatingFile::Open(std::filesystem::path path,
                                                         uint64_t bytes_max, int keep) {
  std::unique_ptr<RotatingFile> file(new RotatingFile(std::move(path), bytes_max, keep));
  LK_CHECK(file->OpenFile());
  return file;
}

Result<void> RotatingFile::OpenFile() {
  number_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat facts = {};
  if (number_ < 0 || ::fchmod(number_, 0600) != 0 || ::fstat(number_, &facts) != 0) {
    return Failed(path_, errno);
  }
  if (!S_ISREG(facts.st_mode)) {
    return Failed(path_, EINVAL);
  }
  bytes_ = static_cast<uint64_t>(facts.st_size);
  return {};
}

Result<void> RotatingFile::Rotate() {
  ::close(number_);
  number_ = -1;
  std::error_code error;
  for (int number = keep_; number > 0; --number) {
    const std::filesystem::path from = number == 1 ? path_ : Aside(path_, number - 1);
    if (std::filesystem::exists(from, error)) {
      std::filesystem::rename(from, Aside(path_, number), error);
      if (error) {
        return Failed(from, error.value());
      }
    }
  }
  if (keep_ == 0) {
    std::filesystem::remove(path_, error);
  }
  return OpenFile();
}

Result<void> RotatingFile::Add(std::string_view line) {
  if (bytes_max_ > 0 && bytes_ > 0 && bytes_ + line.size() + 1 > bytes_max_) {
    LK_CHECK(Rotate());
  }
  const std::string text = std::string(line) + "\n";
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(number_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return Failed(path_, written == 0 ? EIO : errno);
    }
    rest.remove_prefix(static_cast<size_t>(written));
    bytes_ += static_cast<uint64_t>(written);
  }
  return {};
}

}  // namespace latchkey::cli
