// Stories of commands: every way from arrival to outcome.
#include "bridge/core/outbox.h"

#include <doctest/doctest.h>

#include "bridge/core/story.h"

namespace latchkey::bridge {

TEST_CASE("outbox: a command for a sleeping car is on disk in the step that says HELD") {
  Story s;
  s.Sends("k1", "c1", "flash_lights", 60s);
  CHECK(s.Said() == "write c1 HELD durable | receipt k1 c1 HELD");
  CHECK(s.bridge->gauges().commands_held == 1);
  CHECK(s.bridge->counters().commands_held == 1);
}

TEST_CASE("outbox: a held command that expires while the car sleeps ends EXPIRED, never sent") {
  Story s;
  s.Sends("k1", "c1", "flash_lights", 60s);
  s.Said();
  s.Passes(60s - 1ms);
  CHECK(s.Said() == "");
  s.Passes(1ms);
  CHECK(s.Said() == "write c1 EXPIRED durable | receipt k1 c1 EXPIRED");
  s.CarConnects();
  s.Passes(10s);
  CHECK(s.Said() == "write presence online");
  CHECK(s.bridge->gauges().commands_open == 0);
}

TEST_CASE("outbox: a held command is delivered when the car wakes, and ends with its word") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.Passes(60s);
  s.Said();
  s.CarConnects();
  CHECK(s.Said() == "write presence online");
  s.Passes(499ms);
  CHECK(s.Said() == "");
  s.Passes(1ms);
  CHECK(s.Said() == "deliver c1");
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  CHECK(s.Said() == "write c1 DELIVERED");
  s.Passes(60s);
  CHECK(s.Said() == "");
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write c1 DONE durable");
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "");
  CHECK(s.bridge->counters().outcomes.at(v1::RECEIPT_STATE_DONE) == 1);
  CHECK(s.bridge->counters().conflicts == 0);
}

TEST_CASE("outbox: each final word of the car closes a held command") {
  const std::vector<std::pair<v1::ReceiptState, std::string>> rows = {
      {v1::RECEIPT_STATE_DONE, "write c1 DONE durable"},
      {v1::RECEIPT_STATE_FAILED, "write c1 FAILED durable"},
      {v1::RECEIPT_STATE_REFUSED, "write c1 REFUSED durable"},
      {v1::RECEIPT_STATE_EXPIRED, "write c1 EXPIRED durable"},
      {v1::RECEIPT_STATE_SUPERSEDED, "write c1 SUPERSEDED durable"},
  };
  for (const auto& [state, said] : rows) {
    Story s;
    s.Sends("k1", "c1", "lock", 10min);
    s.CarConnects();
    s.Passes(500ms);
    s.Said();
    s.CarSays("c1", state, v1::REASON_CAR_FAILED);
    CHECK(s.Said() == said);
    s.Passes(1h);
    CHECK(s.Said() == "");
    CHECK(s.bridge->gauges().commands_open == 0);
  }
}

TEST_CASE("outbox: held commands are delivered in the order in which they were held") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.Sends("k2", "c2", "windows_up", 10min);
  s.Sends("k1", "c3", "climate_off", 10min);
  s.Restarts(Story::Crash::kPower);
  s.CarConnects();
  s.Said();
  s.Passes(500ms);
  CHECK(s.Said() == "deliver c1 | deliver c2 | deliver c3");
}

TEST_CASE("outbox: a car that leaves is not sent anything until it is back") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.CarConnects();
  s.Passes(500ms);
  s.CarLeaves();
  s.Said();
  s.Passes(60s);
  CHECK(s.Said() == "");
  s.CarConnects();
  s.Passes(500ms);
  CHECK(s.Said() == "write presence online | deliver c1");
}

TEST_CASE("outbox: while the broker is away nothing is sent, and its words wait for it") {
  Story s;
  s.Sends("k1", "c1", "flash_lights", 30s);
  s.Sends("k1", "c2", "lock", 10min);
  s.CarConnects();
  s.BrokerDown();
  s.Said();
  s.Passes(45s);
  CHECK(s.Said() == "write c1 EXPIRED durable");
  s.BrokerUp();
  s.PresenceAgain();
  // Who knows what the phone sent to the car meanwhile.
  CHECK(s.Said() == "receipt k1 c1 EXPIRED maybe");
  s.Passes(500ms);
  CHECK(s.Said() == "deliver c2");
}

