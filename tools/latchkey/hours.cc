// A week is a circle of 10080 minutes: hours are marked on it, turned by the zone's offset, and
// read off again as runs.
#include "tools/latchkey/hours.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <charconv>
#include <ctime>
#include <optional>
#include <utility>

#include "proto/wire.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr std::array<std::string_view, 7> kDays = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
constexpr uint32_t kAllDays = 0x7f;
constexpr int kDayMinutes = 1440;
constexpr int kWeek = kWeekMinutes;

using Week = std::bitset<kWeekMinutes>;

// [start, start + length) on the circle of the week.
struct Span {
  int start = 0;
  int length = 0;
};

tl::unexpected<Error> Bad(std::string_view value, std::string_view wanted) {
  return Fail(v1::REASON_MALFORMED, "\"" + std::string(value) + "\" is not " + std::string(wanted));
}

std::optional<size_t> Day(std::string_view text) {
  for (size_t day = 0; day < kDays.size(); ++day) {
    if (text == kDays[day] || text == kDays[day].substr(0, 2)) {
      return day;
    }
  }
  return std::nullopt;
}

int Turned(int minute, int by) {
  return ((minute + by) % kWeek + kWeek) % kWeek;
}

void Mark(Week& week, Span span) {
  for (int i = 0; i < span.length; ++i) {
    week.set(static_cast<size_t>(Turned(span.start, i)));
  }
}

// The runs of marked minutes, by their start; none for a week that is wholly marked or not at all.
std::vector<Span> Runs(const Week& week) {
  std::vector<Span> runs;
  for (int minute = 0; minute < kWeek; ++minute) {
    const bool begins = week.test(static_cast<size_t>(minute)) &&
                        !week.test(static_cast<size_t>(Turned(minute, -1)));
    if (begins) {
      int length = 1;
      while (week.test(static_cast<size_t>(Turned(minute, length)))) {
        ++length;
      }
      runs.push_back({minute, length});
    }
  }
  return runs;
}

Result<void> MarkHours(Week& week, std::string_view text) {
  constexpr std::string_view kWanted =
      "hours: write \"mon-fri 08:00-18:00\", \"22:00-06:00\", \"sat+sun 00:00-24:00\" or always";
  const size_t space = text.rfind(' ');
  uint32_t days = kAllDays;
  if (space != std::string_view::npos) {
    const std::string_view words = text.substr(0, text.find_last_not_of(' ', space) + 1);
    LK_TRY(days, ParseDays(words));
  }
  const std::vector<std::string_view> ends =
      Split(space == std::string_view::npos ? text : text.substr(space + 1), '-');
  if (ends.size() != 2 || days == 0) {
    return Bad(text, kWanted);
  }
  const Result<uint32_t> start = ParseMinuteOfDay(ends[0]);
  const Result<uint32_t> end =
      ends[1] == "24:00" ? Result<uint32_t>(uint32_t{kDayMinutes}) : ParseMinuteOfDay(ends[1]);
  if (!start || !end || *start == *end) {
    return Bad(text, kWanted);
  }
  const int length =
      static_cast<int>(*end) - static_cast<int>(*start) + (*end < *start ? kDayMinutes : 0);
  for (size_t day = 0; day < kDays.size(); ++day) {
    if ((days & (1U << day)) != 0) {
      Mark(week, {static_cast<int>(day) * kDayMinutes + static_cast<int>(*start), length});
    }
  }
  return {};
}

std::string TimeText(int minute) {
  const auto two = [](int number) { return (number < 10 ? "0" : "") + std::to_string(number); };
  return two(minute / 60) + ":" + two(minute % 60);
}

// "mon-fri", "sat", "mon+wed"; Monday comes first.
std::string DaysText(uint32_t days) {
  if (days == kAllDays) {
    return "daily";
  }
  std::string text;
  for (size_t day = 0; day < kDays.size();) {
    if ((days & (1U << day)) == 0) {
      ++day;
      continue;
    }
    size_t last = day;
    while (last + 1 < kDays.size() && (days & (1U << (last + 1))) != 0) {
      ++last;
    }
    text += std::string(text.empty() ? "" : "+") + std::string(kDays[day]);
    if (last > day) {
      text += (last == day + 1 ? "+" : "-") + std::string(kDays[last]);
    }
    day = last + 1;
  }
  return text;
}

