// Arguments of actions. Each action states its arguments in one table; what is not in it is refused
// with what is.
#include "tools/latchkey/args.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <optional>
#include <utility>

#include "proto/command.h"
#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/types.h"
#include "tools/latchkey/hours.h"
#include "tools/latchkey/rights.h"

namespace latchkey::cli {

namespace {

constexpr uint32_t kAllDays = 0x7f;

tl::unexpected<Error> Bad(std::string_view value, std::string_view wanted) {
  return Fail(v1::REASON_MALFORMED, "\"" + std::string(value) + "\" is not " + std::string(wanted));
}

Result<double> Number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Bad(text, "a number");
  }
  return value;
}

Result<bool> YesNo(std::string_view text) {
  for (const std::string_view yes : {"true", "yes", "on", "1"}) {
    if (text == yes) {
      return true;
    }
  }
  for (const std::string_view no : {"false", "no", "off", "0"}) {
    if (text == no) {
      return false;
    }
  }
  return Bad(text, "true or false");
}

Result<v1::TravelMode> Mode(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, v1::TravelMode>, 4> kModes = {
      {{"drive", v1::TRAVEL_MODE_DRIVE},
       {"walk", v1::TRAVEL_MODE_WALK},
       {"transit", v1::TRAVEL_MODE_TRANSIT},
       {"cycle", v1::TRAVEL_MODE_CYCLE}}};
  for (const auto& [word, mode] : kModes) {
    if (word == text) {
      return mode;
    }
  }
  return Bad(text, "drive, walk, transit or cycle");
}

// A public key as people paste it: hex, base64 or base64url of a SEC 1 point.
Result<std::string> Point(std::string_view text) {
  std::string bytes;
  const bool hex = text.size() == 2 * kPublicKeyBytes &&
                   text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
  if (hex) {
    for (size_t i = 0; i < text.size(); i += 2) {
      unsigned value = 0;
      std::from_chars(text.data() + i, text.data() + i + 2, value, 16);
      bytes.push_back(static_cast<char>(value));
    }
  } else {
    std::string url(text.substr(0, text.find('=')));
    std::replace(url.begin(), url.end(), '+', '-');
    std::replace(url.begin(), url.end(), '/', '_');
    bytes = Base64UrlDecode(url).value_or("");
  }
  const Result<PublicKey> key = PublicKey::FromPoint(bytes);
  if (!key) {
    return Bad(text, "a public key (hex or base64 of 33 bytes, as `latchkey phone init` prints)");
  }
  return key->ToPoint();
}

using Setter = std::function<Result<void>(v1::Command&, std::string_view, Timestamp)>;

// One argument an action takes.
struct Argument {
  std::string_view action;
  std::string_view name;
  std::string_view form;  // for help: "07:30,mon-fri,21"
  bool needed = false;
  Setter set;
};

template <class Value, class Put>
Setter Take(Result<Value> (*read)(std::string_view), Put put) {
  return [read, put](v1::Command& command, std::string_view text, Timestamp) -> Result<void> {
    LK_TRY(const Value value, read(text));
    put(command, value);
    return {};
  };
}

Setter TakeText(std::string* (*field)(v1::Command&)) {
  return [field](v1::Command& command, std::string_view text, Timestamp) -> Result<void> {
    *field(command) = std::string(text);
    return {};
  };
}

Result<void> AddLeg(v1::Command& command, std::string_view text, Timestamp /*now*/) {
  const std::vector<std::string_view> parts = Split(text, ',');
  if (parts.size() < 2 || parts.size() > 4) {
    return Bad(text, "a leg: latitude,longitude[,name[,drive|walk|transit|cycle]]");
  }
  LK_TRY(const double latitude, Number(parts[0]));
  LK_TRY(const double longitude, Number(parts[1]));
  v1::TravelMode mode = v1::TRAVEL_MODE_DRIVE;
  if (parts.size() == 4) {
    LK_TRY(mode, Mode(parts[3]));
  }
  v1::Leg& leg = *command.mutable_send_destination()->add_legs();
  leg.set_latitude(latitude);
  leg.set_longitude(longitude);
  leg.set_name(parts.size() > 2 ? std::string(parts[2]) : "");
  leg.set_mode(mode);
  return {};
}

