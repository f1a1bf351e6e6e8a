// See row_bytes.h.
#include "storage/row_bytes.h"

#include <cstddef>

#include "storage/bytes.h"

namespace latchkey::storage {

namespace {

constexpr size_t kChecksumBytes = 4;

// `body`: format and fields.
std::string Checksum(Family family, std::string_view key, std::string_view body) {
  std::string header(1, static_cast<char>(family));
  PutNumber(header, key.size(), 4);
  const uint32_t crc = Crc32c(Crc32c(Crc32c(0, header), key), body);
  std::string out;
  PutNumber(out, crc, kChecksumBytes);
  return out;
}

}  // namespace

std::string Seal(Family family, std::string_view key, std::string_view fields) {
  std::string value;
  value.reserve(1 + fields.size() + kChecksumBytes);
  value.push_back(kRowFormat);
  value += fields;
  value += Checksum(family, key, value);
  return value;
}

Result<std::string_view> Unseal(Family family, std::string_view key, std::string_view value) {
  if (value.size() < 1 + kChecksumBytes) {
    return Fail(v1::REASON_MALFORMED,
                "the value is only " + std::to_string(value.size()) + " bytes: it was cut off");
  }
  const std::string_view body = value.substr(0, value.size() - kChecksumBytes);
  if (value.substr(body.size()) != Checksum(family, key, body)) {
    return Fail(v1::REASON_MALFORMED, "the checksum does not fit: the record is damaged");
  }
  if (body.front() != kRowFormat) {
    return Fail(v1::REASON_MALFORMED, "the value has format " +
                                          std::to_string(static_cast<uint8_t>(body.front())) +
                                          ", this software reads format 1");
  }
  return body.substr(1);
}

std::optional<CarKey> ParseCarKey(std::string_view key) {
  const size_t fleet_end = key.find('\0');
  if (fleet_end == std::string_view::npos) {
    return std::nullopt;
  }
  const size_t car_end = key.find('\0', fleet_end + 1);
  if (car_end == std::string_view::npos) {
    return std::nullopt;
  }
  const auto fleet = FleetId::Parse(key.substr(0, fleet_end));
  const auto car = CarId::Parse(key.substr(fleet_end + 1, car_end - fleet_end - 1));
  if (!fleet || !car) {
    return std::nullopt;
  }
  return CarKey{{*fleet, *car}, key.substr(car_end + 1)};
}

std::string KeyPrefix(const CarRef& ref) {
  LK_ASSERT(!ref.fleet.empty() && !ref.car.empty());
  std::string prefix = ref.fleet.str();
  prefix.push_back('\0');
  prefix += ref.car.str();
  prefix.push_back('\0');
  return prefix;
}

std::string AfterPrefix(std::string prefix) {
  LK_ASSERT(!prefix.empty() && prefix.back() == '\0');
  prefix.back() = '\1';
  return prefix;
}

}  // namespace latchkey::storage
