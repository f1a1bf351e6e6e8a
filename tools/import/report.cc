// See report.h.
#include "tools/import/report.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace latchkey::legacy {

namespace {

constexpr size_t kFieldsShown = 40;

std::string_view ToText(RecordOutcome outcome) {
  switch (outcome) {
    case RecordOutcome::kTaken:
      return "taken";
    case RecordOutcome::kChanged:
      return "taken, changed";
    case RecordOutcome::kUnchanged:
      return "unchanged";
    case RecordOutcome::kRefused:
      return "refused";
  }
  return "";
}

// What became of one record's groups.
struct Seen {
  bool taken = false;
  bool held = false;
  bool older = false;
  std::string refused;
};

ReportedRecord Judge(const PlannedRecord& planned, const Seen& seen) {
  ReportedRecord record{planned.where, planned.car ? planned.car->str() : "", {}, planned.changes};
  if (seen.taken) {
    record.outcome = planned.changes.empty() ? RecordOutcome::kTaken : RecordOutcome::kChanged;
  } else if (!seen.refused.empty() || (planned.repeated && planned.contradicts)) {
    record.outcome = RecordOutcome::kRefused;
    record.notes = {seen.refused.empty()
                        ? "says otherwise than another record of the same car and time"
                        : seen.refused};
  } else {
    record.outcome = RecordOutcome::kUnchanged;
    record.notes = {planned.repeated ? "another record says the same time's values"
                    : seen.older     ? "the bridge holds something newer"
                                     : "the bridge holds exactly this"};
  }
  return record;
}

void Count(const ReportedRecord& record, Totals& totals) {
  ++totals.records;
  switch (record.outcome) {
    case RecordOutcome::kTaken:
      ++totals.taken;
      return;
    case RecordOutcome::kChanged:
      ++totals.changed;
      return;
    case RecordOutcome::kUnchanged:
      ++totals.unchanged;
      return;
    case RecordOutcome::kRefused:
      ++totals.refused;
      return;
  }
}

// "a row 12" as "a row " and 12; nullopt: does not end in a number.
std::optional<std::pair<std::string, uint64_t>> Numbered(const std::string& where) {
  const size_t at = where.find_last_not_of("0123456789");
  const size_t begin = at == std::string::npos ? 0 : at + 1;
  if (begin == where.size() || where.size() - begin > 15 || begin == 0 || where[begin - 1] != ' ') {
    return std::nullopt;
  }
  return std::pair(where.substr(0, begin), std::stoull(where.substr(begin)));
}

// Records of one outcome by note.
std::map<std::string, std::vector<std::string>> ByNote(const Report& report,
                                                       RecordOutcome outcome) {
  std::map<std::string, std::vector<std::string>> by_note;
  for (const ReportedRecord& record : report.records) {
    for (const std::string& note : record.notes) {
      if (record.outcome == outcome) {
        by_note[note].push_back(record.where);
      }
    }
  }
  return by_note;
}

void AddNotes(const Report& report, RecordOutcome outcome, std::string& text) {
  for (const auto& [note, wheres] : ByNote(report, outcome)) {
    text += std::string(ToText(outcome)) + " " + std::to_string(wheres.size()) + ": " + note +
            "\n    " + WheresText(wheres) + "\n";
  }
}

}  // namespace

Report MakeReport(const Plan& plan, std::map<std::string, uint64_t> not_kept,
                  const std::vector<GroupOutcome>& outcomes) {
  LK_ASSERT(outcomes.size() == plan.groups.size());
  std::vector<Seen> seen(plan.records.size());
  for (size_t i = 0; i < outcomes.size(); ++i) {
    for (const size_t number : plan.groups[i].records) {
      Seen& one = seen[number];
      one.taken = one.taken || outcomes[i].kind == GroupOutcome::Kind::kTaken;
      one.held = one.held || outcomes[i].kind == GroupOutcome::Kind::kHeld;
      one.older = one.older || outcomes[i].kind == GroupOutcome::Kind::kOlder;
      if (outcomes[i].kind == GroupOutcome::Kind::kRefused) {
        one.refused = outcomes[i].why;
      }
    }
  }
  Report report;
  for (size_t i = 0; i < plan.records.size(); ++i) {
    report.records.push_back(Judge(plan.records[i], seen[i]));
  }
  for (const Refused& refused : plan.refused) {
    report.records.push_back({refused.where, "", RecordOutcome::kRefused, {refused.why}});
  }
  std::stable_sort(report.records.begin(), report.records.end(),
                   [](const ReportedRecord& one, const ReportedRecord& other) {
                     return WhereBefore(one.where, other.where);
                   });
  for (const ReportedRecord& record : report.records) {
    Count(record, report.totals);
  }
  for (const auto& [field, count] : not_kept) {
    report.totals.fields_not_kept += count;
  }
  report.vehicles = plan.vehicles;
  report.totals.cars = static_cast<uint64_t>(
      std::count_if(plan.vehicles.begin(), plan.vehicles.end(),
                    [](const PlannedVehicle& vehicle) { return vehicle.car.has_value(); }));
  report.not_kept = std::move(not_kept);
  return report;
}