TEST_CASE("outbox: of lock, unlock, lock for a sleeping car only the last is delivered") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.Passes(1s);
  s.Said();
  s.Sends("k2", "c2", "unlock", 60s);
  CHECK(s.Said() ==
        "write c2 HELD durable | receipt k2 c2 HELD | write c1 SUPERSEDED durable | receipt k1 c1 "
        "SUPERSEDED");
  s.Passes(1s);
  s.Sends("k1", "c3", "lock", 10min);
  CHECK(s.Said() ==
        "write c3 HELD durable | receipt k1 c3 HELD | write c2 SUPERSEDED durable | receipt k2 c2 "
        "SUPERSEDED");
  s.CarConnects();
  s.Passes(500ms);
  CHECK(s.Said() == "write presence online | deliver c3");
}

TEST_CASE("outbox: one issued before the one held in its slot is itself superseded") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.Said();
  s.Make("k2", "c0", "lock", 10min, 5s);
  s.Resends("c0");
  CHECK(s.Said() == "write c0 SUPERSEDED durable | receipt k2 c0 SUPERSEDED");
  CHECK(s.bridge->gauges().commands_held == 1);
}

TEST_CASE("outbox: commands of no slot stand alone") {
  Story s;
  s.Sends("k1", "c1", "remove_app", 1h);
  s.Sends("k1", "c2", "remove_app", 1h);
  CHECK(s.Said() ==
        "write c1 HELD durable | receipt k1 c1 HELD | write c2 HELD durable | receipt k1 c2 HELD");
}

TEST_CASE("outbox: a resend gets the last word again and makes no second record") {
  Story s;
  s.Sends("k1", "c1", "flash_lights", 60s);
  s.Said();
  s.Resends("c1");
  CHECK(s.Said() == "receipt k1 c1 HELD");
  s.Restarts(Story::Crash::kPower);
  s.Said();
  s.Resends("c1");
  CHECK(s.Said() == "receipt k1 c1 HELD");
  s.Passes(70s);
  // After a restart it is not known whether it had been sent.
  CHECK(s.Said() == "publish ring 1 | write c1 EXPIRED durable | receipt k1 c1 EXPIRED maybe");
  s.Resends("c1");
  CHECK(s.Said() == "receipt k1 c1 EXPIRED maybe");
  s.Restarts(Story::Crash::kPower);
  s.Said();
  s.Resends("c1");
  CHECK(s.Said() == "receipt k1 c1 EXPIRED maybe");
}

TEST_CASE("outbox: a resend after the car's outcome gets the car's own signed word") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  s.CarLeaves();
  s.Said();
  s.Resends("c1");
  CHECK(s.Said() == "receipt k1 c1 DONE");
}

TEST_CASE("outbox: the id of another key's command is no way to its receipts") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.Said();
  CommandRequest request;
  request.ref = s.ref;
  request.id =
      CommandId::Make(kStoryStart.ms + 600000, std::string(8, '\0') + std::string("\0\1", 2));
  request.issued_at = s.wall;
  request.expires_at = s.wall + 60s;
  request.action.mutable_unlock();
  s.Arrives(CommandTopic(s.ref, SharedKeys().IdOf("k2")),
            SealCommand(request, SharedKeys().phones.at("k2")).value());
  CHECK(s.Said() == "");
  CHECK(s.Refused(v1::REASON_DUPLICATE) == 1);
}

TEST_CASE("outbox: what may not be held is refused, and refused again in the same words") {
  Story s;
  s.Sends("k3", "c1", "lock", 60s);
  CHECK(s.Said() == "receipt k3 c1 REFUSED not_on_ring");
  s.Resends("c1");
  CHECK(s.Said() == "receipt k3 c1 REFUSED not_on_ring");
  s.Sends("k2", "c2", "remove_key", 0s);
  CHECK(s.Said() == "receipt k2 c2 REFUSED not_permitted");
  s.Make("k1", "c3", "lock", 60s);
  s.Passes(60s);
  s.Resends("c3");
  CHECK(s.Said() == "receipt k1 c3 EXPIRED");
  s.Make("k1", "c4", "lock", 60s, -1h);  // by a phone whose clock is an hour ahead
  s.Resends("c4");
  CHECK(s.Said() == "receipt k1 c4 REFUSED lifetime_too_long");
  // Signed by another key than the lane's.
  s.Make("k1", "c5", "lock", 60s);
  CHECK(s.bridge->gauges().commands_open == 0);
  CHECK(s.bridge->counters().refused.at(v1::REASON_NOT_ON_RING) == 1);
}

