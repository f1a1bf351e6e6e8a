// Stories of keys that are taken away: by the owner, by an administrator, by a ring without them.
#include <doctest/doctest.h>

#include "bridge/core/outbox.h"
#include "bridge/core/story.h"

namespace latchkey::bridge {

namespace {

const std::string kDenied = "write block k2 f/car1 durable | tell block k2 f/car1";
const std::string kLifted = "write lift k2 f/car1 durable | tell lift k2 f/car1";

}  // namespace

TEST_CASE("keys: an owner's remove_key denies the key at once, and what waits of it is refused") {
  Story s;
  s.Sends("k2", "c1", "lock", 10min);
  s.Said();
  s.Sends("k1", "c2", "remove_key", 0s);
  CHECK(s.Said() ==
        "write c2 HELD durable | receipt k1 c2 HELD | write c1 REFUSED durable | receipt "
        "k2 c1 REFUSED blocked | " +
            kDenied);
  CHECK(s.bridge->gauges().blocks_standing == 1);
  CHECK(s.plugin.blocks.Denies(SharedKeys().IdOf("k2").str(), "f", "car1"));
  s.Sends("k2", "c3", "lock", 10min);
  CHECK(s.Said() == "receipt k2 c3 REFUSED blocked");
  s.CarConnects();
  s.Passes(500ms);
  CHECK(s.Said() == "write presence online | deliver c2");
  s.CarSays("c2", v1::RECEIPT_STATE_DELIVERED);
  s.RingArrives(2, {"k1"});
  CHECK(s.Said() == "write c2 DELIVERED | write ring 2 durable | " + kLifted);
  s.CarSays("c2", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write c2 DONE durable");
  CHECK(s.bridge->gauges().blocks_standing == 0);
  CHECK(s.bridge->counters().blocks_set == 1);
  CHECK(s.bridge->counters().blocks_lifted == 1);
  CHECK(s.Agrees());
  // The owner gives it a key again.
  s.RingArrives(3, {"k1", "k2"});
  s.CarLeaves();
  s.Passes(1h);
  s.Said();
  s.Sends("k2", "c4", "lock", 10min);
  CHECK(s.Said() == "write c4 HELD durable | receipt k2 c4 HELD");
}

TEST_CASE("keys: the car's final word lifts the block whatever it says, and nothing else does") {
  for (const v1::ReceiptState state :
       {v1::RECEIPT_STATE_DONE, v1::RECEIPT_STATE_REFUSED, v1::RECEIPT_STATE_FAILED}) {
    Story s;
    s.Sends("k1", "c1", "remove_key", 0s);
    s.CarConnects();
    s.Passes(500ms);
    s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
    s.RingArrives(2, {"k1", "k2"});  // the car changed something else
    CHECK(s.bridge->gauges().blocks_standing == 1);
    s.CarSays("c1", state, v1::REASON_NOT_PERMITTED);
    CHECK(s.bridge->gauges().blocks_standing == 0);
    CHECK(s.Agrees());
  }
}

TEST_CASE("keys: a car that is online is given 2 s to do it itself, then the key is denied") {
  Story s;
  s.CarConnects();
  s.Said();
  s.Sends("k1", "c1", "remove_key", 0s);
  CHECK(s.Said() == "");
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.RingArrives(2, {"k1"});
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write ring 2 durable | write c1 DONE");  // never held: no promise to keep
  s.RingArrives(3, {"k1", "k2"});
  s.Said();
  s.Sends("k1", "c2", "remove_key", 0s);
  s.Passes(2s);
  CHECK(s.Said() == "write c2 HELD durable | receipt k1 c2 HELD | " + kDenied + " | deliver c2");
  // Over a crash the bridge still asks the car, so that the block does not stand for ever.
  s.Restarts(Story::Crash::kPower);
  s.Presence(true);
  s.Said();
  s.Passes(500ms);
  CHECK(s.Said() == "deliver c2");
  s.CarSays("c2", v1::RECEIPT_STATE_REFUSED, v1::REASON_NOT_PERMITTED);
  CHECK(s.Said() == "write c2 REFUSED durable | " + kLifted);
}

TEST_CASE("keys: a removal the car confirmed and did not end denies the key when the car leaves") {
  Story s;
  s.CarConnects();
  s.Sends("k1", "c1", "remove_key", 0s);
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.Said();
  s.CarLeaves();
  CHECK(s.Said() == "write presence offline | write c1 DELIVERED durable | " + kDenied);
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write presence online | deliver c1 | write c1 DONE durable | " + kLifted);
  // Or when it stays and is silent.
  s.Sends("k1", "c2", "remove_key", 0s);
  s.CarSays("c2", v1::RECEIPT_STATE_DELIVERED);
  s.Said();
  s.Passes(30s);
  CHECK(s.Said() == "write c2 DELIVERED durable | " + kDenied + " | deliver c2");
}

TEST_CASE("keys: who may not remove the key denies nobody") {
  Story s;
  s.Sends("k2", "c1", "remove_key", 0s);
  CHECK(s.Said() == "receipt k2 c1 REFUSED not_permitted");
  s.Sends("k3", "c2", "remove_key", 0s);
  CHECK(s.Said() == "receipt k3 c2 REFUSED not_on_ring");
  s.remove = "k3";  // on no ring: nothing to deny, the car answers
  s.Sends("k1", "c3", "remove_key", 0s);
  CHECK(s.Said() == "write c3 HELD durable | receipt k1 c3 HELD");
  CHECK(s.bridge->gauges().blocks == 0);
  s.RingArrives(2, {"k1", "k3"});  // it gets on the ring while the removal waits
  CHECK(s.bridge->gauges().blocks_standing == 1);
  CHECK(s.plugin.blocks.Denies(SharedKeys().IdOf("k3").str(), "f", "car1"));
}

TEST_CASE("keys: who removes the own key is not denied, or the car would never hear of it") {
  Story s;
  s.remove = "k1";
  s.Sends("k1", "c1", "remove_key", 0s);
  CHECK(s.Said() == "write c1 HELD durable | receipt k1 c1 HELD");
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.Said();
  // The ring is quicker than the receipt: the car may still speak for itself.
  s.RingArrives(2, {"k2"});
  CHECK(s.Said() == "write ring 2 durable");
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write c1 DONE durable");
  CHECK(s.bridge->counters().conflicts == 0);
}

TEST_CASE("keys: two owners remove each other: the first is heard, the second is denied") {
  Story s;
  s.RingArrives(2, {"k1", "k4"});
  s.Said();
  s.remove = "k1";
  s.Sends("k4", "c1", "remove_key", 0s);
  CHECK(s.Said() ==
        "write c1 HELD durable | receipt k4 c1 HELD | write block k1 f/car1 durable | "
        "tell block k1 f/car1");
  s.remove = "k4";
  s.Sends("k1", "c2", "remove_key", 0s);
  CHECK(s.Said() == "receipt k1 c2 REFUSED blocked");
}

TEST_CASE("keys: when a removing owner is denied, the removal is dropped and its block lifted") {
  Story s;
  s.RingArrives(2, {"k1", "k2", "k4"});
  s.Sends("k4", "c1", "remove_key", 0s);  // k4's phone is in a thief's hands
  s.Said();
  s.AdministratorBlocks("k4", "everywhere");
  CHECK(s.Said() ==
        "write block k4 everywhere durable | write c1 REFUSED durable | receipt k4 c1 "
        "REFUSED blocked | write lift k2 f/car1 durable | tell lift k2 f/car1");
  s.Sends("k2", "c2", "lock", 10min);
  CHECK(s.Said() == "write c2 HELD durable | receipt k2 c2 HELD");
  // And so when it falls off the ring.
  s.AdministratorLifts("k4", "everywhere");
  s.Sends("k4", "c3", "remove_key", 0s);
  s.Said();
  s.RingArrives(3, {"k1", "k2"});
  CHECK(s.Said() ==
        "write ring 3 durable | write c3 REFUSED durable | receipt k4 c3 REFUSED "
        "not_on_ring | write lift k2 f/car1 durable | tell lift k2 f/car1");
}

TEST_CASE("keys: commands of a key that fell off the ring are dropped and receipted") {
  Story s;
  s.Sends("k2", "c1", "lock", 10min);
  s.Sends("k1", "c2", "climate_off", 10min);
  s.Said();
  s.RingArrives(2, {"k1"});
  CHECK(s.Said() ==
        "write ring 2 durable | write c1 REFUSED durable | receipt k2 c1 REFUSED not_on_ring");
  s.RingArrives(3, {});  // sold: the head unit was reset
  CHECK(s.Said() ==
        "write ring 3 durable | write c2 REFUSED durable | receipt k1 c2 REFUSED not_on_ring");
  s.CarConnects();
  s.Passes(1h);
  CHECK(s.Said() == "write presence online");
}

TEST_CASE("keys: what may be with the car already is given 10 s for the car's own word") {
  Story s;
  s.Sends("k2", "c1", "lock", 10min);
  s.CarConnects();
  s.Passes(500ms);
  s.Said();
  s.AdministratorBlocks("k2", "f");
  CHECK(s.Said() == "write block k2 f durable");
  s.Passes(kAnswerGrace - 1ms);
  CHECK(s.Said() == "");  // and no delivery either
  s.Passes(1ms);
  CHECK(s.Said() == "write c1 REFUSED durable | receipt k2 c1 REFUSED blocked maybe");
  // The car says it in time.
  s.AdministratorLifts("k2", "f");
  s.Sends("k2", "c2", "lock", 10min);
  s.AdministratorBlocks("k2", "f");
  s.CarSays("c2", v1::RECEIPT_STATE_DONE);
  s.Passes(1h);
  CHECK(s.bridge->counters().outcomes.at(v1::RECEIPT_STATE_DONE) == 1);
  CHECK(s.bridge->counters().conflicts == 0);
}

TEST_CASE("keys: a command the car has confirmed waits for the car, and is not sent again") {
  Story s;
  s.Sends("k2", "c1", "lock", 10min);
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.AdministratorBlocks("k2", "f/car1");
  s.Said();
  s.CarLeaves();
  s.CarConnects();
  s.Resends("c1");
  s.Passes(1h);
  CHECK(s.Said() == "write presence offline | write presence online | receipt k2 c1 DELIVERED");
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write c1 DONE durable");
}

TEST_CASE("keys: a live command of a key that is denied is not held when the car leaves") {
  Story s;
  s.CarConnects();
  s.Sends("k2", "c1", "lock", 10min);
  s.AdministratorBlocks("k2", "everywhere");
  s.Said();
  s.CarLeaves();
  s.Passes(kAnswerGrace);
  CHECK(s.Said() ==
        "write presence offline | write c1 REFUSED durable | receipt k2 c1 REFUSED "
        "blocked maybe");
}

TEST_CASE("keys: a remove_key gets through a queue that others have filled") {
  Limits limits;
  limits.commands_per_car_max = 3;
  limits.commands_per_key_max = 2;
  Story s(limits);
  s.Sends("k2", "c1", "lock", 10min);
  s.Sends("k2", "c2", "climate_off", 10min);
  s.Sends("k1", "c3", "remove_app", 10min);
  s.Said();
  s.Sends("k1", "c4", "windows_up", 10min);
  CHECK(s.Said() == "receipt k1 c4 REFUSED full");
  s.Sends("k1", "c5", "remove_key", 0s);
  CHECK(s.Said().rfind("write c5 HELD durable | receipt k1 c5 HELD | write c1 REFUSED", 0) == 0);
  CHECK(s.bridge->gauges().blocks_standing == 1);
}

TEST_CASE("keys: a confirmed remove_key is asked for until the car has said how it ended") {
  Story s;
  s.Sends("k1", "c1", "remove_key", 0s);
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.Said();
  s.Passes(30s - 1ms);
  CHECK(s.Said() == "");
  s.Passes(1ms);
  CHECK(s.Said() == "deliver c1");
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.Passes(60s);
  CHECK(s.Said() == "deliver c1");
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write c1 DONE durable | " + kLifted);
}

TEST_CASE("keys: a crash after the block was written and before it was told loses nothing") {
  Story s;
  s.plugin_answers = false;  // its word does not get through
  s.Sends("k1", "c1", "remove_key", 0s);
  s.Sends("k2", "c2", "lock", 10min);
  CHECK(s.plugin.blocks.size() == 0);
  s.plugin_answers = true;
  s.Restarts(Story::Crash::kPower);
  CHECK(s.plugin.blocks.Denies(SharedKeys().IdOf("k2").str(), "f", "car1"));
  CHECK(s.Agrees());
  CHECK(s.bridge->gauges().commands_open == 1);
  s.Said();
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.Said() == "write presence online | deliver c1 | write c1 DONE durable | " + kLifted);
}

TEST_CASE("keys: what waits in the store of a key denied meanwhile is dropped at the start") {
  Story s;
  s.Sends("k2", "c1", "lock", 10min);
  s.BrokerDown();
  s.AdministratorBlocks("k2", "everywhere");  // the bridge does not hear of it
  s.Said();
  s.Restarts(Story::Crash::kProcess);
  CHECK(s.Said() ==
        "write block k2 everywhere durable | write c1 REFUSED durable | receipt k2 c1 "
        "REFUSED blocked maybe");
  // The ring in the store is newer than the command beside it: a crash came between the two.
  Story t;
  t.Sends("k2", "c1", "lock", 10min);
  const CarRef ref = t.ref;
  t.store.current["ring " + ref.ToText()] =
      storage::RingRecord{ref, 2, t.wall, SharedKeys().Ring(ref, 2, {"k1"})};
  t.store.Sync();
  t.Said();
  t.Restarts(Story::Crash::kPower);
  CHECK(t.Said() == "write c1 REFUSED durable | receipt k2 c1 REFUSED not_on_ring maybe");
}

TEST_CASE("keys: an old remove_key that comes again denies nobody a second time") {
  Story s;
  s.Sends("k1", "c1", "remove_key", 0s);
  s.CarConnects();
  s.Passes(500ms);
  s.RingArrives(2, {"k1"});
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  s.RingArrives(3, {"k1", "k2"});
  s.CarLeaves();
  s.Passes(24h);
  s.Said();
  s.Resends("c1");
  CHECK(s.Said() == "receipt k1 c1 DONE");
  CHECK(s.bridge->gauges().blocks_standing == 0);
  s.Restarts(Story::Crash::kPower);
  s.Passes(1h);
  s.Said();
  s.Resends("c1");
  CHECK(s.Said() == "");  // the car's own word is not stored, and the bridge has none
  CHECK(s.bridge->gauges().blocks_standing == 0);
}

TEST_CASE("keys: an administrator's word on one car stands above the owner's") {
  Story s;
  s.AdministratorBlocks("k2", "f/car1");
  s.Said();
  s.Sends("k1", "c1", "remove_key", 0s);
  CHECK(s.Said() == "write c1 HELD durable | receipt k1 c1 HELD");
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.bridge->gauges().blocks_standing == 1);
  // Lifted by an administrator while the removal waits: it is not set again for the same command.
  Story t;
  t.Sends("k1", "c1", "remove_key", 0s);
  Block lifted = *t.plugin.blocks.Find({SharedKeys().IdOf("k2"), t.ref.fleet, t.ref.car});
  lifted.lifted = true;
  lifted.changed_at = t.wall + 1s;
  v1::BlocksChanged changed;
  *changed.add_blocks() = BlockToWire(lifted);
  REQUIRE(t.plugin.blocks.Merge(lifted).value());
  t.Said();
  t.Arrives(std::string(kBlocksChangedTopic), changed.SerializeAsString());
  CHECK(t.Said() == "write lift k2 f/car1 durable");
  t.RingArrives(2, {"k1", "k2"});
  CHECK(t.Said() == "write ring 2 durable");
}

