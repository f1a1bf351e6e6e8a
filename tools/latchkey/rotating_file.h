// A file of lines that is put aside when it is full: FILE is the newest, FILE.1 the one before, up
// to FILE.{keep}. Only this user can read them (0600).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include "proto/result.h"

namespace latchkey::cli {

// "500kB", "10MB", "1GB"; a bare number is bytes. Error REASON_MALFORMED.
Result<uint64_t> ParseBytes(std::string_view text);

// One thread; not copyable.
class RotatingFile {
 public:
  // Goes on where a file that is there ends. `bytes_max` 0: it is never put aside. Error
  // REASON_STORE_UNAVAILABLE: it cannot be opened or is no plain file.
  static Result<std::unique_ptr<RotatingFile>> Open(std::filesystem::path path, uint64_t bytes_max,
                                                    int keep);
  ~RotatingFile();
  RotatingFile(const RotatingFile&) = delete;
  RotatingFile& operator=(const RotatingFile&) = delete;

  // Adds one line, in the next file when this one would become larger than it may. Error
  // REASON_STORE_UNAVAILABLE: it is not written, or not whole.
  Result<void> Add(std::string_view line);

 private:
  RotatingFile(std::filesystem::path path, uint64_t bytes_max, int keep);
  Result<void> OpenFile();
  Result<void> Rotate();

  const std::filesystem::path path_;
  const uint64_t bytes_max_;
  const int keep_;
  int number_ = -1;
  uint64_t bytes_ = 0;
};

}  // namespace latchkey::cli
