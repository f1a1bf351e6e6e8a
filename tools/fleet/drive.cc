// One reader per recorder; what they share is Recorder (recorder.h).
#include "tools/fleet/drive.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "proto/state.h"
#include "tools/fleet/calendar.h"
#include "tools/fleet/recorder.h"
#include "tools/fleet/table.h"

namespace latchkey::fleet {
namespace {

constexpr double kKmPerMile = 1.609344;
constexpr double kMetresPerFoot = 0.3048;
constexpr double kKpaPerPsi = 6.894757;

constexpr auto kI3 = std::to_array<Mapping>({
    {"Velocity", "drive.speed"},
    {"Throttle", "drive.throttle"},
    {"Motor Torque", "drive.torque"},
    {"Longitudinal Acceleration", "drive.acceleration"},
    {"Elevation", "location.altitude"},
    {"Battery Voltage", "energy.voltage"},
    {"Battery Current", "energy.current"},  // negative discharges, as ours
    {"Battery Temperature", "energy.battery_temperature"},
    {"displayed SoC", "energy.soc"},
    {"Heating Power CAN", "climate.heating_power"},
    {"AirCon Power", "climate.aircon_power"},
    {"Ambient Temperature", "climate.outside_temperature"},
    {"Cabin Temperature Sensor", "climate.cabin_temperature"},
});

constexpr auto kTwizy = std::to_array<Mapping>({
    {"Soc", "energy.soc"},
    {"Speed", "drive.speed"},
    {"Temperature", "climate.outside_temperature"},
    {"Humidity", "climate.humidity"},
});

constexpr auto kLeaf = std::to_array<Mapping>({
    {"Speed", "drive.speed", kKmPerMile},
    {"Elv", "location.altitude", kMetresPerFoot},
    {"SOC", "energy.soc", 1e-4},
    {"Pack Volts", "energy.voltage"},
    {"Pack Amps", "energy.current", -1},  // positive discharges, opposite of ours
    {"SOH", "energy.soh"},
    {"12v Bat Volts", "service.low_voltage"},
    {"Odo(km)", "drive.odometer"},
    {"Ambient", "climate.outside_temperature", 5.0 / 9.0, -160.0 / 9.0},
    {"TP-FL", "service.tyre_front_left", kKpaPerPsi},
    {"TP-FR", "service.tyre_front_right", kKpaPerPsi},
    {"TP-RL", "service.tyre_rear_left", kKpaPerPsi},
    {"TP-RR", "service.tyre_rear_right", kKpaPerPsi},
    {"Torque Nm", "drive.torque"},
    {"Est Pwr A/C(50w)", "climate.aircon_power", 0.05},
    {"Est Pwr Htr(250w)", "climate.heating_power", 0.25},
});

constexpr auto kScooter = std::to_array<Mapping>({
    {"Latitude", "location.latitude"},
    {"Longitude", "location.longitude"},
    {"Altitude", "location.altitude"},
    {"Speed", "drive.speed"},
    {"SoC", "energy.soc"},
});

Result<Drive> ReadI3(Recorder recorder, std::optional<Timestamp> start) {
  const auto columns = recorder.Columns(kI3);
  const auto time = recorder.table().Column("Time");
  for (;;) {
    LK_TRY(const bool more, recorder.Next());
    if (!more) {
      break;
    }
    const auto seconds = recorder.Number(time, kTime);
    const bool timed = seconds && *seconds >= 0 && *seconds < 1e7 &&
                       recorder.AtOffset(Duration(std::llround(*seconds * 1000)));
    if (timed) {
      recorder.PutMapped(kI3, columns);
    }
  }
  LK_TRY(Drive drive, recorder.Finish());
  drive.start = start.value_or(Timestamp{});
  return drive;
}

// "HH:MM:SS"; nullopt: no such time of day.
std::optional<Duration> TimeOfDay(std::string_view text) {
  const auto numbers = SixNumbers("1 1 1 " + std::string(text));
  if (!numbers) {
    return std::nullopt;
  }
  const auto [a, b, c, hour, minute, second] = *numbers;
  if (hour > 23 || minute > 59 || second > 59) {
    return std::nullopt;
  }
  return std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second);
}

std::optional<Date> MonthDayYear(std::string_view text) {
  const auto numbers = SixNumbers(std::string(text) + " 1 1 1");
  if (!numbers) {
    return std::nullopt;
  }
  return CheckDate((*numbers)[2], static_cast<unsigned>((*numbers)[0]),
                   static_cast<unsigned>((*numbers)[1]));
}

// The Twizy's clock: the time of day is always right, the date sometimes is not. The first date
// that can be holds; it goes on a day when the time of day falls by more than half a day.
class TwizyClock {
 public:
  // nullopt: no time, or no date yet.
  std::optional<Timestamp> Read(std::string_view date, std::string_view time, Recorder& recorder) {
    const auto of_day = TimeOfDay(time);
    if (!of_day) {
      recorder.Refuse(kTime, Cause::kNotANumber);
      return std::nullopt;
    }
    const auto read = MonthDayYear(date);
    if (!date_) {
      date_ = read;
    } else if (*of_day + std::chrono::hours(12) < of_day_) {
      date_ = AddDays(*date_, 1);
    }
    if (!read || read != date_) {
      recorder.Refuse(kTime, Cause::kBadDate);
    }
    of_day_ = *of_day;
    return date_ ? std::optional(ToUtc(*date_, *of_day, Zone::kMorocco)) : std::nullopt;
  }

