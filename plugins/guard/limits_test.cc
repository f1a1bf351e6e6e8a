// Who pays for a flood: the one who sends it.
#include "plugins/guard/limits.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey::guard {
namespace {

constexpr Instant kStart{5'000'000};

std::string Key(int number) {
  const std::string text = std::to_string(number);
  return std::string(22 - text.size(), 'A') + text;
}

// One limiter and its senders, with what each call said.
struct World {
  Limits limits{Rates{}};
  Instant now = kStart;

  std::string_view Claim(int key, const std::string& address, const std::string& car = "car1") {
    const std::string name = "lk/1/f1/" + car + "/pairing/" + Key(key);
    const std::string key_id = Key(key);
    return limits.TakeFor(ParseTopic(name).value(), {key_id, address}, now);
  }

  std::string_view Command(const std::string& who, int lane) {
    const std::string name = "lk/1/f1/car1/command/" + Key(lane);
    return limits.TakeFor(ParseTopic(name).value(), {who, "10.0.0.1"}, now);
  }

  std::string_view Message(const std::string& who) { return limits.Take(who, now); }

  // How many of `tries` passed.
  template <class Try>
  static int Passed(int tries, Try attempt) {
    int passed = 0;
    for (int i = 0; i < tries; ++i) {
      passed += attempt(i).empty() ? 1 : 0;
    }
    return passed;
  }
};

TEST_CASE("limits: a key has its own few claims, whatever its address") {
  World w;
  CHECK(World::Passed(100, [&](int i) { return w.Claim(1, "10.0.0." + std::to_string(i)); }) == 5);
  CHECK(w.Claim(1, "10.0.1.1") == "rate_claim_key");
  CHECK(w.Claim(2, "10.0.1.1").empty());
  w.now = w.now + Duration(10'000);
  CHECK(w.Claim(1, "10.0.1.1").empty());
}

TEST_CASE("limits: an address has its own claims, however many keys it makes") {
  World w;
  CHECK(World::Passed(1000, [&](int i) { return w.Claim(i, "10.0.0.1"); }) == 20);
  CHECK(w.Claim(2000, "10.0.0.1") == "rate_claim_address");
  CHECK(w.Claim(2000, "::ffff:10.0.0.1") == "rate_claim_address");
  CHECK(w.Claim(2000, "10.0.0.2").empty());
}

TEST_CASE("limits: one subscriber's whole IPv6 network is one address") {
  World w;
  CHECK(World::Passed(
            1000, [&](int i) { return w.Claim(i, "2001:db8:0:1::" + std::to_string(i)); }) == 20);
  CHECK(w.Claim(2000, "2001:db8:0:2::1").empty());
}

TEST_CASE("limits: one attacker with one address cannot keep an owner from pairing") {
  World w;
  for (int second = 0; second < 600; ++second) {
    w.now = w.now + Duration(1000);
    World::Passed(50, [&](int i) { return w.Claim(100 + second * 50 + i, "10.6.6.6"); });
    if (second % 60 == 59) {
      CHECK(w.Claim(1, "10.0.0.1").empty());
    }
  }
}

TEST_CASE("limits: a claim refused by one limit takes nothing from the others") {
  World w;
  World::Passed(1000, [&](int i) { return w.Claim(i, "10.6.6.6"); });  // address: empty
  CHECK(World::Passed(10, [&](int) { return w.Claim(5000, "10.6.6.6"); }) == 0);
  CHECK(World::Passed(10, [&](int) { return w.Claim(5000, "10.0.0.1"); }) == 5);
  // 20 and 5 of the car's 60 are gone, not 1010.
  CHECK(World::Passed(
            100, [&](int i) { return w.Claim(6000 + i, "10.1.0." + std::to_string(i)); }) == 35);
  CHECK(w.Claim(1, "10.2.0.1") == "rate_claim_car");
  CHECK(w.Claim(1, "10.2.0.1", "car2").empty());
}

TEST_CASE("limits: commands are counted by key, and only those the key sends itself") {
  World w;
  CHECK(World::Passed(1000, [&](int) { return w.Command(Key(1), 1); }) == 300);
  CHECK(w.Command(Key(1), 1) == "rate_command");
  CHECK(w.Command(Key(2), 2).empty());
  CHECK(w.Command("bridge:b1", 1).empty());
  w.now = w.now + Duration(1000);
  CHECK(World::Passed(1000, [&](int) { return w.Command(Key(1), 1); }) == 20);
}

TEST_CASE("limits: messages are counted by sender; services are not limited") {
  World w;
  CHECK(World::Passed(3000, [&](int) { return w.Message("car:f1/car1"); }) == 1000);
  CHECK(w.Message("car:f1/car1") == "rate_message");
  CHECK(w.Message("car:f1/car2").empty());
  CHECK(World::Passed(3000, [&](int) { return w.Message("bridge:b1"); }) == 3000);
  CHECK(World::Passed(3000, [&](int) { return w.Message("registrar:f1"); }) == 3000);
  // A name is whole: nobody becomes a service by calling himself nearly so.
  CHECK(World::Passed(3000, [&](int) { return w.Message("bridge"); }) == 1000);
  CHECK(World::Passed(3000, [&](int) { return w.Message(Key(3)); }) == 1000);
}

TEST_CASE("limits: switched off, everything passes") {
  Limits limits(Rates{{}, {}, {}, {}, {}});
  const std::string claim = "lk/1/f1/car1/pairing/" + Key(1);
  for (int i = 0; i < 2000; ++i) {
    REQUIRE(limits.Take("a", kStart).empty());
    REQUIRE(limits.TakeFor(ParseTopic(claim).value(), {"a", "10.0.0.1"}, kStart).empty());
  }
}

}  // namespace
}  // namespace latchkey::guard
