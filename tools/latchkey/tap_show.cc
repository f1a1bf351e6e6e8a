// No value without its age and the word for it.
#include "tools/latchkey/tap_show.h"

#include <nlohmann/json.hpp>

#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using Json = nlohmann::ordered_json;

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Age AgeOfRow(const HeardState& heard, Timestamp observed_at) {
  return AgeAt({observed_at, heard.at}, heard.group, heard.mode, heard.at);
}

Timestamp NewestOf(const HeardState& heard) {
  return {VersionOf(heard.state).observed_at_ms};
}

}  // namespace

std::string StateText(const HeardState& heard) {
  const Timestamp newest = NewestOf(heard);
  const Age age = AgeOfRow(heard, newest);
  std::string line = ClockText(heard.at) + "  " + heard.car + "  " +
                     std::string(ToText(heard.group)) + "  " + AgeText(age.age) + " old, " +
                     std::string(ToText(age.freshness)) +
                     (heard.retained == Retain::kYes ? ", retained" : "");
  if (age.ahead > Duration(0)) {
    line += ", the car's clock is " + AgeText(age.ahead) + " ahead";
  }
  line += ":";
  for (const SignalRow& row : heard.rows) {
    line += "  " + Printable(row.name.substr(row.name.rfind('.') + 1)) + "=" +
            Printable(ValueText(row)) + (row.unit.empty() ? "" : " " + row.unit);
    if (row.observed_at < newest) {
      const Age of_row = AgeOfRow(heard, row.observed_at);
      line +=
          " (" + AgeText(of_row.age) +
          (of_row.freshness == age.freshness ? "" : ", " + std::string(ToText(of_row.freshness))) +
          ")";
    }
  }
  return line;
}

std::string StateJson(const HeardState& heard) {
  const Timestamp newest = NewestOf(heard);
  const Age age = AgeOfRow(heard, newest);
  Json json = {{"car", heard.car},
               {"group", ToText(heard.group)},
               {"received_at_ms", heard.at.ms},
               {"observed_at_ms", newest.ms},
               {"age_ms", age.age.count()},
               {"freshness", ToText(age.freshness)},
               {"mode", ToText(heard.mode)},
               {"retained", heard.retained == Retain::kYes},
               {"sequence", heard.state.sequence()}};
  if (age.ahead > Duration(0)) {
    json["clock_ahead_ms"] = age.ahead.count();
  }
  if (!heard.state.source().empty()) {
    json["source"] = heard.state.source();
  }
  json["signals"] = Json::array();
  for (const SignalRow& row : heard.rows) {
    Json signal = RowJson(row, heard.at);
    const Age of_row = AgeOfRow(heard, row.observed_at);
    signal["age_ms"] = of_row.age.count();
    signal["freshness"] = ToText(of_row.freshness);
    json["signals"].push_back(std::move(signal));
  }
  return Dump(json);
}

std::string PresenceText(const std::string& car, const v1::Presence& presence, Timestamp now) {
  const Timestamp since{static_cast<int64_t>(presence.since_ms())};
  return ClockText(now) + "  " + car + "  " + (presence.online() ? "online" : "offline") +
         " since " + DateText(since) + " (" + AgeText(AgeOf(since, now)) + ")";
}

std::string PresenceJson(const std::string& car, const v1::Presence& presence, Retain retained,
                         Timestamp now) {
  const Timestamp since{static_cast<int64_t>(presence.since_ms())};
  return Dump({{"car", car},
               {"event", "presence"},
               {"online", presence.online()},
               {"since_ms", since.ms},
               {"age_ms", AgeOf(since, now).count()},
               {"retained", retained == Retain::kYes}});
}

std::string MissedText(const Missed& missed) {
  return "missed " + std::to_string(missed.messages()) +
         (missed.messages() == 1 ? " message" : " messages") + " of " +
         std::to_string(missed.cars()) + (missed.cars() == 1 ? " car" : " cars");
}

std::string MissedJson(const Missed& missed) {
  return Dump({{"event", "missed"}, {"messages", missed.messages()}, {"cars", missed.cars()}});
}

}  // namespace latchkey::cli
