// latchkey status: are bridge and brokers well, who is online, how old is what is known, what ends
// soon.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proto/freshness.h"
#include "proto/state.h"
#include "tools/latchkey/api.h"
#include "tools/latchkey/ca_expiry.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/show.h"
#include "tools/latchkey/storm.h"
#include "tools/latchkey/upgrade_broker.h"

namespace latchkey::cli {

namespace {

using nlohmann::ordered_json;

constexpr size_t kRowsMax = 100;
constexpr Duration kBrokerPatience = std::chrono::seconds(2);

// The value of a metric without labels. nullopt: not in `text`.
std::optional<int64_t> Metric(std::string_view text, std::string_view name) {
  const std::string start = "\n" + std::string(name) + " ";
  const size_t at = text.find(start);
  if (at == std::string_view::npos) {
    return std::nullopt;
  }
  const char* begin = text.data() + at + start.size();
  double value = 0;
  const auto parsed = std::from_chars(begin, text.data() + text.size(), value);
  return parsed.ec == std::errc() ? std::optional(static_cast<int64_t>(value)) : std::nullopt;
}

struct Overview {
  bool ready = false;
  std::string not_ready;  // why
  std::optional<int64_t> commands_open;
  std::optional<int64_t> commands_held;
  std::optional<Storm> storm;
  ordered_json cars;  // as /v1/cars gives it
};

Result<Overview> Ask(int port) {
  Overview overview;
  LK_TRY(const Answer ready, AskBridge(port, "/readyz"));
  overview.ready = ready.status == 200;
  overview.not_ready = overview.ready ? "" : ready.body;
  LK_TRY(const Answer metrics, AskBridge(port, "/metrics"));
  overview.commands_open = Metric(metrics.body, "latchkey_commands_open");
  overview.commands_held = Metric(metrics.body, "latchkey_commands_held");
  overview.storm = StormIn(metrics.body);
  LK_TRY(const Answer cars, AskBridge(port, "/v1/cars"));
  overview.cars = ordered_json::parse(cars.body, nullptr, false);
  if (cars.status != 200 || !overview.cars.is_object() || !overview.cars.contains("cars") ||
      !overview.cars["cars"].is_array()) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, "the bridge cannot list cars (HTTP " +
                                                  std::to_string(cars.status) + "): see its log");
  }
  return overview;
}

int64_t Number(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<int64_t>() : 0;
}

bool Online(const ordered_json& car) {
  const auto found = car.find("online");
  return found != car.end() && found->is_boolean() && found->get<bool>();
}

// The group that was observed last, by the age the bridge gives it; nullptr: no state.
const ordered_json* NewestState(const ordered_json& car) {
  const ordered_json* newest = nullptr;
  if (car.contains("groups")) {
    for (const auto& [name, group] : car["groups"].items()) {
      if (newest == nullptr || Number(group, "age_ms") < Number(*newest, "age_ms")) {
        newest = &group;
      }
    }
  }
  return newest;
}