 private:
  std::optional<Date> date_;
  Duration of_day_{0};
};

// The receiver repeats its last fix until the next one: a position counts as observed when it
// changes, so that its age is true.
class TwizyFix {
 public:
  explicit TwizyFix(const Table& table)
      : latitude_(table.Column("LAT")),
        longitude_(table.Column("LON")),
        altitude_(table.Column("ALT")) {}

  void Put(Recorder& recorder) {
    const Table& table = recorder.table();
    const std::array<std::string_view, 3> fix = {table.Cell(latitude_).value_or(""),
                                                 table.Cell(longitude_).value_or(""),
                                                 table.Cell(altitude_).value_or("")};
    const bool repeated = fix == last_;
    last_ = fix;
    PutOne(latitude_, "location.latitude", repeated, recorder);
    PutOne(longitude_, "location.longitude", repeated, recorder);
    PutOne(altitude_, "location.altitude", repeated, recorder);
  }

 private:
  // A bad value is counted in each row that has it.
  static void PutOne(std::optional<size_t> column, std::string_view signal, bool repeated,
                     Recorder& recorder) {
    constexpr double kAltitudeUnknown = -111;
    const auto number = recorder.Number(column, signal);
    if (!number) {
      return;
    }
    if (signal == "location.altitude" && *number == kAltitudeUnknown) {
      recorder.Refuse(signal, Cause::kKnownGlitch);
    } else if (!repeated || !PlausibleValue(signal, *number)) {
      recorder.Put(signal, *number);
    }
  }

