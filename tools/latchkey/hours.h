// Times and hours as people write them: "3d", "2026-12-01T08:00", "mon-fri 08:00-18:00". The wire
// knows UTC only; here is where local time ends.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/keyring.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::cli {

// The parts of `text` between `at`; one empty part for an empty text.
std::vector<std::string_view> Split(std::string_view text, char at);

// Digits only. Error REASON_MALFORMED.
Result<uint32_t> ParseWhole(std::string_view text);

// "07:30" -> 450. Error REASON_MALFORMED.
Result<uint32_t> ParseMinuteOfDay(std::string_view text);

// "daily", "once" (0), "mon-fri", "sat+sun", "fri-mon", "mo-fr" -> bit 0 Monday to bit 6 Sunday; a
// day may be cut after two letters. Error REASON_MALFORMED.
Result<uint32_t> ParseDays(std::string_view text);

// A moment: "2h" or "3d" from `now`, or a date, "2026-12-01", "2026-12-01T08:00[:00]" in local
// time, with Z or +01:00 in that zone. Error REASON_MALFORMED.
Result<Timestamp> ParseWhen(std::string_view text, Timestamp now);

// Minutes that local time is ahead of UTC at `at`.
int UtcOffsetMinutes(Timestamp at);
// "UTC+01:00"
std::string OffsetText(int utc_offset_minutes);

// Hours of the week in local time, each "[days ]from-to": "mon-fri 08:00-18:00", "22:00-06:00" (to
// the next day), "sat+sun 00:00-24:00", or "always" alone; as windows of the UTC week for a place
// `utc_offset_minutes` ahead of UTC. Windows that touch become one. Empty: at any time. Errors
// REASON_MALFORMED; REASON_TOO_LARGE: more than kWeekWindowsMax windows.
Result<std::vector<WeekWindow>> ParseHours(const std::vector<std::string>& texts,
                                           int utc_offset_minutes);

// The same for people: "mon-fri 08:00-18:00, sat 10:00-12:00"; "always" for no windows.
std::string HoursText(std::span<const WeekWindow> windows, int utc_offset_minutes);

}  // namespace latchkey::cli
