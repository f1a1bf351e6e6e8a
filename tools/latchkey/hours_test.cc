// Times and hours as people write them, one row per case.
#include "tools/latchkey/hours.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey::cli {

namespace {

std::string WindowsText(const Result<std::vector<WeekWindow>>& windows) {
  if (!windows) {
    return testing::Said(windows.error().reason);
  }
  std::string text;
  for (const WeekWindow& window : *windows) {
    text +=
        (text.empty() ? "" : " ") + std::to_string(window.start) + "-" + std::to_string(window.end);
  }
  return text.empty() ? "always" : text;
}

}  // namespace

TEST_CASE("hours: local hours of the week become windows of the UTC week") {
  struct Row {
    std::vector<std::string> texts;
    int offset;
    std::string windows;
    std::string back;  // HoursText
  };

  const std::vector<Row> rows = {
      {{"always"}, 60, "always", "always"},
      {{"mon 08:00-18:00"}, 0, "480-1080", "mon 08:00-18:00"},
      {{"mon 08:00-18:00"}, 60, "420-1020", "mon 08:00-18:00"},
      {{"mon-tue 08:00-18:00"}, 120, "360-960 1800-2400", "mon+tue 08:00-18:00"},
      {{"mon 00:30-02:00"}, 60, "10050-60", "mon 00:30-02:00"},
      {{"sun 22:00-06:00"}, 0, "9960-360", "sun 22:00-06:00"},
      {{"sun 22:00-24:00"}, 0, "9960-0", "sun 22:00-24:00"},
      {{"fri 20:00-23:00"}, -300, "7260-7440", "fri 20:00-23:00"},
      {{"sun 20:00-23:00"}, -300, "60-240", "sun 20:00-23:00"},
      {{"fri-mon 10:00-11:00"},
       0,
       "600-660 6360-6420 7800-7860 9240-9300",
       "mon+fri-sun 10:00-11:00"},
      {{"06:00-07:00"},
       0,
       "360-420 1800-1860 3240-3300 4680-4740 6120-6180 7560-7620 9000-9060",
       "daily 06:00-07:00"},
      // What touches is one: fewer windows, the same hours.
      {{"mon-fri 00:00-24:00"}, 0, "0-7200", "mon 00:00 to sat 00:00"},
      {{"mon 08:00-12:00", "mon 12:00-18:00"}, 0, "480-1080", "mon 08:00-18:00"},
      {{"mon 08:00-14:00", "mon 12:00-18:00"}, 0, "480-1080", "mon 08:00-18:00"},
      {{"daily 00:00-24:00"}, 90, "always", "always"},
      // 14 windows fit, 21 do not.
      {{"01:00-02:00", "03:00-04:00", "05:00-06:00"}, 0, "REASON_TOO_LARGE", ""},
      {{"mon 08:00-08:00"}, 0, "REASON_MALFORMED", ""},
      {{"mon 08:00"}, 0, "REASON_MALFORMED", ""},
      {{"mon 08:00-25:00"}, 0, "REASON_MALFORMED", ""},
      {{"monday 08:00-18:00"}, 0, "REASON_MALFORMED", ""},
      {{"once 08:00-18:00"}, 0, "REASON_MALFORMED", ""},
      {{"mon-fri 8-18"}, 0, "REASON_MALFORMED", ""},
      {{"always", "mon 08:00-18:00"}, 0, "REASON_MALFORMED", ""},
      {{""}, 0, "REASON_MALFORMED", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.texts.front());
    CAPTURE(row.offset);
    const Result<std::vector<WeekWindow>> windows = ParseHours(row.texts, row.offset);
    CHECK(WindowsText(windows) == row.windows);
    if (windows) {
      CHECK(HoursText(*windows, row.offset) == row.back);
    }
  }
}

TEST_CASE("hours: a minute is inside in UTC exactly when it is inside in local time") {
  const int offset = 330;  // India
  const std::vector<WeekWindow> week = ParseHours({"mon-fri 09:00-17:30"}, offset).value();
  // 2026-11-23 is a Monday; 09:00 there is 03:30 UTC.
  const Timestamp opens = ParseWhen("2026-11-23T09:00+05:30", {}).value();
  CHECK_FALSE(InWeek(week, opens - Duration(1)));
  CHECK(InWeek(week, opens));
  CHECK(InWeek(week, opens + std::chrono::minutes(510) - Duration(1)));
  CHECK_FALSE(InWeek(week, opens + std::chrono::minutes(510)));
  CHECK_FALSE(InWeek(week, opens - std::chrono::hours(24)));
}

TEST_CASE("hours: a moment is a length from now or a date") {
  const Timestamp now{1'700'000'000'000};

  struct Row {
    std::string text;
    std::string said;
    int64_t ms;
  };

  const std::vector<Row> rows = {
      {"2h", "allowed", now.ms + 7'200'000},
      {"3d", "allowed", now.ms + 3 * 86'400'000},
      {"2026-12-01T08:00Z", "allowed", 1'796'112'000'000},
      {"2026-12-01 08:00Z", "allowed", 1'796'112'000'000},
      {"2026-12-01T08:00:30Z", "allowed", 1'796'112'030'000},
      {"2026-12-01T09:00+01:00", "allowed", 1'796'112'000'000},
      {"2026-12-01T03:00-05:00", "allowed", 1'796'112'000'000},
      {"2026-02-30T08:00Z", "REASON_MALFORMED", 0},
      {"2026-13-01", "REASON_MALFORMED", 0},
      {"2026-12-01T8:00", "REASON_MALFORMED", 0},
      {"2026-12-01T24:00Z", "REASON_MALFORMED", 0},
      {"2026-12-01T08:00X", "REASON_MALFORMED", 0},
      {"2026-12-01T08", "REASON_MALFORMED", 0},
      {"1969-12-01", "REASON_MALFORMED", 0},
      {"tomorrow", "REASON_MALFORMED", 0},
      {"-2h", "REASON_MALFORMED", 0},
      {"", "REASON_MALFORMED", 0},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const Result<Timestamp> when = ParseWhen(row.text, now);
    CHECK(testing::Said(when) == row.said);
    if (when) {
      CHECK(when->ms == row.ms);
    }
  }
  // Without a zone it is the reader's own.
  const Result<Timestamp> local = ParseWhen("2026-12-01T08:00", now);
  REQUIRE(local.has_value());
  CHECK(local->ms + UtcOffsetMinutes(*local) * int64_t{60'000} == 1'796'112'000'000);
  CHECK(OffsetText(330) == "UTC+05:30");
  CHECK(OffsetText(-300) == "UTC-05:00");
}

}  // namespace latchkey::cli
