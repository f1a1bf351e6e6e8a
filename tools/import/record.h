// What the readers of legacy systems give: one LegacyRecord per record of the source that says
// something of one car, and a reason for each one that does not. Pure; nothing is dropped in
// silence: every record of the source is in `records` or in `refused`, every field that Latchkey
// has no signal for is counted in `not_kept`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proto/time.h"
#include "tools/car/signals.h"

namespace latchkey::legacy {

// A source with more records than this is to be split.
inline constexpr size_t kRecordsMax = 200'000;
// No source file is larger.
inline constexpr size_t kSourceBytesMax = size_t{256} << 20;

// One value at its own time.
struct Observed {
  std::string_view signal;  // "energy.soc"; a literal
  car::SignalValue value;
  Timestamp at;
  bool operator==(const Observed&) const = default;
};

// One record of the source that says something of one car.
struct LegacyRecord {
  std::string where;    // which record: "U11/state.json", "row 17"; names no person and no place
  std::string vehicle;  // as the source names it; may be a VIN
  std::vector<Observed> observed;
  // The person has switched tracking off: where the car is is not known from here on.
  std::optional<Timestamp> location_hidden_at = {};
  std::set<std::string> changes = {};  // what is not as in the source, and how
};

// One record of the source that is not taken.
struct Refused {
  std::string where;
  std::string why;
  bool operator==(const Refused&) const = default;
};

struct Reading {
  std::vector<LegacyRecord> records;
  std::vector<Refused> refused;
  std::map<std::string, uint64_t> not_kept;  // by field name
};

// A file of the source.
struct SourceFile {
  std::string name;  // relative to the folder that is imported, with '/'
  std::string bytes;
};

// What people say of a source that does not say it itself.
struct ReaderOptions {
  std::optional<Timestamp> undated;  // when records without a time of their own were observed
  // The first folder names the vehicle of files that name none.
  bool folders_name_vehicles = false;
};

// Collects the values of one record. Values that cannot be are left out, and said so in `changes`.
class RecordMaker {
 public:
  // `at`: when the record was observed.
  RecordMaker(std::string where, std::string vehicle, Timestamp at);

  void Number(std::string_view signal, std::optional<double> value);
  // The same, `value` times `factor`; `how` tells people what was done ("miles to km").
  void Scaled(std::string_view signal, std::optional<double> value, double factor,
              std::string_view how);
  void Flag(std::string_view signal, std::optional<bool> value);
  void Text(std::string_view signal, const std::string& value);
  // Both or neither.
  void Position(std::optional<double> latitude, std::optional<double> longitude, Timestamp at);
  void HideLocation();
  void Changed(std::string how);

  bool empty() const { return record_.observed.empty() && !record_.location_hidden_at; }

  Timestamp at() const { return at_; }

  // Into `out.records`, or into `out.refused` when it holds no value.
  void FinishInto(Reading& out, std::string_view why_empty) &&;

 private:
  LegacyRecord record_;
  Timestamp at_;
};

// --- Texts of legacy systems as values

// A decimal number, spaces around it left out; nullopt: it is none, not finite, or one of the words
// for nothing (IsNothing).
std::optional<double> NumberOf(std::string_view text);
// "", "None", "null", "NULL", "<invalid>", "INVALID", "UNKNOWN", "NA", "N/A", "-".
bool IsNothing(std::string_view text);
// "true", "True", "1", "on", "yes" and their opposites; nullopt: another word.
std::optional<bool> FlagOf(std::string_view text);
// "2018-03-10T11:39:41+0100", "...41.123Z", "2018-03-10T10:39:41" (UTC when `assume_utc`, else
// nullopt), "2018-02-17 11:15:36", "17.02.2018 11:15:36 UTC". Years 1980 to 2100.
enum class WithoutZone : uint8_t { kRefuse, kUtc };
std::optional<Timestamp> TimeOf(std::string_view text, WithoutZone without);
// Fit for a report: control characters are '?', at most 80 bytes.
std::string Shown(std::string_view text);
// Natural order of `where`: "row 9" before "row 10".
bool WhereBefore(std::string_view one, std::string_view other);

}  // namespace latchkey::legacy
