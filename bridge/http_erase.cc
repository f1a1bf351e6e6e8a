// See http_erase.h.
#include "bridge/http_erase.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "bridge/core/journal.h"
#include "proto/crypto.h"

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

bool MayErase(const EraseDoor& door, const AdminPost& post) {
  return !door.token.empty() && EqualSecrets(post.authorization, "Bearer " + door.token);
}

HttpAnswer Stranger() {
  return Complaint(401,
                   "Authorization must be Bearer and the word in admin.token, beside the store");
}

std::string TextOf(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// nullopt: neither a car nor a key.
std::optional<std::variant<CarRef, KeyId>> WhatOf(const Json& json) {
  const auto fleet = FleetId::Parse(TextOf(json, "fleet"));
  const auto car = CarId::Parse(TextOf(json, "car"));
  const auto key = KeyId::Parse(TextOf(json, "key"));
  if (fleet && car && !json.contains("key")) {
    return CarRef{*fleet, *car};
  }
  if (key && !json.contains("fleet") && !json.contains("car")) {
    return *key;
  }
  return std::nullopt;
}

}  // namespace

HttpAnswer BeginErasure(const EraseDoor& door, const AdminPost& post, bool broker_connected) {
  if (!MayErase(door, post)) {
    return Stranger();
  }
  const Json json =
      post.body.size() <= kErasePostBytesMax ? Json::parse(post.body, nullptr, false) : Json();
  const auto what = json.is_object() ? WhatOf(json) : std::nullopt;
  const std::string who = json.is_object() ? LineOf(TextOf(json, "who"), kWhoBytesMax) : "";
  if (!what || who.empty()) {
    return Complaint(
        400, "an erasure is {\"fleet\": F, \"car\": C, \"who\": W} or {\"key\": K, \"who\": W}");
  }
  if (std::holds_alternative<CarRef>(*what) && !broker_connected) {
    return Complaint(
        503,
        "the broker is not connected, so what it retains of the car cannot be emptied: "
        "try again when it is");
  }
  const std::optional<uint64_t> id = door.begin(*what, who);
  return id ? AnswerOf(202, Json{{"id", *id}})
            : Complaint(503, "the bridge ends or cannot write: try again");
}

HttpAnswer ErasurePage(const Parameter& parameter, const std::vector<ErasureProgress>& erasures) {
  const std::string id = parameter("id").value_or("");
  const auto found =
      std::find_if(erasures.begin(), erasures.end(),
                   [&](const ErasureProgress& one) { return std::to_string(one.id) == id; });
  if (found == erasures.end()) {
    return Complaint(404, "no erasure of this id is known, or not any more");
  }
  return AnswerOf(200, Json{{"id", found->id},
                            {"done", found->done},
                            {"failed", found->failed},
                            {"log_entries", found->log_entries},
                            {"unreadable", found->unreadable}});
}

HttpAnswer ScrubStore(const EraseDoor& door, const AdminPost& post, const storage::Store& store) {
  if (!MayErase(door, post)) {
    return Stranger();
  }
  const Result<void> done = store.Scrub();
  return done ? AnswerOf(200, Json::object()) : Complaint(503, done.error().text);
}

}  // namespace latchkey::bridge