TEST_CASE(
    "keys: with the store lost, the plugin's blocks come back and the ring still lifts them") {
  Story s;
  s.Sends("k1", "c1", "remove_key", 0s);
  s.store = StoryStore{};
  s.Restarts(Story::Crash::kPower);
  CHECK(s.bridge->gauges().blocks_standing == 1);
  CHECK(s.Agrees());
  s.RingArrives(1, {"k1", "k2"}, Retain::kYes);
  CHECK(s.bridge->gauges().blocks_standing == 1);
  s.Passes(10min);
  s.Said();
  s.Sends("k2", "c2", "lock", 10min);
  CHECK(s.Said() == "receipt k2 c2 REFUSED blocked maybe");
  s.RingArrives(2, {"k1"});
  CHECK(s.Said() == "write ring 2 durable | " + kLifted);
  // Or the car's answer to a command that nobody here remembers.
  Story t;
  t.Sends("k1", "c1", "remove_key", 0s);
  t.store = StoryStore{};
  t.Restarts(Story::Crash::kPower);
  t.RingArrives(1, {"k1", "k2"}, Retain::kYes);
  t.Said();
  t.CarSays("c1", v1::RECEIPT_STATE_REFUSED, v1::REASON_NOT_PERMITTED);
  CHECK(t.Said() == kLifted);
}

TEST_CASE("keys: a bridge whose clock went back still has the last word over its own block") {
  Story s;
  s.Sends("k1", "c1", "remove_key", 0s);
  const BlockScope scope{SharedKeys().IdOf("k2"), s.ref.fleet, s.ref.car};
  const Timestamp set_at = s.plugin.blocks.Find(scope)->changed_at;
  s.WallJumps(-48h);
  s.CarConnects();
  s.Passes(500ms);
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  REQUIRE(s.plugin.blocks.Find(scope)->lifted);
  CHECK(s.plugin.blocks.Find(scope)->changed_at == set_at + 1ms);
  CHECK(s.Agrees());
}

}  // namespace latchkey::bridge
