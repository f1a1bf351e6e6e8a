// Records of the bridge's store: a byte for the kind, one for the key's length, key, value. The
// first byte's case says whether the value comes with its checksum ('a' to 'i') or gets a right one
// ('A' to 'I'), so that what follows the checksum is reached.
#include <string>

#include "storage/records.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {
namespace {

// RFC 3720 appendix B.4, bit by bit.
uint32_t Crc32c(std::string_view bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1U) != 0 ? (crc >> 1U) ^ 0x82f63b78U : crc >> 1U;
    }
  }
  return ~crc;
}

std::string BigEndian(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes += static_cast<char>(value >> shift & 0xffU);
  }
  return bytes;
}

}  // namespace

void Try(std::string_view input) {
  if (input.size() < 2) {
    return;
  }
  const bool seal = input[0] >= 'A' && input[0] <= 'I';
  const int number = input[0] - (seal ? 'A' : 'a');
  if (number < 0 || number > 8) {
    return;
  }
  const auto kind = static_cast<storage::Kind>(number);
  const std::string key(input.substr(2, static_cast<uint8_t>(input[1])));
  std::string value(input.substr(2 + key.size()));
  if (seal) {
    std::string covered(1, static_cast<char>(number));
    covered += BigEndian(static_cast<uint32_t>(key.size())) + key + value;
    value += BigEndian(Crc32c(covered));
  }
  const Result<storage::Record> record = storage::Decode(kind, key, value);
  if (record) {
    const storage::KeyValue again = storage::Encode(*record);
    Require(again.kind == kind && again.key == key && again.value == value,
            "a record has one encoding");
  }
}

}  // namespace latchkey::fuzz
