// See http_backup.h.
#include "bridge/http_backup.h"

#include <nlohmann/json.hpp>

#include "bridge/core/journal.h"
#include "proto/crypto.h"

namespace latchkey::bridge {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kWhoBytesMax = 64;
constexpr size_t kPostBytesMax = 1024;
constexpr uint64_t kKeepMax = 10000;

HttpAnswer AnswerOf(int status, const Json& json) {
  return {status, json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"};
}

HttpAnswer Complaint(int status, const std::string& text) {
  return AnswerOf(status, Json{{"error", text}});
}

// nullopt: it is none.
std::optional<BackupWish> WishOf(const std::string& body) {
  const Json json = body.size() <= kPostBytesMax ? Json::parse(body, nullptr, false) : Json();
  if (!json.is_object()) {
    return std::nullopt;
  }
  BackupWish wish;
  for (const auto& [name, value] : json.items()) {
    if (name == "who" && value.is_string()) {
      wish.who = LineOf(value.get<std::string>(), kWhoBytesMax);
    } else if (name == "keep" && value.is_number_unsigned() && value.get<uint64_t>() >= 1 &&
               value.get<uint64_t>() <= kKeepMax) {
      wish.keep = static_cast<uint32_t>(value.get<uint64_t>());
    } else {
      return std::nullopt;
    }
  }
  return wish.who.empty() ? std::nullopt : std::optional(wish);
}

Json JsonOf(const BackupRun& run) {
  if (run.run == 0) {
    return nullptr;
  }
  return {{"run", run.run},
          {"done", run.done},
          {"bytes", run.progress.bytes},
          {"total", run.progress.total},
          {"id", run.made.id == 0 ? Json(nullptr) : Json(run.made.id)},
          {"error", run.error.empty() ? Json(nullptr) : Json(run.error)}};
}

}  // namespace

HttpAnswer BeginBackup(const BackupDoor& door, const AdminPost& post) {
  if (door.token.empty() || !EqualSecrets(post.authorization, "Bearer " + door.token)) {
    return Complaint(401,
                     "Authorization must be Bearer and the word in admin.token, beside the store");
  }
  const std::optional<BackupWish> wish = WishOf(post.body);
  if (!wish) {
    return Complaint(400,
                     "a backup is asked for with {\"who\": W} or {\"who\": W, \"keep\": N}, N from "
                     "1 to 10000; its folder is [backup] dir of latchkey.toml");
  }
  if (door.desk == nullptr) {
    return Complaint(503, "no backups are made here");
  }
  const Result<uint64_t> run = door.desk->Begin(*wish);
  if (!run) {
    return Complaint(run.error().reason == v1::REASON_FULL ? 409 : 503, run.error().text);
  }
  return AnswerOf(202, Json{{"run", *run}});
}

HttpAnswer BackupPage(const BackupDoor& door) {
  if (door.desk == nullptr) {
    return Complaint(503, "no backups are made here");
  }
  const auto backups = door.desk->List();
  if (!backups) {
    return Complaint(503, backups.error().text);
  }
  Json json = {{"folder", door.desk->folder()},
               {"last", JsonOf(door.desk->Last())},
               {"backups", Json::array()}};
  for (const storage::BackupFacts& one : *backups) {
    json["backups"].push_back({{"id", one.id},
                               {"at_ms", one.at.ms},
                               {"bytes", one.bytes},
                               {"files", one.files},
                               {"damaged", one.damaged}});
  }
  return AnswerOf(200, json);
}

}  // namespace latchkey::bridge
