// Local times of recorders that wrote no zone, as UTC. Only the zones and years of the recordings.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "proto/time.h"

namespace latchkey::fleet {

enum class Zone : uint8_t {
  kMunich,   // UTC+1, summer +2
  kIreland,  // UTC+0, summer +1
  kMorocco,  // UTC+1, but UTC+0 in Ramadan 2021 (13 April to 12 May)
};

struct Date {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  bool operator==(const Date&) const = default;
};

// nullopt: there is no such day, or its year is outside 2000 to 2100.
std::optional<Date> CheckDate(int year, unsigned month, unsigned day);
// The day `days` later.
Date AddDays(const Date& date, int days);

// Whole numbers of a text in order, whatever stands between them; nullopt: not exactly N.
std::optional<std::array<int, 6>> SixNumbers(std::string_view text);

// Wall time of a zone as UTC; `time_of_day` may exceed a day.
Timestamp ToUtc(const Date& date, Duration time_of_day, Zone zone);

}  // namespace latchkey::fleet
