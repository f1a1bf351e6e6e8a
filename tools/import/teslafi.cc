// See teslafi.h. Two passes: first the rows' times, then their values.
#include "tools/import/teslafi.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>

#include "tools/import/quoted_table.h"

namespace latchkey::legacy {

namespace {

constexpr double kKmPerMile = 1.609344;
constexpr double kMinutesPerHour = 60;
constexpr int64_t kMsPerSecond = 1000;
constexpr int64_t kQuarterMs = 900 * kMsPerSecond;
// A position this much older than its row does not tell the offset.
constexpr int64_t kFixAgeMaxMs = 300 * kMsPerSecond;
constexpr int64_t kOffsetMaxMs = 15 * 3600 * kMsPerSecond;
constexpr std::string_view kMiles = "miles to km";

struct Row {
  std::vector<std::string> cells;
  std::optional<Timestamp> local;  // as if it were UTC
  std::optional<Timestamp> fix;
  std::optional<int64_t> offset_ms;
  bool sound = true;
};

// The columns, and which of them were asked for.
class Columns {
 public:
  explicit Columns(const QuotedTable& table) : table_(table) {}

  // Empty: no such column, or nothing in it.
  std::string Text(const Row& row, std::string_view column) {
    const std::optional<size_t> at = table_.Column(column);
    if (!at) {
      return "";
    }
    asked_.insert(*at);
    const std::string cell = *at < row.cells.size() ? row.cells[*at] : "";
    return IsNothing(cell) ? "" : cell;
  }

  std::optional<double> Number(const Row& row, std::string_view column) {
    return NumberOf(Text(row, column));
  }

  std::optional<bool> Flag(const Row& row, std::string_view column) {
    const std::string text = Text(row, column);
    const std::optional<double> number = NumberOf(text);
    return number ? std::optional(*number != 0.0) : FlagOf(text);
  }

  void CountRest(const Row& row, std::map<std::string, uint64_t>& not_kept) const {
    for (size_t i = 0; i < row.cells.size(); ++i) {
      if (asked_.count(i) == 0 && !IsNothing(row.cells[i])) {
        ++not_kept[i < table_.header().size() ? Shown(table_.header()[i]) : "(no name)"];
      }
    }
  }

 private:
  const QuotedTable& table_;
  std::set<size_t> asked_;
};

// What the clocks showed minus UTC, by the position's own time.
std::optional<int64_t> OffsetOf(const Row& row) {
  if (!row.local || !row.fix) {
    return std::nullopt;
  }
  const int64_t difference = row.local->ms - row.fix->ms;
  const auto quarters =
      std::llround(static_cast<double>(difference) / static_cast<double>(kQuarterMs));
  const int64_t offset = quarters * kQuarterMs;
  if (std::llabs(difference - offset) > kFixAgeMaxMs || std::llabs(offset) > kOffsetMaxMs) {
    return std::nullopt;
  }
  return offset;
}

// Rows that do not tell take what the nearest ones before and after agree on.
void FillOffsets(std::vector<Row>& rows) {
  std::vector<std::optional<int64_t>> after(rows.size());
  std::optional<int64_t> next;
  for (size_t i = rows.size(); i-- > 0;) {
    next = rows[i].offset_ms ? rows[i].offset_ms : next;
    after[i] = next;
  }
  std::optional<int64_t> before;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].offset_ms) {
      before = rows[i].offset_ms;
    } else if (before && before == after[i]) {
      rows[i].offset_ms = before;
    }
  }
}

// The row's time. `before`: of the row before, to tell the two hours of autumn apart.
std::optional<Timestamp> TimeOfRow(const Row& row, const std::optional<Zone>& zone,
                                   Timestamp before) {
  if (!row.local) {
    return std::nullopt;
  }
  if (row.offset_ms) {
    return Timestamp{row.local->ms - *row.offset_ms};
  }
  const std::vector<Timestamp> times = zone ? zone->TimesOf(*row.local) : std::vector<Timestamp>();
  if (times.empty()) {
    return std::nullopt;
  }
  return times.front() >= before ? times.front() : times.back();
}

void TakeTemperature(Columns& columns, const Row& row, RecordMaker& record, const char* celsius,
                     std::string_view signal) {
  const std::optional<double> value = columns.Number(row, celsius);
  const std::optional<double> fahrenheit = columns.Number(row, std::string(celsius) + "F");
  if (value || !fahrenheit) {
    record.Number(signal, value);
    return;
  }
  record.Number(signal, (*fahrenheit - 32) * 5 / 9);
  record.Changed(std::string(signal) + ": Fahrenheit to Celsius");
}

void TakeBody(Columns& columns, const Row& row, RecordMaker& record) {
  record.Flag("body.is_locked", columns.Flag(row, "locked"));
  const bool right = columns.Flag(row, "rhd").value_or(false);
  static constexpr std::array<const char*, 4> kLeft = {"df", "pf", "dr", "pr"};
  static constexpr std::array<const char*, 4> kRight = {"pf", "df", "pr", "dr"};
  const auto& doors = right ? kRight : kLeft;
  record.Flag("body.door_front_left_open", columns.Flag(row, doors[0]));
  record.Flag("body.door_front_right_open", columns.Flag(row, doors[1]));
  record.Flag("body.door_rear_left_open", columns.Flag(row, doors[2]));
  record.Flag("body.door_rear_right_open", columns.Flag(row, doors[3]));
  record.Flag("body.hood_open", columns.Flag(row, "ft"));
  record.Flag("body.trunk_open", columns.Flag(row, "rt"));
}