// The words of a schedule, between commas or blanks.
std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(", "), text.size());
    if (end > 0) {
      words.push_back(text.substr(0, end));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

// "21", "21C", "21.5°C"
Result<double> Celsius(std::string_view text) {
  for (const std::string_view unit : {"°C", "C", "c"}) {
    if (text.size() > unit.size() && text.substr(text.size() - unit.size()) == unit) {
      return Number(text.substr(0, text.size() - unit.size()));
    }
  }
  return Number(text);
}

bool BeginsWithDigit(std::string_view text) {
  return text.front() >= '0' && text.front() <= '9';
}

Result<void> AddDeparture(v1::Command& command, std::string_view text, Timestamp /*now*/) {
  const std::vector<std::string_view> words = Words(text);
  const bool days_said = words.size() > 1 && !BeginsWithDigit(words[1]);
  const size_t after_days = days_said ? 2 : 1;
  const bool celsius_said = words.size() > after_days;
  if (words.empty() || words.size() > after_days + 1) {
    return Bad(text, "a departure: \"07:30 mon-fri 21C\", days and degrees where they are wanted");
  }
  LK_TRY(const uint32_t minute, ParseMinuteOfDay(words[0]));
  uint32_t days = 0;
  double celsius = 0;
  if (days_said) {
    LK_TRY(days, ParseDays(words[1]));
  }
  if (celsius_said) {
    LK_TRY(celsius, Celsius(words[after_days]));
  }
  v1::Departure& departure = *command.mutable_departure_schedule()->add_departures();
  departure.set_minute_of_day(minute);
  departure.set_weekdays(days);
  departure.set_target_temperature(static_cast<float>(celsius));
  return {};
}

Result<void> AddWindow(v1::Command& command, std::string_view text, Timestamp /*now*/) {
  const std::vector<std::string_view> parts = Words(text);
  const std::vector<std::string_view> ends =
      parts.empty() ? std::vector<std::string_view>() : Split(parts[0], '-');
  if (parts.size() > 2 || ends.size() != 2) {
    return Bad(text, "a window: \"22:00-06:00 daily\"; without days it is daily");
  }
  LK_TRY(const uint32_t start, ParseMinuteOfDay(ends[0]));
  LK_TRY(const uint32_t end, ParseMinuteOfDay(ends[1]));
  uint32_t days = kAllDays;
  if (parts.size() > 1) {
    LK_TRY(days, ParseDays(parts[1]));
  }
  v1::ChargeWindow& window = *command.mutable_charge_schedule()->add_windows();
  window.set_start_minute(start);
  window.set_end_minute(end);
  window.set_weekdays(days);
  return {};
}

Result<void> SetCancelled(v1::Command& command, std::string_view text, Timestamp /*now*/) {
  const std::optional<CommandId> id = CommandId::FromText(text);
  if (!id) {
    return Bad(text, "the id of a command, as `latchkey phone commands` lists it");
  }
  command.mutable_cancel()->set_command_id(id->ToBytes());
  return {};
}

Setter AtTime(void (v1::Key::*put)(uint64_t)) {
  return [put](v1::Command& command, std::string_view text, Timestamp now) -> Result<void> {
    LK_TRY(const Timestamp at, ParseWhen(text, now));
    (command.mutable_add_key()->mutable_key()->*put)(static_cast<uint64_t>(at.ms));
    return {};
  };
}

const std::vector<Argument>& Arguments() {
  static const std::vector<Argument> table = {
      {"climate_on", "target_temperature", "CELSIUS", false,
       Take<double>(Number,
                    [](v1::Command& c, double v) {
                      c.mutable_climate_on()->set_target_temperature(static_cast<float>(v));
                    })},
      {"climate_on", "minutes", "N", false,
       Take<uint32_t>(ParseWhole,
                      [](v1::Command& c, uint32_t v) { c.mutable_climate_on()->set_minutes(v); })},
      {"departure_schedule", "departure", "\"07:30 [mon-fri] [21C]\" (repeat; none: clear)", false,
       AddDeparture},
      {"charge_limit", "percent", "N", true,
       Take<uint32_t>(ParseWhole, [](v1::Command& c,
                                     uint32_t v) { c.mutable_charge_limit()->set_percent(v); })},
      {"charge_schedule", "window", "\"22:00-06:00 [daily]\" (repeat; none: clear)", false,
       AddWindow},
      {"send_destination", "leg", "LAT,LON[,NAME[,drive|walk|transit|cycle]] (repeat)", true,
       AddLeg},
      {"install_app", "app_id", "ID", true,
       TakeText([](v1::Command& c) { return c.mutable_install_app()->mutable_app_id(); })},
      {"install_app", "version", "V", false,
       TakeText([](v1::Command& c) { return c.mutable_install_app()->mutable_version(); })},
      {"remove_app", "app_id", "ID", true,
       TakeText([](v1::Command& c) { return c.mutable_remove_app()->mutable_app_id(); })},
      {"add_key", "key", "PUBLICKEY", true,
       Take<std::string>(Point,
                         [](v1::Command& c, const std::string& v) {
                           c.mutable_add_key()->mutable_key()->set_public_key(v);
                         })},
      {"add_key", "role", "owner|driver|guest|fleet", true,
       Take<v1::Role>(ParseRole,
                      [](v1::Command& c, v1::Role v) {
                        v1::Key& key = *c.mutable_add_key()->mutable_key();
                        key.set_role(v);
                        for (const v1::Permission may : PermissionList(PermissionsOf(v))) {
                          key.add_permissions(may);
                        }
                      })},
      {"add_key", "label", "TEXT", false, TakeText([](v1::Command& c) {
         return c.mutable_add_key()->mutable_key()->mutable_label();
       })},
      {"add_key", "from", "2h", false, AtTime(&v1::Key::set_not_before_ms)},
      {"add_key", "until", "24h", false, AtTime(&v1::Key::set_not_after_ms)},
      {"remove_key", "key_id", "KEYID", true,
       TakeText([](v1::Command& c) { return c.mutable_remove_key()->mutable_key_id(); })},
      {"privacy_mode", "enabled", "true|false", true,
       Take<bool>(YesNo, [](v1::Command& c, bool v) { c.mutable_privacy_mode()->set_enabled(v); })},
      {"cancel", "command_id", "ID", true, SetCancelled},
  };
  return table;
}

std::string FormsOf(std::string_view action) {
  std::string text;
  for (const Argument& argument : Arguments()) {
    if (argument.action == action) {
      text += std::string(text.empty() ? "" : " ") + (argument.needed ? "" : "[") +
              std::string(argument.name) + "=" + std::string(argument.form) +
              (argument.needed ? "" : "]");
    }
  }
  return text;
}

std::string Hyphened(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), '_', '-');
  return text;
}