TEST_CASE("outbox: as long as the broker has not shown the ring nobody is said to be off it") {
  Story s;
  s.BrokerDown();
  s.BrokerUp();
  s.BrokerShows();
  s.Said();
  s.Sends("k3", "c1", "lock", 10min);
  CHECK(s.Said() == "");  // the broker, which asked its own ring, let it pass
  s.RingArrives(2, {"k1", "k2", "k3"}, Retain::kYes);
  s.Said();
  s.Resends("c1");
  CHECK(s.Said().find("receipt k3 c1 HELD") != std::string::npos);
  s.Sends("k4", "c2", "lock", 10min);
  CHECK(s.Said().find("receipt k4 c2 REFUSED not_on_ring") == 0);  // the ring has been shown
}

TEST_CASE("outbox: when the end of what is shown does not come, who is on no ring is told so") {
  Story s;
  s.BrokerDown();
  s.BrokerUp();
  s.BrokerShows();
  s.Passes(601s);
  s.Said();
  s.ref.car = CarId::Parse("without-ring").value();
  s.Sends("k3", "c1", "lock", 10min);
  CHECK(s.Said().find("receipt k3 c1 REFUSED not_on_ring") != std::string::npos);
}

TEST_CASE("outbox: when all has been shown, who is on no ring is told so") {
  Story s;
  s.BrokerDown();
  s.BrokerUp();
  s.BrokerShows();
  s.Sends("k3", "c1", "lock", 10min);
  s.BrokerShown();
  s.Said();
  s.Resends("c1");
  CHECK(s.Said().find("receipt k3 c1 REFUSED not_on_ring") != std::string::npos);
}

TEST_CASE("outbox: a refusal of what the car may have had from the phone says so") {
  Story s;
  s.CarConnects();
  s.Make("k1", "c1", "unlock", 60s);
  s.CarLeaves();
  s.Said();
  s.Passes(60s);
  s.Resends("c1");  // the first copy went to the car while the bridge did not listen
  CHECK(s.Said() == "receipt k1 c1 EXPIRED maybe");
  s.Passes(10min);
  s.Sends("k3", "c2", "unlock", 60s);
  CHECK(s.Said() == "receipt k3 c2 REFUSED not_on_ring");
}

TEST_CASE("outbox: a car whose ring is not known has nothing held for it") {
  Story s;
  s.ref = RefOf("car2");
  s.Sends("k1", "c1", "lock", 60s);
  CHECK(s.Said() == "receipt k1 c1 REFUSED not_on_ring maybe");
}

TEST_CASE("outbox: at the bound of one key, then of the car, one more is refused as full") {
  Limits limits;
  limits.commands_per_key_max = 2;
  limits.commands_per_car_max = 3;
  Story s(limits);
  s.Sends("k1", "c1", "remove_app", 1h);
  s.Sends("k1", "c2", "lock", 10min);
  s.Said();
  s.Sends("k1", "c3", "remove_app", 1h);
  CHECK(s.Said() == "receipt k1 c3 REFUSED full");
  s.Sends("k2", "c4", "remove_app", 1h);
  s.Said();
  s.Sends("k2", "c5", "remove_app", 1h);
  CHECK(s.Said() == "receipt k2 c5 REFUSED full");
  // What supersedes takes the place of what it supersedes.
  s.Passes(1ms);
  s.Sends("k2", "c6", "lock", 10min);
  CHECK(s.Said() ==
        "write c6 HELD durable | receipt k2 c6 HELD | write c2 SUPERSEDED durable | receipt k1 c2 "
        "SUPERSEDED");
}

TEST_CASE("outbox: what may have reached the car before the bridge knew of it is never unused") {
  Story s;
  SUBCASE("the car has only just left: this may be a resend") {
    s.CarConnects();
    s.CarLeaves();
    s.Passes(1min);
    s.Sends("k1", "c1", "lock", 1min);
  }
  SUBCASE("the phone's resend reaches the car in the moment before ours") {
    s.Sends("k1", "c1", "lock", 1min);
    s.Passes(60s - 200ms);
    s.CarConnects();
    s.Passes(100ms);
    s.Resends("c1");
  }
  SUBCASE("the broker was out of sight") {
    s.Sends("k1", "c1", "lock", 1min);
    s.BrokerDown();
    s.BrokerUp();
  }
  s.Passes(2min);
  s.Resends("c1");
  const std::string said = s.Said();
  CHECK(said.substr(said.rfind('|')) == "| receipt k1 c1 EXPIRED maybe");
}

