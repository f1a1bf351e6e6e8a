// How a migration is asked, told and followed.
#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include <unistd.h>

#include "proto/freshness.h"
#include "tools/latchkey/api.h"
#include "tools/latchkey/migrate.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr Duration kPatience = std::chrono::seconds(10);
constexpr Duration kOrderPatience = std::chrono::seconds(90);
constexpr Duration kAwayMost = std::chrono::minutes(2);  // a bridge that restarts
constexpr useconds_t kLookEveryMicroseconds = 250'000;
constexpr Duration kLineEvery = std::chrono::seconds(1);
constexpr size_t kBarWidth = 20;
constexpr size_t kMismatchesShown = 10;

std::string UserName() {
  const char* name = ::getlogin();
  return name == nullptr ? "user " + std::to_string(::getuid()) : name;
}

std::string Text(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? Printable(found->get<std::string>()) : "";
}

uint64_t Number(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

std::string RateText(double rate) {
  std::array<char, 32> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "  %.1f/s", rate));
  return text.data();
}

// "[####----]  4/8  2.0/s  2 s left"; what is not known is left out, or said to be unknown.
std::string Bar(uint64_t done, uint64_t total, const Json& rate, const Json& left_ms) {
  const uint64_t filled = total == 0 ? kBarWidth : kBarWidth * std::min(done, total) / total;
  std::string text = "[" + std::string(filled, '#') + std::string(kBarWidth - filled, '-') + "]  " +
                     std::to_string(done) + "/" + std::to_string(total);
  text += rate.is_number() ? RateText(rate.get<double>()) : "  rate not known yet";
  text += left_ms.is_number() ? "  " + AgeText(Duration(left_ms.get<int64_t>())) + " left"
                              : "  time left not known";
  return text;
}

bool Compares(const Json& status) {
  const auto comparison = status.find("comparison");
  return comparison != status.end() && comparison->is_object() &&
         comparison->value("running", false);
}

std::string Next(const Json& status) {
  const std::string phase = Text(status, "phase");
  if (phase == "none") {
    return "`latchkey migrate plan` says what may be migrated";
  }
  if (phase == "backfill") {
    return status.value("paused", false)
               ? "`latchkey migrate resume` goes on; `rollback` takes all of it back"
               : "nothing: it goes on by itself; `latchkey migrate pause` and `rollback` are "
                 "allowed";
  }
  if (phase == "filled") {
    return "`latchkey migrate verify` compares every record";
  }
  if (phase == "verified") {
    return "`latchkey migrate cutover`: the new schema is read from then on, until `rollback`";
  }
  if (phase == "differs") {
    return "`latchkey migrate rollback`, and report this; or `latchkey migrate verify` again";
  }
  return "`latchkey migrate finish` when you are content, `latchkey migrate rollback` until then";
}

std::string Mismatches(const Json& status) {
  std::string text;
  size_t shown = 0;
  const auto list = status.find("mismatches");
  if (list == status.end() || !list->is_array()) {
    return text;
  }
  for (const Json& one : *list) {
    if (shown++ == kMismatchesShown) {
      text += "\n  ... --json shows " + std::to_string(list->size());
      break;
    }
    text += "\n  " + Text(one, "key") + ": " + Text(one, "what");
  }
  return text;
}

}  // namespace

Result<MigrationBridge> MigrationBridge::Open(const Folder& folder) {
  LK_TRY(const Cell cell, folder.LoadCell());
  LK_TRY(std::string token, ReadFile(folder.Bridge() / "admin.token"));
  while (!token.empty() && token.back() == '\n') {
    token.pop_back();
  }
  return MigrationBridge(cell.http_port, std::move(token));
}

Result<Json> MigrationBridge::Status() const {
  LK_TRY(const Answer answer, AskBridge(port_, "/v1/migration", kPatience));
  Json json = Json::parse(answer.body, nullptr, false);
  if (answer.status != 200 || !json.is_object() || Text(json, "phase").empty()) {
    return Fail(v1::REASON_MALFORMED, "the bridge says nothing of migrations (HTTP " +
                                          std::to_string(answer.status) +
                                          "): is it of this version?");
  }
  return json;
}

Result<Json> MigrationBridge::Plan() const {
  LK_TRY(const Answer answer, AskBridge(port_, "/v1/migration/plan", kPatience));
  Json json = Json::parse(answer.body, nullptr, false);
  if (answer.status != 200 || !json.is_object()) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "the bridge cannot plan: " +
                    (json.is_object() ? Text(json, "error") : std::to_string(answer.status)));
  }
  return json;
}