void TakeEnergy(Columns& columns, const Row& row, RecordMaker& record) {
  record.Number("energy.soc", columns.Number(row, "battery_level"));
  record.Scaled("energy.range", columns.Number(row, "battery_range"), kKmPerMile, kMiles);
  record.Number("energy.charge_limit", columns.Number(row, "charge_limit_soc"));
  record.Number("energy.current", columns.Number(row, "battery_current"));
  record.Scaled("energy.time_to_full", columns.Number(row, "time_to_full_charge"), kMinutesPerHour,
                "hours to minutes");
  const std::string charging = columns.Text(row, "charging_state");
  if (charging == "Charging" || charging == "Complete" || charging == "Disconnected" ||
      charging == "Stopped" || charging == "NoPower" || charging == "Starting") {
    record.Flag("energy.is_charging", charging == "Charging");
    record.Flag("energy.is_plugged", charging != "Disconnected");
  } else if (!charging.empty()) {
    record.Changed("energy.is_charging left out: \"" + Shown(charging) + "\" is not known");
  }
}

void TakeDrive(Columns& columns, const Row& row, RecordMaker& record) {
  record.Scaled("drive.speed", columns.Number(row, "speed"), kKmPerMile, "mph to km/h");
  record.Scaled("drive.odometer", columns.Number(row, "odometer"), kKmPerMile, kMiles);
  const std::string gear = columns.Text(row, "shift_state");
  constexpr double kPark = 126;
  constexpr double kDriveGear = 127;
  if (gear == "P" || gear == "R" || gear == "N" || gear == "D") {
    record.Number("drive.gear", gear == "P"   ? kPark
                                : gear == "D" ? kDriveGear
                                : gear == "R" ? -1
                                              : 0);
  } else if (!gear.empty()) {
    record.Changed("drive.gear left out: \"" + Shown(gear) + "\" is not known");
  }
}

void TakeRow(Columns& columns, const Row& row, RecordMaker& record) {
  TakeBody(columns, row, record);
  TakeEnergy(columns, row, record);
  TakeDrive(columns, row, record);
  TakeTemperature(columns, row, record, "inside_temp", "climate.cabin_temperature");
  TakeTemperature(columns, row, record, "outside_temp", "climate.outside_temperature");
  TakeTemperature(columns, row, record, "driver_temp_setting", "climate.target_temperature");
  record.Flag("climate.is_active", columns.Flag(row, "is_climate_on"));
  const auto latitude = columns.Number(row, "latitude");
  const auto longitude = columns.Number(row, "longitude");
  record.Position(latitude, longitude, row.fix ? std::min(*row.fix, record.at()) : record.at());
  if (latitude && *latitude != 0.0) {
    record.Number("location.heading", columns.Number(row, "heading"));
  }
  record.Text("link.software", columns.Text(row, "car_version"));
}

// The times of all rows, without their cells.
std::vector<Row> RowsOf(QuotedTable& table, Columns& columns) {
  std::vector<Row> rows;
  while (rows.size() <= kRecordsMax && table.Next()) {
    Row row{table.cells(), {}, {}, {}, table.sound()};
    row.local = TimeOf(columns.Text(row, "Date"), WithoutZone::kUtc);
    const std::optional<double> fix = columns.Number(row, "gps_as_of");
    if (fix && *fix > 0 && *fix < 4e9) {
      row.fix = Timestamp{std::llround(*fix) * kMsPerSecond};
    }
    row.offset_ms = OffsetOf(row);
    row.cells = {};  // read again later: all at once would take too much memory
    rows.push_back(std::move(row));
  }
  FillOffsets(rows);
  return rows;
}

}  // namespace

void ReadTeslaFi(const SourceFile& file, const std::optional<Zone>& zone, Reading& out) {
  QuotedTable table(file.bytes);
  if (!table.Column("Date") || !table.Column("vin") || !table.Column("state")) {
    out.refused.push_back({file.name, "is no export of TeslaFi: columns Date, vin, state missing"});
    return;
  }
  Columns columns(table);
  const std::vector<Row> rows = RowsOf(table, columns);
  QuotedTable again(file.bytes);
  if (rows.size() > kRecordsMax) {
    out.refused.push_back({file.name, "has more than 200000 rows: export it in parts"});
    return;
  }
  Timestamp before;
  for (size_t i = 0; i < rows.size(); ++i) {
    Row row = rows[i];
    const bool more = again.Next();
    LK_ASSERT(more);
    row.cells = again.cells();
    const std::string where = file.name + " row " + std::to_string(i + 2);
    if (!row.sound || row.cells.size() != table.header().size()) {
      out.refused.push_back({where, "has another number of cells than the first line: cut off?"});
      continue;
    }
    const std::optional<Timestamp> at = TimeOfRow(row, zone, before);
    before = at.value_or(before);
    const std::string vehicle = columns.Text(row, "vin");
    const std::string state = columns.Text(row, "state");
    RecordMaker record(where, vehicle, at.value_or(Timestamp{1}));
    TakeRow(columns, row, record);
    columns.CountRest(row, out.not_kept);
    const std::string silent = "the car was " + (state.empty() ? "not reached" : Shown(state)) +
                               " and the row holds no value";
    if (vehicle.empty()) {
      out.refused.push_back({where, record.empty() ? silent + ", and it names no car"
                                                   : "names no car, and it is not guessed whose"});
    } else if (!record.empty() && !at) {
      out.refused.push_back({where, row.local
                                        ? "its local time could be in several zones: say --zone"
                                        : "its Date is none"});
    } else {
      std::move(record).FinishInto(out, silent);
    }
  }
}

}  // namespace latchkey::legacy
