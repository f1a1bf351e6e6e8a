// State groups: what parses, what values can be, and how signals and ages read.
#include "proto/state.h"

#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using testing::kNow;
using testing::Said;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinite = std::numeric_limits<double>::infinity();

v1::StateGroup At(Timestamp observed_at) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(observed_at.ms));
  state.set_sequence(1);
  return state;
}

v1::StateGroup Energy() {
  v1::StateGroup state = At(kNow);
  state.mutable_energy()->mutable_soc()->set_value(87.1F);
  state.mutable_energy()->mutable_is_plugged()->set_value(true);
  state.mutable_energy()->mutable_is_plugged()->set_age_ms(5000);
  return state;
}

// What ParseState says, once CheckState has said the same.
std::string Asked(const std::string& bytes, Group group) {
  std::string said = Said(ParseState(bytes, group));
  CHECK(Said(CheckState(bytes, group)) == said);
  return said;
}

TEST_CASE("state: a group parses to what was published") {
  const Result<v1::StateGroup> state = ParseState(Energy().SerializeAsString(), Group::kEnergy);
  REQUIRE(state);
  CHECK(state->SerializeAsString() == Energy().SerializeAsString());
}

TEST_CASE("state: every group parses in its own topic and in no other") {
  for (const Group group : kGroups) {
    v1::StateGroup state = At(kNow);
    const auto* field = v1::StateGroup::descriptor()->FindFieldByName(std::string(ToText(group)));
    state.GetReflection()->MutableMessage(&state, field);
    for (const Group topic : kGroups) {
      CAPTURE(ToText(topic));
      CHECK(Asked(state.SerializeAsString(), topic) ==
            (topic == group ? "allowed" : "REASON_MALFORMED"));
    }
  }
}

struct StateCase {
  const char* what;
  std::function<void(v1::StateGroup&)> change;
  const char* said;
};

v1::ExtraSignal* AddExtra(v1::StateGroup& state) {
  v1::ExtraSignal* extra = state.add_extra();
  extra->set_path("Vehicle.Cabin.Seat");
  extra->set_number(1);
  return extra;
}

TEST_CASE("state: what does not parse or cannot be, in the order of the checks") {
  const std::vector<StateCase> cases = {
      {"untouched", [](auto&) {}, "allowed"},
      {"no group", [](auto& s) { s.clear_group(); }, "REASON_MALFORMED"},
      {"no time", [](auto& s) { s.clear_observed_at_ms(); }, "REASON_MALFORMED"},
      {"time too large", [](auto& s) { s.set_observed_at_ms(~0ULL); }, "REASON_MALFORMED"},
      {"source of 128", [](auto& s) { s.set_source(std::string(128, 'x')); }, "allowed"},
      {"source of 129", [](auto& s) { s.set_source(std::string(129, 'x')); }, "REASON_MALFORMED"},
      {"observed in 1970",
       [](auto& s) {
         s.mutable_energy()->mutable_soc()->set_age_ms(static_cast<uint64_t>(kNow.ms));
       },
       "allowed"},
      {"older than 1970",
       [](auto& s) {
         s.mutable_energy()->mutable_soc()->set_age_ms(static_cast<uint64_t>(kNow.ms) + 1);
       },
       "REASON_MALFORMED"},
      {"soc 100", [](auto& s) { s.mutable_energy()->mutable_soc()->set_value(100); }, "allowed"},
      {"soc 101", [](auto& s) { s.mutable_energy()->mutable_soc()->set_value(101); },
       "REASON_IMPOSSIBLE_VALUE"},
      {"soc NaN",
       [](auto& s) { s.mutable_energy()->mutable_soc()->set_value(static_cast<float>(kNan)); },
       "REASON_IMPOSSIBLE_VALUE"},
      {"256 extras",
       [](auto& s) {
         for (int i = 0; i < kExtraSignalsMax; ++i) {
           AddExtra(s);
         }
       },
       "allowed"},
      {"257 extras",
       [](auto& s) {
         for (int i = 0; i <= kExtraSignalsMax; ++i) {
           AddExtra(s);
         }
       },
       "REASON_MALFORMED"},
      {"extra without path", [](auto& s) { AddExtra(s)->clear_path(); }, "REASON_MALFORMED"},
      {"extra path of 129", [](auto& s) { AddExtra(s)->set_path(std::string(129, 'x')); },
       "REASON_MALFORMED"},
      {"extra with the path of a typed signal",
       [](auto& s) { AddExtra(s)->set_path("Vehicle.CurrentLocation.Latitude"); },
       "REASON_MALFORMED"},
      {"extra with the name of a typed signal",
       [](auto& s) { AddExtra(s)->set_path("location.latitude"); }, "REASON_MALFORMED"},
      {"extra without value", [](auto& s) { AddExtra(s)->clear_value(); }, "REASON_MALFORMED"},
      {"extra older than 1970", [](auto& s) { AddExtra(s)->set_age_ms(~0ULL); },
       "REASON_MALFORMED"},
      {"extra text of 256", [](auto& s) { AddExtra(s)->set_text(std::string(256, 'x')); },
       "allowed"},
      {"extra text of 257", [](auto& s) { AddExtra(s)->set_text(std::string(257, 'x')); },
       "REASON_MALFORMED"},
      {"extra infinite", [](auto& s) { AddExtra(s)->set_number(kInfinite); },
       "REASON_IMPOSSIBLE_VALUE"},
  };
  for (const StateCase& c : cases) {
    CAPTURE(c.what);
    v1::StateGroup state = Energy();
    c.change(state);
    CHECK(Asked(state.SerializeAsString(), Group::kEnergy) == c.said);
  }
  CHECK(Asked(std::string(kStateBytesMax + 1, '\xff'), Group::kEnergy) == "REASON_TOO_LARGE");
  CHECK(Asked("\xff", Group::kEnergy) == "REASON_MALFORMED");
  CHECK(Asked("", Group::kEnergy) == "REASON_MALFORMED");
}

