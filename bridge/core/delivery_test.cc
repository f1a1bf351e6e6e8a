// Stories of delivery: in order, few at a time, once for each time the car comes.
#include "bridge/core/delivery.h"

#include <doctest/doctest.h>

#include "bridge/core/commands.h"
#include "bridge/core/story.h"

namespace latchkey::bridge {

namespace {

void HoldsSettings(Story& s, int count) {
  for (int i = 1; i <= count; ++i) {
    s.Sends("k1", "c" + std::to_string(i), "remove_app", 12h);
  }
  s.Said();
}

}  // namespace

TEST_CASE("delivery: to a silent car a command is sent again after 30 s, then ever less often") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.CarConnects();
  s.Said();
  s.Passes(500ms);
  CHECK(s.Said() == "deliver c1");
  for (const Duration silence : {30s, 60s, 120s, 240s}) {
    s.Passes(silence - 1ms);
    CHECK(s.Said() == "");
    s.Passes(1ms);
    CHECK(s.Said() == "deliver c1");
  }
  s.Passes(600s + kAnswerGrace - 450s - 500ms - 1ms);  // the next would be 300 s after the last
  CHECK(s.Said() == "");
  s.Passes(1ms);
  CHECK(s.Said() == "write c1 EXPIRED durable | receipt k1 c1 EXPIRED maybe");
  CHECK(s.bridge->counters().commands_delivered == 5);
}

TEST_CASE("delivery: four at a time, and the next when one is answered, in order") {
  Story s;
  HoldsSettings(s, 7);
  s.CarConnects();
  s.Passes(500ms);
  CHECK(s.Said() == "write presence online | deliver c1 | deliver c2 | deliver c3 | deliver c4");
  s.Passes(29s);
  CHECK(s.Said() == "");
  s.CarSays("c2", v1::RECEIPT_STATE_DELIVERED);
  CHECK(s.Said() == "write c2 DELIVERED | deliver c5");
  s.CarSays("c2", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write c2 DONE durable");
  s.CarSays("c1", v1::RECEIPT_STATE_REFUSED, v1::REASON_NOT_PERMITTED);
  CHECK(s.Said() == "write c1 REFUSED durable | deliver c6");
  // What is silent is sent again before what was never sent.
  s.Passes(1s);
  CHECK(s.Said() == "deliver c3 | deliver c4");
  s.CarSays("c3", v1::RECEIPT_STATE_DELIVERED);
  CHECK(s.Said() == "write c3 DELIVERED | deliver c7");
}

TEST_CASE("delivery: one that ends by itself makes room, too") {
  Limits limits;
  limits.in_flight_max = 1;
  Story s(limits);
  s.Sends("k2", "c1", "lock", 10min);
  s.Sends("k1", "c2", "remove_app", 1h);
  s.CarConnects();
  s.Passes(500ms);
  s.Said();
  SUBCASE("it is superseded") {
    s.Passes(1s);
    s.Sends("k1", "c3", "lock", 10min);
    s.Passes(2s);
    CHECK(s.Said() ==
          "write c3 HELD durable | receipt k1 c3 HELD | write c1 SUPERSEDED durable | receipt k2 "
          "c1 SUPERSEDED maybe | deliver c2");
  }
  SUBCASE("its key loses its place") {
    s.RingArrives(2, {"k1"});
    CHECK(s.Said() == "write ring 2 durable | deliver c2");
  }
  SUBCASE("it expires") {
    s.Passes(590s);
    s.Said();
    s.Passes(20s);
    CHECK(s.Said() == "write c1 EXPIRED durable | receipt k2 c1 EXPIRED maybe | deliver c2");
  }
}

TEST_CASE("delivery: no more bytes at a time than the bound, but one always goes") {
  Limits limits;
  SUBCASE("two fit") {
    limits.in_flight_bytes_max = 400;
    Story s(limits);
    HoldsSettings(s, 4);
    s.CarConnects();
    s.Passes(500ms);
    CHECK(s.Said() == "write presence online | deliver c1 | deliver c2");
    s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
    CHECK(s.Said() == "write c1 DELIVERED | deliver c3");
  }
  SUBCASE("none fits") {
    limits.in_flight_bytes_max = 10;
    Story s(limits);
    HoldsSettings(s, 2);
    s.CarConnects();
    s.Passes(500ms);
    CHECK(s.Said() == "write presence online | deliver c1");
    s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
    CHECK(s.Said() == "write c1 DELIVERED | deliver c2");
  }
}

TEST_CASE("delivery: a flapping car gets each command once for each time it comes, at most") {
  Story s;
  HoldsSettings(s, 2);
  for (int i = 0; i < 5; ++i) {
    s.CarConnects();
    s.Passes(499ms);
    s.CarLeaves();
    CHECK(s.Said() == "write presence online | write presence offline");
  }
  for (int i = 0; i < 5; ++i) {
    s.CarConnects();
    s.Passes(1s);
    s.PresenceAgain();
    s.Passes(20s);
    CHECK(s.Said() == "write presence online | deliver c1 | deliver c2");
    s.CarLeaves();
    s.Said();
  }
  CHECK(s.bridge->counters().commands_delivered == 10);
}

TEST_CASE("delivery: when only the bridge lost the broker, nothing is sent again before its time") {
  Story s;
  HoldsSettings(s, 6);
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.Said();
  s.BrokerDown();
  s.Passes(5s);
  s.BrokerUp();
  s.RingArrives(1, {"k1", "k2"}, Retain::kYes);
  s.PresenceAgain();
  CHECK(s.Said() == "");
  s.Passes(24s + 999ms);
  CHECK(s.Said() == "");
  // All five are silent for 30 s; the confirmed one is asked for its outcome.
  s.Passes(1ms);
  CHECK(s.Said() == "deliver c1 | deliver c2 | deliver c3 | deliver c4");
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write c1 DONE durable | deliver c5");
}

TEST_CASE("delivery: a bridge that starts again sends once more, in order") {
  Story s;
  HoldsSettings(s, 5);
  s.CarConnects();
  s.Passes(500ms);
  s.store.Sync();
  s.Said();
  s.Restarts(Story::Crash::kPower);
  s.Presence(true);
  s.Said();
  s.Passes(500ms);
  CHECK(s.Said() == "deliver c1 | deliver c2 | deliver c3 | deliver c4");
}

TEST_CASE("delivery: after the broker came back a car is sent nothing before the broker shows it") {
  Story s;
  HoldsSettings(s, 1);
  s.CarConnects();
  s.Passes(100ms);
  s.BrokerDown();
  s.BrokerUp();
  s.Said();
  s.Passes(1s);
  CHECK(s.Said() == "");
  SUBCASE("in the session as before") {
    s.PresenceAgain();
    s.Passes(500ms);
    CHECK(s.Said() == "deliver c1");
  }
  SUBCASE("in another session") {
    s.CarConnects();
    s.Passes(500ms);
    CHECK(s.Said() == "write presence online | deliver c1");
  }
  SUBCASE("not at all: it is away") {
    s.Passes(1h);
    CHECK(s.Said() == "publish ring 1 | write presence offline");
  }
}

TEST_CASE("delivery: a phone that asks again makes the bridge ask the car no sooner than it may") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.Said();
  s.Passes(10s);
  s.Resends("c1");  // reaches the car by itself
  CHECK(s.Said() == "receipt k1 c1 DELIVERED");
  s.Passes(19s + 999ms);
  CHECK(s.Said() == "");
  s.Passes(1ms);
  CHECK(s.Said() == "deliver c1");
}

