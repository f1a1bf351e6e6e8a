// Stories of commands that their sender takes back.
#include <doctest/doctest.h>

#include "bridge/core/outbox.h"
#include "bridge/core/story.h"

namespace latchkey::bridge {

namespace {

const std::string kBothEnd =
    "write c1 CANCELLED durable | receipt k1 c1 CANCELLED | write x CANCELLED durable | receipt k1 "
    "x CANCELLED";
const std::string kMayHaveActed = "write c1 CANCELLED durable | receipt k1 c1 CANCELLED maybe";

}  // namespace

TEST_CASE("cancel: what only the bridge has ends with its cancel at once, and is never sent") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.Passes(1min);
  s.Said();
  s.Cancels("k1", "x", "c1");
  CHECK(s.Said() == kBothEnd);
  CHECK(s.bridge->gauges().commands_open == 0);
  s.CarConnects();
  s.Passes(1min);
  s.CarLeaves();
  CHECK(s.Said() == "write presence online | write presence offline");
  // Both outcomes are remembered, over a power cut, too.
  s.Resends("c1");
  s.Resends("x");
  CHECK(s.Said() == "receipt k1 c1 CANCELLED | receipt k1 x CANCELLED");
  s.Restarts(Story::Crash::kPower);
  s.Said();
  s.Resends("c1");
  CHECK(s.Said() == "receipt k1 c1 CANCELLED maybe");
  CHECK(s.bridge->gauges().commands_open == 0);
}

TEST_CASE("cancel: what may have reached a car that is away ends at once, and the cancel follows") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.CarConnects();
  s.Passes(1s);
  s.CarLeaves();
  s.Said();
  s.Cancels("k1", "x", "c1");
  CHECK(s.Said() == "write x HELD durable | receipt k1 x HELD | " + kMayHaveActed);
  s.CarConnects();
  s.Passes(1s);
  CHECK(s.Said() == "write presence online | deliver x");
  s.CarSays("c1", v1::RECEIPT_STATE_CANCELLED, v1::REASON_CANCELLED);
  s.CarSays("x", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write x DONE durable");
  CHECK(s.bridge->counters().conflicts == 0);
}

TEST_CASE("cancel: a car that is there and may have it is given time for its own word") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.CarConnects();
  s.Passes(1s);
  s.Said();
  s.Cancels("k1", "x", "c1");
  CHECK(s.Said() == "");
  SUBCASE("it has not begun: both have the car's word") {
    s.CarSays("c1", v1::RECEIPT_STATE_CANCELLED, v1::REASON_CANCELLED);
    s.CarSays("x", v1::RECEIPT_STATE_DONE);
    CHECK(s.Said() == "write c1 CANCELLED durable | write x DONE");
    s.Passes(1min);
    CHECK(s.Said() == "");
  }
  SUBCASE("it was done already: that is its outcome") {
    s.CarSays("c1", v1::RECEIPT_STATE_DONE);
    s.CarSays("x", v1::RECEIPT_STATE_REFUSED, v1::REASON_ENDED);
    CHECK(s.Said() == "write c1 DONE durable | write x REFUSED durable");
  }
  SUBCASE("it is silent: the command is not sent again, the cancel is") {
    s.Passes(2s);
    CHECK(s.Said() == "write x HELD durable | receipt k1 x HELD | deliver x");
    s.Passes(kAnswerGrace - 2s);
    CHECK(s.Said() == kMayHaveActed);
    s.Passes(2min);
    CHECK(s.Said() == "deliver x | deliver x");
  }
  SUBCASE("it leaves: the time for its word still runs") {
    s.CarLeaves();
    CHECK(s.Said() == "write presence offline | write x HELD durable | receipt k1 x HELD");
    s.Passes(kAnswerGrace);
    CHECK(s.Said() == kMayHaveActed);
  }
  SUBCASE("the bridge starts again in between") {
    s.Passes(2s);
    s.Restarts(Story::Crash::kPower);
    s.Presence(true);
    s.Said();
    s.Passes(kAnswerGrace);
    CHECK(s.Said() == "deliver x | publish ring 1 | " + kMayHaveActed);
  }
}

