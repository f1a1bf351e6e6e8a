// What an import did, record by record, and totals that add up. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tools/import/plan.h"

namespace latchkey::legacy {

// What the bridge made of a state group.
struct GroupOutcome {
  enum class Kind : uint8_t {
    kTaken,    // in a dry run: would be, if the bridge holds nothing newer
    kHeld,     // it holds exactly this
    kOlder,    // it holds something newer, of the car or of an import
    kRefused,  // `why`
  };
  Kind kind = Kind::kTaken;
  std::string why = {};
};

enum class RecordOutcome : uint8_t { kTaken, kChanged, kUnchanged, kRefused };

struct ReportedRecord {
  std::string where;
  std::string car;  // empty: of none
  RecordOutcome outcome = RecordOutcome::kRefused;
  std::vector<std::string> notes;  // what was changed, or why it was refused or left
};

struct Totals {
  uint64_t records = 0;  // taken + changed + unchanged + refused
  uint64_t taken = 0;
  uint64_t changed = 0;  // taken, but not as it stands in the source
  uint64_t unchanged = 0;
  uint64_t refused = 0;
  uint64_t cars = 0;
  uint64_t fields_not_kept = 0;
  bool operator==(const Totals&) const = default;
};

struct Report {
  Totals totals;
  std::vector<ReportedRecord> records;  // in the order of the source
  std::vector<PlannedVehicle> vehicles;
  std::map<std::string, uint64_t> not_kept;
};

// `outcomes`: of plan.groups, as many.
Report MakeReport(const Plan& plan, std::map<std::string, uint64_t> not_kept,
                  const std::vector<GroupOutcome>& outcomes);

// For people: every vehicle, every refused record's reason (records of one reason together), what
// was changed and how often, fields that were not kept, totals.
std::string TextOf(const Report& report);
// One object a line: {"record", "car", "outcome", "notes"} for each record, {"vehicle", "car",
// "why"}, {"field", "not_kept"}, and at the end {"totals": ...}.
std::vector<nlohmann::ordered_json> LinesOf(const Report& report);
nlohmann::ordered_json JsonOf(const Totals& totals);

// "row 2-9, row 11": numbers that follow each other are one.
std::string WheresText(std::vector<std::string> wheres);

}  // namespace latchkey::legacy
