// See orders.h.
#include "tests/migration/orders.h"

#include "tests/support/process.h"

namespace latchkey::migration {

namespace {

using load::Expect;
using std::chrono::milliseconds;
using testing::Eventually;
using testing::HttpAnswer;

constexpr milliseconds kOrderPatience{120000};

template <class T>
T Field(const nlohmann::json& json, const char* name) {
  const auto found = json.find(name);
  return found == json.end() || found->is_null() ? T{} : found->get<T>();
}

}  // namespace

Standing Orders::Now() const {
  const HttpAnswer answer = testing::HttpGet(world_.cell().http_port(), "/v1/migration");
  const auto json = nlohmann::json::parse(answer.body, nullptr, false);
  Standing standing;
  standing.text = answer.body;
  if (answer.status != 200 || !json.is_object()) {
    return standing;
  }
  standing.known = true;
  standing.schema = Field<uint32_t>(json, "schema");
  standing.phase = Field<std::string>(json, "phase");
  standing.paused = Field<bool>(json, "paused");
  standing.waits_for = Field<std::string>(json, "waits_for");
  standing.done = Field<uint64_t>(json, "rows_done");
  standing.expected = Field<uint64_t>(json, "rows_expected");
  standing.compared = Field<uint64_t>(json, "compared");
  standing.differences = Field<uint64_t>(json, "differences");
  standing.verified_ms = Field<int64_t>(json, "verified_at_ms");
  const auto comparison = json.find("comparison");
  standing.comparing =
      comparison != json.end() && comparison->is_object() && Field<bool>(*comparison, "running");
  return standing;
}

HttpAnswer Orders::Post(const std::string& order) const {
  const std::string token = testing::ReadAll(world_.cell().path() / "bridge" / "admin.token");
  const std::string word = token.substr(0, token.find_last_not_of(" \r\n") + 1);
  return testing::HttpPost(world_.cell().http_port(), "/v1/migration",
                           nlohmann::json{{"order", order}, {"who", "migration-test"}}.dump(),
                           "Bearer " + word);
}

bool Orders::Carried(const std::string& order, const Standing& before, const Standing& now) {
  if (order == "start") {
    return now.phase == "backfill" || now.phase == "filled";
  }
  if (order == "pause" || order == "resume") {
    return now.paused == (order == "pause");
  }
  if (order == "cutover") {
    return now.phase == "cut over";
  }
  if (order == "rollback") {
    return now.phase == (before.phase == "cut over" ? "verified" : "none");
  }
  // Back from there it would be verified.
  return order == "finish" && before.phase == "cut over" && now.phase == "none";
}

void Orders::Give(const std::string& order) const {
  const Standing before = Now();
  HttpAnswer answer;
  bool lost = false;
  const bool given = Eventually(
      [&] {
        answer = Post(order);
        lost = lost || answer.status == 0 || answer.status == 503;
        return answer.status == 200 || answer.status == 202 || answer.status == 409;
      },
      kOrderPatience);
  const Standing now = Now();
  const bool carried = answer.status == 409 && lost && Carried(order, before, now);
  Expect(given && (answer.status != 409 || carried),
         "the order " + order + " is answered " + std::to_string(answer.status) + " " +
             answer.body + " while it stands so: " + now.text);
}

Standing Orders::Await(const std::string& phase, milliseconds patience) const {
  Standing standing;
  const bool come = Eventually(
      [&] {
        standing = Now();
        return standing.known && standing.phase == phase;
      },
      patience);
  Expect(come, "not '" + phase + "' in time, but " + standing.text);
  return standing;
}

void Orders::Verify(const std::string& phase, milliseconds patience) const {
  const Standing before = Now();
  Standing standing;
  const bool verified = Eventually(
      [&] {
        standing = Now();
        if (!standing.known || standing.comparing) {
          return false;
        }
        if (standing.verified_ms > before.verified_ms) {
          return true;
        }
        static_cast<void>(Post("verify"));  // 409: it runs, and was not seen to
        return false;
      },
      patience);
  Expect(verified && standing.phase == phase,
         "verify comes not to '" + phase + "' but to " + standing.text);
}

}  // namespace latchkey::migration