Result<Json> MigrationBridge::Order(const std::string& order) const {
  LK_TRY(const Answer answer,
         TellBridge(port_, "/v1/migration", token_,
                    Json{{"order", order}, {"who", UserName()}}.dump(), kOrderPatience));
  Json json = Json::parse(answer.body, nullptr, false);
  if (answer.status / 100 != 2 || !json.is_object()) {
    const std::string why = json.is_object() ? Text(json, "error") : "";
    return Fail(answer.status == 409 || answer.status == 401 ? v1::REASON_NOT_ALLOWED
                                                             : v1::REASON_STORE_UNAVAILABLE,
                why.empty() ? "the bridge refuses to " + order + " (HTTP " +
                                  std::to_string(answer.status) + ")"
                            : why);
  }
  return json;
}

std::string MigrationTitle(const Json& status) {
  if (Text(status, "phase") == "none") {
    return "no migration runs; schema " + std::to_string(Number(status, "schema")) + " is in force";
  }
  return Text(status, "name") + ", schema " + std::to_string(Number(status, "from")) + " to " +
         std::to_string(Number(status, "to")) + ": " + Text(status, "phase") +
         (status.value("paused", false) ? ", paused" : "");
}

std::string MigrationBar(const Json& status) {
  if (Compares(status)) {
    const Json& comparison = status["comparison"];
    const auto rate = comparison.find("records_per_second");
    return "comparing: " + std::to_string(Number(comparison, "compared")) + " records" +
           (rate != comparison.end() && rate->is_number() ? RateText(rate->get<double>()) : "");
  }
  const std::string phase = Text(status, "phase");
  if (phase == "none") {
    return MigrationTitle(status);
  }
  if (phase == "backfill") {
    if (const std::string waits = Text(status, "waits_for"); !waits.empty()) {
      return "it waits: " + waits;
    }
    const auto at = [&](const char* key) { return status.value(key, Json()); };
    return Bar(Number(status, "rows_done"), Number(status, "rows_expected"), at("rows_per_second"),
               at("left_ms"));
  }
  std::string text = std::to_string(Number(status, "rows_done")) + " rows swept";
  if (status.value("verified_at_ms", Json()).is_number()) {
    text += "; " + std::to_string(Number(status, "compared")) + " records compared, " +
            std::to_string(Number(status, "differences")) + " differ";
  }
  return text;
}

std::string MigrationText(const Json& status) {
  std::string text = MigrationTitle(status);
  if (Text(status, "phase") == "none") {
    return text + "\nnext: " + Next(status);
  }
  text += "\n" + MigrationBar(status);
  if (const uint64_t damaged = Number(status, "damaged"); damaged > 0) {
    text +=
        "\n" + std::to_string(damaged) + " rows are damaged (they were before): left as they are";
  }
  return text + Mismatches(status) + "\nnext: " + Next(status);
}

Result<Json> FollowMigration(const MigrationBridge& bridge, const Follow& follow,
                             const Reached& reached) {
  const Instant until = ReadClocks().mono + follow.patience;
  std::optional<Instant> away_since;
  std::optional<Instant> said_at;
  const bool watched = follow.show && ::isatty(STDERR_FILENO) == 1;
  const auto draw = [&](const std::string& line) {
    if (watched) {
      SayInPlace(line);
    }
  };
  for (;;) {
    const Result<Json> status = bridge.Status();
    const Instant now = ReadClocks().mono;
    if (status) {
      away_since.reset();
      if (const std::optional<Result<void>> end = reached(*status)) {
        draw("");
        LK_CHECK(*end);
        return *status;
      }
      draw(MigrationBar(*status));
      if (follow.lines && (!said_at || now >= *said_at + kLineEvery)) {
        Say(status->dump(-1, ' ', false, Json::error_handler_t::replace));
        said_at = now;
      }
    } else {
      away_since = away_since.value_or(now);
      draw("the bridge does not answer: waiting for it");
    }
    if (now >= until || (away_since && now >= *away_since + kAwayMost)) {
      draw("");
      return Fail(v1::REASON_EXPIRED,
                  status ? "it goes on; `latchkey migrate status --watch` follows it"
                         : "the bridge is away: start it, the migration goes on by itself (" +
                               status.error().text + ")");
    }
    ::usleep(kLookEveryMicroseconds);
  }
}

}  // namespace latchkey::cli