TEST_CASE("state: texts, whole numbers and apps have their bounds") {
  v1::StateGroup link = At(kNow);
  link.mutable_link()->mutable_radio()->set_value(std::string(256, 'x'));
  CHECK(Asked(link.SerializeAsString(), Group::kLink) == "allowed");
  link.mutable_link()->mutable_radio()->set_value(std::string(257, 'x'));
  CHECK(Asked(link.SerializeAsString(), Group::kLink) == "REASON_MALFORMED");
  link.mutable_link()->mutable_radio()->set_value("ABCD");
  std::string bytes = link.SerializeAsString();
  bytes.replace(bytes.find("ABCD"), 4, "\xff\xff\xff\xff");
  CHECK_MESSAGE(Asked(bytes, Group::kLink) == "REASON_MALFORMED", "text is UTF-8");
  v1::StateGroup drive = At(kNow);
  drive.mutable_drive()->mutable_gear()->set_value(-1);
  CHECK(Asked(drive.SerializeAsString(), Group::kDrive) == "allowed");
  drive.mutable_drive()->mutable_gear()->set_value(128);
  CHECK(Asked(drive.SerializeAsString(), Group::kDrive) == "REASON_IMPOSSIBLE_VALUE");
  v1::StateGroup location = At(kNow);
  location.mutable_location()->mutable_latitude()->set_value(90.5);
  CHECK(Asked(location.SerializeAsString(), Group::kLocation) == "REASON_IMPOSSIBLE_VALUE");
  v1::StateGroup apps = At(kNow);
  for (int i = 0; i < kAppsMax; ++i) {
    apps.mutable_apps()->add_installed()->set_app_id("org.example");
  }
  CHECK(Asked(apps.SerializeAsString(), Group::kApps) == "allowed");
  apps.mutable_apps()->add_installed()->set_app_id("org.example");
  CHECK(Asked(apps.SerializeAsString(), Group::kApps) == "REASON_MALFORMED");
  apps.mutable_apps()->clear_installed();
  apps.mutable_apps()->add_installed();
  CHECK_MESSAGE(Asked(apps.SerializeAsString(), Group::kApps) == "REASON_MALFORMED",
                "an app has an id");
}

TEST_CASE("state: what a signal can be") {
  struct Case {
    const char* signal;
    double value;
    bool plausible;
  };

  const std::vector<Case> cases = {
      {"location.latitude", 91, false},
      {"location.latitude", -90, true},
      {"location.latitude", 0, false},
      {"location.latitude", -0.0, false},
      {"location.longitude", 0, false},
      {"location.longitude", 0.0001, true},
      {"location.longitude", -180.1, false},
      {"location.altitude", -111, true},
      {"location.altitude", -501, false},
      {"location.heading", 0, true},
      {"location.heading", 360.1, false},
      {"drive.speed", -0.1, false},
      {"drive.speed", 0, true},
      {"drive.speed", 400, true},
      {"drive.speed", 401, false},
      {"drive.odometer", 5e6 + 1, false},
      {"energy.soc", 101, false},
      {"energy.voltage", 1501, false},
      {"energy.current", -2000, true},
      {"energy.current", -2001, false},
      {"energy.battery_temperature", -61, false},
      {"climate.outside_temperature", 91, false},
      {"climate.aircon_power", -0.1, true},
      {"service.tyre_front_left", 1001, false},
      {"service.low_voltage", 61, false},
      {"energy.soc", kNan, false},
      {"energy.soc", kInfinite, false},
      {"Vehicle.Unknown", 1e300, true},
      {"Vehicle.Unknown", kNan, false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.signal);
    CAPTURE(c.value);
    CHECK(PlausibleValue(c.signal, c.value) == c.plausible);
  }
}

