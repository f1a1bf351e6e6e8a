// See http_migration.h.
#include "bridge/http_migration.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "bridge/core/journal.h"
#include "bridge/core/migration_log.h"
#include "proto/crypto.h"

namespace latchkey::bridge {

namespace {

using Json = nlohmann::ordered_json;
using storage::MigrationOrder;

constexpr std::string_view kRehearse = "rehearse";

HttpAnswer AnswerOf(int status, const Json& json) {
  return {status, json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"};
}

HttpAnswer Complaint(int status, const std::string& text) {
  return AnswerOf(status, Json{{"error", text}});
}

HttpAnswer Complaint(const Error& error) {
  return Complaint(error.reason == v1::REASON_NOT_ALLOWED ? 409 : 503, error.text);
}

std::string TextOf(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Json TimeOf(Timestamp time) {
  return time.ms == 0 ? Json(nullptr) : Json(time.ms);
}

template <class Value>
Json OrNull(const std::optional<Value>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json TextOrNull(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

Json ComparisonJson(const ComparisonFigures& comparison) {
  if (comparison.id == 0) {
    return nullptr;
  }
  return {{"id", comparison.id},
          {"running", comparison.running},
          {"compared", comparison.compared},
          {"records_per_second", OrNull(comparison.records_per_second)},
          {"error", TextOrNull(comparison.error)}};
}

Json Allowed(const storage::MigrationStatus& status) {
  Json allowed = Json::array();
  for (const MigrationOrder order :
       {MigrationOrder::kStart, MigrationOrder::kPause, MigrationOrder::kResume,
        MigrationOrder::kVerify, MigrationOrder::kCutOver, MigrationOrder::kRollback,
        MigrationOrder::kFinish}) {
    if (storage::MayMigrate(status, order)) {
      allowed.push_back(storage::MigrationOrderName(order));
    }
  }
  return allowed;
}

HttpAnswer Copy(const MigrationOrders& orders, const std::string& who) {
  const Result<RehearsalCopy> made = orders.rehearse(who);
  return made ? AnswerOf(200, Json{{"folder", made->folder}, {"store_bytes", made->store_bytes}})
              : Complaint(made.error());
}

}  // namespace

HttpAnswer MigrationPage(const Status& status, Timestamp now) {
  const MigrationFigures& figures = status.migration;
  const storage::MigrationStatus& stands = figures.status;
  Json json = {{"now_ms", now.ms},
               {"schema", stands.schema},
               {"from", stands.from},
               {"to", stands.to},
               {"name", stands.name},
               {"phase", storage::MigrationPhaseName(stands.phase)},
               {"paused", stands.paused},
               {"waits_for", TextOrNull(stands.waits_for)},
               {"rows_done", stands.rows_done},
               {"rows_expected", stands.rows_expected},
               {"rows_per_second", OrNull(figures.rows_per_second)},
               {"left_ms", figures.left ? Json(figures.left->count()) : Json(nullptr)},
               {"bytes_written", stands.bytes_written},
               {"damaged", stands.damaged},
               {"started_at_ms", TimeOf(stands.started_at)},
               {"phase_at_ms", TimeOf(stands.phase_at)},
               {"verified_at_ms", TimeOf(stands.verified_at)},
               {"compared", stands.compared},
               {"differences", stands.differences}};
  json["mismatches"] = Json::array();
  for (const storage::Mismatch& mismatch : stands.mismatches) {
    json["mismatches"].push_back({{"key", mismatch.key}, {"what", mismatch.what}});
  }
  json["comparison"] = ComparisonJson(status.comparison);
  json["allowed"] = Allowed(stands);
  return AnswerOf(200, json);
}

HttpAnswer MigrationPlanPage(const storage::Store& store) {
  const Result<std::optional<storage::MigrationPlan>> plan = store.PlanMigration();
  if (!plan) {
    return Complaint(503, plan.error().text);
  }
  if (!*plan) {
    return AnswerOf(200, Json{{"plan", nullptr}});
  }
  return AnswerOf(200, Json{{"plan",
                             {{"from", (*plan)->from},
                              {"to", (*plan)->to},
                              {"name", (*plan)->name},
                              {"summary", (*plan)->summary},
                              {"rows", (*plan)->rows},
                              {"bytes", (*plan)->bytes}}}});
}

HttpAnswer OrderMigration(const MigrationOrders& orders, const AdminPost& post,
                          const std::function<Status()>& status, Timestamp now) {
  if (orders.token.empty() || !EqualSecrets(post.authorization, "Bearer " + orders.token)) {
    return Complaint(401,
                     "Authorization must be Bearer and the word in admin.token, beside the store");
  }
  const Json json =
      post.body.size() <= kMigrationPostBytesMax ? Json::parse(post.body, nullptr, false) : Json();
  const std::string word = json.is_object() ? TextOf(json, "order") : "";
  const std::string who =
      json.is_object() ? LineOf(TextOf(json, "who"), kMigrationWhoBytesMax) : "";
  const std::optional<MigrationOrder> order = ParseOrder(word);
  if ((!order && word != kRehearse) || who.empty()) {
    return Complaint(400,
                     "an order is {\"order\": O, \"who\": W}, O one of start, pause, resume, "
                     "verify, cutover, rollback, finish, rehearse");
  }
  if (const std::string error = status().store_error; !error.empty()) {
    return Complaint(503, "the store cannot write: " + error);
  }
  if (!order) {
    return Copy(orders, who);
  }
  const std::optional<MigrationAnswer> answer = orders.give(*order, who);
  if (!answer) {
    return Complaint(503,
                     "the bridge ends or is busy: whether it was carried out, GET /v1/migration "
                     "says");
  }
  if (!answer->done) {
    return Complaint(answer->done.error());
  }
  HttpAnswer page = MigrationPage(status(), now);
  page.status = *order == MigrationOrder::kVerify ? 202 : 200;
  return page;
}

}  // namespace latchkey::bridge
