// A reader of RocksDB's log format that looks at checksums alone.
#include "storage/log_scan.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace latchkey::storage {

namespace {

constexpr size_t kBlockBytes = 32768;
constexpr size_t kHeaderBytes = 7;
constexpr uint8_t kTypeMax = 4;  // full, first, middle, last; logs are not recycled here
constexpr uint32_t kPolynomial = 0x82f63b78;
constexpr uint32_t kMask = 0xa282ead8;

uint32_t Crc32c(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> made{};
    for (uint32_t i = 0; i < made.size(); ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) {
        value = (value & 1) != 0 ? value >> 1 ^ kPolynomial : value >> 1;
      }
      made.at(i) = value;
    }
    return made;
  }();
  uint32_t crc = 0xffffffff;
  for (const char byte : bytes) {
    crc = crc >> 8 ^ table.at((crc ^ static_cast<uint8_t>(byte)) & 0xff);
  }
  return crc ^ 0xffffffff;
}

uint32_t ByteAt(std::string_view bytes, size_t at) {
  return static_cast<uint8_t>(bytes[at]);
}

// Bytes of the record at the begin of `block`, header included; 0: there is no whole one.
size_t RecordAt(std::string_view block) {
  if (block.size() < kHeaderBytes) {
    return 0;
  }
  const size_t length = ByteAt(block, 4) | ByteAt(block, 5) << 8;
  const uint32_t type = ByteAt(block, 6);
  if (type == 0 || type > kTypeMax || kHeaderBytes + length > block.size()) {
    return 0;
  }
  const uint32_t stored =
      ByteAt(block, 0) | ByteAt(block, 1) << 8 | ByteAt(block, 2) << 16 | ByteAt(block, 3) << 24;
  const uint32_t crc = Crc32c(block.substr(kHeaderBytes - 1, length + 1));
  return stored == (crc >> 15 | crc << 17) + kMask ? kHeaderBytes + length : 0;
}

// A whole record at any place of `block`.
bool AnyRecord(std::string_view block) {
  for (size_t at = 0; at + kHeaderBytes <= block.size(); ++at) {
    if (RecordAt(block.substr(at)) > 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

LogEnd FindLogEnd(std::string_view log) {
  bool damaged = false;
  for (size_t begin = 0; begin < log.size(); begin += kBlockBytes) {
    const std::string_view block = log.substr(begin, kBlockBytes);
    if (damaged && RecordAt(block) > 0) {
      return LogEnd::kDamagedInside;
    }
    size_t at = 0;
    while (!damaged && at + kHeaderBytes <= block.size()) {
      const size_t size = RecordAt(block.substr(at));
      damaged = size == 0;
      at += size;
    }
    if (damaged && at < block.size() && AnyRecord(block.substr(at + 1))) {
      return LogEnd::kDamagedInside;
    }
    damaged = damaged || (at < block.size() && block.size() < kBlockBytes);
  }
  return damaged ? LogEnd::kTorn : LogEnd::kWhole;
}

}  // namespace latchkey::storage
