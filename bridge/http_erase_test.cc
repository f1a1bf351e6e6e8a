// Erasing by HTTP and by the runner: who may, the log that stays a chain, and exporting what there
// is before and after.
#include "bridge/http_erase.h"

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "bridge/admin_token.h"
#include "bridge/core/story.h"
#include "bridge/http_export.h"
#include "bridge/runner.h"
#include "proto/log_chain.h"
#include "storage/memory_store.h"

namespace latchkey::bridge {

namespace {

using nlohmann::json;

class NoPublisher final : public Publisher {
 public:
  void Send(const Publish& publish) override { sent.push_back(publish.topic); }

  size_t backlog() const override { return 0; }

  void Reconnect() override {}

  std::vector<std::string> sent;
};

// Few entries of the log in each turn.
RunnerLimits SmallParts() {
  RunnerLimits limits;
  limits.blanked_per_turn_max = 2;
  return limits;
}

// A runner on a store in memory.
struct World {
  World() { REQUIRE(runner.Load()); }

  void Does(Input input) {
    intake.PutAlways(std::move(input));
    runner.Turn(Duration(0));
  }

  void Arrives(const std::string& topic, const std::string& payload) {
    Does(Message{Publish{topic, payload, 1, Retain::kYes, 0}});
  }

  // Turns until the erasure is done.
  ErasureProgress Finishes(uint64_t id) {
    for (int turn = 0; turn < 100; ++turn) {
      runner.Turn(Duration(0));
      for (const ErasureProgress& one : runner.status().erasures) {
        if (one.id == id && one.done) {
          return one;
        }
      }
    }
    return {};
  }

  // All entries of the log, which is checked to be one chain.
  std::vector<std::optional<v1::LogEntry>> Log() {
    std::vector<std::optional<v1::LogEntry>> entries;
    LogHead head;
    const Result<void> read = store.Snapshot()->ScanLog(
        0,
        [&](const storage::LogRecord& record) {
          const Result<LogLink> link = OpenLogRecord(record.payload);
          REQUIRE(link);
          CHECK(CheckFollows(head, *link));
          head = link->head;
          entries.push_back(link->entry);
          return true;
        },
        [](std::string_view, const Error&) { FAIL("damaged"); });
    REQUIRE(read);
    return entries;
  }