std::string Text(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string CarLine(const ordered_json& car, Timestamp now) {
  std::string name = Text(car, "fleet") + "/" + Text(car, "car");
  name.resize(std::max<size_t>(name.size(), 30), ' ');
  const bool known = car.contains("online") && car["online"].is_boolean();
  std::string online = !known ? "presence unknown" : Online(car) ? "online " : "offline";
  if (known) {
    online += " for " + AgeText(AgeOf(Timestamp{Number(car, "since_ms")}, now));
  }
  online.resize(std::max<size_t>(online.size(), 26), ' ');
  const ordered_json* newest = NewestState(car);
  const size_t groups = car.contains("groups") ? car["groups"].size() : 0;
  std::string word = Text(car, "freshness");
  word.resize(std::max<size_t>(word.size(), 6), ' ');
  std::string line = "  " + name + " " + online + " " + word + " ";
  line += newest != nullptr ? "newest state " + AgeText(Duration(Number(*newest, "age_ms"))) +
                                  " old, " + std::to_string(groups) + " groups"
                            : std::string("no state");
  const std::string mode = Text(car, "mode");
  if (!mode.empty() && mode != ToText(CarMode::kOffline)) {
    line += ", " + mode;
  }
  if (car.contains("clock") && car["clock"].is_object()) {
    line += ", " + Text(car["clock"], "text");
  }
  return line;
}

// "cars by their newest state: 3 live, 1 recent, 2 stale, 0 never"; with wrong clocks a line more.
void ShowFreshness(const ordered_json& cars) {
  std::map<std::string, size_t> count;
  size_t wrong = 0;
  for (const ordered_json& car : cars) {
    ++count[Text(car, "freshness")];
    wrong += car.contains("clock") && car["clock"].is_object() ? 1 : 0;
  }
  std::string text;
  for (const Freshness word :
       {Freshness::kLive, Freshness::kRecent, Freshness::kStale, Freshness::kNever}) {
    const std::string name(ToText(word));
    text += (text.empty() ? "" : ", ") + std::to_string(count[name]) + " " + name;
  }
  Say("cars by their newest state: " + text);
  if (wrong > 0) {
    Say("warning: the clock of " + std::to_string(wrong) + (wrong == 1 ? " car is" : " cars is") +
        " wrong by the bridge's clock: what they observed in the future counts from when it came" +
        (wrong * 2 > cars.size() && wrong > 2 ? "; so many at once: look at this machine's clock"
                                              : ""));
  }
}

void ShowEnding(const std::vector<Expiry>& ending, Timestamp now) {
  size_t rows = 0;
  for (const Expiry& each : ending) {
    if (rows++ == kRowsMax) {
      Say("warning: ... and " + std::to_string(ending.size() - kRowsMax) +
          " more; --json shows all");
      break;
    }
    Say("warning: " + each.what + " " + EndText(each.ends, now) + " (" + each.file.string() +
        "): " + each.next);
  }
}

ordered_json EndingJson(const std::vector<Expiry>& ending, Timestamp now) {
  ordered_json json = ordered_json::array();
  for (const Expiry& each : ending) {
    json.push_back({{"what", each.what},
                    {"file", each.file.string()},
                    {"ends_at_ms", each.ends.ms},
                    {"ended", each.ends <= now},
                    {"next", each.next}});
  }
  return json;
}

void Show(const Cell& cell, const Overview& overview) {
  const ordered_json& cars = overview.cars["cars"];
  const auto online = std::count_if(cars.begin(), cars.end(), Online);
  const Timestamp now{Number(overview.cars, "now_ms")};
  Say("cell " + cell.name + ": the bridge is " +
      (overview.ready ? "ready" : "not ready: " + overview.not_ready));
  Say("cars: " + std::to_string(online) + " online of " + std::to_string(cars.size()) + " known");
  if (overview.storm) {
    Say((overview.storm->refuses() ? "warning: " : "") + StormText(*overview.storm));
  }
  ShowFreshness(cars);
  if (overview.commands_open && overview.commands_held) {
    Say("commands: " + std::to_string(*overview.commands_open) + " open, " +
        std::to_string(*overview.commands_held) + " of them held for cars that are away");
  }
  size_t rows = 0;
  for (const ordered_json& car : cars) {
    if (rows++ == kRowsMax) {
      Say("  ... and " + std::to_string(cars.size() - kRowsMax) + " more; --json shows all");
      break;
    }
    Say(CarLine(car, now));
  }
}

// A line for each broker of a cell that has several.
void ShowBrokers(const std::vector<BrokerWord>& brokers) {
  for (const BrokerWord& word : brokers) {
    Say((word.moving ? "broker " : "warning: ") + BrokerText(word));
  }
}

ordered_json BrokersJson(const std::vector<BrokerWord>& brokers) {
  ordered_json json = ordered_json::array();
  for (const BrokerWord& word : brokers) {
    json.push_back(BrokerJson(word));
  }
  return json;
}

void ShowJson(const Cell& cell, const Overview& overview, const ordered_json& brokers,
              const ordered_json& ending) {
  ordered_json json = {{"cell", cell.name}, {"ready", overview.ready}};
  if (!overview.ready) {
    json["not_ready"] = overview.not_ready;
  }
  json["commands_open"] = overview.commands_open ? ordered_json(*overview.commands_open) : nullptr;
  json["commands_held"] = overview.commands_held ? ordered_json(*overview.commands_held) : nullptr;
  if (overview.storm) {
    json["storm"] = {{"cars_refused", overview.storm->cars_refused},
                     {"cars_entered", overview.storm->cars_entered},
                     {"phones_refused", overview.storm->phones_refused},
                     {"phones_entered", overview.storm->phones_entered},
                     {"cars_back", overview.storm->back},
                     {"cars_awaited", overview.storm->awaited}};
  }
  if (!brokers.empty()) {
    json["brokers"] = brokers;
  }
  json["ending"] = ending;
  json.update(overview.cars);
  for (ordered_json& car : json["cars"]) {
    if (const ordered_json* newest = NewestState(car)) {
      car["newest_state_age_ms"] = Number(*newest, "age_ms");
    }
  }
  Say(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void Status(Context& context) {
  const Result<Cell> cell = Folder(context.data).LoadCell();
  if (!cell) {
    Complain(context, cell.error());
    return;
  }
  const Timestamp now = ReadClocks().wall;
  const std::vector<Expiry> ending = EndingSoon(Folder(context.data), now);
  const std::vector<BrokerWord> brokers =
      AllBrokers(*cell).size() > 1 ? AskBrokers(Folder(context.data), *cell, kBrokerPatience)
                                   : std::vector<BrokerWord>();
  if (!context.json) {
    ShowEnding(ending, now);
    ShowBrokers(brokers);
  }
  const Result<Overview> overview = Ask(cell->http_port);
  if (!overview) {
    Complain(context, {overview.error().reason,
                       overview.error().text + ": start it with `latchkey-bridge --config " +
                           (Folder(context.data).Bridge() / "latchkey.toml").string() +
                           "`; cars and phones reach each other without it"});
    return;
  }
  context.json ? ShowJson(*cell, *overview, BrokersJson(brokers), EndingJson(ending, now))
               : Show(*cell, *overview);
  context.exit_code = overview->ready ? 0 : 1;
}

}  // namespace

void AddStatus(CLI::App& app, Context& context) {
  CLI::App* status = app.add_subcommand("status",
                                        "Are bridge and brokers well, who is online, how old is "
                                        "what is known, which certificates end soon "
                                        "(exit 0: ready)");
  status->callback([&context] { Status(context); });
}

}  // namespace latchkey::cli
