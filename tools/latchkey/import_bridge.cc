// Handing an import to the bridge: POST on loopback with the word in admin.token.
#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "tools/latchkey/api.h"
#include "tools/latchkey/import.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using Json = nlohmann::ordered_json;
using Outcome = legacy::GroupOutcome;

constexpr size_t kPartMax = 256;
constexpr Duration kPatience = std::chrono::seconds(40);

std::string UserName() {
  const char* name = ::getlogin();
  return name == nullptr ? "user " + std::to_string(::getuid()) : name;
}

class Door {
 public:
  static Result<Door> Open(const Folder& folder) {
    LK_TRY(const Cell cell, folder.LoadCell());
    LK_TRY(std::string token, ReadFile(folder.Bridge() / "admin.token"));
    while (!token.empty() && token.back() == '\n') {
      token.pop_back();
    }
    return Door(cell.http_port, std::move(token));
  }

  Result<Json> Post(const Json& body) const {
    LK_TRY(const Answer answer, TellBridge(port_, "/v1/import", token_, body.dump(), kPatience));
    Json json = Json::parse(answer.body, nullptr, false);
    if (answer.status / 100 != 2 || !json.is_object()) {
      const std::string why = json.is_object() ? json.value("error", "") : "";
      return Fail(answer.status == 401 ? v1::REASON_NOT_ALLOWED : v1::REASON_STORE_UNAVAILABLE,
                  "the bridge does not take the import (" +
                      (why.empty() ? "HTTP " + std::to_string(answer.status) : why) +
                      "): what it took is kept; run the same again and it goes on");
    }
    return json;
  }

 private:
  Door(int port, std::string token) : port_(port), token_(std::move(token)) {}

  int port_;
  std::string token_;
};

Json JsonOf(const legacy::PlannedGroup& group) {
  return {{"fleet", group.ref.fleet.str()},
          {"car", group.ref.car.str()},
          {"group", ToText(group.group)},
          {"state", Base64UrlEncode(group.payload)}};
}

Result<Outcome> OutcomeOf(const Json& json) {
  const std::string word = json.is_object() ? json.value("word", "") : "";
  if (word == "taken") {
    return Outcome{Outcome::Kind::kTaken};
  }
  if (word == "held") {
    return Outcome{Outcome::Kind::kHeld};
  }
  if (word == "older") {
    return Outcome{Outcome::Kind::kOlder};
  }
  if (word == "refused") {
    return Outcome{Outcome::Kind::kRefused,
                   "the bridge refuses it: " + Printable(json.value("why", ""))};
  }
  return Fail(v1::REASON_MALFORMED,
              "the bridge answers what is no answer to an import: is it of "
              "this version?");
}

}  // namespace

Result<HandedOver> HandOver(const Folder& folder, const legacy::Plan& plan) {
  LK_TRY(const Door door, Door::Open(folder));
  HandedOver handed;
  const Instant began = ReadClocks().mono;
  const bool watched = ::isatty(STDERR_FILENO) == 1;
  for (size_t at = 0; at < plan.groups.size(); at += kPartMax) {
    const size_t end = std::min(at + kPartMax, plan.groups.size());
    Json states = Json::array();
    for (size_t i = at; i < end; ++i) {
      states.push_back(JsonOf(plan.groups[i]));
    }
    LK_TRY(const Json answer, door.Post({{"states", std::move(states)}}));
    const Json said = answer.value("states", Json::array());
    if (said.size() != end - at) {
      return Fail(v1::REASON_MALFORMED, "the bridge answers to another import: run it again");
    }
    for (const Json& one : said) {
      LK_TRY(Outcome outcome, OutcomeOf(one));
      handed.outcomes.push_back(std::move(outcome));
    }
    handed.history_kept += answer.value("history_kept", uint64_t{0});
    handed.history_old += answer.value("history_old", uint64_t{0});
    if (watched) {
      SayInPlace(ProgressText(end, plan.groups.size(), ReadClocks().mono - began));
    }
  }
  if (watched) {
    SayInPlace("");
  }
  return handed;
}

Result<void> TellBegin(const Folder& folder, const std::string& source, uint64_t records) {
  LK_TRY(const Door door, Door::Open(folder));
  LK_CHECK(door.Post({{"begin", {{"source", source}, {"who", UserName()}, {"records", records}}}}));
  return {};
}

Result<void> TellEnd(const Folder& folder, const std::string& source,
                     const legacy::Totals& totals) {
  LK_TRY(const Door door, Door::Open(folder));
  LK_CHECK(door.Post({{"end",
                       {{"source", source},
                        {"who", UserName()},
                        {"taken", totals.taken},
                        {"changed", totals.changed},
                        {"unchanged", totals.unchanged},
                        {"refused", totals.refused}}}}));
  return {};
}

}  // namespace latchkey::cli
