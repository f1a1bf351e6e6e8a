// From what a legacy system says to what the bridge is told: which car each vehicle is here, and
// the state groups in the order in which they were observed. Pure, and the same for the same input:
// an import that is run again tells the same.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/types.h"
#include "tools/import/record.h"

namespace latchkey::legacy {

struct PlanOptions {
  FleetId fleet;
  std::string source;                // "import:teslafi": StateGroup.source
  std::map<std::string, CarId> map;  // vehicles that people gave a name; others get one
};

// A vehicle of the source.
struct PlannedVehicle {
  std::string vehicle;       // as the source names it; may be a VIN
  std::optional<CarId> car;  // nullopt: refused
  std::string why;           // of a refusal
  size_t records = 0;
};

// One state group as the bridge is to hold it. A signal that a record does not say is carried on
// from earlier records of the import, with its own time.
struct PlannedGroup {
  CarRef ref;
  Group group = Group::kBody;
  Timestamp observed_at;
  std::string payload;          // v1.StateGroup
  std::vector<size_t> records;  // indexes in Plan.records: those that say something of it
};

struct PlannedRecord {
  std::string where;
  std::optional<CarId> car;
  std::vector<std::string> changes;
  bool repeated = false;     // says nothing that another record did not say, of the same time
  bool contradicts = false;  // says something else of the same time, which is left out
};

struct Plan {
  std::vector<PlannedVehicle> vehicles;  // by `vehicle`
  std::vector<PlannedRecord> records;    // that are taken, if the bridge takes them
  std::vector<PlannedGroup> groups;      // by car and time
  std::vector<Refused> refused;          // those of the reading, and those of the plan
};

// The car's id for a vehicle that nobody named. A VIN (17 letters and digits) and what is too long
// is hashed, since a car's id is public within its fleet and a VIN is not: "v-" and 24 hex digits
// of SHA-256 over fleet and VIN. Other names keep their letters, digits, '-' and '_'; others become
// '-'. What is before a '/' (the owner's number of an OVMS server) is left out. nullopt: nothing is
// left.
std::optional<CarId> CarIdOf(std::string_view vehicle, const FleetId& fleet);

// Vehicles that would be one car are both refused, and so is all that they say.
Plan MakePlan(Reading reading, const PlanOptions& options);

// A vehicle's name fit for a screen: of a VIN the last six.
std::string ShownVehicle(std::string_view vehicle);

}  // namespace latchkey::legacy