TEST_CASE("cancel: before it is sent to a car that has come, it ends unused") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.CarConnects();
  s.Passes(100ms);
  s.Said();
  s.Cancels("k1", "x", "c1");
  CHECK(s.Said() == "write c1 CANCELLED durable | receipt k1 c1 CANCELLED");
  s.CarSays("x", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write x DONE");
  s.Passes(1min);
  CHECK(s.Said() == "");
}

TEST_CASE("cancel: a live command that the car does not answer ends with the cancel") {
  Story s;
  s.CarConnects();
  s.Said();
  s.Sends("k1", "c1", "lock", 10min);
  s.Cancels("k1", "x", "c1");
  s.Passes(2s);
  CHECK(s.Said() == "write x HELD durable | receipt k1 x HELD | deliver x");
  s.Passes(kAnswerGrace - 2s);
  CHECK(s.Said() == kMayHaveActed);
}

TEST_CASE("cancel: what has its outcome has it; the cancel is refused and the outcome repeated") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  SUBCASE("by the car") {
    s.CarConnects();
    s.Passes(1s);
    s.CarSays("c1", v1::RECEIPT_STATE_DONE);
    s.CarLeaves();
    s.Said();
    s.Cancels("k1", "x", "c1");
    CHECK(s.Said() == "receipt k1 x REFUSED ended maybe | receipt k1 c1 DONE");
  }
  SUBCASE("by its expiry") {
    s.Passes(11min);
    s.Said();
    s.Cancels("k1", "x", "c1");
    CHECK(s.Said() == "receipt k1 x REFUSED ended | receipt k1 c1 EXPIRED");
  }
  SUBCASE("by a cancel") {
    s.Cancels("k1", "x", "c1");
    s.Said();
    s.Cancels("k1", "y", "c1");
    CHECK(s.Said() == "receipt k1 y REFUSED ended | receipt k1 c1 CANCELLED");
  }
  SUBCASE("by a refusal at the door") {
    s.Make("k1", "c2", "lock", 60s, -1h);
    s.Resends("c2");
    s.Said();
    s.Cancels("k1", "x", "c2");
    CHECK(s.Said() == "receipt k1 x REFUSED ended | receipt k1 c2 REFUSED lifetime_too_long");
  }
}

TEST_CASE("cancel: nobody takes back another key's command") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.Said();
  s.Cancels("k2", "x", "c1");
  CHECK(s.Said() == "write x HELD durable | receipt k2 x HELD");  // the car says no
  s.Cancels("k3", "y", "c1");
  CHECK(s.Said() == "receipt k3 y REFUSED not_on_ring");
  s.AdministratorBlocks("k1", "everywhere");
  s.Said();
  s.Cancels("k1", "z", "c1");
  CHECK(s.Said() == "receipt k1 z REFUSED blocked");
}

TEST_CASE("cancel: a driver takes back its own; no permission but the key is asked for") {
  Story s;
  s.Sends("k2", "c1", "lock", 10min);
  s.Said();
  s.Cancels("k2", "x", "c1");
  CHECK(s.Said() ==
        "write c1 CANCELLED durable | receipt k2 c1 CANCELLED | write x CANCELLED durable | "
        "receipt k2 x CANCELLED");
}

TEST_CASE("cancel: of a command not seen yet it is held, and the command dies when it arrives") {
  Story s;
  s.Make("k1", "c1", "lock", 10min);
  s.Cancels("k1", "x", "c1");
  CHECK(s.Said() == "write x HELD durable | receipt k1 x HELD");
  SUBCASE("at the door") {
    s.Resends("c1");
    CHECK(s.Said() == "receipt k1 c1 CANCELLED");
    s.Restarts(Story::Crash::kPower);
    s.Said();
    s.Resends("c1");
    // The bridge that starts does not know where the car was.
    CHECK(s.Said() == "receipt k1 c1 CANCELLED maybe");
  }
  SUBCASE("at the car that has come") {
    s.CarConnects();
    s.Resends("c1");
    s.Passes(kAnswerGrace);
    CHECK(s.Said() == "write presence online | deliver x | " + kMayHaveActed);
  }
}