std::string WheresText(std::vector<std::string> wheres) {
  std::sort(wheres.begin(), wheres.end(), WhereBefore);
  std::string text;
  for (size_t i = 0; i < wheres.size();) {
    const auto first = Numbered(wheres[i]);
    size_t end = i + 1;
    while (first && end < wheres.size()) {
      const auto next = Numbered(wheres[end]);
      if (!next || next->first != first->first || next->second != first->second + (end - i)) {
        break;
      }
      ++end;
    }
    text += (text.empty() ? "" : ", ") + wheres[i];
    if (end - i > 1) {
      text += "-" + std::to_string(first->second + (end - i) - 1);
    }
    i = end;
  }
  return text;
}

std::string TextOf(const Report& report) {
  std::string text;
  for (const PlannedVehicle& vehicle : report.vehicles) {
    text += "vehicle " + ShownVehicle(vehicle.vehicle) + ": " +
            (vehicle.car ? "car " + vehicle.car->str() : "refused: " + vehicle.why) + ", " +
            std::to_string(vehicle.records) + " records\n";
  }
  AddNotes(report, RecordOutcome::kRefused, text);
  AddNotes(report, RecordOutcome::kUnchanged, text);
  for (const auto& [note, wheres] : ByNote(report, RecordOutcome::kChanged)) {
    text += "changed " + std::to_string(wheres.size()) + ": " + note + "\n";
  }
  std::vector<std::pair<std::string, uint64_t>> fields(report.not_kept.begin(),
                                                       report.not_kept.end());
  std::stable_sort(fields.begin(), fields.end(),
                   [](const auto& one, const auto& other) { return one.second > other.second; });
  for (size_t i = 0; i < std::min(fields.size(), kFieldsShown); ++i) {
    text += "not kept " + std::to_string(fields[i].second) + ": field " + fields[i].first + "\n";
  }
  if (fields.size() > kFieldsShown) {
    text += "not kept: " + std::to_string(fields.size() - kFieldsShown) +
            " more fields; --json names all\n";
  }
  const Totals& totals = report.totals;
  text += std::to_string(totals.records) + " records = " + std::to_string(totals.taken) +
          " taken + " + std::to_string(totals.changed) + " taken, changed + " +
          std::to_string(totals.unchanged) + " unchanged + " + std::to_string(totals.refused) +
          " refused; of " + std::to_string(totals.cars) +
          " cars; values of fields not kept: " + std::to_string(totals.fields_not_kept) + "\n";
  return text;
}

nlohmann::ordered_json JsonOf(const Totals& totals) {
  return {{"records", totals.records},
          {"taken", totals.taken},
          {"changed", totals.changed},
          {"unchanged", totals.unchanged},
          {"refused", totals.refused},
          {"cars", totals.cars},
          {"fields_not_kept", totals.fields_not_kept}};
}

std::vector<nlohmann::ordered_json> LinesOf(const Report& report) {
  std::vector<nlohmann::ordered_json> lines;
  for (const ReportedRecord& record : report.records) {
    lines.push_back({{"record", record.where},
                     {"car", record.car},
                     {"outcome", record.outcome == RecordOutcome::kChanged
                                     ? "changed"
                                     : std::string(ToText(record.outcome))},
                     {"notes", record.notes}});
  }
  for (const PlannedVehicle& vehicle : report.vehicles) {
    lines.push_back({{"vehicle", ShownVehicle(vehicle.vehicle)},
                     {"car", vehicle.car ? vehicle.car->str() : ""},
                     {"records", vehicle.records},
                     {"why", vehicle.why}});
  }
  for (const auto& [field, count] : report.not_kept) {
    lines.push_back({{"field", field}, {"not_kept", count}});
  }
  lines.push_back({{"totals", JsonOf(report.totals)}});
  return lines;
}

}  // namespace latchkey::legacy
