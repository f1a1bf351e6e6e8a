// Zones without a zone database: three rules, each for the years the recordings are from.
#include "tools/fleet/calendar.h"

#include <chrono>

namespace latchkey::fleet {
namespace {

namespace ch = std::chrono;

ch::sys_days DayOf(const Date& date) {
  return ch::year(date.year) / ch::month(date.month) / ch::day(date.day);
}

// European summer time: last Sunday of March to last Sunday of October, 01:00 UTC.
bool IsSummer(ch::sys_seconds utc) {
  const ch::year year = ch::year_month_day(ch::floor<ch::days>(utc)).year();
  const ch::sys_days begin = year / ch::March / ch::Sunday[ch::last];
  const ch::sys_days end = year / ch::October / ch::Sunday[ch::last];
  return utc >= begin + ch::hours(1) && utc < end + ch::hours(1);
}

}  // namespace

std::optional<Date> CheckDate(int year, unsigned month, unsigned day) {
  const ch::year_month_day date = ch::year(year) / ch::month(month) / ch::day(day);
  if (!date.ok() || year < 2000 || year > 2100) {
    return std::nullopt;
  }
  return Date{year, month, day};
}

Date AddDays(const Date& date, int days) {
  const ch::year_month_day later(DayOf(date) + ch::days(days));
  return {static_cast<int>(later.year()), static_cast<unsigned>(later.month()),
          static_cast<unsigned>(later.day())};
}

std::optional<std::array<int, 6>> SixNumbers(std::string_view text) {
  std::array<int, 6> numbers{};
  size_t count = 0;
  bool within = false;
  for (const char c : text) {
    if (c < '0' || c > '9') {
      within = false;
      continue;
    }
    if (!within) {
      ++count;
      within = true;
    }
    if (count > numbers.size() || numbers[count - 1] > 99999) {
      return std::nullopt;
    }
    numbers[count - 1] = numbers[count - 1] * 10 + (c - '0');
  }
  return count == numbers.size() ? std::optional(numbers) : std::nullopt;
}

Timestamp ToUtc(const Date& date, Duration time_of_day, Zone zone) {
  const auto local = DayOf(date) + time_of_day;
  Duration offset = ch::hours(1);
  if (zone == Zone::kMorocco) {
    const ch::sys_days begin = ch::year(2021) / ch::April / 13;
    const ch::sys_days end = ch::year(2021) / ch::May / 13;
    offset = local >= begin && local < end ? ch::hours(0) : ch::hours(1);
  } else {
    const Duration base = zone == Zone::kMunich ? ch::hours(1) : ch::hours(0);
    const bool summer = IsSummer(ch::floor<ch::seconds>(local - base));
    offset = base + (summer ? ch::hours(1) : ch::hours(0));
  }
  return {(local - offset).time_since_epoch() / ch::milliseconds(1)};
}

}  // namespace latchkey::fleet
