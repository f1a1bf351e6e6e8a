// The closed loop of the throughput case against the sink.
#include "tools/bench/pairs.h"

#include <chrono>
#include <string>

#include <doctest/doctest.h>

#include "proto/state.h"
#include "tools/bench/sink.h"

namespace latchkey::bench {

namespace {

PairsWish On(const Sink& sink, size_t count) {
  const auto client = [&](const std::string& name) {
    ClientWish wish;
    wish.client_id = name;
    wish.endpoint = Endpoint{"127.0.0.1", sink.port(), nullptr};
    return wish;
  };
  PairsWish wish;
  wish.server = sink.pid();
  for (size_t i = 0; i < count; ++i) {
    wish.car_names.push_back("bench/car-" + std::to_string(i));
    wish.cars.push_back(client("car-" + std::to_string(i)));
    wish.phones.push_back(client("phone-" + std::to_string(i)));
  }
  wish.tap = client("tap");
  return wish;
}

}  // namespace

TEST_CASE("bench pairs: what is published is state that a guard lets pass") {
  const Timestamp now{1'800'000'000'000};
  CHECK(ParseState(EnergyState(now), Group::kEnergy));
  CHECK(ParseState(DriveState(now), Group::kDrive));
  CHECK(!ParseState(DriveState(now), Group::kEnergy));
}

TEST_CASE("bench pairs: on every path all that was sent comes, and nothing is left on its way") {
  auto sink = Sink::Start(nullptr);
  REQUIRE(sink);
  auto pairs = Pairs::Connect(On(**sink, 10));
  REQUIRE(pairs);
  for (const Work& work :
       {Work{Path::kPairs, 0}, Work{Path::kPairs, 1}, Work{Path::kTap, 0}, Work{Path::kTap, 1}}) {
    CAPTURE(ToText(work));
    const Result<Window> window = (*pairs)->Run(work, Duration(20), Duration(300));
    REQUIRE(window);
    CHECK(window->messages > 0);
    CHECK(window->wall_s >= 0.3);
    CHECK(window->server_cpu_s > 0);
    CHECK(window->own_cpu_s > 0);
    CHECK(window->per_wall_s() ==
          doctest::Approx(static_cast<double>(window->messages) / window->wall_s));
    const Counters& counters = (*pairs)->swarm().counters();
    CHECK(counters.sent == counters.received);
    CHECK((*pairs)->swarm().unacknowledged() == 0);
  }
  CHECK(ToText(Work{Path::kTap, 1}) == "tap, QoS 1");
}

TEST_CASE("bench pairs: a server that ends is an error, not a figure") {
  auto sink = Sink::Start(nullptr);
  REQUIRE(sink);
  auto pairs = Pairs::Connect(On(**sink, 2));
  REQUIRE(pairs);
  sink->reset();
  CHECK(!(*pairs)->Run({Path::kPairs, 0}, Duration(10), Duration(50)));
  auto other = Sink::Start(nullptr);
  REQUIRE(other);
  PairsWish wish = On(**other, 2);
  other->reset();
  CHECK(!Pairs::Connect(std::move(wish)));
}

}  // namespace latchkey::bench