void SelectAction(v1::Command& command, int field) {
  const google::protobuf::FieldDescriptor* descriptor =
      v1::Command::descriptor()->FindFieldByNumber(field);
  LK_ASSERT(descriptor != nullptr);
  v1::Command::GetReflection()->MutableMessage(&command, descriptor);
}

}  // namespace

std::string ActionName(std::string_view word) {
  std::string name(word);
  std::replace(name.begin(), name.end(), '-', '_');
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kShort = {
      {{"flash", "flash_lights"}, {"horn", "sound_horn"}, {"destination", "send_destination"}}};
  for (const auto& [alias, full] : kShort) {
    if (name == alias) {
      return std::string(full);
    }
  }
  return name;
}

Result<v1::Command> MakeAction(std::string_view word, const std::vector<std::string>& args,
                               Timestamp now) {
  const ActionFacts* action = FindAction(std::string_view(ActionName(word)));
  if (action == nullptr) {
    std::string names;
    for (const ActionFacts& facts : ActionTable()) {
      names += (names.empty() ? "" : ", ") + Hyphened(facts.name);
    }
    return Fail(v1::REASON_UNKNOWN_ACTION,
                "no action \"" + std::string(word) + "\"; there are: " + names);
  }
  v1::Command command;
  SelectAction(command, action->field);
  const std::string forms = FormsOf(action->name);
  std::vector<std::string_view> given;
  for (const std::string& arg : args) {
    const size_t equals = arg.find('=');
    const std::string_view name = std::string_view(arg).substr(0, equals);
    const auto found =
        std::find_if(Arguments().begin(), Arguments().end(), [&](const Argument& argument) {
          return argument.action == action->name && argument.name == name;
        });
    if (found == Arguments().end() || equals == std::string::npos) {
      return Fail(v1::REASON_MALFORMED, Hyphened(action->name) + " does not take --arg " + arg +
                                            "; it takes " +
                                            (forms.empty() ? "no arguments" : forms));
    }
    const Result<void> set = found->set(command, std::string_view(arg).substr(equals + 1), now);
    if (!set) {
      return Fail(set.error().reason, "--arg " + arg + ": " + set.error().text);
    }
    given.push_back(found->name);
  }
  for (const Argument& argument : Arguments()) {
    if (argument.action == action->name && argument.needed &&
        std::find(given.begin(), given.end(), argument.name) == given.end()) {
      return Fail(v1::REASON_MALFORMED, Hyphened(action->name) + " needs --arg " +
                                            std::string(argument.name) + "=" +
                                            std::string(argument.form));
    }
  }
  return command;
}

std::string ActionsText() {
  std::string text = "Actions and their --arg:\n";
  for (const ActionFacts& action : ActionTable()) {
    const std::string forms = FormsOf(action.name);
    text += "  " + Hyphened(action.name) + (forms.empty() ? "" : "  " + forms) + "\n";
  }
  return text + "Lives at most: open and signal 60 s, close 10 min, comfort 30 min, settings 24 h.";
}

}  // namespace latchkey::cli
