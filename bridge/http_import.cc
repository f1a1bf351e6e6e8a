// See http_import.h.
#include "bridge/http_import.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "bridge/core/imports.h"
#include "bridge/core/journal.h"
#include "proto/crypto.h"
#include "proto/reason.h"
#include "proto/state.h"

namespace latchkey::bridge {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kWhoBytesMax = 64;

HttpAnswer AnswerOf(int status, const Json& json) {
  return {status, json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"};
}

HttpAnswer Complaint(int status, const std::string& text) {
  return AnswerOf(status, Json{{"error", text}});
}

std::string TextOf(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

uint64_t NumberOf(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

std::optional<ImportedState> StateOf(const Json& json) {
  if (!json.is_object()) {
    return std::nullopt;
  }
  const auto fleet = FleetId::Parse(TextOf(json, "fleet"));
  const auto car = CarId::Parse(TextOf(json, "car"));
  const auto group = ParseGroup(TextOf(json, "group"));
  const auto state = Base64UrlDecode(TextOf(json, "state"));
  if (!fleet || !car || !group || !state || state->empty() || state->size() > kStateBytesMax) {
    return std::nullopt;
  }
  return ImportedState{{*fleet, *car}, *group, *state};
}

// Empty: neither states nor a begin nor an end.
std::optional<Import> ImportOf(const Json& json) {
  Import import;
  const auto begin = json.find("begin");
  if (begin != json.end() && begin->is_object() && json.size() == 1) {
    import.begin =
        ImportBegin{LineOf(TextOf(*begin, "source"), kWhoBytesMax),
                    LineOf(TextOf(*begin, "who"), kWhoBytesMax), NumberOf(*begin, "records")};
    return import.begin->source.empty() || import.begin->who.empty() ? std::nullopt
                                                                     : std::optional(import);
  }
  const auto end = json.find("end");
  if (end != json.end() && end->is_object() && json.size() == 1) {
    import.end = ImportEnd{LineOf(TextOf(*end, "source"), kWhoBytesMax),
                           LineOf(TextOf(*end, "who"), kWhoBytesMax),
                           NumberOf(*end, "taken"),
                           NumberOf(*end, "changed"),
                           NumberOf(*end, "unchanged"),
                           NumberOf(*end, "refused")};
    return import.end->source.empty() || import.end->who.empty() ? std::nullopt
                                                                 : std::optional(import);
  }
  const auto states = json.find("states");
  if (states == json.end() || !states->is_array() || states->empty() ||
      states->size() > kImportStatesMax || json.size() != 1) {
    return std::nullopt;
  }
  for (const Json& one : *states) {
    std::optional<ImportedState> state = StateOf(one);
    if (!state) {
      return std::nullopt;
    }
    import.states.push_back(std::move(*state));
  }
  return import;
}

std::string_view ToText(StateImported::Word word) {
  switch (word) {
    case StateImported::Word::kTaken:
      return "taken";
    case StateImported::Word::kHeld:
      return "held";
    case StateImported::Word::kOlder:
      return "older";
    case StateImported::Word::kRefused:
      return "refused";
  }
  return "";
}

Json JsonOf(const ImportAnswer& answer) {
  Json states = Json::array();
  for (const StateImported& state : answer.states) {
    Json one = {{"word", ToText(state.word)}};
    if (state.word == StateImported::Word::kRefused) {
      one["why"] = FactsOf(state.reason).word;
    }
    states.push_back(std::move(one));
  }
  return {{"states", std::move(states)},
          {"history_kept", answer.history_kept},
          {"history_old", answer.history_old}};
}

}  // namespace

HttpAnswer TakeImportPost(const ImportDoor& door, const AdminPost& post,
                          const std::string& store_error) {
  if (door.token.empty() || !EqualSecrets(post.authorization, "Bearer " + door.token)) {
    return Complaint(401,
                     "Authorization must be Bearer and the word in admin.token, beside the store");
  }
  if (post.body.size() > kImportPostBytesMax) {
    return Complaint(413, "an import is posted in parts of at most 8 MiB");
  }
  if (!store_error.empty()) {
    return Complaint(503, "the store cannot write: " + store_error);
  }
  const Json json = Json::parse(post.body, nullptr, false);
  std::optional<Import> import = json.is_object() ? ImportOf(json) : std::nullopt;
  if (!import) {
    return Complaint(400,
                     "an import is {\"states\": [{\"fleet\", \"car\", \"group\", \"state\"}]}, "
                     "1 to 256 of them, {\"begin\": {\"source\", \"who\", \"records\"}} or "
                     "{\"end\": {\"source\", \"who\", ...}}");
  }
  const std::optional<ImportAnswer> answer = door.run(*std::move(import));
  return answer ? AnswerOf(200, JsonOf(*answer))
                : Complaint(503, "the bridge ends or cannot write: post the same again");
}

}  // namespace latchkey::bridge
