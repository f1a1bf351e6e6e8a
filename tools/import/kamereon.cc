// Which answer it is is told by its attributes, not by the file's name, which people choose.
#include "tools/import/kamereon.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "tools/import/json_fields.h"

namespace latchkey::legacy {

namespace {

constexpr double kKpaPerMbar = 0.1;

// What a number that is a code means; nullopt: that it is not known.
struct Code {
  double number;
  std::optional<bool> flag;
};

// As the renault-api project has them (kamereon/enums.py): not in charge, planned, ended, waiting
// for current, flap open; in charge; and, by the car's generation, not charging or an error, and
// not available.
constexpr std::array<Code, 8> kCharging = {{{0.0, false},
                                            {0.1, false},
                                            {0.2, false},
                                            {0.3, false},
                                            {0.4, false},
                                            {1.0, true},
                                            {-1.0, std::nullopt},
                                            {-1.1, std::nullopt}}};
// Unplugged, plugged, an error, not known.
constexpr std::array<Code, 4> kPlug = {
    {{0, false}, {1, true}, {-1, std::nullopt}, {-2147483648.0, std::nullopt}}};

// A code that nobody has explained says nothing.
void TakeCode(JsonFields& fields, RecordMaker& record, const std::string& field,
              std::string_view signal, std::span<const Code> codes) {
  constexpr double kNear = 0.001;
  const std::optional<double> number = fields.Number(field);
  if (!number) {
    return;
  }
  const auto code = std::find_if(codes.begin(), codes.end(), [&](const Code& one) {
    return std::abs(one.number - *number) < kNear;
  });
  if (code == codes.end()) {
    record.Changed(std::string(signal) + " left out: " + field + " " +
                   Shown(std::to_string(*number)) + " is not known");
  } else if (!code->flag) {
    record.Changed(std::string(signal) +
                   " left out: the car said that it is not available, or an error");
  } else {
    record.Flag(signal, code->flag);
  }
}

void TakeCharging(JsonFields& fields, RecordMaker& record) {
  TakeCode(fields, record, "chargingStatus", "energy.is_charging", kCharging);
  TakeCode(fields, record, "plugStatus", "energy.is_plugged", kPlug);
}

void TakeWord(JsonFields& fields, RecordMaker& record, const std::string& field,
              std::string_view signal, std::string_view yes, std::string_view no) {
  const std::string text = fields.Text(field);
  if (text.empty()) {
    return;
  }
  if (text == yes || text == no || (yes == "open" && text == "opened")) {
    record.Flag(signal, text != no);
  } else {
    record.Changed(std::string(signal) + " left out: \"" + Shown(text) + "\" is not known");
  }
}

void TakeDoors(JsonFields& fields, RecordMaker& record) {
  TakeWord(fields, record, "lockStatus", "body.is_locked", "locked", "unlocked");
  TakeWord(fields, record, "doorStatusRearLeft", "body.door_rear_left_open", "open", "closed");
  TakeWord(fields, record, "doorStatusRearRight", "body.door_rear_right_open", "open", "closed");
  if (fields.Has("doorStatusDriver")) {
    record.Changed("body.door: the driver's side is taken as left");
  }
  TakeWord(fields, record, "doorStatusDriver", "body.door_front_left_open", "open", "closed");
  TakeWord(fields, record, "doorStatusPassenger", "body.door_front_right_open", "open", "closed");
  TakeWord(fields, record, "hatchStatus", "body.trunk_open", "open", "closed");
}

void TakeAttributes(JsonFields& fields, RecordMaker& record) {
  record.Number("energy.soc", fields.Number("batteryLevel"));
  record.Number("energy.range", fields.Number("batteryAutonomy"));
  record.Number("energy.battery_temperature", fields.Number("batteryTemperature"));
  record.Number("energy.time_to_full", fields.Number("chargingRemainingTime"));
  TakeCharging(fields, record);
  record.Number("drive.odometer", fields.Number("totalMileage"));
  record.Position(fields.Number("gpsLatitude"), fields.Number("gpsLongitude"), record.at());
  record.Number("location.heading", fields.Number("gpsDirection"));
  TakeDoors(fields, record);
  record.Number("climate.outside_temperature", fields.Number("externalTemperature"));
  record.Number("climate.cabin_temperature", fields.Number("internalTemperature"));
  TakeWord(fields, record, "hvacStatus", "climate.is_active", "on", "off");
  constexpr std::string_view kHow = "mbar to kPa";
  record.Scaled("service.tyre_front_left", fields.Number("flPressure"), kKpaPerMbar, kHow);
  record.Scaled("service.tyre_front_right", fields.Number("frPressure"), kKpaPerMbar, kHow);
  record.Scaled("service.tyre_rear_left", fields.Number("rlPressure"), kKpaPerMbar, kHow);
  record.Scaled("service.tyre_rear_right", fields.Number("rrPressure"), kKpaPerMbar, kHow);
}

// "upstream said: err.func.wired.overloaded: You have reached your quota limit"; empty: no error.
std::string ErrorOf(const Json& json) {
  const auto errors = json.find("errors");
  if (errors == json.end() || !errors->is_array() || errors->empty()) {
    return "";
  }
  JsonFields error((*errors)[0]);
  const std::string code = error.Text("errorCode");
  const std::string text = error.Text("errorMessage");
  // Some messages are JSON of the system behind.
  const std::optional<Json> inner = ParseJson(text);
  std::string said = text;
  if (inner && inner->is_object() && inner->contains("errors") && (*inner)["errors"].is_array() &&
      !(*inner)["errors"].empty()) {
    JsonFields behind((*inner)["errors"][0]);
    const std::string detail = behind.Text("detail");
    said = detail.empty() ? behind.Text("title") : detail;
  }
  return "upstream said: " + Shown(code) + ": " + Shown(said);
}

// A name that somebody has made unreadable.
bool IsMasked(std::string_view vehicle) {
  return vehicle.find('*') != std::string_view::npos ||
         vehicle.find_first_not_of("xX") == std::string_view::npos;
}

std::optional<Timestamp> OwnTime(JsonFields& fields) {
  const std::string first = fields.Text("timestamp");
  const std::string second = fields.Text("lastUpdateTime");
  const auto at = TimeOf(first, WithoutZone::kRefuse);
  return at ? at : TimeOf(second, WithoutZone::kRefuse);
}

std::string TakeCar(const SourceFile& file, const ReaderOptions& options, const Json& json,
                    Reading& out) {
  JsonFields whole(json);
  const std::string vehicle = whole.Text("data.id");
  const std::string type = whole.Text("data.type");
  const Json* attributes = whole.Find("data.attributes");
  whole.CountRest(out.not_kept);
  if (attributes == nullptr || !attributes->is_object()) {
    return "an answer without attributes";
  }
  JsonFields fields(*attributes);
  const std::optional<Timestamp> own = OwnTime(fields);
  const std::optional<Timestamp> at = own ? own : options.undated;
  RecordMaker record(file.name, vehicle, at.value_or(Timestamp{1}));
  if (type == "Car") {
    TakeAttributes(fields, record);
  }
  fields.CountRest(out.not_kept);
  if (record.empty()) {
    std::move(record).FinishInto(out, type == "Car" || type == "ResState" || type == "ChargeMode"
                                          ? "nothing in it has a signal here"
                                          : "the result of a command, no state of a car");
    return "";
  }
  if (vehicle.empty() || IsMasked(vehicle)) {
    return "its vehicle is made unreadable, or missing";
  }
  if (!at) {
    return "says no time of its own (--undated TIME: when such records were observed)";
  }
  if (!own) {
    record.Changed("time: it says none; taken as told by --undated");
  }
  std::move(record).FinishInto(out, "");
  return "";
}

}  // namespace

void ReadKamereon(const SourceFile& file, const ReaderOptions& options, Reading& out) {
  const std::optional<Json> json = ParseJson(file.bytes);
  std::string why;
  if (!json) {
    why = "is not valid JSON: cut off, or changed by hand";
  } else if (json->is_object() && json->contains("data") && (*json)["data"].is_object()) {
    why = TakeCar(file, options, *json, out);
  } else {
    JsonFields(*json).CountRest(out.not_kept);
    why = json->is_object() ? ErrorOf(*json) : "";
    why = why.empty() ? "holds no state of a car: an account, settings or alerts" : why;
  }
  if (!why.empty()) {
    out.refused.push_back({file.name, why});
  }
}

}  // namespace latchkey::legacy
