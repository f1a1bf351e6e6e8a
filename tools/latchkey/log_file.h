// A copy of a cell's log in a file, and the check that what was read is one chain, wherever it came
// from. The file is "latchkey log 1\n", then each record (v1.LogRecord) behind its length of 4
// bytes, big-endian. It only ever grows; a record that was not written to its end is cut off before
// it grows again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "proto/log_chain.h"
#include "proto/result.h"

namespace latchkey::cli {

// Walks along a log, record by record from its oldest.
class LogWalk {
 public:
  // With `keep`, it is also looked for that head.
  explicit LogWalk(std::optional<LogHead> keep = std::nullopt) : wanted_(std::move(keep)) {}

  // The next record. Error REASON_MALFORMED names the first that is broken, missing, or comes
  // twice; the walk stays before it.
  Result<void> Add(std::string_view record);
  // At the end: what is missing at its begin must be named as erased by an entry of the chain, and
  // a head that was looked for must have been there. Error REASON_MALFORMED.
  Result<void> Finish() const;

  // Of an empty log: sequence 0.
  const LogHead& head() const { return head_; }

  // Before the first record.
  const LogHead& begin() const { return begin_; }

  uint64_t records() const { return records_; }

 private:
  bool IsWanted(const LogHead& head) const { return wanted_ && *wanted_ == head; }

  std::optional<LogHead> wanted_;
  bool found_ = false;
  LogHead begin_;
  LogHead head_;
  uint64_t records_ = 0;
  bool begin_named_ = false;
};

// What reading a copy found.
struct LogCopy {
  uintmax_t bytes = 0;  // up to the end of the last whole record
  bool torn = false;    // something that is no whole record follows
};

// Gives each record in order until `visit` fails, whose error it returns. Errors
// REASON_STORE_UNAVAILABLE: the file cannot be read; REASON_MALFORMED: it is no copy of a log.
Result<LogCopy> ReadLogCopy(const std::filesystem::path& path,
                            const std::function<Result<void>(std::string_view)>& visit);

// Makes a file of its own user (0600), or opens one that ReadLogCopy has read, cut to `bytes`.
// Not copyable.
class LogCopyWriter {
 public:
  static Result<LogCopyWriter> Open(const std::filesystem::path& path,
                                    std::optional<uintmax_t> bytes);
  ~LogCopyWriter();
  LogCopyWriter(LogCopyWriter&& other) noexcept;
  LogCopyWriter& operator=(LogCopyWriter&&) = delete;
  LogCopyWriter(const LogCopyWriter&) = delete;
  LogCopyWriter& operator=(const LogCopyWriter&) = delete;

  // Error REASON_STORE_UNAVAILABLE: it cannot be written.
  Result<void> Add(std::string_view record);
  // What was added is on disk.
  Result<void> Sync();

 private:
  LogCopyWriter(std::filesystem::path path, int number) : path_(std::move(path)), number_(number) {}

  std::filesystem::path path_;
  int number_ = -1;
  std::string waiting_;
};

}  // namespace latchkey::cli
