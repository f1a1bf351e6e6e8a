// Migrations by HTTP: who may order them, what is answered to each order, and what is shown.
#include "bridge/http_migration.h"

#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

namespace latchkey::bridge {

namespace {

using nlohmann::json;
using storage::MigrationOrder;

constexpr Timestamp kNow{1'000'000};

struct Orders {
  Orders() {
    door.token = "word";
    door.give = [this](MigrationOrder order, const std::string& who) {
      given.push_back(std::string(storage::MigrationOrderName(order)) + " by " + who);
      return answer;
    };
    door.rehearse = [this](const std::string& who) {
      given.push_back("rehearse by " + who);
      return copy;
    };
  }

  HttpAnswer Post(const std::string& body, const std::string& authorization = "Bearer word") {
    return OrderMigration(door, {authorization, body}, [this] { return status; }, kNow);
  }

  MigrationOrders door;
  std::vector<std::string> given;
  std::optional<MigrationAnswer> answer = MigrationAnswer{};
  Result<RehearsalCopy> copy = RehearsalCopy{"/s/store.rehearsal", 77};
  Status status;
};

}  // namespace

TEST_CASE("http migration: without the word nobody orders anything") {
  Orders orders;
  for (const char* authorization : {"", "Bearer", "Bearer wrong", "word", "Bearer word "}) {
    CHECK(orders.Post(R"({"order":"start","who":"alice"})", authorization).status == 401);
  }
  orders.door.token.clear();
  CHECK(orders.Post(R"({"order":"start","who":"alice"})", "Bearer ").status == 401);
  CHECK(orders.given.empty());
}

TEST_CASE("http migration: what is no order is refused, however it is wrong") {
  Orders orders;
  for (const std::string& body :
       {std::string(), std::string("[]"), std::string("{"), std::string(R"({"order":"start"})"),
        std::string(R"({"who":"alice"})"), std::string(R"({"order":"cut over","who":"a"})"),
        std::string(R"({"order":1,"who":"a"})"), std::string(R"({"order":"start","who":7})"),
        std::string(R"({"order":"start","who":""})"),
        R"({"order":"start","who":")" + std::string(2000, 'x') + "\"}"}) {
    CAPTURE(body);
    CHECK(orders.Post(body).status == 400);
  }
  CHECK(orders.given.empty());
}

TEST_CASE("http migration: an order is carried out, refused with what to do, or not possible now") {
  Orders orders;
  orders.status.migration.status.phase = storage::MigrationPhase::kBackfill;
  const HttpAnswer done = orders.Post(R"({"order":"start","who":"al\nice"})");
  CHECK(done.status == 200);
  CHECK(json::parse(done.json)["phase"] == "backfill");
  CHECK(orders.given.back() == "start by al ice");
  CHECK(orders.Post(R"({"order":"verify","who":"alice"})").status == 202);

  orders.answer->done = Fail(v1::REASON_NOT_ALLOWED, "verify first");
  const HttpAnswer refused = orders.Post(R"({"order":"cutover","who":"alice"})");
  CHECK(refused.status == 409);
  CHECK(json::parse(refused.json)["error"] == "verify first");
  orders.answer->done = Fail(v1::REASON_STORE_UNAVAILABLE, "needs 812 MB");
  CHECK(orders.Post(R"({"order":"start","who":"alice"})").status == 503);
  orders.answer.reset();
  CHECK(orders.Post(R"({"order":"start","who":"alice"})").status == 503);

  const size_t given = orders.given.size();
  orders.status.store_error = "no room";
  CHECK(orders.Post(R"({"order":"start","who":"alice"})").status == 503);
  CHECK(orders.given.size() == given);
}

TEST_CASE("http migration: a copy for a rehearsal is made for who has the word") {
  Orders orders;
  const HttpAnswer made = orders.Post(R"({"order":"rehearse","who":"alice"})");
  CHECK(made.status == 200);
  CHECK(json::parse(made.json)["folder"] == "/s/store.rehearsal");
  CHECK(json::parse(made.json)["store_bytes"] == 77);
  orders.copy = Fail(v1::REASON_STORE_UNAVAILABLE, "a rehearsal needs 2 GB");
  CHECK(orders.Post(R"({"order":"rehearse","who":"alice"})").status == 503);
  orders.copy = Fail(v1::REASON_NOT_ALLOWED, "there is one");
  CHECK(orders.Post(R"({"order":"rehearse","who":"alice"})").status == 409);
}

TEST_CASE("http migration: the page says what is known, and null for what is not") {
  Status status;
  json page = json::parse(MigrationPage(status, kNow).json);
  CHECK(page["phase"] == "none");
  CHECK(page["rows_per_second"].is_null());
  CHECK(page["left_ms"].is_null());
  CHECK(page["waits_for"].is_null());
  CHECK(page["verified_at_ms"].is_null());
  CHECK(page["comparison"].is_null());
  CHECK(page["allowed"] == json::array({"start"}));

  storage::MigrationStatus& stands = status.migration.status;
  stands.phase = storage::MigrationPhase::kDiffers;
  stands.name = "split-commands";
  stands.verified_at = Timestamp{5};
  stands.differences = 1;
  stands.mismatches = {{"demo/car-1", "differs in payload"}};
  stands.waits_for = "needs 812 MB";
  status.migration.rows_per_second = 12.5;
  status.migration.left = Duration(3000);
  status.comparison = {9, true, 44, 2.5, ""};
  page = json::parse(MigrationPage(status, kNow).json);
  CHECK(page["rows_per_second"] == 12.5);
  CHECK(page["left_ms"] == 3000);
  CHECK(page["waits_for"] == "needs 812 MB");
  CHECK(page["mismatches"][0]["what"] == "differs in payload");
  CHECK(page["comparison"]["running"] == true);
  CHECK(page["comparison"]["compared"] == 44);
  CHECK(page["allowed"] == json::array({"verify", "rollback"}));
}

}  // namespace latchkey::bridge
