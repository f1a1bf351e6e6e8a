// What a car's messages say of its clock: told as stories of one car, one receiver and a network.
#include "proto/clock_check.h"

#include <doctest/doctest.h>

#include "proto/freshness.h"

namespace latchkey {

namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

// One group of a car that says what it observes at that moment.
struct Car {
  // It observes now and the message takes `travel`. Time passes until it is there.
  ClockCheck::Found Says(Duration travel = 50ms) {
    const Timestamp observed_at = wall + off;
    Passes(travel);
    return Comes(observed_at, true);
  }

  // Something observed `ago`, kept by the broker, is shown.
  ClockCheck::Found Shown(Duration ago) { return Comes(wall + off - ago, false); }

  ClockCheck::Found Comes(Timestamp observed_at, bool live) {
    const StateVersion version{observed_at.ms, ++sequence};
    const ClockCheck::Found found =
        check.Take({version, held, wall, live ? std::optional(mono) : std::nullopt});
    held = held ? std::max(*held, version) : version;
    return found;
  }

  // It says something every `pause`, `count` times; how many of these found something.
  int Goes(int count, Duration pause, Duration travel = 50ms) {
    int found = 0;
    for (int i = 0; i < count; ++i) {
      Passes(pause);
      const ClockCheck::Found one = Says(travel);
      found += one.changed || one.jump != ClockJump::kNone ? 1 : 0;
    }
    return found;
  }

  void Passes(Duration duration) {
    wall = wall + duration;
    mono = mono + duration;
  }

  ClockCheck check;
  Timestamp wall{1'760'000'000'000};  // the receiver's
  Instant mono{1000};
  Duration off{0};  // of the car's clock from the receiver's
  uint64_t sequence = 0;
  std::optional<StateVersion> held;
};

}  // namespace

TEST_CASE("clock check: a clock that is right is never complained of") {
  Car car;
  CHECK(car.Goes(100, 1s) == 0);
  CHECK(car.Goes(20, 1min) == 0);
  CHECK(car.check.state() == ClockState{});
}

TEST_CASE("clock check: one message proves that a clock is ahead, also a retained one") {
  Car car;
  car.off = 3min;
  CHECK(car.Says().changed);
  CHECK(car.check.state() == ClockState{ClockWord::kAhead, 3min - 50ms});
  CHECK(ClockText(car.check.state()) == "car's clock is 2 min ahead");
  CHECK(car.Goes(10, 1s) == 0);  // told once
  Car other;
  other.off = 1h;
  CHECK(other.Shown(10min).changed);
  CHECK(other.check.state().by == 50min);
}

TEST_CASE("clock check: two seconds ahead are within the slack") {
  Car car;
  car.off = 2s;
  CHECK(car.Goes(10, 1s, 0ms) == 0);
  car.off = 2001ms;
  CHECK(car.Goes(1, 1s, 0ms) == 1);
}

TEST_CASE(
    "clock check: a clock that is right again is said to be so when it has been for a while") {
  Car car;
  car.off = 3min;
  car.Goes(3, 1s);
  car.off = 0s;
  CHECK(car.Says().jump == ClockJump::kBack);
  CHECK(car.check.state().word == ClockWord::kAhead);
  CHECK(car.Goes(5, 1s) >= 1);
  CHECK(car.check.state() == ClockState{});
}

TEST_CASE("clock check: a clock behind is found by a delay that stays the same") {
  Car car;
  car.off = -1h;
  CHECK(car.Goes(3, 5s) == 0);
  CHECK(car.Goes(1, 5s) == 1);
  CHECK(car.check.state().word == ClockWord::kBehind);
  CHECK(ClockText(car.check.state()) == "car's clock is 1 h behind");
  CHECK(car.Goes(10, 5s) == 0);
  car.off = 0s;
  CHECK(car.Says().jump == ClockJump::kForward);
  CHECK(car.check.state() == ClockState{});
}

TEST_CASE("clock check: what waited in a tunnel says nothing of the clock") {
  Car car;
  car.Goes(10, 1s);
  // Five messages wait and come at once.
  const Timestamp first = car.wall;
  car.Passes(60s);
  for (int i = 0; i < 5; ++i) {
    const ClockCheck::Found found = car.Comes(first + 1s * i, true);
    CHECK(!found.changed);
    CHECK(found.jump == ClockJump::kNone);
    car.Passes(10ms);
  }
  CHECK(car.Goes(10, 1s) == 0);
  CHECK(car.check.state() == ClockState{});
}

TEST_CASE("clock check: a connection that becomes slow and quick again is no jump") {
  Car car;
  car.Goes(10, 5s);
  CHECK(car.Goes(1, 5s, 40s) == 0);
  CHECK(car.Goes(10, 5s) == 0);
  CHECK(car.check.state() == ClockState{});
}

TEST_CASE("clock check: a car that comes back after days with what it knew is not behind") {
  Car car;
  car.Goes(10, 1s);
  car.Passes(48h);
  for (int i = 0; i < 8; ++i) {  // every group, as it was observed before
    car.Comes(car.wall - 48h + 1s * i, true);
    car.Passes(20ms);
  }
  CHECK(car.Goes(10, 60s) == 0);
  CHECK(car.check.state() == ClockState{});
}

TEST_CASE("clock check: a later message that was observed earlier is a jump back") {
  Car car;
  car.Goes(5, 1s);
  car.off = -10min;
  const ClockCheck::Found found = car.Says();
  CHECK(found.jump == ClockJump::kBack);
  CHECK(found.by > 9min);
  CHECK(found.by <= 10min);
}

TEST_CASE("clock check: a jump forward is one only when the delay was steady before") {
  Car car;
  car.off = -20s;
  car.Goes(10, 5s);
  car.off = 0s;
  const ClockCheck::Found found = car.Says();
  CHECK(found.jump == ClockJump::kForward);
  CHECK(found.by >= 15s);
  CHECK(found.by <= 20s);
}

TEST_CASE("clock check: a receiver whose own clock jumps finds no jump of the car") {
  Car car;
  car.Goes(10, 5s);
  car.wall = car.wall + 1h;  // so the car seems to be an hour behind
  car.off = -1h;
  CHECK(car.Goes(2, 5s) == 0);
  CHECK(car.Goes(5, 5s) == 1);
  CHECK(car.check.state().word == ClockWord::kBehind);
}

TEST_CASE("clock check: a difference that doubles or halves is told again, a drift is not") {
  Car car;
  car.off = 10s;
  CHECK(car.Says(0ms).changed);
  car.off = 15s;
  CHECK(!car.Says(0ms).changed);
  CHECK(car.check.state().by == 15s);
  car.off = 20s;
  CHECK(car.Says(0ms).changed);
}

}  // namespace latchkey
