// See zone.h. Only what RFC 8536 calls the version 2 block is read; its footer, which tells of
// years after the table, is not: recordings are of years the table has.
#include "tools/import/zone.h"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace latchkey::legacy {

namespace {

constexpr size_t kHeaderBytes = 44;
constexpr size_t kTypeBytes = 6;
constexpr size_t kTimesMax = 20'000;
constexpr int64_t kMsPerSecond = 1000;
constexpr int64_t kOffsetMax = 26 * 3600;
// Beyond these, as the first change of some zones is, a time is none in milliseconds.
constexpr int64_t kSecondsMax = 9'000'000'000'000'000;

// A big-endian number of `size` bytes; the caller has checked the length.
int64_t NumberAt(std::string_view bytes, size_t at, size_t size) {
  uint64_t value = (static_cast<uint8_t>(bytes[at]) & 0x80U) != 0 ? ~uint64_t{0} : 0;
  for (size_t i = 0; i < size; ++i) {
    value = value << 8U | static_cast<uint8_t>(bytes[at + i]);
  }
  return static_cast<int64_t>(value);
}

struct Header {
  size_t utc_local = 0;
  size_t standard = 0;
  size_t leaps = 0;
  size_t times = 0;
  size_t types = 0;
  size_t characters = 0;

  size_t BodyBytes(size_t time_bytes) const {
    return times * time_bytes + times + types * kTypeBytes + characters + leaps * (time_bytes + 4) +
           standard + utc_local;
  }
};

std::optional<Header> HeaderOf(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || bytes.substr(0, 4) != "TZif" || bytes[4] < '2') {
    return std::nullopt;
  }
  const auto count = [&](size_t number) {
    return static_cast<size_t>(NumberAt(bytes, 20 + number * 4, 4) & 0xFFFFFFFF);
  };
  const Header header{count(0), count(1), count(2), count(3), count(4), count(5)};
  for (const size_t number : {header.utc_local, header.standard, header.leaps, header.times,
                              header.types, header.characters}) {
    if (number > kTimesMax) {
      return std::nullopt;
    }
  }
  return header;
}

}  // namespace

Result<Zone> Zone::Parse(std::string_view bytes) {
  const auto broken = [] {
    return Fail(v1::REASON_MALFORMED, "not a time zone of this system's database (TZif)");
  };
  const std::optional<Header> old = bytes.size() > kZoneBytesMax ? std::nullopt : HeaderOf(bytes);
  if (!old || bytes.size() < kHeaderBytes + old->BodyBytes(4)) {
    return broken();
  }
  bytes.remove_prefix(kHeaderBytes + old->BodyBytes(4));
  const std::optional<Header> header = HeaderOf(bytes);
  if (!header || header->types == 0 || bytes.size() < kHeaderBytes + header->BodyBytes(8)) {
    return broken();
  }
  const size_t times_at = kHeaderBytes;
  const size_t indexes_at = times_at + header->times * 8;
  const size_t types_at = indexes_at + header->times;
  Zone zone;
  zone.first_offset_seconds_ = NumberAt(bytes, types_at, 4);
  for (size_t i = 0; i < header->times; ++i) {
    const auto type = static_cast<uint8_t>(bytes[indexes_at + i]);
    if (type >= header->types) {
      return broken();
    }
    const Change change{NumberAt(bytes, times_at + i * 8, 8),
                        NumberAt(bytes, types_at + type * kTypeBytes, 4)};
    if (change.offset_seconds > kOffsetMax || change.offset_seconds < -kOffsetMax ||
        (!zone.changes_.empty() && change.at_seconds <= zone.changes_.back().at_seconds)) {
      return broken();
    }
    zone.changes_.push_back(
        {std::clamp(change.at_seconds, -kSecondsMax, kSecondsMax), change.offset_seconds});
  }
  return zone;
}

std::vector<Timestamp> Zone::TimesOf(Timestamp local) const {
  std::vector<Timestamp> times;
  int64_t offset = first_offset_seconds_;
  for (size_t i = 0; i <= changes_.size(); ++i) {
    const Timestamp at{local.ms - offset * kMsPerSecond};
    const bool begun = i == 0 || at.ms >= changes_[i - 1].at_seconds * kMsPerSecond;
    const bool over = i < changes_.size() && at.ms >= changes_[i].at_seconds * kMsPerSecond;
    if (begun && !over) {
      times.push_back(at);
    }
    if (i < changes_.size()) {
      offset = changes_[i].offset_seconds;
    }
  }
  return times;
}

}  // namespace latchkey::legacy
