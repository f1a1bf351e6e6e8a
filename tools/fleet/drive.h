// Recorded drives: bytes of a file as its recorder wrote it -> observations of our signals. Bad
// values are refused one by one and counted; the rest of their row is kept. Pure.
//
// Four recorders, told apart by the header line:
//   BMW i3     ';', CRLF, Latin-1, 10 Hz, no absolute time (start given by Overview.tsv)
//   Twizy      ',', 1 Hz, local date and time of Morocco, GPS fix repeated between fixes
//   LeafSpy    ',', every 5 s, Unix time, degrees and minutes, mph, feet, Fahrenheit, psi
//   e-scooter  ',', every 2 to 5 s, local time of Ireland
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::fleet {

// Why a recorded value is refused.
enum class Cause : uint8_t {
  kNotANumber,    // a text where a number belongs
  kOutOfRange,    // no such signal can have it
  kNoFix,         // latitude or longitude of exactly 0
  kKnownGlitch,   // what this recorder writes when it does not know: ALT=-111
  kBadDate,       // no such day, or not the day of the drive; the time of day is kept
  kNotAfter,      // the time does not go on: the whole row is refused
  kMissingCells,  // the row is cut short: what is there is kept
};

// "not_a_number", ...
std::string_view ToText(Cause cause);

struct Observation {
  Duration offset{0};       // since the start of the drive
  std::string_view signal;  // "drive.speed"; of static storage
  double value = 0;         // in the unit of state.proto; yes is 1
};

struct Drive {
  std::string name;                       // file name without endings
  std::string_view recorder;              // "BMW i3", "Twizy", "LeafSpy", "e-scooter"
  Timestamp start;                        // of the first row; 0: not known
  Duration length{0};                     // first to last row
  size_t rows = 0;                        // without the header
  std::vector<Observation> observations;  // offsets never fall
  std::map<std::pair<std::string_view, Cause>, uint64_t> refused;  // by signal; "time" for rows

  // All refused values.
  uint64_t RefusedCount() const;
};

// Reads a drive. `start` is the start of a recorder without absolute time (BMW i3).
// Errors REASON_MALFORMED: no recorder writes such a header, or no row has a time.
// REASON_TOO_LARGE: more than kDriveRowsMax rows.
inline constexpr size_t kDriveRowsMax = 1000000;
Result<Drive> ReadDrive(std::string_view bytes, std::string_view name,
                        std::optional<Timestamp> start);

// Start of `trip` ("TripA04") by the BMW i3's Overview.tsv: local time of Munich. nullopt: not in
// it.
std::optional<Timestamp> StartOfTrip(std::string_view overview, std::string_view trip);

}  // namespace latchkey::fleet
