// Which car a vehicle becomes, what the bridge is told and in which order, and totals that add up.
#include "tools/import/plan.h"

#include <doctest/doctest.h>

#include "proto/state.h"
#include "tools/import/report.h"

namespace latchkey::legacy {

namespace {

const FleetId kFleet = *FleetId::Parse("f1");

LegacyRecord Record(const std::string& where, const std::string& vehicle, int64_t at_ms,
                    std::string_view signal, double value) {
  return {where, vehicle, {{signal, value, {at_ms}}}};
}

Plan PlanOf(std::vector<LegacyRecord> records, std::map<std::string, CarId> map = {}) {
  Reading reading;
  reading.records = std::move(records);
  return MakePlan(std::move(reading), {kFleet, "import:test", std::move(map)});
}

std::string Told(const Plan& plan) {
  std::string text;
  for (const PlannedGroup& group : plan.groups) {
    const Result<v1::StateGroup> state = ParseState(group.payload, group.group);
    REQUIRE(state);
    CHECK(state->source() == "import:test");
    text += group.ref.car.str() + "@" + std::to_string(group.observed_at.ms);
    for (const SignalRow& row : SignalsOf(*state)) {
      text += " " + row.name + "=" + ValueText(row) + "@" + std::to_string(row.observed_at.ms);
    }
    text += "\n";
  }
  return text;
}

}  // namespace

TEST_CASE(
    "plan: a VIN becomes an id that does not show it, the same each time, another per fleet") {
  const auto id = CarIdOf("WBY000000NOREXI01", kFleet);
  REQUIRE(id);
  CHECK(id->str().size() == 26);
  CHECK(id->str().find("NOREX") == std::string::npos);
  CHECK(id == CarIdOf("wby000000norexi01", kFleet));
  CHECK(id != CarIdOf("WBY000000NOREXI01", *FleetId::Parse("f2")));
  CHECK(CarIdOf("some vin", kFleet)->str() == "some-vin");
  CHECK(CarIdOf("7/DEMO", kFleet)->str() == "DEMO");
  CHECK(CarIdOf("--a", kFleet)->str() == "a");
  CHECK(!CarIdOf("...", kFleet));
  CHECK(CarIdOf(std::string(40, 'a'), kFleet)->str().size() == 26);
  CHECK(ShownVehicle("WBY000000NOREXI01") == "...REXI01");
}

TEST_CASE("plan: two vehicles that would be one car are both refused until people name them") {
  const std::vector<LegacyRecord> records = {Record("r 1", "1/DEMO", 10, "energy.soc", 50),
                                             Record("r 2", "2/DEMO", 20, "energy.soc", 60),
                                             Record("r 3", "3/X", 20, "energy.soc", 70)};
  const Plan refused = PlanOf(records);
  CHECK(Told(refused) == "X@20 energy.soc=70@20\n");
  CHECK(refused.refused.size() == 2);
  CHECK(refused.vehicles.size() == 3);
  const Plan named = PlanOf(records, {{"2/DEMO", *CarId::Parse("demo-2")}});
  CHECK(Told(named) ==
        "DEMO@10 energy.soc=50@10\ndemo-2@20 energy.soc=60@20\nX@20 energy.soc=70@20\n");
}

TEST_CASE("plan: in order of time, each signal with its own, and one message for one time") {
  const Plan plan =
      PlanOf({Record("r 1", "A", 30, "energy.soc", 50), Record("r 2", "A", 10, "energy.range", 200),
              Record("r 3", "A", 30, "energy.voltage", 400),
              Record("r 4", "A", 30, "energy.soc", 50), Record("r 5", "A", 30, "energy.soc", 51)});
  CHECK(Told(plan) ==
        "A@10 energy.range=200@10\n"
        "A@30 energy.soc=50@30 energy.range=200@10 energy.voltage=400@30\n");
  CHECK(plan.groups[1].records == std::vector<size_t>{1, 2});
  CHECK(plan.records[3].repeated);
  CHECK(plan.records[4].repeated);
  CHECK(plan.records[4].contradicts);
  const Report report = MakeReport(plan, {}, std::vector<GroupOutcome>(plan.groups.size()));
  CHECK(report.totals == Totals{5, 3, 0, 1, 1, 1, 0});
}

TEST_CASE("plan: a place that was hidden stays hidden until a later one is said") {
  std::vector<LegacyRecord> records = {
      {"r 1", "A", {{"location.latitude", 1.0, {10}}, {"location.longitude", 1.0, {10}}}},
      {"r 2", "A", {}, Timestamp{20}},
      {"r 3", "A", {{"location.latitude", 2.0, {15}}, {"energy.soc", 5.0, {25}}}},
      Record("r 4", "A", 30, "location.heading", 9)};
  CHECK(Told(PlanOf(records)) ==
        "A@10 location.latitude=1@10 location.longitude=1@10\nA@20\nA@25 energy.soc=5@25\n"
        "A@30 location.heading=9@30\n");
}

TEST_CASE("report: totals add up, reasons are printed, and rows that follow each other are one") {
  Reading reading;
  reading.records = {Record("t row 2", "A", 10, "energy.soc", 50),
                     Record("t row 3", "A", 20, "energy.soc", 51),
                     Record("t row 4", "A", 30, "energy.soc", 52)};
  reading.records[0].changes = {"energy.range: miles to km"};
  reading.refused = {{"t row 10", "asleep"}, {"t row 9", "asleep"}, {"t row 12", "asleep"}};
  const Plan plan = MakePlan(std::move(reading), {kFleet, "import:test", {}});
  const Report report = MakeReport(
      plan, {{"x", 7}},
      {{GroupOutcome::Kind::kTaken}, {GroupOutcome::Kind::kTaken}, {GroupOutcome::Kind::kOlder}});
  CHECK(report.totals == Totals{6, 1, 1, 1, 3, 1, 7});
  const std::string text = TextOf(report);
  CHECK(text.find("refused 3: asleep\n    t row 9-10, t row 12\n") != std::string::npos);
  CHECK(text.find("6 records = 1 taken + 1 taken, changed + 1 unchanged + 3 refused") !=
        std::string::npos);
  CHECK(LinesOf(report).size() == 6 + 1 + 1 + 1);
}

}  // namespace latchkey::legacy