// What a date leaves over: "", "Z", "+01:00". nullopt inside: local time. Minutes ahead of UTC.
Result<std::optional<int>> ParseZone(std::string_view text, std::string_view whole) {
  if (text.empty()) {
    return std::optional<int>();
  }
  if (text == "Z" || text == "z") {
    return std::optional<int>(0);
  }
  if (text.front() == '+' || text.front() == '-') {
    const Result<uint32_t> minutes = ParseMinuteOfDay(text.substr(1));
    if (minutes) {
      const int ahead = static_cast<int>(*minutes);
      return std::optional<int>(text.front() == '-' ? -ahead : ahead);
    }
  }
  return Bad(whole, "a time with a zone like Z or +01:00");
}

// The digits of `text` from `at`, `count` of them; -1: something else stands there.
int Digits(std::string_view text, size_t at, size_t count) {
  if (text.size() < at + count) {
    return -1;
  }
  int value = 0;
  for (const char c : text.substr(at, count)) {
    if (c < '0' || c > '9') {
      return -1;
    }
    value = value * 10 + (c - '0');
  }
  return value;
}

Result<Timestamp> ParseDate(std::string_view text) {
  constexpr std::string_view kWanted =
      "a time: write 2h or 3d from now, 2026-12-01, 2026-12-01T08:00 or 2026-12-01T08:00Z";
  std::tm date{};
  date.tm_year = Digits(text, 0, 4) - 1900;
  date.tm_mon = Digits(text, 5, 2) - 1;
  date.tm_mday = Digits(text, 8, 2);
  size_t end = 10;
  if (text.size() > end && (text[end] == 'T' || text[end] == 't' || text[end] == ' ')) {
    date.tm_hour = Digits(text, 11, 2);
    date.tm_min = Digits(text, 14, 2);
    end = 16;
    if (text.size() > end && text[end] == ':') {
      date.tm_sec = Digits(text, 17, 2);
      end = 19;
    }
  }
  const bool shaped = text.size() >= end && text[4] == '-' && text[7] == '-' &&
                      (end == 10 || text[13] == ':') && date.tm_year >= 70 && date.tm_mon >= 0 &&
                      date.tm_mon < 12 && date.tm_mday >= 1 && date.tm_mday <= 31 &&
                      date.tm_hour >= 0 && date.tm_hour < 24 && date.tm_min >= 0 &&
                      date.tm_min < 60 && date.tm_sec >= 0 && date.tm_sec < 60;
  if (!shaped) {
    return Bad(text, kWanted);
  }
  LK_TRY(const std::optional<int> zone, ParseZone(text.substr(end), text));
  const int day = date.tm_mday;
  date.tm_isdst = -1;
  const std::time_t seconds = zone ? ::timegm(&date) - std::time_t{*zone} * 60 : ::mktime(&date);
  if (seconds < 0 || date.tm_mday != day) {
    return Bad(text, "a day of the calendar");
  }
  return Timestamp{static_cast<int64_t>(seconds) * 1000};
}

}  // namespace

std::vector<std::string_view> Split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) {
      return parts;
    }
    text.remove_prefix(end + 1);
  }
}

Result<uint32_t> ParseWhole(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Bad(text, "a whole number");
  }
  return value;
}

Result<uint32_t> ParseMinuteOfDay(std::string_view text) {
  const std::vector<std::string_view> parts = Split(text, ':');
  if (parts.size() == 2 && parts[1].size() == 2) {
    const Result<uint32_t> hours = ParseWhole(parts[0]);
    const Result<uint32_t> minutes = ParseWhole(parts[1]);
    if (hours && minutes && *hours < 24 && *minutes < 60) {
      return *hours * 60 + *minutes;
    }
  }
  return Bad(text, "a time of day like 07:30");
}

