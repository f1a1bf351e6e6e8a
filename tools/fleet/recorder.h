// What every reader of recorded drives shares: columns by name, plausibility, counters.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/state.h"
#include "tools/fleet/calendar.h"
#include "tools/fleet/drive.h"
#include "tools/fleet/table.h"

namespace latchkey::fleet {

inline constexpr std::string_view kTime = "time";

// A column whose number, times `scale` plus `shift`, is a signal's value.
struct Mapping {
  std::string_view column;
  std::string_view signal;
  double scale = 1;
  double shift = 0;
};

// Builds a Drive row by row.
class Recorder {
 public:
  Recorder(Table table, std::string_view name, std::string_view recorder)
      : table_(std::move(table)) {
    drive_.name = std::string(name);
    drive_.recorder = recorder;
  }

  Table& table() { return table_; }

  void Refuse(std::string_view signal, Cause cause) { ++drive_.refused[{signal, cause}]; }

  // Begins a row at an absolute time. False: the row is refused.
  bool At(Timestamp at) {
    if (drive_.rows == 0 || drive_.start.ms == 0) {
      drive_.start = at;
    }
    return AtOffset(at - drive_.start);
  }

  bool AtOffset(Duration offset) {
    if (begun_ && offset <= offset_) {
      Refuse(kTime, Cause::kNotAfter);
      return false;
    }
    begun_ = true;
    offset_ = offset;
    drive_.length = offset;
    if (table_.cells().size() < table_.columns()) {
      Refuse(kTime, Cause::kMissingCells);
    }
    return true;
  }

  // False: no such signal can have it; counted.
  bool Put(std::string_view signal, double value) {
    if (PlausibleValue(signal, value)) {
      drive_.observations.push_back({offset_, signal, value});
      return true;
    }
    const bool position = signal == "location.latitude" || signal == "location.longitude";
    Refuse(signal, position && value == 0.0 ? Cause::kNoFix : Cause::kOutOfRange);
    return false;
  }

  // Number of a cell; nullopt and counted when it is a text; nullopt when it is empty or "none".
  std::optional<double> Number(std::optional<size_t> column, std::string_view signal) {
    const auto cell = table_.Cell(column);
    if (!cell || cell->empty() || *cell == "none") {
      return std::nullopt;
    }
    const auto number = ParseNumber(*cell);
    if (!number) {
      Refuse(signal, Cause::kNotANumber);
    }
    return number;
  }

  template <size_t N>
  void PutMapped(const std::array<Mapping, N>& mappings,
                 const std::array<std::optional<size_t>, N>& columns) {
    for (size_t i = 0; i < N; ++i) {
      const Mapping& mapping = mappings[i];
      if (const auto number = Number(columns[i], mapping.signal)) {
        const bool taken = Put(mapping.signal, *number * mapping.scale + mapping.shift);
        if (taken && mapping.signal == "drive.speed") {
          Put("drive.is_moving", *number > 0.0 ? 1 : 0);
        }
      }
    }
  }

  template <size_t N>
  std::array<std::optional<size_t>, N> Columns(const std::array<Mapping, N>& mappings) const {
    std::array<std::optional<size_t>, N> columns;
    std::transform(mappings.begin(), mappings.end(), columns.begin(),
                   [this](const Mapping& mapping) { return table_.Column(mapping.column); });
    return columns;
  }

  // Next row; counts it.
  Result<bool> Next() {
    if (!table_.Next()) {
      return false;
    }
    if (++drive_.rows > kDriveRowsMax) {
      return Fail(v1::REASON_TOO_LARGE,
                  "drive " + drive_.name + " has more than 1000000 rows: not read");
    }
    return true;
  }

  Result<Drive> Finish() {
    if (!begun_) {
      return Fail(v1::REASON_MALFORMED, "drive " + drive_.name + " has no row with a time");
    }
    return std::move(drive_);
  }

 private:
  Table table_;
  Drive drive_;
  Duration offset_{0};
  bool begun_ = false;
};

}  // namespace latchkey::fleet