  std::optional<size_t> latitude_;
  std::optional<size_t> longitude_;
  std::optional<size_t> altitude_;
  std::array<std::string_view, 3> last_;
};

Result<Drive> ReadTwizy(Recorder recorder) {
  const auto columns = recorder.Columns(kTwizy);
  const auto date = recorder.table().Column("Date");
  const auto time = recorder.table().Column("Time");
  const auto mode = recorder.table().Column("Mode");
  TwizyClock clock;
  TwizyFix fix(recorder.table());
  for (;;) {
    LK_TRY(const bool more, recorder.Next());
    if (!more) {
      return recorder.Finish();
    }
    const Table& table = recorder.table();
    const auto at =
        clock.Read(table.Cell(date).value_or(""), table.Cell(time).value_or(""), recorder);
    if (!at || !recorder.At(*at)) {
      continue;
    }
    recorder.PutMapped(kTwizy, columns);
    fix.Put(recorder);
    const std::string_view gear = table.Cell(mode).value_or("");
    if (gear == "D" || gear == "N" || gear == "R") {
      recorder.Put("drive.gear", gear == "D" ? 127 : gear == "N" ? 0 : -1);
    } else if (!gear.empty()) {
      recorder.Refuse("drive.gear", Cause::kNotANumber);
    }
  }
}

// "-117 25.75793": the sign applies to the whole.
std::optional<double> DegreesAndMinutes(std::string_view text) {
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) {
    return std::nullopt;
  }
  const auto degrees = ParseNumber(text.substr(0, space));
  const auto minutes = ParseNumber(Trim(text.substr(space)));
  if (!degrees || !minutes || *minutes < 0 || *minutes >= 60) {
    return std::nullopt;
  }
  const double size = std::abs(*degrees) + *minutes / 60;
  return text.front() == '-' ? -size : size;
}

// LeafSpy's number -> ours; nullopt: not known.
std::optional<double> LeafGear(double number) {
  constexpr std::array<std::pair<double, double>, 5> kGears = {
      {{1, 126}, {2, -1}, {3, 0}, {4, 127}, {7, 127}}};
  const auto* found = std::find_if(kGears.begin(), kGears.end(),
                                   [number](const auto& gear) { return gear.first == number; });
  return found == kGears.end() ? std::nullopt : std::optional(found->second);
}

// What LeafSpy writes in a form of its own.
class LeafCells {
 public:
  explicit LeafCells(const Table& table)
      : latitude_(table.Column("Lat")),
        longitude_(table.Column("Long")),
        gear_(table.Column("Gear")),
        plug_(table.Column("Plug State")),
        charge_(table.Column("Charge Mode")),
        temperatures_{table.Column("Pack T1 C"), table.Column("Pack T2 C"),
                      table.Column("Pack T3 C"), table.Column("Pack T4 C")} {}

  void Put(Recorder& recorder) const {
    PutPosition(latitude_, "location.latitude", recorder);
    PutPosition(longitude_, "location.longitude", recorder);
    if (const auto number = recorder.Number(gear_, "drive.gear")) {
      const auto gear = LeafGear(*number);
      if (gear) {
        recorder.Put("drive.gear", *gear);
      } else {
        recorder.Refuse("drive.gear", Cause::kOutOfRange);
      }
    }
    if (const auto plug = recorder.Number(plug_, "energy.is_plugged")) {
      recorder.Put("energy.is_plugged", *plug == 0.0 ? 0 : 1);
    }
    if (const auto charge = recorder.Number(charge_, "energy.is_charging")) {
      recorder.Put("energy.is_charging", *charge == 0.0 ? 0 : 1);
    }
    double sum = 0;
    int count = 0;
    for (const auto& column : temperatures_) {
      if (const auto temperature = recorder.Number(column, "energy.battery_temperature")) {
        sum += *temperature;
        ++count;
      }
    }
    if (count > 0) {
      recorder.Put("energy.battery_temperature", sum / count);
    }
  }

 private:
  static void PutPosition(std::optional<size_t> column, std::string_view signal,
                          Recorder& recorder) {
    const std::string_view text = recorder.table().Cell(column).value_or("");
    if (text.empty() || text == "none") {
      return;
    }
    const auto degrees = DegreesAndMinutes(text);
    if (degrees) {
      recorder.Put(signal, *degrees);
    } else {
      recorder.Refuse(signal, Cause::kNotANumber);
    }
  }

  std::optional<size_t> latitude_;
  std::optional<size_t> longitude_;
  std::optional<size_t> gear_;
  std::optional<size_t> plug_;
  std::optional<size_t> charge_;
  std::array<std::optional<size_t>, 4> temperatures_;
};

