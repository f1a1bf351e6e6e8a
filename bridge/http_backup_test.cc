// Asking for a backup and looking at it: who may, what is said, one at a time, and its end.
#include "bridge/http_backup.h"

#include <chrono>
#include <future>
#include <memory>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

namespace latchkey::bridge {

namespace {

using nlohmann::json;

// A maker that waits to be let go.
struct Fake {
  std::promise<void> let_go;
  std::promise<BackupRun> ended;
  BackupWish wish;
  bool store_fails = false;
  bool breaks = false;

  BackupMaker Maker() {
    BackupMaker maker;
    maker.folder = "/backups";
    maker.make = [this](const BackupWish& wished,
                        const auto& go_on) -> Result<storage::BackupFacts> {
      wish = wished;
      static_cast<void>(go_on({1, 4}));
      let_go.get_future().wait_for(std::chrono::seconds(30));
      if (!go_on({4, 4})) {
        return Fail(v1::REASON_CANCELLED, "it was ended");
      }
      if (breaks) {
        return Fail(v1::REASON_STORE_UNAVAILABLE, "the disk is full");
      }
      return storage::BackupFacts{7, {1000}, 4, 2, false};
    };
    maker.list = []() -> Result<std::vector<storage::BackupFacts>> {
      return std::vector<storage::BackupFacts>{{7, {1000}, 4, 2, false}};
    };
    maker.may_go_on = [this] { return !store_fails; };
    maker.ended = [this](const BackupWish&, const BackupRun& run) { ended.set_value(run); };
    return maker;
  }
};

AdminPost Post(const std::string& body) {
  return {"Bearer word", body};
}

}  // namespace

TEST_CASE("http backup: who may not, and what is no wish, begins nothing") {
  Fake fake;
  BackupDesk desk(fake.Maker(), 0);
  const BackupDoor door{"word", &desk};
  CHECK(BeginBackup(door, {"Bearer other", R"({"who":"a"})"}).status == 401);
  CHECK(BeginBackup({"", &desk}, {"Bearer ", R"({"who":"a"})"}).status == 401);
  for (const char* body :
       {"", "[]", "{}", R"({"who":""})", R"({"who":"a","keep":0})", R"({"who":"a","keep":-1})",
        R"({"who":"a","keep":10001})", R"({"who":"a","folder":"/etc"})", R"({"who":1})"}) {
    CAPTURE(body);
    CHECK(BeginBackup(door, Post(body)).status == 400);
  }
  CHECK(json::parse(BackupPage(door).json)["last"].is_null());
  fake.let_go.set_value();
}

TEST_CASE("http backup: one at a time is made, and is shown until its end") {
  Fake fake;
  BackupDesk desk(fake.Maker(), 41);
  const BackupDoor door{"word", &desk};
  const HttpAnswer begun = BeginBackup(door, Post(R"({"who":"alice","keep":3})"));
  CHECK(begun.status == 202);
  CHECK(json::parse(begun.json)["run"] == 42);
  CHECK(BeginBackup(door, Post(R"({"who":"bob"})")).status == 409);
  CHECK(json::parse(BackupPage(door).json)["last"]["done"] == false);
  fake.let_go.set_value();
  const BackupRun run = fake.ended.get_future().get();
  CHECK(run.made.id == 7);
  CHECK(fake.wish.who == "alice");
  CHECK(fake.wish.keep == 3);
  json page;
  do {  // ended is told before it is shown
    page = json::parse(BackupPage(door).json);
  } while (page["last"]["done"] == false);
  CHECK(page["folder"] == "/backups");
  CHECK(page["last"]["id"] == 7);
  CHECK(page["last"]["bytes"] == 4);
  CHECK(page["backups"][0]["at_ms"] == 1000);
}

TEST_CASE("http backup: one that fails says why; while the store fails none goes on") {
  Fake full;
  full.breaks = true;
  full.let_go.set_value();
  BackupDesk desk(full.Maker(), 0);
  REQUIRE(desk.Begin({"a", 0}));
  CHECK(full.ended.get_future().get().error == "the disk is full");
  Fake failing;
  failing.store_fails = true;
  failing.let_go.set_value();
  BackupDesk other(failing.Maker(), 0);
  REQUIRE(other.Begin({"a", 0}));
  CHECK(failing.ended.get_future().get().error == "it was ended");
}

TEST_CASE("http backup: a bridge that ends waits only for the next look") {
  Fake fake;
  auto desk = std::make_unique<BackupDesk>(fake.Maker(), 0);
  REQUIRE(desk->Begin({"a", 0}));
  desk->Stop();
  CHECK_FALSE(desk->Begin({"a", 0}));
  fake.let_go.set_value();
  desk.reset();
  CHECK(fake.ended.get_future().get().made.id == 0);
}

}  // namespace latchkey::bridge
