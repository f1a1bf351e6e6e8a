// The inbox folder of a gammu-smsd with the files service: what came to the car's modem by SMS. A
// message with 8-bit data is one file ending in .bin; texts are not for the car, and stay.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proto/result.h"

namespace latchkey::cli {

struct SmsFile {
  std::filesystem::path path;
  std::string bytes;  // at most one byte more than an SMS may have
};

class SmsInbox {
 public:
  explicit SmsInbox(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Error REASON_STORE_UNAVAILABLE: there is no such folder.
  static Result<void> Check(const std::filesystem::path& folder);

  // Messages that were there at the last call too, with the same size, so that none is read while
  // it is being written; at most 32, in order of their names, which is the order they came in. To
  // be removed when the car has them: what is not comes again.
  std::vector<SmsFile> Poll();

  // Error REASON_STORE_UNAVAILABLE: the file stays.
  static Result<void> Remove(const SmsFile& file);

 private:
  std::filesystem::path folder_;
  std::map<std::filesystem::path, uintmax_t> seen_;  // at the last call, by name, with size
};

}  // namespace latchkey::cli
