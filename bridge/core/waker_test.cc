// Stories of cars that are woken by SMS, and of how few SMS that takes.
#include "bridge/core/waker.h"

#include <doctest/doctest.h>

#include "bridge/core/commands.h"
#include "bridge/core/story.h"

namespace latchkey::bridge {

namespace {

const std::string kWake = "write wake 1 durable | sms wake";

size_t CountOf(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("waker: a command that fits goes whole, and then counts as sent") {
  Story s;
  s.HasNumber();
  s.Sends("k1", "c1", "unlock", 60s);
  CHECK(s.Said() ==
        "write c1 HELD durable | receipt k1 c1 HELD | write wake 1 durable | sms command c1");
  CHECK(s.Journaled() ==
        "k1 c1 unlock arrived | k1 c1 unlock HELD bridge | wake c1: sms 1 of 10 within 24 h: "
        "command");
  s.Passes(60s + kAnswerGrace);
  CHECK(s.Said() == "write c1 EXPIRED durable | receipt k1 c1 EXPIRED maybe");
  CHECK(s.bridge->counters().sms_sent == 1);
}

TEST_CASE("waker: the car acts on the SMS, comes, and is sent it once more all the same") {
  Story s;
  s.HasNumber();
  s.Sends("k1", "c1", "lock", 10min);
  s.Passes(20s);
  s.Said();
  s.CarConnects();
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  s.Passes(1min);
  CHECK(s.Said() == "write presence online | write c1 DELIVERED | write c1 DONE durable");
}

TEST_CASE("waker: one that does not fit wakes the car") {
  Story s;
  s.HasNumber();
  s.Sends("k1", "c1", "remove_key", 0s);
  const std::string said = s.Said();
  CHECK(said.substr(said.size() - kWake.size()) == kWake);
  s.CarConnects();
  s.Passes(1s);
  CHECK(s.Said() == "write presence online | deliver c1");
}

TEST_CASE("waker: what can wait wakes nobody, nor does a car without a number get anything") {
  Story s;
  SUBCASE("no number") {
    s.Sends("k1", "c1", "unlock", 60s);
  }
  SUBCASE("no number any more") {
    s.HasNumber();
    s.HasNoNumber();
    s.Sends("k1", "c1", "unlock", 60s);
  }
  SUBCASE("settings") {
    s.HasNumber();
    s.Sends("k1", "c1", "remove_app", 1h);
  }
  SUBCASE("a cancel") {
    s.HasNumber();
    s.Make("k1", "c0", "lock", 10min);
    s.Cancels("k1", "c1", "c0");
  }
  SUBCASE("the car is there, and silent") {
    s.HasNumber();
    s.CarConnects();
    s.Sends("k1", "c1", "lock", 10min);
  }
  s.Passes(1h);
  CHECK(CountOf(s.Said(), "sms") == 0);
  CHECK(s.bridge->counters().sms_sent == 0);
}

TEST_CASE("waker: a number that comes later serves what waits") {
  Story s;
  s.Sends("k1", "c1", "climate_on", 30min);
  s.Passes(1min);
  s.Said();
  s.HasNumber();
  CHECK(s.Said() == "write wake 1 durable | sms command c1");
}

TEST_CASE("waker: without presence it is tried twice more, 3 min apart, and not past the expiry") {
  Story s;
  s.HasNumber();
  s.Sends("k1", "c1", "climate_on", 30min);
  CHECK(CountOf(s.Said(), "sms command c1") == 1);
  SUBCASE("nobody comes") {
    s.Passes(3min - 1ms);
    CHECK(s.Said() == "");
    s.Passes(1ms);
    CHECK(s.Said() == "write wake 2 durable | sms command c1");
    s.Passes(3min);
    CHECK(s.Said() == "write wake 3 durable | sms command c1");
    s.Passes(20min);
    CHECK(s.Said() == "");
  }
  SUBCASE("the car comes and stays") {
    s.Passes(1min);
    s.CarConnects();
    s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
    s.CarLeaves();
    s.Said();
    s.Passes(20min);
    CHECK(s.Said() == "");
  }
  SUBCASE("the car comes and goes before it has it: the tries go on") {
    s.Passes(1min);
    s.CarConnects();
    s.CarLeaves();
    s.Said();
    s.Passes(2min - 1ms);
    CHECK(s.Said() == "");
    s.Passes(1ms);
    CHECK(s.Said() == "write wake 2 durable | sms command c1");
  }
  SUBCASE("it is taken back") {
    s.Cancels("k1", "x", "c1");
    s.Said();
    s.Passes(20min);
    CHECK(CountOf(s.Said(), "sms") == 0);
  }
  SUBCASE("an unlock is over before the second try") {
    s.Passes(20min);
    s.Said();
    s.Sends("k1", "c2", "unlock", 60s);
    CHECK(CountOf(s.Said(), "sms command c2") == 1);
    s.Passes(5min);
    CHECK(CountOf(s.Said(), "sms") == 0);
  }
}

TEST_CASE("waker: one SMS in 2 min, but what is new and moves something goes whole at once") {
  Story s;
  s.HasNumber();
  s.Sends("k1", "c1", "remove_key", 0s);
  s.Passes(10s);
  s.Said();
  s.Sends("k1", "c2", "climate_on", 30min);
  CHECK(s.Said() == "write c2 HELD durable | receipt k1 c2 HELD");
  s.Sends("k1", "c3", "unlock", 60s);
  CHECK(CountOf(s.Said(), "write wake 2 durable | sms command c3") == 1);
  s.Sends("k1", "c4", "flash_lights", 60s);
  CHECK(CountOf(s.Said(), "write wake 3 durable | sms command c4") == 1);
  // The SMS of c3 and of c4 woke the car for c1 and c2, too: each counts as a try of them.
  s.Passes(3min - 1ms);
  CHECK(CountOf(s.Said(), "sms") == 0);
  s.Passes(1ms);
  CHECK(CountOf(s.Said(), "sms") == 1);
  s.Passes(1h);
  CHECK(CountOf(s.Said(), "sms") == 0);
}

TEST_CASE("waker: a second command that can wait a little is 2 min behind the first") {
  Story s;
  s.HasNumber();
  s.Sends("k1", "c1", "lock", 10min);
  s.Passes(1min);
  s.Said();
  s.Sends("k1", "c2", "charge_start", 30min);
  CHECK(CountOf(s.Said(), "sms") == 0);
  s.Passes(1min - 1ms);
  CHECK(s.Said() == "");
  s.Passes(1ms);
  CHECK(s.Said() == "write wake 2 durable | sms command c2");
}

TEST_CASE("waker: ten SMS in 24 h, whoever asks, and no more by a restart or a clock") {
  Story s;
  s.HasNumber();
  for (int i = 0; i < 12; ++i) {
    s.Sends(i % 2 == 0 ? "k1" : "k2", "c" + std::to_string(i), "unlock", 30s);
    s.Passes(5min);
  }
  CHECK(CountOf(s.Said(), "sms command") == 10);
  CHECK(s.bridge->counters().wakes_skipped == 2);
  CHECK(CountOf(s.Journaled(), "not woken: 10 sms within 24 h are enough") == 2);
  SUBCASE("a day later there are ten more") {
    s.Passes(23h);
    s.Said();
    s.Sends("k1", "d", "unlock", 30s);
    CHECK(CountOf(s.Said(), "write wake 1 durable | sms command d") == 1);
  }
  SUBCASE("a restart does not forget them") {
    s.Restarts(Story::Crash::kPower);
    s.PresenceAgain();
    s.HasNumber();
    s.Passes(1min);
    s.Said();
    s.Sends("k1", "d", "unlock", 30s);
    s.Passes(5min);
    CHECK(CountOf(s.Said(), "sms") == 0);
    s.Passes(23h);
    s.Said();
    s.Sends("k1", "e", "unlock", 30s);
    CHECK(CountOf(s.Said(), "sms command e") == 1);
  }
  SUBCASE("a wall clock that jumps while the bridge runs changes nothing") {
    s.WallJumps(48h);
    s.Sends("k1", "d", "unlock", 30s);
    CHECK(CountOf(s.Said(), "sms") == 0);
    s.WallJumps(-96h);
    s.Sends("k1", "e", "unlock", 30s);
    CHECK(CountOf(s.Said(), "sms") == 0);
  }
  SUBCASE("one set back while it is down locks nobody out for longer than a day") {
    s.WallJumps(-1000h);
    s.Restarts(Story::Crash::kProcess);
    s.PresenceAgain();
    s.HasNumber();
    s.Passes(24h);
    s.Said();
    s.Sends("k1", "d", "unlock", 30s);
    CHECK(CountOf(s.Said(), "sms command d") == 1);
  }
}

TEST_CASE(
    "waker: what is counted is on disk in the turn that sends, and tries go on over a crash") {
  Story s;
  s.HasNumber();
  s.Sends("k1", "c1", "climate_on", 30min);
  s.Said();
  s.Restarts(Story::Crash::kPower);
  s.HasNumber();
  s.Passes(3min - 1ms);
  CHECK(CountOf(s.Said(), "sms") == 0);
  s.Passes(1ms);
  CHECK(s.Said() == "write wake 2 durable | sms command c1");
  s.Passes(3min);
  CHECK(s.Said() == "write wake 3 durable | sms command c1");
  s.Passes(20min);
  CHECK(s.Said() == "");
}

TEST_CASE("waker: a held command that no bridge has tried is tried by the one that starts") {
  Story s;
  s.Sends("k1", "c1", "climate_on", 30min);
  s.Restarts(Story::Crash::kPower);
  s.HasNumber();
  s.Said();
  s.Passes(kWakeSettle - 1ms);
  CHECK(CountOf(s.Said(), "sms") == 0);
  s.Passes(1ms);
  CHECK(s.Said() == "write wake 1 durable | sms command c1");
}

TEST_CASE("waker: a car that has just left may be back by itself") {
  Story s;
  s.HasNumber();
  s.CarConnects();
  s.Sends("k1", "c1", "lock", 10min);
  s.CarLeaves();
  s.Said();
  s.Passes(kWakeSettle - 1ms);
  CHECK(s.Said() == "");
  SUBCASE("it is") {
    s.CarConnects();
    s.Passes(1min);
    CHECK(CountOf(s.Said(), "sms") == 0);
  }
  SUBCASE("it is not") {
    s.Passes(1ms);
    CHECK(s.Said() == "write wake 1 durable | sms command c1");
  }
}

TEST_CASE("waker: while the broker is away nobody is woken, for nobody could come") {
  Story s;
  s.Sends("k1", "c1", "climate_on", 30min);
  s.BrokerDown();
  s.HasNumber();
  s.Passes(5min);
  CHECK(CountOf(s.Said(), "sms") == 0);
  s.BrokerUp();
  s.PresenceAgain();
  s.Passes(kWakeSettle - 1ms);
  CHECK(CountOf(s.Said(), "sms") == 0);
  s.Passes(1ms);
  CHECK(CountOf(s.Said(), "sms command c1") == 1);
}

TEST_CASE("waker: what the gateway reports is counted and journaled, without any number") {
  Story s;
  s.HasNumber();
  s.Sends("k1", "c1", "lock", 10min);
  s.Journaled();
  s.GatewaySays(SmsReport::What::kSent);
  s.GatewaySays(SmsReport::What::kDelivered, "status 0");
  CHECK(s.Journaled() == "wake c1: sms sent | wake c1: sms delivered: status 0");
  s.GatewaySays(SmsReport::What::kFailed, std::string("no route to ") + kStoryNumber);
  CHECK(s.LastEntry().car() == "car1");
  CHECK(s.Journaled() == "wake c1: sms failed: no route to +#");
  // Of an SMS of the bridge that was before this one the car is not known.
  s.Restarts(Story::Crash::kProcess);
  s.Journaled();
  s.GatewaySays(SmsReport::What::kDelivered);
  CHECK(s.Journaled() == "wake: sms delivered");
  CHECK(s.bridge->counters().sms_delivered == 1);
  CHECK(s.bridge->counters().sms_failed == 0);
}

TEST_CASE("waker: a number never gets into a line of the log") {
  Story s;
  s.HasNumber();
  s.Sends("k1", "c1", "lock", 10min);
  s.GatewaySays(SmsReport::What::kFailed, kStoryNumber);
  for (const std::string& line : s.lines) {
    CHECK(line.find(std::string(kStoryNumber).substr(1, 6)) == std::string::npos);
  }
  CHECK(s.lines.size() > 0);
}

}  // namespace latchkey::bridge