TEST_CASE("outbox: a live car is left alone, and its outcome is remembered") {
  Story s;
  s.CarConnects();
  s.Said();
  s.Sends("k1", "c1", "flash_lights", 60s);
  CHECK(s.Said() == "");
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.Passes(5s);
  CHECK(s.Said() == "");
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write c1 DONE");
  s.Resends("c1");
  CHECK(s.Said() == "receipt k1 c1 DONE");
}

TEST_CASE("outbox: nothing is said to what a live car will refuse itself") {
  Story s;
  s.CarConnects();
  s.Said();
  s.Sends("k3", "c1", "lock", 60s);
  s.Passes(10s);
  CHECK(s.Said() == "");
  CHECK(s.bridge->gauges().commands_open == 0);
}

TEST_CASE("outbox: a live car that says nothing in two seconds has its command held") {
  Story s;
  s.CarConnects();
  s.Said();
  s.Sends("k1", "c1", "lock", 10min);
  s.Passes(1999ms);
  CHECK(s.Said() == "");
  s.Passes(1ms);
  CHECK(s.Said() == "write c1 HELD durable | receipt k1 c1 HELD | deliver c1");
}

TEST_CASE("outbox: a car that leaves without a word has its live commands held at once") {
  Story s;
  s.CarConnects();
  s.Sends("k1", "c1", "lock", 10min);
  s.Sends("k1", "c2", "unlock", 60s);
  s.CarSays("c2", v1::RECEIPT_STATE_DELIVERED);
  s.Said();
  s.CarLeaves();
  CHECK(s.Said() == "write presence offline | write c1 HELD durable | receipt k1 c1 HELD");
}

TEST_CASE("outbox: a car in a new session gets again what the old one may have lost") {
  Story s;
  s.CarConnects();
  s.Sends("k1", "c1", "lock", 10min);
  s.Said();
  s.Passes(1s);
  s.CarConnects();  // taken over: no word that it had left
  CHECK(s.Said() == "write presence online | write c1 HELD durable | receipt k1 c1 HELD");
  s.Passes(500ms);
  CHECK(s.Said() == "deliver c1");
}

TEST_CASE("outbox: a live command that expires unanswered ends EXPIRED, maybe acted upon") {
  Story s;
  s.CarConnects();
  s.Said();
  s.Sends("k1", "c1", "unlock", 1s);
  s.Passes(10999ms);
  CHECK(s.Said() == "");
  s.Passes(1ms);
  CHECK(s.Said() == "write c1 EXPIRED durable | receipt k1 c1 EXPIRED maybe");
}

TEST_CASE("outbox: a command the car has confirmed waits for the car beyond its expiry") {
  Story s;
  s.Sends("k1", "c1", "unlock", 60s);
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.CarLeaves();
  s.Said();
  s.Passes(23h);
  CHECK(s.Said() == "");
  SUBCASE("the car says it") {
    s.CarSays("c1", v1::RECEIPT_STATE_DONE);
    CHECK(s.Said() == "write c1 DONE durable");
  }
  SUBCASE("the car never says it") {
    s.Passes(2h);
    CHECK(s.Said() == "write c1 REFUSED durable | receipt k1 c1 REFUSED outcome_unknown maybe");
  }
}

TEST_CASE("outbox: a confirmed command is sent again to a car that comes back, for its outcome") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.CarLeaves();
  s.CarConnects();
  s.Said();
  s.Passes(500ms);
  CHECK(s.Said() == "deliver c1");
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.Passes(60s);
  CHECK(s.Said() == "");
}

TEST_CASE("outbox: the first final word stands, another is counted as a conflict") {
  Story s;
  s.Sends("k1", "c1", "unlock", 5s);
  s.CarConnects();
  s.Passes(16s);
  s.Said();
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "");
  CHECK(s.bridge->counters().conflicts == 1);
  s.CarSays("c1", v1::RECEIPT_STATE_EXPIRED);
  CHECK(s.bridge->counters().conflicts == 1);
  s.Resends("c1");
  CHECK(s.Said() == "receipt k1 c1 EXPIRED maybe");
}

