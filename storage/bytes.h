// Numbers and times of the store's records as bytes, and the checksum over them (pure).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "proto/time.h"

namespace latchkey::storage {

// CRC-32C of `bytes` after those that gave `crc`; 0: they are the first.
uint32_t Crc32c(uint32_t crc, std::string_view bytes);
// Appends the low `bytes` bytes of a number, big-endian.
void PutNumber(std::string& out, uint64_t value, size_t bytes);
// Appends milliseconds since 1970, 8 bytes, two's complement.
void PutTime(std::string& out, Timestamp time);

// Takes fixed pieces off the front; once something is missing, everything after is too.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes) {}

  std::string_view Take(size_t count) {
    if (rest_.size() < count) {
      ok_ = false;
      return {};
    }
    const std::string_view piece = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return piece;
  }

  uint64_t Number(size_t bytes) {
    uint64_t value = 0;
    for (const char byte : Take(bytes)) {
      value = value << 8 | static_cast<uint8_t>(byte);
    }
    return value;
  }

  Timestamp Time() { return Timestamp{static_cast<int64_t>(Number(8))}; }

  std::string Rest() { return std::string(std::exchange(rest_, {})); }

  bool ok() const { return ok_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace latchkey::storage
