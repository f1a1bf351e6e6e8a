// What HTTP serves of sessions and of the doctor.
#include "bridge/http_links.h"

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/session.pb.h"
#include "storage/memory_store.h"

namespace latchkey::bridge {
namespace {

using nlohmann::json;
using Query = std::map<std::string, std::string>;
using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;

constexpr Timestamp kNow{1'760'000'000'000};

CarRef Ref(const std::string& fleet, const std::string& car) {
  return {FleetId::Parse(fleet).value(), CarId::Parse(car).value()};
}

struct Shelf {
  // A session of an hour that began so long ago.
  void Add(const CarRef& ref, Duration ago, const std::string& area = "") {
    v1::Session session;
    session.set_began_at_ms(static_cast<uint64_t>((kNow + -ago).ms));
    session.set_ended_at_ms(session.began_at_ms() + 3'600'000);
    session.set_reason(v1::OFFLINE_REASON_TIMED_OUT);
    session.set_area_at_end(area);
    session.set_network("north");
    Put(storage::SessionRecord{ref, kNow + -ago, session.SerializeAsString()});
  }

  void Online(const CarRef& ref, Duration since) {
    v1::Presence presence;
    presence.set_online(true);
    presence.set_since_ms(static_cast<uint64_t>((kNow + -since).ms));
    Put(storage::PresenceRecord{ref, kNow, presence.SerializeAsString()});
  }

  void Put(const storage::Change& change) {
    REQUIRE(
        store.Commit(std::vector<storage::Change>{change}, storage::Durability::kSoon).has_value());
  }

  template <class Page>
  json Ask(Page page, const Query& query, int status = 200) const {
    const HttpAnswer answer = page(
        *store.Snapshot(),
        [&query](const std::string& name) {
          const auto at = query.find(name);
          return at == query.end() ? std::nullopt : std::optional(at->second);
        },
        kNow);
    CHECK(answer.status == status);
    return json::parse(answer.json);
  }

  storage::MemoryStore store;
};

TEST_CASE("links: sessions of a car are shown newest last, within times and a limit") {
  Shelf shelf;
  const CarRef ref = Ref("f", "a");
  for (int i = 1; i <= 20; ++i) {
    shelf.Add(ref, 2h * i, "u2edk");
  }
  shelf.Add(Ref("f", "ab"), 2h);
  const json all = shelf.Ask(SessionsPage, {{"fleet", "f"}, {"car", "a"}});
  REQUIRE(all["sessions"].size() == 20);
  CHECK(all["truncated"] == false);
  CHECK(all["sessions"][19]["began_at_ms"] == (kNow + -2h).ms);
  CHECK(all["sessions"][19]["duration_ms"] == 3'600'000);
  CHECK(all["sessions"][19]["reason"] == "timed_out");
  CHECK(all["sessions"][19]["area_at_end"] == "u2edk");
  const json some = shelf.Ask(SessionsPage, {{"fleet", "f"}, {"car", "a"}, {"limit", "3"}});
  CHECK(some["sessions"].size() == 3);
  CHECK(some["truncated"] == true);
  CHECK(some["sessions"][2] == all["sessions"][19]);
  CHECK(shelf
            .Ask(SessionsPage, {{"fleet", "f"},
                                {"car", "a"},
                                {"since", std::to_string((kNow + -8h).ms)},
                                {"until", std::to_string((kNow + -4h).ms)}})["sessions"]
            .size() == 2);
  shelf.Ask(SessionsPage, {{"fleet", "f"}}, 400);
  shelf.Ask(SessionsPage, {{"fleet", "f"}, {"car", "a"}, {"limit", "0"}}, 400);
}

TEST_CASE("links: a session whose end is not known has none") {
  Shelf shelf;
  v1::Session session;
  session.set_began_at_ms(static_cast<uint64_t>((kNow + -5h).ms));
  session.set_reason(v1::OFFLINE_REASON_BROKER_RESTART);
  shelf.Put(storage::SessionRecord{Ref("f", "a"), kNow + -5h, session.SerializeAsString()});
  const json page = shelf.Ask(SessionsPage, {{"fleet", "f"}, {"car", "a"}});
  REQUIRE(page["sessions"].size() == 1);
  CHECK(page["sessions"][0]["ended_at_ms"].is_null());
  CHECK(page["sessions"][0]["reason"] == "broker_restart");
}

TEST_CASE("links: the doctor answers for a car, and for a fleet with the worst first") {
  Shelf shelf;
  for (int i = 1; i <= 60; ++i) {
    shelf.Add(Ref("f", "bad"), 65min * i);
  }
  shelf.Online(Ref("f", "good"), 100h);
  shelf.Online(Ref("f", "new"), 1h);
  shelf.Online(Ref("g", "other"), 100h);
  const json fleet = shelf.Ask(DoctorPage, {{"fleet", "f"}});
  REQUIRE(fleet["cars"].size() == 3);
  CHECK(fleet["cars"][0]["car"] == "bad");
  CHECK(fleet["cars"][0]["verdict"] == "bad_unit");
  CHECK(fleet["cars"][0]["timed_out"] == 60);
  CHECK(fleet["cars"][0]["networks"][0]["network"] == "north");
  CHECK(fleet["cars"][1]["verdict"] == "healthy");
  CHECK(fleet["cars"][1]["online_part"] == 1.0);
  CHECK(fleet["cars"][2]["verdict"] == "not_enough_data");
  const json one = shelf.Ask(DoctorPage, {{"fleet", "f"}, {"car", "bad"}});
  REQUIRE(one["cars"].size() == 1);
  CHECK(one["cars"][0] == fleet["cars"][0]);
  shelf.Ask(DoctorPage, {}, 400);
  shelf.Ask(DoctorPage, {{"fleet", "f"}, {"car", "nobody"}}, 404);
  shelf.Ask(DoctorPage, {{"fleet", "h"}}, 404);
  shelf.Ask(DoctorPage, {{"fleet", "f"}, {"since", "x"}}, 400);
}

}  // namespace
}  // namespace latchkey::bridge
