// See log_file.h.
#include "tools/latchkey/log_file.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace latchkey::cli {

namespace {

constexpr std::string_view kMagic = "latchkey log 1\n";
constexpr size_t kLengthBytes = 4;
constexpr size_t kWaitingMax = size_t{1} << 16;
constexpr mode_t kOwnerOnly = 0600;

tl::unexpected<Error> Unusable(const std::filesystem::path& path, const std::string& what) {
  return Fail(v1::REASON_STORE_UNAVAILABLE,
              path.string() + " " + what + ": " + std::system_category().message(errno));
}

}  // namespace

Result<void> LogWalk::Add(std::string_view record) {
  const Result<LogLink> link = OpenLogRecord(record);
  if (!link) {
    return Fail(v1::REASON_MALFORMED, "the record after " + std::to_string(head_.sequence) +
                                          " is broken: " + link.error().text);
  }
  if (records_ == 0) {
    begin_ = link->before;
    head_ = begin_;
    found_ = IsWanted(begin_);
    const LogHead empty;
    if (begin_.sequence == 0 && begin_ != empty) {
      return Fail(v1::REASON_MALFORMED,
                  "the log is broken at record 1: it says that there was one before");
    }
  }
  LK_CHECK(CheckFollows(head_, *link));
  head_ = link->head;
  ++records_;
  found_ = found_ || IsWanted(head_);
  if (link->entry && ErasedThrough(*link->entry) == begin_) {
    begin_named_ = true;
  }
  return {};
}

Result<void> LogWalk::Finish() const {
  if (begin_.sequence > 0 && !begin_named_) {
    return Fail(v1::REASON_MALFORMED,
                "records 1 to " + std::to_string(begin_.sequence) +
                    " are missing and no entry says that they were erased; compare with an older "
                    "export");
  }
  if (wanted_ && !found_) {
    const bool before = wanted_->sequence < begin_.sequence;
    return Fail(v1::REASON_MALFORMED,
                before ? "the head " + std::to_string(wanted_->sequence) +
                             " is in the part that was erased: verify an export that has it"
                       : "the head " + std::to_string(wanted_->sequence) +
                             " that was written down is not in this log: it was written anew; "
                             "compare with an older export");
  }
  return {};
}

Result<LogCopy> ReadLogCopy(const std::filesystem::path& path,
                            const std::function<Result<void>(std::string_view)>& visit) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return Unusable(path, "cannot be read");
  }
  std::string magic(kMagic.size(), '\0');
  file.read(magic.data(), static_cast<std::streamsize>(magic.size()));
  if (magic != kMagic) {
    return Fail(v1::REASON_MALFORMED, path.string() + " is no copy of a log: name another file");
  }
  LogCopy copy;
  copy.bytes = kMagic.size();
  for (;;) {
    std::array<char, kLengthBytes> prefix{};
    file.read(prefix.data(), prefix.size());
    if (file.gcount() == 0) {
      return copy;
    }
    size_t length = 0;
    for (const char byte : prefix) {
      length = length << 8 | static_cast<unsigned char>(byte);
    }
    std::string record(file.gcount() == kLengthBytes && length <= kLogRecordBytesMax ? length : 0,
                       '\0');
    file.read(record.data(), static_cast<std::streamsize>(record.size()));
    if (record.empty() || static_cast<size_t>(file.gcount()) != record.size()) {
      copy.torn = true;
      return copy;
    }
    LK_CHECK(visit(record));
    copy.bytes += kLengthBytes + record.size();
  }
}

Result<LogCopyWriter> LogCopyWriter::Open(const std::filesystem::path& path,
                                          std::optional<uintmax_t> bytes) {
  const int number =
      open(path.c_str(), O_WRONLY | O_CLOEXEC | O_CREAT | (bytes ? 0 : O_EXCL), kOwnerOnly);
  if (number < 0) {
    return Unusable(path, "cannot be opened");
  }
  LogCopyWriter writer(path, number);
  if (bytes && (ftruncate(number, static_cast<off_t>(*bytes)) != 0 ||
                lseek(number, static_cast<off_t>(*bytes), SEEK_SET) < 0)) {
    return Unusable(path, "cannot be continued");
  }
  if (!bytes) {
    writer.waiting_ = kMagic;
  }
  return writer;
}

LogCopyWriter::~LogCopyWriter() {
  if (number_ >= 0) {
    static_cast<void>(close(number_));
  }
}

LogCopyWriter::LogCopyWriter(LogCopyWriter&& other) noexcept
    : path_(std::move(other.path_)),
      number_(std::exchange(other.number_, -1)),
      waiting_(std::move(other.waiting_)) {}

Result<void> LogCopyWriter::Add(std::string_view record) {
  for (size_t i = kLengthBytes; i > 0; --i) {
    waiting_.push_back(static_cast<char>(record.size() >> (8 * (i - 1)) & 0xffU));
  }
  waiting_ += record;
  return waiting_.size() > kWaitingMax ? Sync() : Result<void>{};
}

Result<void> LogCopyWriter::Sync() {
  std::string_view left = waiting_;
  while (!left.empty()) {
    const ssize_t written = write(number_, left.data(), left.size());
    if (written < 0 && errno != EINTR) {
      return Unusable(path_, "cannot be written");
    }
    left.remove_prefix(written > 0 ? static_cast<size_t>(written) : 0);
  }
  waiting_.clear();
  return fdatasync(number_) == 0 ? Result<void>{} : Unusable(path_, "cannot be synced");
}

}  // namespace latchkey::cli
