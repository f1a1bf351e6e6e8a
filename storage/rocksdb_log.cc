// See rocksdb_log.h.
#include "storage/rocksdb_log.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace latchkey::storage {

namespace {

constexpr size_t kLineMax = 2048;
constexpr size_t kBytesMax = size_t{4} << 20;

class FileLog final : public rocksdb::Logger {
 public:
  explicit FileLog(std::filesystem::path folder)
      : rocksdb::Logger(rocksdb::InfoLogLevel::WARN_LEVEL), folder_(std::move(folder)) {
    Open();
  }

  ~FileLog() override { ::close(file_); }

  FileLog(const FileLog&) = delete;
  FileLog& operator=(const FileLog&) = delete;

  using rocksdb::Logger::Logv;

  void Logv(const char* format, va_list arguments) override {
    std::array<char, kLineMax> line{};
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    ::gmtime_r(&now, &utc);
    size_t size = std::strftime(line.data(), line.size(), "%Y-%m-%dT%H:%M:%SZ ", &utc);
    const int more = std::vsnprintf(line.data() + size, line.size() - size, format, arguments);
    size = std::min(size + static_cast<size_t>(std::max(more, 0)), line.size() - 1);
    line.at(size++) = '\n';
    const std::scoped_lock lock(mutex_);
    if (bytes_ + size > kBytesMax) {
      std::error_code ignored;
      std::filesystem::rename(folder_ / "LOG", folder_ / "LOG.old", ignored);
      ::close(file_);
      Open();
    }
    const ssize_t written = ::write(file_, line.data(), size);
    bytes_ += static_cast<size_t>(std::max<ssize_t>(written, 0));
  }

 private:
  void Open() {
    file_ = ::open((folder_ / "LOG").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    std::error_code unknown;
    const auto size = std::filesystem::file_size(folder_ / "LOG", unknown);
    bytes_ = unknown ? 0 : static_cast<size_t>(size);
  }

  std::filesystem::path folder_;
  std::mutex mutex_;
  int file_ = -1;
  size_t bytes_ = 0;
};

}  // namespace

std::shared_ptr<rocksdb::Logger> MakeRocksDbLog(const std::filesystem::path& folder) {
  return std::make_shared<FileLog>(folder);
}

}  // namespace latchkey::storage