TEST_CASE("state: every number of the schema has a range") {
  // A range refuses infinity's neighbour; a signal without one would take any finite value.
  for (const Group group : kGroups) {
    const auto* member = v1::StateGroup::descriptor()->FindFieldByName(std::string(ToText(group)));
    for (int i = 0; i < member->message_type()->field_count(); ++i) {
      const auto* field = member->message_type()->field(i);
      const std::string type = field->message_type()->name();
      const std::string name = std::string(ToText(group)) + "." + field->name();
      CAPTURE(name);
      const std::set<std::string> numbers = {"FloatSignal", "DoubleSignal", "IntSignal"};
      CHECK(PlausibleValue(name, 1e300) == !numbers.contains(type));
    }
  }
}

TEST_CASE("state: signals come in field order, each with name, path, unit and its own time") {
  v1::StateGroup state = Energy();
  AddExtra(state)->set_age_ms(1);
  const std::vector<SignalRow> rows = SignalsOf(state);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].name == "energy.soc");
  CHECK(rows[0].vss == "Vehicle.Powertrain.TractionBattery.StateOfCharge.Displayed");
  CHECK(rows[0].unit == "percent");
  CHECK(std::get<double>(rows[0].value) == 87.1);
  CHECK(rows[0].observed_at == kNow);
  CHECK(rows[1].name == "energy.is_plugged");
  CHECK(ValueText(rows[1]) == "yes");
  CHECK(rows[1].observed_at == kNow - Duration(5000));
  CHECK(rows[2].name == "Vehicle.Cabin.Seat");
  CHECK(rows[2].vss == rows[2].name);
  CHECK(rows[2].observed_at == kNow - Duration(1));
  CHECK(SignalsOf(At(kNow)).empty());
}

TEST_CASE("state: an app is a row named after it, and an impossible age ends at 1970") {
  v1::StateGroup state = At(kNow);
  v1::App* app = state.mutable_apps()->add_installed();
  app->set_app_id("org.example.radio");
  app->set_version("1.2");
  app->set_age_ms(~0ULL);
  const std::vector<SignalRow> rows = SignalsOf(state);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].name == "apps.org.example.radio");
  CHECK(ValueText(rows[0]) == "1.2");
  CHECK(rows[0].observed_at == Timestamp{0});
}

TEST_CASE("state: values read as people write them") {
  const auto text = [](std::variant<bool, double, int64_t, std::string> value) {
    return ValueText(SignalRow{"n", "", "", std::move(value), kNow});
  };
  CHECK(text(87.5) == "87.5");
  CHECK(text(100000.0) == "100000");
  CHECK(text(52.516275) == "52.516275");
  CHECK(text(-0.5) == "-0.5");
  CHECK(text(0.0) == "0");
  CHECK(text(1e300) == "1e+300");
  CHECK(text(false) == "no");
  CHECK(text(int64_t{-1}) == "-1");
  CHECK(text(std::string("LTE")) == "LTE");
}

TEST_CASE("state: ages are never negative and read in the largest fitting unit") {
  CHECK(AgeOf(kNow, kNow + Duration(5)) == Duration(5));
  CHECK(AgeOf(kNow + Duration(5), kNow) == Duration(0));
  using std::chrono::hours;
  using std::chrono::minutes;
  using std::chrono::seconds;
  CHECK(AgeText(Duration(-1)) == "0 s");
  CHECK(AgeText(Duration(3999)) == "3 s");
  CHECK(AgeText(seconds(59)) == "59 s");
  CHECK(AgeText(seconds(60)) == "1 min");
  CHECK(AgeText(minutes(59)) == "59 min");
  CHECK(AgeText(hours(2)) == "2 h");
  CHECK(AgeText(hours(2) + minutes(10)) == "2 h 10 min");
  CHECK(AgeText(hours(24) - seconds(1)) == "23 h 59 min");
  CHECK(AgeText(hours(24 * 5 + 1)) == "5 d");
}