TEST_CASE("delivery: what is due in the moment in which its key is denied is not sent") {
  Story s;
  s.Sends("k2", "c1", "lock", 10min);
  s.CarConnects();
  s.Passes(499ms);
  s.Said();
  s.WallJumps(0ms);
  s.mono = s.mono + 1ms;  // due, and the runner hands over something else first
  s.wall = s.wall + 1ms;
  s.AdministratorBlocks("k2", "everywhere");
  CHECK(s.Said() ==
        "write block k2 everywhere durable | write c1 REFUSED durable | receipt k2 c1 REFUSED "
        "blocked");
  s.Passes(1h);
  CHECK(s.bridge->counters().commands_delivered == 0);
}

TEST_CASE("delivery: the queue is what it was told") {
  Limits limits;
  limits.in_flight_max = 2;
  Delivery d(limits);
  const CarRef car1 = RefOf("car1");
  const CarRef car2 = RefOf("car2");
  d.Queue(car1, 3, 10, Instant{100});
  d.Queue(car1, 1, 10, Instant{50});
  d.Queue(car2, 2, 10, Instant{120});
  CHECK(d.NextDue() == Instant{100});
  CHECK_FALSE(d.Take(Instant{99}));
  CHECK(d.Take(Instant{100}) == 1);
  CHECK(d.Take(Instant{100}) == 3);
  CHECK_FALSE(d.Take(Instant{100}));
  d.Queue(car1, 4, 10, Instant{0});
  CHECK_FALSE(d.Take(Instant{110}));
  CHECK(d.Queued(car1, 4));
  d.Queue(car1, 1, 10, Instant{0});  // again: not in flight any more
  CHECK(d.Take(Instant{110}) == 1);
  d.Drop(car1, 3);
  CHECK(d.Take(Instant{110}) == 4);
  CHECK_FALSE(d.Queued(car1, 4));
  CHECK(d.Knows(car1, 4));
  d.CheckInvariants();
  d.DropCar(car1);
  CHECK_FALSE(d.Knows(car1, 4));
  CHECK(d.NextDue() == Instant{120});
  d.DropAll();
  CHECK_FALSE(d.NextDue());
  d.CheckInvariants();
}

}  // namespace latchkey::bridge
