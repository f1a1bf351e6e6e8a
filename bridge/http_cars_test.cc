// What HTTP says of cars: every value with its times, its age and a word, clocks that are wrong,
// and what was never observed.
#include "bridge/http_cars.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/state.pb.h"
#include "storage/memory_store.h"

namespace latchkey::bridge {

namespace {

using nlohmann::json;
using Query = std::map<std::string, std::string>;
using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

constexpr Timestamp kNow{1'760'000'000'000};

CarRef RefOf(const std::string& fleet, const std::string& car) {
  return {FleetId::Parse(fleet).value(), CarId::Parse(car).value()};
}

struct Known {
  void Is(const CarRef& ref, bool online) {
    v1::Presence presence;
    presence.set_online(online);
    presence.set_since_ms(static_cast<uint64_t>((kNow - 1h).ms));
    Keep(storage::PresenceRecord{ref, kNow - 1h, presence.SerializeAsString()});
  }

  void Says(const CarRef& ref, Group group, Duration observed_ago, Duration received_ago) {
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>((kNow - observed_ago).ms));
    if (group == Group::kEnergy) {
      state.mutable_energy()->mutable_soc()->set_value(50);
      state.mutable_energy()->mutable_range()->set_value(200);
      state.mutable_energy()->mutable_range()->set_age_ms(600'000);
    } else {
      state.mutable_drive()->mutable_speed()->set_value(100);
    }
    Keep(storage::StateRecord{ref, group, kNow - received_ago, state.SerializeAsString()});
  }

  void Keep(const storage::Change& change) {
    const std::vector<storage::Change> changes = {change};
    REQUIRE(store.Commit(changes, storage::Durability::kSoon).has_value());
  }

  json Cars(const Query& query, int status = 200) const {
    const HttpAnswer answer = CarsPage(
        *store.Snapshot(),
        [&query](const std::string& name) {
          const auto found = query.find(name);
          return found == query.end() ? std::nullopt : std::optional(found->second);
        },
        at);
    CHECK(answer.status == status);
    return json::parse(answer.json);
  }

  json Car(const CarRef& ref, int status = 200) const {
    const HttpAnswer answer = CarPage(*store.Snapshot(), ref, at);
    CHECK(answer.status == status);
    return json::parse(answer.json);
  }

  storage::MemoryStore store;
  CarsNow at{kNow, true, nullptr};
  CarRef car1 = RefOf("f", "car1");
};

}  // namespace

TEST_CASE("http cars: a group has both times, its age, and the word for what the car does") {
  Known known;
  known.Is(known.car1, true);
  known.Says(known.car1, Group::kDrive, 3s, 2s);
  known.Says(known.car1, Group::kEnergy, 60s, 59s);
  const json car = known.Cars({})["cars"][0];
  CHECK(car["mode"] == "driving");
  CHECK(car["freshness"] == "live");
  CHECK(car["clock"].is_null());
  CHECK(car["online"] == true);
  CHECK(car["groups"]["drive"] == json{{"observed_at_ms", (kNow - 3s).ms},
                                       {"received_at_ms", (kNow - 2s).ms},
                                       {"age_ms", 3000},
                                       {"freshness", "live"}});
  CHECK(car["groups"]["energy"]["freshness"] == "recent");
  CHECK(car["groups"].size() == 2);
  CHECK_FALSE(car.contains("never"));
}

TEST_CASE("http cars: nothing is live of a car that is offline or of which no presence is known") {
  Known known;
  known.Says(known.car1, Group::kDrive, 3s, 2s);
  CHECK(known.Cars({})["cars"][0]["mode"] == "offline");
  CHECK(known.Cars({})["cars"][0]["freshness"] == "recent");
  known.Is(known.car1, false);
  CHECK(known.Cars({})["cars"][0]["freshness"] == "recent");
}

TEST_CASE("http cars: a signal has a word of its own, and what was never observed is named") {
  Known known;
  known.Is(known.car1, true);
  known.Says(known.car1, Group::kEnergy, 5s, 4s);
  const json car = known.Car(known.car1);
  CHECK(car["now_ms"] == kNow.ms);
  const json& energy = car["groups"]["energy"];
  REQUIRE(energy["signals"].size() == 2);
  CHECK(energy["signals"][0]["name"] == "energy.soc");
  CHECK(energy["signals"][0]["freshness"] == "live");
  CHECK(energy["signals"][0]["received_at_ms"] == (kNow - 4s).ms);
  CHECK(energy["signals"][1]["age_ms"] == 605'000);
  CHECK(energy["signals"][1]["freshness"] == "recent");
  CHECK(energy["never"].size() == 8);
  CHECK(energy["never"][0] == "is_plugged");
  CHECK(car["never"].size() == kGroupCount - 1);
  CHECK(car["never"][0] == "body");
}

TEST_CASE("http cars: a clock that is ahead is said, and its values count from when they came") {
  Known known;
  known.Is(known.car1, true);
  known.Says(known.car1, Group::kEnergy, -3min, 10s);
  json car = known.Car(known.car1);
  CHECK(car["clock"] == json{{"word", "ahead"},
                             {"by_ms", 190'000},
                             {"since_ms", nullptr},
                             {"text", "car's clock is 3 min ahead"}});
  CHECK(car["groups"]["energy"]["age_ms"] == 10'000);
  CHECK(car["groups"]["energy"]["freshness"] == "recent");
  auto wrong = std::make_shared<WrongClocks>();
  (*wrong)[known.car1] = WrongClock{{ClockWord::kBehind, 2h}, kNow - 5s};
  known.at.wrong_clocks = wrong;
  car = known.Car(known.car1);
  CHECK(car["clock"]["text"] == "car's clock is 2 h behind");
  CHECK(car["clock"]["since_ms"] == (kNow - 5s).ms);
}

TEST_CASE("http cars: a fleet, a limit, and what is neither") {
  Known known;
  known.Is(known.car1, true);
  known.Is(RefOf("f", "car2"), true);
  known.Is(RefOf("g", "car1"), true);
  CHECK(known.Cars({})["cars"].size() == 3);
  CHECK(known.Cars({{"fleet", "g"}})["cars"].size() == 1);
  const json limited = known.Cars({{"limit", "2"}});
  CHECK(limited["cars"].size() == 2);
  CHECK(limited["truncated"] == true);
  CHECK(limited["cars"][0]["freshness"] == "never");
  known.Cars({{"fleet", "F!"}}, 400);
  known.Cars({{"limit", "0"}}, 400);
  known.Cars({{"limit", "2x"}}, 400);
  known.Car(RefOf("h", "car1"), 404);
}

}  // namespace latchkey::bridge