TEST_CASE("state: newer is later, then higher in sequence") {
  v1::StateGroup a = At(kNow);
  v1::StateGroup b = At(kNow);
  CHECK(VersionOf(a) == VersionOf(b));
  b.set_sequence(2);
  CHECK(VersionOf(a) < VersionOf(b));
  a.set_observed_at_ms(a.observed_at_ms() + 1);
  CHECK(VersionOf(a) > VersionOf(b));
  a.set_observed_at_ms(~0ULL);
  CHECK_MESSAGE(VersionOf(a) > VersionOf(b), "a time too large does not wrap");
}

// What one holder has of a group, seconds before or after kNow.
struct Holder {
  std::optional<HeldState> held;
  Group group = Group::kEnergy;

  // Taken or not.
  bool Hears(int64_t now_s, int64_t observed_s, uint64_t sequence, bool hides = false) {
    v1::StateGroup next = At(kNow + std::chrono::seconds(observed_s));
    next.set_sequence(sequence);
    if (group == Group::kLocation) {
      next.mutable_location();
      if (!hides) {
        next.mutable_location()->mutable_latitude()->set_value(48);
      }
    }
    if (held && !Replaces(group, next, *held)) {
      return false;
    }
    held = TakenAt(kNow + std::chrono::seconds(now_s), next, held ? &*held : nullptr);
    return true;
  }
};

TEST_CASE("state: what is held gives way to the newer, and neither to the same nor to the late") {
  Holder it;
  CHECK(it.Hears(0, -5, 5));
  CHECK_FALSE(it.Hears(1, -5, 5));
  CHECK(it.Hears(1, -5, 6));
  CHECK_FALSE_MESSAGE(it.Hears(2, -6, 7), "told late; the clock that observed -5 was right");
  CHECK_MESSAGE(it.Hears(3, -1, 1), "a car that lost its memory begins low");
}

TEST_CASE("state: what was observed ahead of its arrival gives way to what was observed after it") {
  Holder it;
  CHECK(it.Hears(0, 120, 5));
  CHECK_FALSE_MESSAGE(it.Hears(5, -1, 6), "observed before the other arrived: told late");
  CHECK_FALSE_MESSAGE(it.Hears(5, 4, 4), "made before");
  CHECK_FALSE_MESSAGE(it.Hears(5, 4, 5), "made before, or by a car that counts anew");
  CHECK_MESSAGE(it.Hears(5, 0, 6), "at the edge");
  CHECK(it.Hears(10, 10, 7));
  // The other one, once more; and what such a clock said before it.
  CHECK_FALSE(it.Hears(11, 120, 5));
  CHECK_FALSE(it.Hears(12, 100, 4));
  CHECK_MESSAGE(it.Hears(200, 121, 1), "beyond the void times any sequence does");
}

TEST_CASE("state: the void times of two clocks that were ahead are those of the later") {
  Holder it;
  CHECK(it.Hears(0, 120, 5));
  CHECK(it.Hears(1, 60, 6));
  CHECK(it.Hears(2, 2, 7));
  CHECK_FALSE(it.Hears(3, 120, 5));
  CHECK_FALSE(it.Hears(3, 60, 6));
  CHECK(it.held->void_until_ms == (kNow + std::chrono::seconds(120)).ms);
}

TEST_CASE("state: a place gives way to the later word that it is hidden, whatever its time") {
  Holder it;
  it.group = Group::kLocation;
  CHECK(it.Hears(0, 0, 5));
  CHECK_FALSE_MESSAGE(it.Hears(1, -7200, 4, true), "said before");
  CHECK(it.Hears(1, -7200, 6, true));
  CHECK_FALSE_MESSAGE(it.Hears(2, 0, 5), "the place, once more");
  CHECK(it.Hears(3, 3, 7));
}

TEST_CASE("state: damaged bytes never do more than be refused") {
  testing::ForEachDamaged(Energy().SerializeAsString(), [](const std::string& damaged) {
    const Result<v1::StateGroup> state = ParseState(damaged, Group::kEnergy);
    CHECK(Said(CheckState(damaged, Group::kEnergy)) == Said(state));
    if (state) {
      for (const SignalRow& row : SignalsOf(*state)) {
        CHECK_FALSE(row.name.empty());
      }
    }
  });
}

}  // namespace
}  // namespace latchkey
