// Who is sent away when, as stories.
#include "plugins/auth/moving.h"

#include <array>
#include <map>
#include <set>
#include <string>

#include <doctest/doctest.h>

#include "proto/crypto.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::auth {
namespace {

using testing::kNow;
using testing::Ref;

Principal ACar(const std::string& name) {
  Principal car;
  car.kind = PrincipalKind::kCar;
  car.car = Ref("f1", name);
  return car;
}

struct Story {
  explicit Story(size_t cars) : places(cars) {
    for (size_t i = 0; i < cars; ++i) {
      Connect(i);
    }
  }

  static std::string Name(size_t i) { return "car" + std::to_string(i); }

  void Connect(size_t i) {
    sessions.Begin(&places.at(i), {ACar(Name(i)), "f1/" + Name(i), kNow, now, 30}, "");
    by_client["f1/" + Name(i)] = i;
  }

  bool Order(uint32_t percent, uint32_t rate) {
    v1::MoveClients order;
    order.set_percent(percent);
    order.set_per_second(rate);
    return moving.Order(order, now).has_value();
  }

  // Ten ticks a second; who is due is gone.
  size_t Run(Duration length) {
    size_t gone = 0;
    for (const Instant until = now + length; now < until;) {
      now = now + std::chrono::milliseconds(100);
      for (const std::string& client : moving.TakeDue(sessions, now)) {
        sessions.End(&places.at(by_client.at(client)), {kNow, now});
        order_gone.push_back(PointOf(ACar(client.substr(3))));
        ++gone;
      }
    }
    return gone;
  }

  Sessions sessions{kNow};
  Moving moving;
  std::vector<char> places;
  std::map<std::string, size_t> by_client;
  std::vector<uint32_t> order_gone;
  Instant now{100000};
};

TEST_CASE("moving: all go, no faster than ordered, in the order of their points") {
  Story s(200);
  REQUIRE(s.Order(100, 20));
  const size_t in_two = s.Run(std::chrono::seconds(2));
  CHECK(in_two >= 35);
  CHECK(in_two <= 46);  // 20 a second, and a quarter of a second's worth kept
  CHECK(in_two + s.Run(std::chrono::seconds(20)) == 200);
  CHECK(std::is_sorted(s.order_gone.begin(), s.order_gone.end()));
  CHECK(s.moving.Tell(s.sessions).clients() == 0);
  CHECK(s.moving.IsMoved(ACar("never-seen")));
}

TEST_CASE("moving: half go, the same half each time, and the rest is let in") {
  Story s(400);
  REQUIRE(s.Order(50, 1000));
  const size_t gone = s.Run(std::chrono::seconds(5));
  CHECK(gone > 160);
  CHECK(gone < 240);
  for (size_t i = 0; i < 400; ++i) {
    const bool below = PointOf(ACar(Story::Name(i))) < kMovePoints / 2;
    CHECK(s.moving.IsMoved(ACar(Story::Name(i))) == below);
  }
}

TEST_CASE("moving: a pause leaves everybody where he is, and going on begins there") {
  Story s(300);
  REQUIRE(s.Order(100, 50));
  const size_t gone = s.Run(std::chrono::seconds(2));
  REQUIRE(s.Order(0, 0));
  CHECK(s.Run(std::chrono::seconds(10)) == 0);
  size_t moved = 0;
  for (size_t i = 0; i < 300; ++i) {
    moved += s.moving.IsMoved(ACar(Story::Name(i))) ? 1 : 0;
  }
  CHECK(moved == gone);
  CHECK(s.moving.Tell(s.sessions).to_go() == 0);
  REQUIRE(s.Order(100, 1000));
  CHECK(gone + s.Run(std::chrono::seconds(5)) == 300);
}

TEST_CASE("moving: who came back while the other broker was not there is sent again") {
  Story s(50);
  REQUIRE(s.Order(100, 1000));
  CHECK(s.Run(std::chrono::seconds(3)) == 50);
  s.Connect(7);
  CHECK(s.moving.Tell(s.sessions).to_go() == 1);
  CHECK(s.Run(std::chrono::seconds(3)) == 1);
}

TEST_CASE("moving: back means that nobody is moved and nobody is sent") {
  Story s(50);
  REQUIRE(s.Order(100, 1000));
  s.Run(std::chrono::seconds(1));
  REQUIRE(s.Order(0, 1000));
  s.Connect(7);
  CHECK(s.Run(std::chrono::seconds(3)) == 0);
  CHECK_FALSE(s.moving.IsMoved(ACar("car7")));
}

TEST_CASE("moving: an order that cannot be changes nothing") {
  Story s(5);
  CHECK_FALSE(s.Order(101, 10));
  CHECK_FALSE(s.Order(100, kMovePerSecondMax + 1));
  CHECK(s.Run(std::chrono::seconds(3)) == 0);
}

TEST_CASE("moving: only cars and phones move by themselves") {
  Story s(0);
  REQUIRE(s.Order(100, 1000));
  s.Run(std::chrono::seconds(2));
  for (const PrincipalKind kind :
       {PrincipalKind::kBridge, PrincipalKind::kOperator, PrincipalKind::kRegistrar,
        PrincipalKind::kAdministrator, PrincipalKind::kPeer}) {
    Principal other;
    other.kind = kind;
    CHECK_FALSE(s.moving.IsMoved(other));
  }
  Principal phone;
  phone.key = PrivateKey::Generate().Public().Id();
  CHECK(s.moving.IsMoved(phone));
}

}  // namespace
}  // namespace latchkey::auth
