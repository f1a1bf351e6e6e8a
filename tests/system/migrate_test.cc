// A store of an older schema is migrated under a live cell, as people do it: rehearse, plan, start,
// pause, a bridge that is killed, resume, verify, cutover, rollback, cutover, finish; commands go
// on meanwhile, and what the store said before it says afterwards.
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "storage/rocksdb_store.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr size_t kCars = 400;
constexpr size_t kCommandsPerCar = 250;

// Commands that have ended a while ago, in a store of schema 1.
void MakeOldStore(const fs::path& path) {
  storage::RocksDbOptions options;
  options.path = path;
  options.fresh_schema = 1;
  const Result<std::unique_ptr<storage::RocksDbStore>> store = storage::RocksDbStore::Open(options);
  REQUIRE_MESSAGE(store, store.error().text);
  const KeyId lane = PrivateKey::Generate().Public().Id();
  const Timestamp then{UnixMs() - 60'000};
  uint64_t order = 0;
  for (size_t car = 0; car < kCars; ++car) {
    std::vector<storage::Change> changes;
    for (size_t i = 0; i < kCommandsPerCar; ++i) {
      storage::CommandRecord record;
      record.ref = {*FleetId::Parse("demo"), *CarId::Parse("old-" + std::to_string(car))};
      record.lane = lane;
      const std::string tail = std::to_string(1'000'000'000 + order);
      record.id = CommandId::Make(then.ms, tail);
      record.order = ++order;
      record.received_at = then;
      record.changed_at = then;
      record.state = v1::RECEIPT_STATE_DONE;
      changes.emplace_back(record);
    }
    REQUIRE((*store)->Commit(changes, storage::Durability::kSoon));
  }
  REQUIRE((*store)->Sync());
}

// A cell whose store is of schema 1, with a car that lives and a phone that holds its key.
struct World {
  World() {
    MakeOldStore(cell.path() / "bridge" / "store");
    cell.StartBroker();
    cell.StartBridge();
    cell.StartCar("car-1", {"--offer"});
    cell.Pair("anna", "car-1");
  }

  // `latchkey migrate {words} --json`, which must end with `exit_code`; the last line it prints.
  json Migrate(std::vector<std::string> words, int exit_code = 0) {
    words.insert(words.begin(), {"--json", "migrate"});
    const Ran ran = cell.Latchkey(words);
    CAPTURE(words[2]);
    CAPTURE(ran.output);
    REQUIRE(ran.exit_code == exit_code);
    return LastObject(ran.output);
  }

  static json LastObject(const std::string& output) {
    json last;
    size_t begin = 0;
    while (begin < output.size()) {
      const size_t end = std::min(output.find('\n', begin), output.size());
      json line = json::parse(output.substr(begin, end - begin), nullptr, false);
      if (line.is_object()) {
        last = std::move(line);
      }
      begin = end + 1;
    }
    return last;
  }

  // Starts and pauses; from the begin when all was swept before the pause came.
  json PausedInTheMiddle() {
    for (int attempt = 0; attempt < 10; ++attempt) {
      REQUIRE(Migrate({"start", "--detach"})["schema"] == 1);
      const Ran pause = cell.Latchkey({"--json", "migrate", "pause"});
      if (pause.exit_code == 0) {
        return LastObject(pause.output);
      }
      REQUIRE(Migrate({"rollback"})["phase"] == "none");
    }
    FAIL("it is never paused in the middle");
    return {};
  }

  json Status() const {
    return json::parse(HttpGet(cell.http_port(), "/v1/migration").body, nullptr, false);
  }

  bool HasMetric(const std::string& line) const {
    return HttpGet(cell.http_port(), "/metrics").body.find("\n" + line + "\n") != std::string::npos;
  }

  // A command goes through, now.
  void Commands() {
    const Ran sent = cell.Latchkey({"phone", "send", "anna", "car-1", "flash-lights", "--wait"});
    CHECK_MESSAGE(sent.exit_code == 0, sent.output);
  }

  // What the bridge says of one of the cars that were there before.
  std::string OldCommands() const {
    json answer = json::parse(HttpGet(cell.http_port(), "/v1/commands?fleet=demo&car=old-7").body,
                              nullptr, false);
    REQUIRE(answer.is_object());
    std::string text;
    for (json& command : answer["commands"]) {
      command.erase("age_ms");
      text += command.dump() + "\n";
    }
    return text;
  }

  fs::path Copy() const { return cell.path() / "bridge" / "store.rehearsal"; }

  Cell cell;
};

// The next migration in a row; each order and phase is in the log.
void RunsTheNext(World& w, const std::string& old_commands) {
  const json run = w.Migrate({"run"});
  CHECK(run["phase"] == "cut over");
  CHECK(run["schema"] == 3);
  CHECK(w.Migrate({"finish"})["schema"] == 3);
  CHECK(w.Migrate({"plan"})["plan"].is_null());
  CHECK(w.OldCommands() == old_commands);
  w.Commands();
  const Ran log = w.cell.Latchkey({"log", "--event", "migration", "--last", "100"});
  CAPTURE(log.output);
  CHECK(CountLines(log.output, "asked for: cutover") == 3);
  CHECK(CountLines(log.output, "cut over: schema 2 is read") == 2);
  CHECK(CountLines(log.output, "finished: ") == 2);
  CHECK(w.cell.Latchkey({"log", "--verify"}).exit_code == 0);
}

}  // namespace

TEST_CASE("a store is migrated beside live traffic, over a kill, back and forth, to its end") {
  World w;
  const std::string old_commands = w.OldCommands();
  CHECK(CountLines(old_commands, "DONE") == static_cast<int>(kCommandsPerCar));

  // Nothing but start is allowed yet, and each refusal says what to do.
  const json refused = w.Migrate({"cutover"}, 1);
  CHECK(refused["text"].get<std::string>().find("start one first") != std::string::npos);
  const json plan = w.Migrate({"plan"});
  CHECK(plan["schema"] == 1);
  CHECK(plan["plan"]["from"] == 1);
  CHECK(plan["plan"]["to"] == 2);
  CHECK(plan["plan"]["rows"].get<uint64_t>() >= kCars * kCommandsPerCar / 2);

  const json paused = w.PausedInTheMiddle();
  REQUIRE(paused["phase"] == "backfill");
  CHECK(paused["paused"] == true);
  CHECK(paused["rows_done"].get<uint64_t>() < paused["rows_expected"].get<uint64_t>());
  CHECK(w.HasMetric("latchkey_migration_paused 1"));
  CHECK(w.HasMetric("latchkey_migration_phase{phase=\"backfill\"} 1"));
  CHECK(w.Migrate({"pause"}, 1)["text"].get<std::string>().find("not possible now") !=
        std::string::npos);
  w.Commands();

  w.cell.bridge().Kill();
  w.cell.StartBridge();
  CHECK(w.Status()["paused"] == true);
  CHECK(w.Status()["rows_done"] == paused["rows_done"]);
  w.Commands();

  const json filled = w.Migrate({"resume"});
  CHECK(filled["phase"] == "filled");
  CHECK(filled["rows_done"].get<uint64_t>() >= kCars * kCommandsPerCar);
  CHECK(w.Migrate({"cutover"}, 1)["text"].get<std::string>().find("verify first") !=
        std::string::npos);
  const json verified = w.Migrate({"verify"});
  CHECK(verified["phase"] == "verified");
  CHECK(verified["differences"] == 0);
  CHECK(verified["compared"].get<uint64_t>() >= kCars * kCommandsPerCar);
  CHECK(w.HasMetric("latchkey_migration_differences 0"));

  CHECK(w.Migrate({"cutover"})["schema"] == 2);
  CHECK(w.OldCommands() == old_commands);
  w.Commands();
  CHECK(w.Migrate({"rollback"})["schema"] == 1);
  CHECK(w.OldCommands() == old_commands);
  w.Commands();
  CHECK(w.Migrate({"cutover"})["phase"] == "cut over");
  w.cell.bridge().Kill();
  w.cell.StartBridge();
  CHECK(w.Status()["phase"] == "cut over");
  const json finished = w.Migrate({"finish"});
  CHECK(finished["phase"] == "none");
  CHECK(finished["schema"] == 2);
  CHECK(w.HasMetric("latchkey_store_schema 2"));
  CHECK(w.OldCommands() == old_commands);
  w.Commands();
  RunsTheNext(w, old_commands);
}

TEST_CASE("a rehearsal runs the whole on a copy, which is gone afterwards, also after a kill") {
  World w;
  // One that was left behind by a kill is found by the next.
  const auto killed = w.cell.StartLatchkey({"migrate", "rehearse"}, "rehearse-killed");
  REQUIRE(Eventually([&] { return fs::exists(w.Copy() / "LOCK"); }));
  killed->Kill();
  CHECK(fs::exists(w.Copy()));
  const json report = w.Migrate({"rehearse"});
  CHECK(report["ok"] == true);
  REQUIRE(report["migrations"].size() == 2);
  for (const json& one : report["migrations"]) {
    CHECK(one["ok"] == true);
    CHECK(one["differences"] == 0);
    CHECK(one["seconds"]["sweep"].is_number());
  }
  CHECK(report["migrations"][0]["rows"].get<uint64_t>() >= kCars * kCommandsPerCar);
  CHECK(report["migrations"][0]["records"].get<uint64_t>() >= kCars * kCommandsPerCar);
  CHECK_FALSE(fs::exists(w.Copy()));
  CHECK(w.Status()["schema"] == 1);
  CHECK(w.Status()["phase"] == "none");

  // Ctrl-C leaves nothing behind.
  const auto stopped = w.cell.StartLatchkey({"migrate", "rehearse"}, "rehearse-stopped");
  REQUIRE(Eventually([&] { return fs::exists(w.Copy() / "LOCK"); }));
  stopped->Signal(SIGINT);
  CHECK(stopped->Wait() == 1);
  CHECK_FALSE(fs::exists(w.Copy()));
  w.Commands();
}

}  // namespace latchkey::testing