TEST_CASE("cancel: what the car has confirmed is the car's") {
  Story s;
  s.Sends("k1", "c1", "climate_on", 30min);
  s.CarConnects();
  s.Passes(1s);
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.CarLeaves();
  s.Said();
  s.Cancels("k1", "x", "c1");
  CHECK(s.Said() == "write x HELD durable | receipt k1 x HELD");
  s.CarConnects();
  s.Passes(1s);
  CHECK(s.Said() == "write presence online | deliver c1 | deliver x");
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  s.CarSays("x", v1::RECEIPT_STATE_REFUSED, v1::REASON_ENDED);
  CHECK(s.Said() == "write c1 DONE durable | write x REFUSED durable");
}

TEST_CASE("cancel: a full queue has room for cancels, and then still for who takes keys away") {
  Limits limits;
  limits.commands_per_key_max = 2;
  limits.commands_per_car_max = 2;
  Story s(limits);
  s.CarConnects();
  s.CarLeaves();  // has just been there: everything counts as sent, and cancels are held
  s.Sends("k2", "c1", "lock", 10min);
  s.Sends("k2", "c2", "climate_on", 10min);
  s.Said();
  s.Cancels("k2", "x1", "c1");
  CHECK(s.Said() ==
        "write x1 HELD durable | receipt k2 x1 HELD | write c1 CANCELLED durable | receipt k2 c1 "
        "CANCELLED maybe");
  s.Make("k2", "c3", "lock", 10min);
  s.Cancels("k2", "x2", "c3");
  s.Make("k2", "c4", "lock", 10min);
  s.Cancels("k2", "x3", "c4");
  CHECK(s.bridge->gauges().commands_open == 4);
  s.Said();
  s.Make("k2", "c5", "lock", 10min);
  s.Cancels("k2", "x4", "c5");
  CHECK(s.Said() == "receipt k2 x4 REFUSED full maybe");
  s.Sends("k1", "c6", "remove_app", 1h);
  CHECK(s.Said() == "receipt k1 c6 REFUSED full maybe");
  s.Sends("k1", "c7", "remove_key", 0s);
  CHECK(s.Said().substr(0, 43) == "write c7 HELD durable | receipt k1 c7 HELD ");
}

TEST_CASE("cancel: a removal that is taken back denies its key no more") {
  Story s;
  s.Sends("k1", "c1", "remove_key", 0s);
  CHECK(s.bridge->gauges().blocks_standing == 1);
  SUBCASE("the car is away") {
    s.Said();
    s.Cancels("k1", "x", "c1");
    CHECK(s.Said() == kBothEnd + " | write lift k2 f/car1 durable | tell lift k2 f/car1");
  }
  SUBCASE("the car is there and silent") {
    s.CarConnects();
    s.Passes(1s);
    s.Said();
    s.Cancels("k1", "x", "c1");
    CHECK(s.Said() == "write lift k2 f/car1 durable | tell lift k2 f/car1");
    s.Passes(kAnswerGrace);
    const std::string said = s.Said();
    CHECK(said.substr(said.size() - kMayHaveActed.size()) == kMayHaveActed);
  }
  CHECK(s.bridge->gauges().blocks_standing == 0);
  CHECK(s.Agrees());
}

TEST_CASE("cancel: the last cancel can itself be taken back") {
  Story s;
  s.Make("k1", "c1", "lock", 10min);
  s.Cancels("k1", "x", "c1");
  s.Said();
  s.Cancels("k1", "y", "x");
  CHECK(s.Said() ==
        "write x CANCELLED durable | receipt k1 x CANCELLED | write y CANCELLED durable | receipt "
        "k1 y CANCELLED");
  s.Resends("c1");
  CHECK(s.Said() == "write c1 HELD durable | receipt k1 c1 HELD");
}

}  // namespace latchkey::bridge