  Now now{kStoryStart, Instant{5}};
  storage::MemoryStore store;
  Intake intake{100};
  NoPublisher publisher;
  Runner runner{Limits{},
                SharedKeys().Cas(),
                SmallParts(),
                {intake, store, publisher, [this] { return now; }, [](const LogEvent&) {}}};
};

const CarRef kCar1 = RefOf("car1");
const CarRef kCar2 = RefOf("car2");

void Fill(World& world) {
  world.Does(BrokerUp{});
  for (const CarRef& ref : {kCar1, kCar2, kCar1}) {
    const uint64_t version = world.runner.status().counters.rings_stored + 1;
    world.Arrives(KeyRingTopic(ref), SharedKeys().Ring(ref, version, {"k1", "k2"}));
    world.Arrives(StateTopic(ref, Group::kBody), StateBytes(Group::kBody, kStoryStart, version));
  }
}

std::string Everything(const World& world) {
  std::string all;
  for (const storage::Kind kind : storage::kKinds) {
    REQUIRE(world.store.Snapshot()->Scan(
        kind, std::nullopt,
        [&](const storage::Record& record) {
          const storage::KeyValue bytes = storage::Encode(record);
          all += bytes.key + "\n" + bytes.value + "\n";
        },
        [](std::string_view, const Error&) {}));
  }
  return all;
}

}  // namespace

TEST_CASE("erase: nothing of the car is left in the store and the log, which stays one chain") {
  World world;
  Fill(world);
  const size_t entries = world.Log().size();
  REQUIRE(entries >= 4);
  REQUIRE(Everything(world).find("car1") != std::string::npos);
  world.Does(Erasure{7, kCar1, "alice"});
  const ErasureProgress progress = world.Finishes(7);
  CHECK(progress.done);
  CHECK(progress.log_entries >= 2);
  const std::string left = Everything(world);
  CHECK(left.find("car1") == std::string::npos);
  CHECK(left.find("car2") != std::string::npos);
  const auto log = world.Log();
  REQUIRE(log.size() == entries + 1);
  CHECK(log.back()->event() == "erased");
  CHECK(log.back()->who() == "alice");
  uint64_t blank = 0;
  for (const auto& entry : log) {
    blank += entry ? 0 : 1;
  }
  CHECK(blank == progress.log_entries);
  // Once more: there is nothing more to be found.
  world.Does(Erasure{8, kCar1, "alice"});
  CHECK(world.Finishes(8).log_entries == 0);
}

TEST_CASE("erase: of a key the log loses what names it, and a bridge that starts again goes on") {
  World world;
  Fill(world);
  const KeyId key = SharedKeys().IdOf("k2");
  world.Does(Erasure{9, key, "alice"});
  CHECK(world.Finishes(9).log_entries >= 2);
  for (const auto& entry : world.Log()) {
    CHECK((!entry || entry->key_id() != key.str()));
  }
  NoPublisher publisher;
  Intake intake(10);
  Runner again{Limits{},
               SharedKeys().Cas(),
               RunnerLimits{},
               {intake, world.store, publisher, [&] { return world.now; }, [](const LogEvent&) {}}};
  REQUIRE(again.Load());
  CHECK(again.status().log.head == world.runner.status().log.head);
}

TEST_CASE("erase: only who has the token may, and only what is a car or a key") {
  std::vector<std::string> begun;
  EraseDoor door{"secret-token", [&](std::variant<CarRef, KeyId> of, std::string who) {
                   begun.push_back(who + (of.index() == 0 ? " car" : " key"));
                   return std::optional<uint64_t>(begun.size());
                 }};
  const std::string car = R"({"fleet":"f","car":"car1","who":"alice"})";
  const std::string bearer = "Bearer secret-token";
  CHECK(BeginErasure(door, {"", car}, true).status == 401);
  CHECK(BeginErasure(door, {"Bearer wrong", car}, true).status == 401);
  CHECK(BeginErasure(EraseDoor{}, {"Bearer ", car}, true).status == 401);
  CHECK(BeginErasure(door, {bearer, car}, false).status == 503);
  CHECK(BeginErasure(door, {bearer, car}, true).status == 202);
  const std::string key = R"({"key":")" + SharedKeys().IdOf("k1").str() + R"(","who":"bob"})";
  CHECK(json::parse(BeginErasure(door, {bearer, key}, false).json)["id"] == 2);
  for (const char* body : {"", "[]", "{}", R"({"fleet":"f","who":"a"})", R"({"key":"x","who":"a"})",
                           R"({"fleet":"f","car":"car1"})", R"({"fleet":1,"car":2,"who":3})"}) {
    CHECK_MESSAGE(BeginErasure(door, {bearer, body}, true).status == 400, body);
  }
  CHECK(begun == std::vector<std::string>{"alice car", "bob key"});
  const storage::MemoryStore store;
  CHECK(ScrubStore(door, {"", ""}, store).status == 401);
  CHECK(ScrubStore(door, {bearer, ""}, store).status == 200);
}

TEST_CASE("erase: how far it is can be asked for") {
  const std::vector<ErasureProgress> erasures = {{5, true, false, 3, 1}};
  const auto asks = [&](const std::string& id) {
    return ErasurePage(
        [id](const std::string& name) { return name == "id" ? std::optional(id) : std::nullopt; },
        erasures);
  };
  const json page = json::parse(asks("5").json);
  CHECK(page["done"] == true);
  CHECK(page["log_entries"] == 3);
  CHECK(page["unreadable"] == 1);
  CHECK(asks("6").status == 404);
  CHECK(asks("").status == 404);
}

TEST_CASE("export: all that is kept of a car, and of a key, and nothing once it is erased") {
  World world;
  Fill(world);
  const HttpAnswer answer = ExportCar(*world.store.Snapshot(), kCar1, world.now.wall);
  REQUIRE(answer.status == 200);
  const json kept = json::parse(answer.json);
  CHECK(kept["car"] == "car1");
  REQUIRE(kept["state"].size() == 1);
  CHECK(kept["state"][0]["group"] == "body");
  CHECK(kept["state"][0]["signals"].size() >= 1);
  REQUIRE(kept["ring"].size() == 1);
  CHECK(kept["ring"][0]["key_ring"]["keys"].size() == 2);
  CHECK(kept["damaged"] == 0);
  for (const char* part : {"presence", "commands", "blocks", "wakes", "history", "sessions"}) {
    CHECK_MESSAGE(kept.contains(part), part);
  }
  const KeyId key = SharedKeys().IdOf("k1");
  const json of_key = json::parse(ExportKey(*world.store.Snapshot(), key, world.now.wall).json);
  CHECK(of_key["rings"].size() == 2);
  CHECK(of_key["rings"][0]["key"]["label"] == "k1");
  world.Does(Erasure{7, kCar1, "alice"});
  CHECK(world.Finishes(7).done);
  CHECK(ExportCar(*world.store.Snapshot(), kCar1, world.now.wall).status == 404);
}

TEST_CASE(
    "admin token: it is made once, for this user alone, and not believed when others read it") {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("admin-token-" + std::to_string(::getpid()));
  const Result<std::string> made = AdminToken(path);
  REQUIRE(made);
  CHECK(made->size() == 43);
  CHECK(AdminToken(path).value() == *made);
  struct stat about = {};
  REQUIRE(::stat(path.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0600);
  REQUIRE(::chmod(path.c_str(), 0644) == 0);
  CHECK_FALSE(AdminToken(path));
  std::filesystem::remove(path);
  CHECK_FALSE(AdminToken(path / "below" / "nothing"));
}

}  // namespace latchkey::bridge
