// What HTTP serves of history: ranges, pages, what is damaged, and which signals there are.
#include "bridge/http_history.h"

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "bridge/core/history_chunk.h"
#include "storage/memory_store.h"

namespace latchkey::bridge {

namespace {

using nlohmann::json;
using Query = std::map<std::string, std::string>;

constexpr Timestamp kNow{1'700'000'000'000};

CarRef Ref() {
  return {FleetId::Parse("f").value(), CarId::Parse("a").value()};
}

v1::StateGroup Soc(Timestamp at, float soc) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(at.ms));
  state.mutable_energy()->mutable_soc()->set_value(soc);
  return state;
}

// A chunk of `count` samples, one second apart.
storage::HistoryRecord Chunk(int64_t first_second, int count) {
  const Timestamp begin{kNow.ms + first_second * 1000};
  OpenChunk chunk(Group::kEnergy, begin);
  for (int i = 0; i < count; ++i) {
    const Timestamp at{begin.ms + i * 1000};
    chunk.Add(Soc(at, static_cast<float>(first_second + i)), at + Duration(5));
  }
  chunk.Thinned(Duration(first_second == 0 ? 0 : 5000));
  return {Ref(), Group::kEnergy, begin, chunk.Pack()};
}

struct Store {
  Store() {
    const std::vector<storage::Change> changes = {
        Chunk(0, 10), Chunk(10, 10),
        storage::StateRecord{Ref(), Group::kEnergy, kNow, Soc(kNow, 5).SerializeAsString()}};
    REQUIRE(store.Commit(changes, storage::Durability::kSoon));
  }

  json Page(Query query, int status = 200) const {
    query.try_emplace("fleet", "f");
    query.try_emplace("car", "a");
    const HttpAnswer answer = HistoryPage(
        *store.Snapshot(),
        [&](const std::string& name) {
          const auto found = query.find(name);
          return found == query.end() ? std::nullopt : std::optional(found->second);
        },
        kNow + std::chrono::minutes(1));
    CHECK(answer.status == status);
    return json::parse(answer.json);
  }

  storage::MemoryStore store;
};

std::string At(int64_t second) {
  return std::to_string(kNow.ms + second * 1000);
}

}  // namespace

TEST_CASE("http history: a range of one signal, with times, ages, unit and how it was thinned") {
  const Store store;
  const json page = store.Page({{"signal", "energy.soc"}, {"since", At(2)}, {"until", At(4)}});
  REQUIRE(page["samples"].size() == 2);
  CHECK(page["samples"][0].dump() == "{\"age_ms\":58000,\"observed_at_ms\":" + At(2) +
                                         ",\"received_at_ms\":1700000002005,\"value\":2.0}");
  CHECK(page["unit"] == "percent");
  CHECK(page["thinned_ms"] == 0);
  CHECK(page["again_ms"] == 900000);
  CHECK(page["truncated"] == false);
  CHECK(store.Page({{"signal", "energy.soc"}})["samples"].size() == 20);
  CHECK(store.Page({{"signal", "energy.soc"}})["thinned_ms"] == 5000);
}

TEST_CASE("http history: pages follow each other") {
  const Store store;
  const json first = store.Page({{"signal", "energy.soc"}, {"limit", "15"}});
  CHECK(first["samples"].size() == 15);
  CHECK(first["truncated"] == true);
  CHECK(first["next_ms"].dump() == At(15));
  const json rest = store.Page({{"signal", "energy.soc"}, {"since", At(15)}, {"limit", "15"}});
  CHECK(rest["samples"].size() == 5);
  CHECK(rest["truncated"] == false);
}

TEST_CASE("http history: what a chunk begins with again is one sample") {
  Store store;
  OpenChunk again(Group::kEnergy, kNow + Duration(20'000));
  again.Add(Soc(kNow + Duration(19'000), 19), kNow + Duration(20'000));
  REQUIRE(store.store.Commit(std::vector<storage::Change>{storage::HistoryRecord{
                                 Ref(), Group::kEnergy, kNow + Duration(20'000), again.Pack()}},
                             storage::Durability::kSoon));
  CHECK(store.Page({{"signal", "energy.soc"}})["samples"].size() == 20);
}

TEST_CASE("http history: without a signal, which there are; without any, that is said") {
  Store store;
  const json page = store.Page({});
  REQUIRE(page["signals"].size() == 1);
  CHECK(page["signals"][0]["name"] == "energy.soc");
  CHECK(page["signals"][0]["samples"] == 20);
  CHECK(page["signals"][0]["first_ms"].dump() == At(0));
  CHECK(page["signals"][0]["last_ms"].dump() == At(19));
  CHECK(page["bytes"] > 20 * 10);
  const std::string why = store.Page({{"signal", "drive.speed"}}, 404)["error"];
  CHECK(why == "car f/a has no history of drive.speed; it has energy.soc");
  CHECK(store.Page({{"car", "none"}})["signals"].empty());
  CHECK(store.Page({{"car", "none"}, {"signal", "x"}}, 404)["error"] ==
        "car f/none has no history of x; it has none at all");
}

TEST_CASE("http history: damaged chunks are counted, the others are served") {
  Store store;
  storage::KeyValue raw = storage::Encode(Chunk(30, 5));
  raw.value.back() = static_cast<char>(raw.value.back() ^ 1);
  store.store.PutRaw(raw);
  REQUIRE(store.store.Commit(std::vector<storage::Change>{storage::HistoryRecord{
                                 Ref(), Group::kEnergy, kNow + Duration(40'000), "\xff\xff"}},
                             storage::Durability::kSoon));
  const json page = store.Page({{"signal", "energy.soc"}});
  CHECK(page["unreadable"] == 2);
  CHECK(page["samples"].size() == 20);
}

TEST_CASE("http history: what is asked for must be what it should be") {
  const Store store;
  store.Page({{"fleet", "no fleet"}}, 400);
  store.Page({{"car", ""}}, 400);
  store.Page({{"signal", "energy.soc"}, {"since", "yesterday"}}, 400);
  store.Page({{"signal", "energy.soc"}, {"until", "-1"}}, 400);
  store.Page({{"signal", "energy.soc"}, {"limit", "0"}}, 400);
  store.Page({{"signal", "energy.soc"}, {"limit", "100001"}}, 400);
}

}  // namespace latchkey::bridge