Result<uint32_t> ParseDays(std::string_view text) {
  if (text == "daily") {
    return kAllDays;
  }
  if (text == "once") {
    return 0U;
  }
  uint32_t days = 0;
  for (const std::string_view part : Split(text, '+')) {
    const std::vector<std::string_view> ends = Split(part, '-');
    const std::optional<size_t> first = Day(ends.front());
    const std::optional<size_t> last = Day(ends.back());
    if (!first || !last || ends.size() > 2) {
      return Bad(text, "days like daily, once, mon-fri or sat+sun");
    }
    for (size_t day = *first;; day = (day + 1) % kDays.size()) {
      days |= 1U << day;
      if (day == *last) {
        break;
      }
    }
  }
  return days;
}

Result<Timestamp> ParseWhen(std::string_view text, Timestamp now) {
  if (text.size() >= 10 && text[4] == '-') {
    return ParseDate(text);
  }
  const Result<Duration> after = ParseDuration(text);
  if (!after || now.ms + after->count() > static_cast<int64_t>(kTimestampMsMax)) {
    return Bad(text, "a time: write 2h or 3d from now, 2026-12-01 or 2026-12-01T08:00");
  }
  return now + *after;
}

int UtcOffsetMinutes(Timestamp at) {
  const auto seconds = static_cast<std::time_t>(at.ms / 1000);
  std::tm local{};
  return ::localtime_r(&seconds, &local) == nullptr ? 0 : static_cast<int>(local.tm_gmtoff / 60);
}

std::string OffsetText(int utc_offset_minutes) {
  return std::string("UTC") + (utc_offset_minutes < 0 ? "-" : "+") +
         TimeText(utc_offset_minutes < 0 ? -utc_offset_minutes : utc_offset_minutes);
}

Result<std::vector<WeekWindow>> ParseHours(const std::vector<std::string>& texts,
                                           int utc_offset_minutes) {
  if (texts.size() == 1 && texts.front() == "always") {
    return std::vector<WeekWindow>();
  }
  Week local;
  for (const std::string& text : texts) {
    LK_CHECK(MarkHours(local, text));
  }
  std::vector<WeekWindow> windows;
  for (const Span& run : Runs(local)) {
    const int start = Turned(run.start, -utc_offset_minutes);
    windows.push_back(
        {static_cast<uint16_t>(start), static_cast<uint16_t>(Turned(start, run.length))});
  }
  if (windows.size() > kWeekWindowsMax) {
    return Fail(v1::REASON_TOO_LARGE, "these are " + std::to_string(windows.size()) +
                                          " separate times of the week, and a key has at most " +
                                          std::to_string(kWeekWindowsMax) + ": join some");
  }
  std::sort(windows.begin(), windows.end(),
            [](const WeekWindow& a, const WeekWindow& b) { return a.start < b.start; });
  return windows;
}

std::string HoursText(std::span<const WeekWindow> windows, int utc_offset_minutes) {
  Week local;
  for (const WeekWindow& window : windows) {
    const int length = Turned(window.end, -int{window.start});
    Mark(local, {Turned(window.start, utc_offset_minutes), length == 0 ? kWeek : length});
  }
  if (windows.empty() || local.all()) {
    return "always";
  }
  // Spans of at most a day are told once for all days they begin on; longer ones one by one.
  std::vector<std::pair<std::pair<int, int>, uint32_t>> daily;  // start of day, length; days
  std::string text;
  for (const Span& run : Runs(local)) {
    const int minute = run.start % kDayMinutes;
    const auto day = static_cast<size_t>(run.start / kDayMinutes);
    if (run.length > kDayMinutes) {
      const int end = Turned(run.start, run.length);
      text += (text.empty() ? "" : ", ") + std::string(kDays[day]) + " " + TimeText(minute) +
              " to " + std::string(kDays[static_cast<size_t>(end / kDayMinutes)]) + " " +
              TimeText(end % kDayMinutes);
      continue;
    }
    const auto same = std::find_if(daily.begin(), daily.end(), [&](const auto& each) {
      return each.first == std::pair(minute, run.length);
    });
    if (same == daily.end()) {
      daily.emplace_back(std::pair(minute, run.length), 1U << day);
    } else {
      same->second |= 1U << day;
    }
  }
  for (const auto& [span, days] : daily) {
    const int end = span.first + span.second;
    text += (text.empty() ? "" : ", ") + DaysText(days) + " " + TimeText(span.first) + "-" +
            TimeText(end > kDayMinutes ? end - kDayMinutes : end);
  }
  return text;
}

}  // namespace latchkey::cli
