// Collecting values, and the small texts that all legacy systems have in common.
#include "tools/import/record.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <utility>

#include "proto/state.h"

namespace latchkey::legacy {

namespace {

namespace ch = std::chrono;

constexpr size_t kShownBytesMax = 80;
constexpr int kYearMin = 1980;
constexpr int kYearMax = 2100;

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

// Takes exactly `count` digits off `rest`; nullopt: there are not so many.
std::optional<int> TakeDigits(std::string_view& rest, size_t count) {
  if (rest.size() < count || !std::all_of(rest.begin(), rest.begin() + count, IsDigit)) {
    return std::nullopt;
  }
  int value = 0;
  std::from_chars(rest.data(), rest.data() + count, value);
  rest.remove_prefix(count);
  return value;
}

bool TakeOne(std::string_view& rest, std::string_view any_of) {
  if (rest.empty() || any_of.find(rest.front()) == std::string_view::npos) {
    return false;
  }
  rest.remove_prefix(1);
  return true;
}

struct Day {
  int year = 0;
  int month = 0;
  int day = 0;
};

// "2018-03-10" or "10.03.2018".
std::optional<Day> TakeDay(std::string_view& rest) {
  const bool year_first = rest.size() > 4 && rest[4] == '-';
  const std::optional<int> first = TakeDigits(rest, year_first ? 4 : 2);
  const bool one = first && TakeOne(rest, "-.");
  const std::optional<int> second = one ? TakeDigits(rest, 2) : std::nullopt;
  const bool two = second && TakeOne(rest, "-.");
  const std::optional<int> third = two ? TakeDigits(rest, year_first ? 2 : 4) : std::nullopt;
  if (!third) {
    return std::nullopt;
  }
  return year_first ? Day{*first, *second, *third} : Day{*third, *second, *first};
}

// "", "Z", " UTC", "+0100", "+01:00", "-05"; nullopt: something else.
struct Offset {
  bool said = false;
  int minutes = 0;
};

std::optional<Offset> OffsetOf(std::string_view text) {
  if (text.empty()) {
    return Offset{};
  }
  if (text == "Z" || text == " UTC" || text == "UTC") {
    return Offset{true, 0};
  }
  const int sign = text.front() == '-' ? -1 : 1;
  if (!TakeOne(text, "+-")) {
    return std::nullopt;
  }
  const std::optional<int> hours = TakeDigits(text, 2);
  TakeOne(text, ":");
  const std::optional<int> minutes = text.empty() ? std::optional(0) : TakeDigits(text, 2);
  if (!hours || !minutes || !text.empty() || *hours > 14 || *minutes > 59) {
    return std::nullopt;
  }
  return Offset{true, sign * (*hours * 60 + *minutes)};
}

}  // namespace

RecordMaker::RecordMaker(std::string where, std::string vehicle, Timestamp at) : at_(at) {
  record_.where = std::move(where);
  record_.vehicle = std::move(vehicle);
}

void RecordMaker::Number(std::string_view signal, std::optional<double> value) {
  if (!value) {
    return;
  }
  if (!PlausibleValue(signal, *value)) {
    Changed(std::string(signal) + " left out: it cannot have this value");
    return;
  }
  record_.observed.push_back({signal, *value, at_});
}

void RecordMaker::Scaled(std::string_view signal, std::optional<double> value, double factor,
                         std::string_view how) {
  if (!value) {
    return;
  }
  const size_t before = record_.observed.size();
  Number(signal, *value * factor);
  if (record_.observed.size() > before && factor != 1.0) {
    Changed(std::string(signal) + ": " + std::string(how));
  }
}

void RecordMaker::Flag(std::string_view signal, std::optional<bool> value) {
  if (value) {
    record_.observed.push_back({signal, *value ? 1.0 : 0.0, at_});
  }
}

void RecordMaker::Text(std::string_view signal, const std::string& value) {
  const std::string shown = Shown(value);
  if (!IsNothing(shown)) {
    record_.observed.push_back({signal, shown, at_});
  }
}

void RecordMaker::Position(std::optional<double> latitude, std::optional<double> longitude,
                           Timestamp at) {
  if (!latitude && !longitude) {
    return;
  }
  if (!latitude || !longitude || !PlausibleValue("location.latitude", *latitude) ||
      !PlausibleValue("location.longitude", *longitude)) {
    Changed("location left out: no place on earth, or a receiver without a fix");
    return;
  }
  record_.observed.push_back({"location.latitude", *latitude, at});
  record_.observed.push_back({"location.longitude", *longitude, at});
}

void RecordMaker::HideLocation() {
  record_.location_hidden_at = at_;
}

void RecordMaker::Changed(std::string how) {
  record_.changes.insert(std::move(how));
}

void RecordMaker::FinishInto(Reading& out, std::string_view why_empty) && {
  if (!empty()) {
    out.records.push_back(std::move(record_));
    return;
  }
  std::string why(why_empty);
  for (const std::string& change : record_.changes) {
    why += "; " + change;
  }
  out.refused.push_back({std::move(record_.where), std::move(why)});
}

std::optional<double> NumberOf(std::string_view text) {
  text = Trim(text);
  if (!text.empty() && text.front() == '+') {
    text.remove_prefix(1);
  }
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() ||
      !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

bool IsNothing(std::string_view text) {
  static constexpr auto kWords =
      std::to_array<std::string_view>({"", "None", "none", "null", "NULL", "<invalid>", "INVALID",
                                       "UNKNOWN", "unknown", "NA", "N/A", "-"});
  return std::find(kWords.begin(), kWords.end(), Trim(text)) != kWords.end();
}

std::optional<bool> FlagOf(std::string_view text) {
  static constexpr auto kYes =
      std::to_array<std::string_view>({"true", "True", "TRUE", "1", "on", "ON", "yes", "YES"});
  static constexpr auto kNo =
      std::to_array<std::string_view>({"false", "False", "FALSE", "0", "off", "OFF", "no", "NO"});
  text = Trim(text);
  if (std::find(kYes.begin(), kYes.end(), text) != kYes.end()) {
    return true;
  }
  return std::find(kNo.begin(), kNo.end(), text) != kNo.end() ? std::optional(false) : std::nullopt;
}

std::optional<Timestamp> TimeOf(std::string_view text, WithoutZone without) {
  std::string_view rest = Trim(text);
  const std::optional<Day> day = TakeDay(rest);
  if (!day || !TakeOne(rest, "T ")) {
    return std::nullopt;
  }
  const std::optional<int> hour = TakeDigits(rest, 2);
  const bool colon = hour && TakeOne(rest, ":");
  const std::optional<int> minute = colon ? TakeDigits(rest, 2) : std::nullopt;
  const bool seconds = minute && TakeOne(rest, ":");
  const std::optional<int> second = seconds ? TakeDigits(rest, 2) : std::optional(0);
  if (!minute || !second || *hour > 23 || *minute > 59 || *second > 59) {
    return std::nullopt;
  }
  int64_t ms = 0;
  if (TakeOne(rest, ".")) {
    int64_t scale = 100;
    while (!rest.empty() && IsDigit(rest.front())) {
      ms += (rest.front() - '0') * scale;
      scale /= 10;
      rest.remove_prefix(1);
    }
  }
  const std::optional<Offset> offset = OffsetOf(rest);
  const ch::year_month_day date = ch::year(day->year) /
                                  ch::month(static_cast<unsigned>(day->month)) /
                                  ch::day(static_cast<unsigned>(day->day));
  if (!offset || !date.ok() || day->year < kYearMin || day->year > kYearMax ||
      (!offset->said && without == WithoutZone::kRefuse)) {
    return std::nullopt;
  }
  const auto local = ch::sys_days(date) + ch::hours(*hour) + ch::minutes(*minute) +
                     ch::seconds(*second) + ch::milliseconds(ms);
  return Timestamp{(local - ch::minutes(offset->minutes)).time_since_epoch() / ch::milliseconds(1)};
}

std::string Shown(std::string_view text) {
  std::string shown(text.substr(0, kShownBytesMax));
  if (text.size() > kShownBytesMax) {
    while (!shown.empty() && (static_cast<uint8_t>(shown.back()) & 0xC0U) == 0x80U) {
      shown.pop_back();
    }
    if (!shown.empty() && static_cast<uint8_t>(shown.back()) >= 0xC0U) {
      shown.pop_back();
    }
  }
  for (char& c : shown) {
    if ((c >= '\0' && c < ' ') || c == '\x7f') {
      c = '?';
    }
  }
  return shown;
}

bool WhereBefore(std::string_view one, std::string_view other) {
  const auto number = [](std::string_view where) -> std::optional<uint64_t> {
    const size_t at = where.find_last_not_of("0123456789");
    const std::string_view digits = where.substr(at == std::string_view::npos ? 0 : at + 1);
    uint64_t value = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return digits.empty() || parsed.ec != std::errc() ? std::nullopt : std::optional(value);
  };
  const auto stem = [](std::string_view where) {
    const size_t at = where.find_last_not_of("0123456789");
    return where.substr(0, at == std::string_view::npos ? 0 : at + 1);
  };
  if (stem(one) != stem(other)) {
    return one < other;
  }
  const auto first = number(one);
  const auto second = number(other);
  return first != second ? first < second : one < other;
}

}  // namespace latchkey::legacy