TEST_CASE("outbox: a receipt that the car's key did not sign is not believed") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.Said();
  const std::string topic = ReceiptTopic(s.ref, SharedKeys().IdOf("k1"));
  std::string forged = s.CarReceipt("c1", v1::RECEIPT_STATE_DONE);
  forged.back() = static_cast<char>(forged.back() ^ 1);
  s.Arrives(topic, forged);
  CHECK(s.Refused(v1::REASON_BAD_SIGNATURE) == 1);
  // Claims to be another bridge's.
  s.Arrives(topic,
            SealBridgeReceipt(MakeOutcome(s.ref, CommandId{}, v1::RECEIPT_STATE_EXPIRED,
                                          v1::REASON_EXPIRED, s.wall, v1::RECEIPT_SOURCE_BRIDGE)));
  CHECK(s.Refused(v1::REASON_NOT_ALLOWED) == 1);
  // The car's, on another phone's lane.
  s.Arrives(ReceiptTopic(s.ref, SharedKeys().IdOf("k2")),
            s.CarReceipt("c1", v1::RECEIPT_STATE_DONE));
  CHECK(s.Refused(v1::REASON_WRONG_LANE) == 1);
  s.Arrives(topic, "\xff\xff");
  CHECK(s.Refused(v1::REASON_MALFORMED) == 1);
  CHECK(s.Said() == "");
  CHECK(s.bridge->gauges().commands_held == 1);
}

TEST_CASE("outbox: a wall clock that jumps ahead expires a command, one set back revives none") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.Sends("k1", "c2", "windows_up", 10min);
  s.Said();
  SUBCASE("ahead: dead by the wall, whatever is said next") {
    s.WallJumps(11min);
    s.CarConnects();
    s.Passes(10s);
    CHECK(s.Said() ==
          "write c1 EXPIRED durable | receipt k1 c1 EXPIRED | write c2 EXPIRED durable | receipt "
          "k1 c2 EXPIRED | write presence online");
  }
  SUBCASE("back: dead by the time that has passed") {
    s.WallJumps(-1h);
    s.Passes(10min);
    CHECK(s.Said() ==
          "write c1 EXPIRED durable | receipt k1 c1 EXPIRED | write c2 EXPIRED durable | receipt "
          "k1 c2 EXPIRED");
  }
  SUBCASE("back while the bridge is down: no more than it had when it arrived") {
    s.WallJumps(-1h);
    s.Restarts(Story::Crash::kProcess);
    s.Said();
    s.Passes(10min + kAnswerGrace);
    CHECK(s.bridge->gauges().commands_open == 0);
  }
}

TEST_CASE("outbox: remove_key is held without end, and its outcome kept for a week") {
  Story s;
  s.Sends("k1", "c1", "remove_key", 0s);
  s.Passes(24h * 400);
  CHECK(
      s.Said() ==
      "write c1 HELD durable | receipt k1 c1 HELD | write block k2 f/car1 durable | tell block k2 "
      "f/car1");
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(
      s.Said() ==
      "write presence online | deliver c1 | write c1 DONE durable | write lift k2 f/car1 durable | "
      "tell lift k2 f/car1");
  s.Passes(24h * 7 - 1ms);
  CHECK(s.Said() == "");
  s.Passes(1ms);
  CHECK(s.Said() == "erase c1");
}

TEST_CASE("outbox: an outcome is kept a day beyond the expiry, then forgotten") {
  Story s;
  s.CarConnects();
  s.Sends("k1", "c1", "lock", 10min);
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  s.Said();
  s.Passes(24h + 10min - 1ms);
  CHECK(s.Said() == "");
  s.Passes(1ms);
  CHECK(s.Said() == "erase c1");
  s.CarLeaves();
  s.Said();
  s.Resends("c1");
  CHECK(s.Said() == "receipt k1 c1 EXPIRED maybe");
}

TEST_CASE("outbox: a restart finds every open command and keeps no outcome for ever") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  s.Sends("k1", "c2", "remove_key", 0s);
  s.Passes(11min);
  s.Restarts(Story::Crash::kPower);
  CHECK(s.bridge->gauges().commands_open == 1);
  CHECK(s.bridge->NextDeadline() == Instant{0} + 2s);
  s.Said();
  s.Passes(48h);
  CHECK(s.Said() == "publish ring 1 | erase c1");
  // The next id in order is above all that were stored.
  s.Sends("k1", "c3", "lock", 10min);
  CHECK(s.Said() == "write c3 HELD durable | receipt k1 c3 HELD");
}

TEST_CASE("outbox: a held command this software cannot read ends EXPIRED after a restart") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  for (auto& [key, record] : s.store.current) {
    if (auto* command = std::get_if<storage::CommandRecord>(&record)) {
      command->payload = "\xff\xff";
    }
  }
  s.Restarts(Story::Crash::kProcess);
  s.Said();
  s.Passes(kAnswerGrace);
  CHECK(s.Said() == "publish ring 1 | write c1 EXPIRED durable | receipt k1 c1 EXPIRED maybe");
}

}  // namespace latchkey::bridge
