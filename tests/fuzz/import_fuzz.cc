// Files of legacy systems. The first byte says which: 'b' ConnectedDrive, 'k' Kamereon, 't'
// TeslaFi, 's' a MySQL dump, 'z' a time zone. What is read is planned, and what is planned is a
// state that the bridge can parse.
#include <string>

#include "proto/state.h"
#include "tests/fuzz/fuzz.h"
#include "tools/import/connecteddrive.h"
#include "tools/import/kamereon.h"
#include "tools/import/ovms.h"
#include "tools/import/plan.h"
#include "tools/import/report.h"
#include "tools/import/teslafi.h"

namespace latchkey::fuzz {
namespace {

void TryZone(std::string_view bytes) {
  const Result<legacy::Zone> zone = legacy::Zone::Parse(bytes);
  if (zone) {
    for (const Timestamp at : zone->TimesOf(Timestamp{1'572'141'600'000})) {
      Require(at.ms != 0, "a time is one");
    }
  }
}

legacy::Reading ReadingOf(char which, const legacy::SourceFile& file) {
  const legacy::ReaderOptions options{Timestamp{1'600'000'000'000}, true};
  legacy::Reading reading;
  if (which == 'b') {
    legacy::ReadConnectedDrive(file, options, reading);
  } else if (which == 'k') {
    legacy::ReadKamereon(file, options, reading);
  } else if (which == 't') {
    legacy::ReadTeslaFi(file, std::nullopt, reading);
  } else {
    legacy::ReadOvmsDump(file, reading);
  }
  return reading;
}

}  // namespace

void Try(std::string_view input) {
  static const FleetId fleet = *FleetId::Parse("f1");
  if (input.empty()) {
    return;
  }
  if (input[0] == 'z') {
    TryZone(input.substr(1));
    return;
  }
  legacy::Reading reading = ReadingOf(input[0], {"folder/file", std::string(input.substr(1))});
  const size_t records = reading.records.size() + reading.refused.size();
  const legacy::Plan plan = legacy::MakePlan(std::move(reading), {fleet, "import:fuzz", {}});
  Require(plan.records.size() + plan.refused.size() == records, "every record has an outcome");
  for (const legacy::PlannedGroup& group : plan.groups) {
    const Result<v1::StateGroup> state = ParseState(group.payload, group.group);
    Require(state && VersionOf(*state).observed_at_ms == group.observed_at.ms,
            "what is planned is a state of its time");
    Require(!group.records.empty(), "a state is of records");
  }
  const legacy::Report report =
      legacy::MakeReport(plan, {}, std::vector<legacy::GroupOutcome>(plan.groups.size()));
  const legacy::Totals& totals = report.totals;
  Require(totals.records == records &&
              totals.records == totals.taken + totals.changed + totals.unchanged + totals.refused,
          "totals add up");
}

}  // namespace latchkey::fuzz
