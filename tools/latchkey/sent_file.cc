// sent.json: an array of objects. Written whole each time: it is small.
#include "tools/latchkey/sent_file.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include "proto/reason.h"

namespace latchkey::cli {

namespace {

using nlohmann::json;

constexpr size_t kPrefixMin = 4;

std::string TextAt(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

int64_t NumberAt(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

std::optional<SentCommand> FromJson(const json& object) {
  if (!object.is_object()) {
    return std::nullopt;
  }
  const std::optional<CommandId> id = CommandId::FromText(TextAt(object, "command_id"));
  const std::optional<FleetId> fleet = FleetId::Parse(TextAt(object, "fleet"));
  const std::optional<CarId> car = CarId::Parse(TextAt(object, "car"));
  const std::optional<std::string> wire = Base64UrlDecode(TextAt(object, "wire"));
  const int64_t state = NumberAt(object, "state");
  const int64_t reason = NumberAt(object, "reason");
  const bool good = id && fleet && car && wire && state >= 0 && state <= v1::ReceiptState_MAX &&
                    reason >= 0 && reason <= v1::Reason_MAX;
  if (!good) {
    return std::nullopt;
  }
  SentCommand command;
  command.id = *id;
  command.ref = {*fleet, *car};
  command.action = TextAt(object, "action");
  command.wire = *wire;
  command.sent_at.ms = NumberAt(object, "sent_at_ms");
  if (object.contains("expires_at_ms")) {
    command.expires_at = Timestamp{NumberAt(object, "expires_at_ms")};
  }
  command.state = static_cast<v1::ReceiptState>(state);
  command.reason = static_cast<Reason>(reason);
  command.state_at.ms = NumberAt(object, "state_at_ms");
  command.may_have_acted = NumberAt(object, "may_have_acted") != 0;
  return command;
}

nlohmann::ordered_json ToJson(const SentCommand& command) {
  nlohmann::ordered_json object = {{"command_id", command.id.ToText()},
                                   {"fleet", command.ref.fleet.str()},
                                   {"car", command.ref.car.str()},
                                   {"action", command.action},
                                   {"sent_at_ms", command.sent_at.ms},
                                   {"wire", Base64UrlEncode(command.wire)},
                                   {"state", static_cast<int>(command.state)},
                                   {"reason", static_cast<int>(command.reason)},
                                   {"state_at_ms", command.state_at.ms},
                                   {"may_have_acted", command.may_have_acted ? 1 : 0}};
  if (command.expires_at) {
    object["expires_at_ms"] = command.expires_at->ms;
  }
  return object;
}

bool OfUse(const SentCommand& command, Timestamp now) {
  if (command.expires_at) {
    return now < *command.expires_at + kSentKept;
  }
  return !command.ended() || now < command.state_at + kSentKept;
}

}  // namespace

SentFile::SentFile(const Folder& folder, const std::string& phone)
    : path_(folder.Phone(phone) / "sent.json"), lock_(folder.Phone(phone) / "sent.lock") {}

Result<std::vector<SentCommand>> SentFile::Read(Timestamp now) const {
  std::vector<SentCommand> commands;
  std::error_code ignored;
  if (!std::filesystem::exists(path_, ignored)) {
    return commands;
  }
  LK_TRY(const std::string text, ReadFile(path_));
  const json file = json::parse(text, nullptr, false);
  if (!file.is_array()) {
    return Fail(v1::REASON_MALFORMED,
                path_.string() + " is not what this command writes: remove it");
  }
  for (const json& object : file) {
    std::optional<SentCommand> command = FromJson(object);
    if (!command) {
      return Fail(v1::REASON_MALFORMED,
                  path_.string() + " holds something that is no command: remove it");
    }
    if (OfUse(*command, now)) {
      commands.push_back(std::move(*command));
    }
  }
  return commands;
}

Result<void> SentFile::Put(const SentCommand& command, Timestamp now) const {
  const FileLock lock(lock_, FileLock::Patience::kWait);
  LK_TRY(std::vector<SentCommand> commands, Read(now));
  std::erase_if(commands, [&](const SentCommand& each) { return each.id == command.id; });
  while (commands.size() >= kSentMax) {
    const auto ended = std::find_if(commands.begin(), commands.end(),
                                    [](const SentCommand& each) { return each.ended(); });
    commands.erase(ended == commands.end() ? commands.begin() : ended);
  }
  commands.push_back(command);
  return Write(std::move(commands));
}

Result<void> SentFile::Note(const Outcome& outcome, Timestamp now) const {
  const FileLock lock(lock_, FileLock::Patience::kWait);
  LK_TRY(std::vector<SentCommand> commands, Read(now));
  for (SentCommand& command : commands) {
    if (command.id == outcome.command_id) {
      command.state = outcome.state;
      command.reason = outcome.reason;
      command.state_at = now;
      command.may_have_acted = outcome.may_have_acted;
      return Write(std::move(commands));
    }
  }
  return {};
}

Result<void> SentFile::Write(std::vector<SentCommand> commands) const {
  nlohmann::ordered_json file = nlohmann::ordered_json::array();
  for (const SentCommand& command : commands) {
    file.push_back(ToJson(command));
  }
  return WriteFile(path_, file.dump(1, ' ', false, json::error_handler_t::replace) + "\n",
                   Secrecy::kSecret);
}

Result<SentCommand> FindSent(const std::vector<SentCommand>& commands, const std::string& text) {
  std::vector<const SentCommand*> found;
  for (const SentCommand& command : commands) {
    if (text.size() >= kPrefixMin && command.id.ToText().compare(0, text.size(), text) == 0) {
      found.push_back(&command);
    }
  }
  if (found.size() == 1) {
    return *found.front();
  }
  return Fail(v1::REASON_MALFORMED,
              found.empty()
                  ? "no command \"" + text + "\" is kept: `latchkey phone commands` lists them"
                  : "several commands begin with \"" + text + "\": write more of the id");
}

}  // namespace latchkey::cli
