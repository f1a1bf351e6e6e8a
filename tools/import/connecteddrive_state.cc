// Words and units of ConnectedDrive. A word that is not known is left out and said so: a door is
// never shut by a guess.
#include "tools/import/connecteddrive_state.h"

#include <algorithm>
#include <array>
#include <string>

namespace latchkey::legacy {

namespace {

constexpr double kKmPerMile = 1.609344;
constexpr double kOpen = 100;
constexpr double kHalfOpen = 50;

struct Word {
  std::string_view word;
  bool value;
};

using Words = std::vector<Word>;

const Words kDoor = {
    {"CLOSED", false}, {"OPEN", true}, {"OPEN_TILT", true}, {"INTERMEDIATE", true}};
const Words kLock = {{"SECURED", true},          {"LOCKED", true},
                     {"UNLOCKED", false},        {"SELECTIVE_LOCKED", false},
                     {"SELECTIVELOCKED", false}, {"PARTIALLY_LOCKED", false}};
const Words kPlug = {{"CONNECTED", true}, {"DISCONNECTED", false}};
const Words kCharging = {{"CHARGING", true},
                         {"CHARGINGACTIVE", true},
                         {"NOT_CHARGING", false},
                         {"NOCHARGING", false},
                         {"COMPLETE", false},
                         {"FINISHED_FULLY_CHARGED", false},
                         {"FINISHED_NOT_FULL", false},
                         {"FULLY_CHARGED", false},
                         {"PLUGGED_IN", false},
                         {"TARGET_REACHED", false},
                         {"WAITING_FOR_CHARGING", false},
                         {"ERROR", false}};
const Words kLight = {{"OFF", false}, {"ON", true}, {"LEFT", true}, {"RIGHT", true}};
const Words kClimate = {{"INACTIVE", false},  {"STANDBY", false}, {"OFF", false},
                        {"ACTIVE", true},     {"HEATING", true},  {"COOLING", true},
                        {"VENTILATION", true}};

void Take(JsonFields& fields, RecordMaker& record, const std::string& path, std::string_view signal,
          const Words& words) {
  const std::string text = fields.Text(path);
  if (text.empty()) {
    return;
  }
  const auto found =
      std::find_if(words.begin(), words.end(), [&](const Word& one) { return one.word == text; });
  if (found == words.end()) {
    record.Changed(std::string(signal) + " left out: \"" + Shown(text) + "\" is not known");
    return;
  }
  record.Flag(signal, found->value);
}

// Names of the four doors, of windows, and what is before them.
struct Doors {
  std::string prefix;
  // Of the driver's side and the other, front and rear.
  std::array<std::string, 4> names;
};

enum class Steering : uint8_t { kLeft, kRight };

void TakeDoors(JsonFields& fields, RecordMaker& record, const Doors& doors, Steering steering) {
  static constexpr std::array<std::string_view, 4> kLeftFirst = {
      "body.door_front_left_open", "body.door_front_right_open", "body.door_rear_left_open",
      "body.door_rear_right_open"};
  static constexpr std::array<size_t, 4> kMirrored = {1, 0, 3, 2};
  for (size_t i = 0; i < kLeftFirst.size(); ++i) {
    const size_t side = steering == Steering::kLeft ? i : kMirrored.at(i);
    Take(fields, record, doors.prefix + doors.names.at(i), kLeftFirst.at(side), kDoor);
  }
}

// The driver's side of a car that does not say where its wheel is.
Steering AssumeLeft(JsonFields& fields, RecordMaker& record, const std::string& door) {
  if (fields.Has(door)) {
    record.Changed("body.door: the driver's side is taken as left");
  }
  return Steering::kLeft;
}

void TakeWindows(JsonFields& fields, RecordMaker& record, const std::vector<std::string>& windows) {
  std::optional<double> most;
  for (const std::string& path : windows) {
    const std::string text = fields.Text(path);
    if (text.empty()) {
      continue;
    }
    if (text != "CLOSED" && text != "OPEN" && text != "INTERMEDIATE" && text != "OPEN_TILT") {
      record.Changed("body.window_open_max left out: \"" + Shown(text) + "\" is not known");
      return;
    }
    const double open = text == "CLOSED" ? 0 : (text == "OPEN" ? kOpen : kHalfOpen);
    most = std::max(most.value_or(0), open);
  }
  if (most && *most > 0) {
    record.Changed("body.window_open_max: OPEN as 100 percent, in between as 50");
  }
  record.Number("body.window_open_max", most);
}

// A distance in km, or in miles when `unit` says so.
void TakeDistance(RecordMaker& record, std::string_view signal, std::optional<double> value,
                  std::string unit) {
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (unit.empty() || unit == "km" || unit == "kilometers") {
    record.Number(signal, value);
  } else if (unit == "mi" || unit == "mls" || unit == "mile" || unit == "miles") {
    record.Scaled(signal, value, kKmPerMile, "miles to km");
  } else if (value) {
    record.Changed(std::string(signal) + " left out: its unit is not known");
  }
}

}  // namespace

std::optional<Timestamp> TimeOf2018Status(JsonFields& fields) {
  const std::string with_zone = fields.Text("updateTime");
  const std::string utc = fields.Text("internalDataTimeUTC");
  const auto at = TimeOf(with_zone, WithoutZone::kRefuse);
  return at ? at : TimeOf(utc, WithoutZone::kUtc);
}

void Take2018Status(JsonFields& fields, RecordMaker& record) {
  const std::string steering = fields.Text("steering");
  const Steering side = steering == "RH"   ? Steering::kRight
                        : steering == "LH" ? Steering::kLeft
                                           : AssumeLeft(fields, record, "doorDriverFront");
  TakeDoors(fields, record,
            {"", {"doorDriverFront", "doorPassengerFront", "doorDriverRear", "doorPassengerRear"}},
            side);
  Take(fields, record, "doorLockState", "body.is_locked", kLock);
  Take(fields, record, "trunk", "body.trunk_open", kDoor);
  Take(fields, record, "hood", "body.hood_open", kDoor);
  Take(fields, record, "positionLight", "body.lights_on", kLight);
  TakeWindows(fields, record,
              {"windowDriverFront", "windowDriverRear", "windowPassengerFront",
               "windowPassengerRear", "rearWindow"});
  record.Number("energy.soc", fields.Number("chargingLevelHv"));
  record.Number("energy.range", fields.Number("remainingRangeElectric"));
  record.Number("energy.time_to_full", fields.Number("chargingTimeRemaining"));
  Take(fields, record, "chargingStatus", "energy.is_charging", kCharging);
  Take(fields, record, "connectionStatus", "energy.is_plugged", kPlug);
  record.Number("drive.odometer", fields.Number("mileage"));
  record.Number("service.service_distance", fields.Smallest("cbsData", "cbsRemainingMileage"));
  const Json* warnings = fields.Find("checkControlMessages");
  if (warnings != nullptr && warnings->is_array()) {
    record.Number("service.warnings", static_cast<double>(warnings->size()));
  }
  const std::string position = fields.Text("position.status");
  if (position == "DRIVER_DISABLED") {
    record.HideLocation();
  } else if (position == "OK") {
    record.Position(fields.Number("position.lat"), fields.Number("position.lon"), record.at());
    record.Number("location.heading", fields.Number("position.heading"));
  } else if (!position.empty()) {
    record.Changed("location left out: the car says " + Shown(position));
  }
}

std::optional<Timestamp> TimeOf2018Attributes(JsonFields& fields) {
  // The converted times beside it are local in some answers, and so is their count since 1970.
  return TimeOf(fields.Text("updateTime"), WithoutZone::kRefuse);
}

void Take2018Attributes(JsonFields& fields, RecordMaker& record) {
  const Steering side = AssumeLeft(fields, record, "door_driver_front");
  TakeDoors(fields, record,
            {"door_", {"driver_front", "passenger_front", "driver_rear", "passenger_rear"}}, side);
  Take(fields, record, "door_lock_state", "body.is_locked", kLock);
  Take(fields, record, "trunk_state", "body.trunk_open", kDoor);
  Take(fields, record, "hood_state", "body.hood_open", kDoor);
  Take(fields, record, "lights_parking", "body.lights_on", kLight);
  TakeWindows(fields, record,
              {"window_driver_front", "window_driver_rear", "window_passenger_front",
               "window_passenger_rear"});
  const std::string unit = fields.Text("unitOfLength");
  record.Number("energy.soc", fields.Number("chargingLevelHv"));
  record.Number("energy.range", fields.Number("beRemainingRangeElectricKm"));
  Take(fields, record, "charging_status", "energy.is_charging", kCharging);
  Take(fields, record, "connectorStatus", "energy.is_plugged", kPlug);
  TakeDistance(record, "drive.odometer", fields.Number("mileage"), unit);
  record.Position(fields.Number("gps_lat"), fields.Number("gps_lng"), record.at());
  record.Number("location.heading", fields.Number("heading"));
}

std::optional<Timestamp> TimeOf2021(JsonFields& fields) {
  return TimeOf(fields.Text("properties.lastUpdatedAt"), WithoutZone::kRefuse);
}

void Take2021(JsonFields& fields, RecordMaker& record) {
  const std::string doors = "properties.doorsAndWindows.";
  const Steering side = AssumeLeft(fields, record, doors + "doors.driverFront");
  TakeDoors(fields, record,
            {doors + "doors.", {"driverFront", "passengerFront", "driverRear", "passengerRear"}},
            side);
  Take(fields, record, doors + "trunk", "body.trunk_open", kDoor);
  Take(fields, record, doors + "hood", "body.hood_open", kDoor);
  TakeWindows(fields, record,
              {doors + "windows.driverFront", doors + "windows.driverRear",
               doors + "windows.passengerFront", doors + "windows.passengerRear"});
  record.Flag("body.is_locked", fields.Flag("properties.areDoorsLocked"));
  record.Number("energy.soc", fields.Number("properties.chargingState.chargePercentage"));
  record.Flag("energy.is_plugged", fields.Flag("properties.chargingState.isChargerConnected"));
  Take(fields, record, "properties.chargingState.state", "energy.is_charging", kCharging);
  TakeDistance(record, "energy.range", fields.Number("properties.electricRange.distance.value"),
               fields.Text("properties.electricRange.distance.units"));
  Take(fields, record, "properties.climateControl.activity", "climate.is_active", kClimate);
  record.Flag("drive.is_moving", fields.Flag("properties.inMotion"));
  TakeDistance(record, "drive.odometer", fields.Number("status.currentMileage.mileage"),
               fields.Text("status.currentMileage.units"));
  TakeDistance(record, "service.service_distance",
               fields.Smallest("properties.serviceRequired", "distance.value"), "km");
  const std::string tires = "properties.tires.";
  const std::string pressure = ".status.currentPressure";
  record.Number("service.tyre_front_left", fields.Number(tires + "frontLeft" + pressure));
  record.Number("service.tyre_front_right", fields.Number(tires + "frontRight" + pressure));
  record.Number("service.tyre_rear_left", fields.Number(tires + "rearLeft" + pressure));
  record.Number("service.tyre_rear_right", fields.Number(tires + "rearRight" + pressure));
  const std::string place = "properties.vehicleLocation.";
  record.Position(fields.Number(place + "coordinates.latitude"),
                  fields.Number(place + "coordinates.longitude"), record.at());
  record.Number("location.heading", fields.Number(place + "heading"));
}

std::optional<Timestamp> TimeOf2022(JsonFields& fields) {
  const auto at = TimeOf(fields.Text("state.lastUpdatedAt"), WithoutZone::kRefuse);
  fields.Find("state.lastFetched");
  return at;
}

void Take2022(JsonFields& fields, RecordMaker& record) {
  TakeDoors(fields, record,
            {"state.doorsState.", {"leftFront", "rightFront", "leftRear", "rightRear"}},
            Steering::kLeft);
  Take(fields, record, "state.doorsState.combinedSecurityState", "body.is_locked", kLock);
  Take(fields, record, "state.doorsState.trunk", "body.trunk_open", kDoor);
  Take(fields, record, "state.doorsState.hood", "body.hood_open", kDoor);
  const std::string windows = "state.windowsState.";
  TakeWindows(fields, record,
              {windows + "leftFront", windows + "rightFront", windows + "leftRear",
               windows + "rightRear", windows + "rear"});
  const std::string charging = "state.electricChargingState.";
  record.Number("energy.soc", fields.Number(charging + "chargingLevelPercent"));
  record.Number("energy.range", fields.Number(charging + "range"));
  record.Flag("energy.is_plugged", fields.Flag(charging + "isChargerConnected"));
  Take(fields, record, charging + "chargingStatus", "energy.is_charging", kCharging);
  record.Number("energy.charge_limit", fields.Number(charging + "chargingTarget"));
  record.Number("energy.time_to_full", fields.Number(charging + "remainingChargingMinutes"));
  Take(fields, record, "state.climateControlState.activity", "climate.is_active", kClimate);
  record.Number("drive.odometer", fields.Number("state.currentMileage"));
  record.Number("service.service_distance", fields.Smallest("state.requiredServices", "mileage"));
  const std::string tires = "state.tireState.";
  const std::string pressure = ".status.currentPressure";
  record.Number("service.tyre_front_left", fields.Number(tires + "frontLeft" + pressure));
  record.Number("service.tyre_front_right", fields.Number(tires + "frontRight" + pressure));
  record.Number("service.tyre_rear_left", fields.Number(tires + "rearLeft" + pressure));
  record.Number("service.tyre_rear_right", fields.Number(tires + "rearRight" + pressure));
  if (fields.Text("state.driverPreferences.lscPrivacyMode") == "ON") {
    record.HideLocation();
    return;
  }
  record.Position(fields.Number("state.location.coordinates.latitude"),
                  fields.Number("state.location.coordinates.longitude"), record.at());
  record.Number("location.heading", fields.Number("state.location.heading"));
}

}  // namespace latchkey::legacy
