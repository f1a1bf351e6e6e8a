// Whose file it is and which generation's; the fields are in connecteddrive_state.cc.
#include "tools/import/connecteddrive.h"

#include <algorithm>
#include <string>
#include <utility>

#include "tools/import/connecteddrive_state.h"
#include "tools/import/json_fields.h"

namespace latchkey::legacy {

namespace {

constexpr size_t kVinBytes = 17;
constexpr size_t kVehiclesMax = 10'000;  // in one file

constexpr std::string_view kNoVehicle =
    "names no vehicle, and it is not guessed whose it is (--folders-name-vehicles: the first "
    "folder says it)";
constexpr std::string_view kNoTime =
    "says no time of its own (--undated TIME: when such records were observed)";
constexpr std::string_view kNoState =
    "holds no state of a car: trips, charging sessions, settings and results of remote services "
    "have no signal here";

struct Generation {
  std::optional<Timestamp> (*time)(JsonFields& fields);
  void (*take)(JsonFields& fields, RecordMaker& record);
};

bool IsVin(std::string_view text) {
  return text.size() == kVinBytes && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
         });
}

// The VIN that is a part of the file's name between '_', '.' and the like; empty: none, or several.
std::string VinOfName(const std::string& name) {
  std::string found;
  std::string_view rest = std::string_view(name).substr(name.rfind('/') + 1);
  while (!rest.empty()) {
    const size_t end = std::min(rest.find_first_of("_-. "), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest = rest.substr(std::min(end + 1, rest.size()));
    if (IsVin(part)) {
      if (!found.empty() && found != part) {
        return "";
      }
      found = part;
    }
  }
  return found;
}

// What is known of a file besides its JSON.
struct Given {
  const SourceFile& file;
  const ReaderOptions& options;
  Reading& out;
};

void Refuse(const Given& given, const std::string& where, std::string_view why) {
  given.out.refused.push_back({where, std::string(why)});
}

std::string FirstFolder(const std::string& name) {
  const size_t slash = name.find('/');
  return slash == std::string::npos ? "" : name.substr(0, slash);
}

// One state. `vehicle`: as the JSON names it, may be empty.
void TakeState(const Given& given, const std::string& where, std::string vehicle,
               JsonFields& fields, const Generation& generation) {
  const std::string in_name = VinOfName(given.file.name);
  if (!vehicle.empty() && !in_name.empty() && vehicle != in_name) {
    return Refuse(given, where, "names two vehicles: one inside and one in the file's name");
  }
  vehicle = vehicle.empty() ? in_name : vehicle;
  if (vehicle.empty() && given.options.folders_name_vehicles) {
    vehicle = FirstFolder(given.file.name);
  }
  const std::optional<Timestamp> own = generation.time(fields);
  const std::optional<Timestamp> at = own ? own : given.options.undated;
  RecordMaker record(where, vehicle, at.value_or(Timestamp{1}));
  generation.take(fields, record);
  if (vehicle.empty()) {
    return Refuse(given, where, kNoVehicle);
  }
  if (!at) {
    return Refuse(given, where, kNoTime);
  }
  if (!own) {
    record.Changed("time: it says none; taken as told by --undated");
  }
  std::move(record).FinishInto(given.out, "a state without any value");
}

// An object of a list of vehicles, or one alone.
void TakeVehicle(const Given& given, const std::string& where, const Json& json) {
  JsonFields fields(json);
  const std::string vin = fields.Text("vin");
  if (fields.Has("properties")) {
    TakeState(given, where, vin, fields, {TimeOf2021, Take2021});
  } else {
    Refuse(given, where, vin.empty() ? kNoState : "names a vehicle and says nothing of its state");
  }
  fields.CountRest(given.out.not_kept);
}

void TakeList(const Given& given, const Json& list) {
  if (list.empty()) {
    return Refuse(given, given.file.name, "an empty list of vehicles");
  }
  if (list.size() > kVehiclesMax) {
    return Refuse(given, given.file.name, "more than 10000 vehicles in one file");
  }
  size_t number = 0;
  for (const Json& one : list) {
    TakeVehicle(given, given.file.name + "#" + std::to_string(++number), one);
  }
}

// A part of the answer that holds the whole state; what is beside it is counted.
void TakePart(const Given& given, const Json& json, const std::string& part,
              const Generation& generation) {
  JsonFields whole(json);
  JsonFields fields(*whole.Find(part));
  const std::string vehicle = fields.Text("vin");
  TakeState(given, given.file.name, vehicle, fields, generation);
  fields.CountRest(given.out.not_kept);
  whole.CountRest(given.out.not_kept);
}

void TakeObject(const Given& given, const Json& json) {
  const auto has = [&json](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_object();
  };
  const auto vehicles = json.find("vehicles");
  if (has("vehicleStatus")) {
    TakePart(given, json, "vehicleStatus", {TimeOf2018Status, Take2018Status});
  } else if (has("attributesMap")) {
    TakePart(given, json, "attributesMap", {TimeOf2018Attributes, Take2018Attributes});
  } else if (has("state")) {
    JsonFields fields(json);
    TakeState(given, given.file.name, "", fields, {TimeOf2022, Take2022});
    fields.CountRest(given.out.not_kept);
  } else if (vehicles != json.end() && vehicles->is_array()) {
    TakeList(given, *vehicles);
  } else if (has("data") && json["data"].contains("properties")) {
    TakePart(given, json, "data", {TimeOf2021, Take2021});
  } else {
    TakeVehicle(given, given.file.name, json);
  }
}

}  // namespace

void ReadConnectedDrive(const SourceFile& file, const ReaderOptions& options, Reading& out) {
  const Given given{file, options, out};
  const std::optional<Json> json = ParseJson(file.bytes);
  if (!json) {
    return Refuse(given, file.name, "is not valid JSON: cut off, or changed by hand");
  }
  if (json->is_object()) {
    TakeObject(given, *json);
  } else if (json->is_array() && !json->empty() && (*json)[0].is_object() &&
             (*json)[0].contains("vin")) {
    TakeList(given, *json);
  } else {
    JsonFields(*json).CountRest(out.not_kept);
    Refuse(given, file.name, json->is_array() && json->empty() ? "an empty list" : kNoState);
  }
}

}  // namespace latchkey::legacy
