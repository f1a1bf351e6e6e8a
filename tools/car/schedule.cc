// Minutes since 1970 of local time: day * 1440 + minute of day.
#include "tools/car/schedule.h"

#include <algorithm>
#include <cstdint>

namespace latchkey::car {
namespace {

constexpr int64_t kMinuteMs = 60000;
constexpr int64_t kDayMinutes = 1440;
constexpr int64_t kWeekDays = 7;
constexpr int64_t kFirstWeekday = 3;  // 1970 began on a Thursday

int64_t FloorDivide(int64_t a, int64_t b) {
  return a / b - (a % b < 0 ? 1 : 0);
}

int64_t DayOf(Timestamp at, Duration utc_offset) {
  return FloorDivide((at + utc_offset).ms, kDayMinutes * kMinuteMs);
}

// Is bit 0, Monday, to bit 6 set for this day?
bool OnDay(uint32_t weekdays, int64_t day) {
  const int64_t weekday = ((day + kFirstWeekday) % kWeekDays + kWeekDays) % kWeekDays;
  return (weekdays >> weekday & 1U) != 0;
}

Timestamp At(int64_t day, int64_t minute, Duration utc_offset) {
  return Timestamp{(day * kDayMinutes + minute) * kMinuteMs} - utc_offset;
}

struct Span {
  Timestamp begin;
  Timestamp end;
};

Span SpanOf(const v1::ChargeWindow& window, int64_t day, Duration utc_offset) {
  const int64_t end = window.end_minute() <= window.start_minute()
                          ? window.end_minute() + kDayMinutes
                          : int64_t{window.end_minute()};
  return {At(day, window.start_minute(), utc_offset), At(day, end, utc_offset)};
}

// The first time of `departure` after `after`, on one of its days, or on any day.
std::optional<Timestamp> FirstAfter(const v1::Departure& departure, uint32_t weekdays,
                                    Timestamp after, Duration utc_offset) {
  const int64_t today = DayOf(after, utc_offset);
  for (int64_t day = today; day <= today + kWeekDays; ++day) {
    const Timestamp at = At(day, departure.minute_of_day(), utc_offset);
    if (at > after && OnDay(weekdays, day)) {
      return at;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<PlannedDeparture> NextDeparture(const v1::DepartureSchedule& schedule,
                                              Timestamp set_at, Timestamp after,
                                              Duration utc_offset) {
  constexpr uint32_t kAnyDay = 127;
  std::optional<PlannedDeparture> next;
  for (const v1::Departure& departure : schedule.departures()) {
    const bool once = departure.weekdays() == 0;
    const auto at = once ? FirstAfter(departure, kAnyDay, set_at, utc_offset)
                         : FirstAfter(departure, departure.weekdays(), after, utc_offset);
    if (at && *at > after && (!next || *at < next->at)) {
      next = {*at, departure.target_temperature()};
    }
  }
  return next;
}

bool InChargeWindow(const v1::ChargeSchedule& schedule, Timestamp now, Duration utc_offset) {
  const int64_t today = DayOf(now, utc_offset);
  for (const v1::ChargeWindow& window : schedule.windows()) {
    for (const int64_t day : {today - 1, today}) {
      const Span span = SpanOf(window, day, utc_offset);
      if (OnDay(window.weekdays(), day) && now >= span.begin && now < span.end) {
        return true;
      }
    }
  }
  return false;
}

std::optional<Timestamp> NextChargeEdge(const v1::ChargeSchedule& schedule, Timestamp now,
                                        Duration utc_offset) {
  const int64_t today = DayOf(now, utc_offset);
  std::optional<Timestamp> next;
  for (const v1::ChargeWindow& window : schedule.windows()) {
    for (int64_t day = today - 1; day <= today + kWeekDays; ++day) {
      if (!OnDay(window.weekdays(), day)) {
        continue;
      }
      const Span span = SpanOf(window, day, utc_offset);
      for (const Timestamp edge : {span.begin, span.end}) {
        if (edge > now && (!next || edge < *next)) {
          next = edge;
        }
      }
    }
  }
  return next;
}

std::string LocalTimeText(Timestamp at, Duration utc_offset) {
  const int64_t day = DayOf(at, utc_offset);
  const int64_t minute = FloorDivide((at + utc_offset).ms, kMinuteMs) - day * kDayMinutes;
  const auto two = [](int64_t number) {
    return std::string(number < 10 ? "0" : "") + std::to_string(number);
  };
  return two(minute / 60) + ":" + two(minute % 60);
}

}  // namespace latchkey::car