Result<Drive> ReadLeaf(Recorder recorder) {
  const auto columns = recorder.Columns(kLeaf);
  const auto time = recorder.table().Column("epoch time");
  const LeafCells cells(recorder.table());
  for (;;) {
    LK_TRY(const bool more, recorder.Next());
    if (!more) {
      return recorder.Finish();
    }
    const auto seconds = recorder.Number(time, kTime);
    const bool timed = seconds && *seconds > 0 && *seconds < 1e11;
    if (timed && recorder.At({std::llround(*seconds * 1000)})) {
      recorder.PutMapped(kLeaf, columns);
      cells.Put(recorder);
    }
  }
}

// "2023-10-12 13:35:24", "2019_12_09_07-58-11"
std::optional<Timestamp> LocalTime(std::string_view text, Zone zone) {
  const auto numbers = SixNumbers(text);
  if (!numbers) {
    return std::nullopt;
  }
  const auto [year, month, day, hour, minute, second] = *numbers;
  const auto date = CheckDate(year, static_cast<unsigned>(month), static_cast<unsigned>(day));
  if (!date || hour > 23 || minute > 59 || second > 59) {
    return std::nullopt;
  }
  return ToUtc(
      *date, std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second),
      zone);
}

Result<Drive> ReadScooter(Recorder recorder) {
  const auto columns = recorder.Columns(kScooter);
  const auto time = recorder.table().Column("Timestamp");
  for (;;) {
    LK_TRY(const bool more, recorder.Next());
    if (!more) {
      return recorder.Finish();
    }
    const auto at = LocalTime(recorder.table().Cell(time).value_or(""), Zone::kIreland);
    if (!at) {
      recorder.Refuse(kTime, Cause::kBadDate);
    } else if (recorder.At(*at)) {
      recorder.PutMapped(kScooter, columns);
    }
  }
}

}  // namespace

std::string_view ToText(Cause cause) {
  switch (cause) {
    case Cause::kNotANumber:
      return "not_a_number";
    case Cause::kOutOfRange:
      return "out_of_range";
    case Cause::kNoFix:
      return "no_fix";
    case Cause::kKnownGlitch:
      return "known_glitch";
    case Cause::kBadDate:
      return "bad_date";
    case Cause::kNotAfter:
      return "not_after";
    case Cause::kMissingCells:
      return "missing_cells";
  }
  return "unknown";
}

uint64_t Drive::RefusedCount() const {
  uint64_t count = 0;
  for (const auto& [key, times] : refused) {
    count += times;
  }
  return count;
}

Result<Drive> ReadDrive(std::string_view bytes, std::string_view name,
                        std::optional<Timestamp> start) {
  const std::string_view header = bytes.substr(0, bytes.find('\n'));
  if (header.starts_with("Time [s];")) {
    return ReadI3({Table(bytes, ';'), name, "BMW i3"}, start);
  }
  const Table table(bytes, ',');
  const auto has = [&table](std::string_view column) { return table.Column(column).has_value(); };
  if (has("Date") && has("Time") && has("Soc")) {
    return ReadTwizy({table, name, "Twizy"});
  }
  if (has("epoch time") && has("SOC")) {
    return ReadLeaf({table, name, "LeafSpy"});
  }
  if (has("Timestamp") && has("Latitude") && has("SoC")) {
    return ReadScooter({table, name, "e-scooter"});
  }
  return Fail(v1::REASON_MALFORMED,
              "drive " + std::string(name) +
                  " is of no known recorder (BMW i3, Twizy, LeafSpy, e-scooter): not read");
}

std::optional<Timestamp> StartOfTrip(std::string_view overview, std::string_view trip) {
  Table table(overview, '\t');
  const auto name = table.Column("Trip");
  const auto date = table.Column("Date");
  while (table.Next()) {
    if (table.Cell(name) == trip) {
      return LocalTime(table.Cell(date).value_or(""), Zone::kMunich);
    }
  }
  return std::nullopt;
}

}  // namespace latchkey::fleet
