// Stories of presence.
#include "bridge/core/links.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/core/story.h"

namespace latchkey::bridge {

TEST_CASE("links: coming and going is stored, a repeat is not") {
  Story s;
  s.CarConnects();
  CHECK(s.Said() == "write presence online");
  CHECK(s.bridge->gauges().cars_online == 1);
  s.PresenceAgain();
  CHECK(s.Said() == "");
  s.Passes(5s);
  s.CarLeaves();
  CHECK(s.Said() == "write presence offline");
  CHECK(s.bridge->gauges().cars_online == 0);
}

TEST_CASE("links: the word of a broker that started earlier is stale") {
  Story s;
  s.broker_started_at = s.wall + 1s;
  s.Passes(2s);
  s.CarConnects();
  s.Said();
  s.broker_started_at = s.broker_started_at - 1ms;
  s.CarLeaves();
  CHECK(s.Said() == "");
  CHECK(s.Refused(v1::REASON_OLDER_VERSION) == 1);
  CHECK(s.bridge->gauges().cars_online == 1);
}

TEST_CASE("links: a broker start in the future does not make every later broker stale") {
  Story s;
  s.broker_started_at = s.wall + 1h;  // its clock was wrong
  s.CarConnects();
  CHECK(s.Said() == "write presence online");
  s.broker_started_at = s.wall;  // and has been set right
  s.CarLeaves();
  CHECK(s.Said() == "write presence offline");
}

// The other broker may have the car, and gets what phones sent to this one as soon as the two hear
// each other again.
TEST_CASE("links: with two brokers a car that is away may have got what is held for it") {
  Story s;
  s.CarLeaves();
  v1::Presence there;
  REQUIRE(there.ParseFromString(PresenceBytes(true, s.wall, 1, s.broker_started_at)));
  there.set_broker("b2");
  std::string maybe = " maybe";
  SUBCASE("one broker: what is superseded was surely not done") {
    maybe = "";
  }
  SUBCASE("the other has said so of another car") {
    s.Arrives(PresenceTopic(RefOf("another")), there.SerializeAsString(), Retain::kNo);
  }
  SUBCASE("the car has left the other") {
    s.Arrives(PresenceTopic(s.ref), there.SerializeAsString(), Retain::kNo);
    there.set_online(false);
    s.Arrives(PresenceTopic(s.ref), there.SerializeAsString(), Retain::kNo);
  }
  s.Passes(1h);
  s.Sends("k1", "c1", "lock", 10min);
  s.Passes(1min);
  s.Said();
  s.Sends("k2", "c2", "unlock", 60s);
  CHECK(s.Said() ==
        "write c2 HELD durable | receipt k2 c2 HELD | write c1 SUPERSEDED durable | receipt k1 c1 "
        "SUPERSEDED" +
            maybe);
}

TEST_CASE("links: what is no presence is refused") {
  Story s;
  s.Arrives(PresenceTopic(s.ref), "\xff\xff", Retain::kYes);
  v1::Presence without_broker;
  without_broker.set_online(true);
  s.Arrives(PresenceTopic(s.ref), without_broker.SerializeAsString(), Retain::kYes);
  CHECK(s.Refused(v1::REASON_MALFORMED) == 2);
  CHECK(s.Said() == "");
}

TEST_CASE("links: a car that the broker does not show after it came back is away") {
  Story s;
  s.CarConnects();
  s.Passes(5s);
  s.BrokerDown();
  s.BrokerUp();
  s.Passes(1s);
  CHECK(s.bridge->gauges().cars_online == 1);
  s.Passes(2s);
  CHECK(s.bridge->gauges().cars_online == 0);
  s.PresenceAgain();
  CHECK(s.bridge->gauges().cars_online == 1);
  s.BrokerDown();
  s.BrokerUp();
  s.PresenceAgain();
  s.Passes(10s);
  CHECK(s.bridge->gauges().cars_online == 1);
}

// 2,000 cars at a broker of which only presence is of interest.
struct Crowd {
  Crowd() {
    Step(BrokerUp{});
    for (int i = 0; i < 2000; ++i) {
      refs.push_back(RefOf("car" + std::to_string(i)));
      Say(refs.back(), true, v1::OFFLINE_REASON_UNSPECIFIED);
    }
    Passes(10min);
    writes = {0, 0};
  }

  void Say(const CarRef& ref, bool online, v1::OfflineReason reason) {
    v1::Presence presence;
    REQUIRE(presence.ParseFromString(
        PresenceBytes(online, wall, online ? ++session : 0, broker_started_at)));
    presence.set_reason(reason);
    Step(Message{Publish{PresenceTopic(ref), presence.SerializeAsString(), 1, Retain::kNo, 0}});
  }

  void Step(const Input& input) {
    Effects out;
    bridge.Step(input, Now{wall, mono}, out);
    for (const Effect& effect : out) {
      const auto* write = std::get_if<Write>(&effect);
      const auto* record =
          write == nullptr ? nullptr : std::get_if<storage::PresenceRecord>(&write->change);
      if (record != nullptr) {
        v1::Presence presence;
        REQUIRE(presence.ParseFromString(record->payload));
        stored[record->ref] = presence.online();
        ++writes[presence.online() ? 1 : 0];
      }
    }
  }

  void Passes(Duration by) {
    const Instant end = mono + by;
    for (auto due = bridge.NextDeadline(); due && *due <= end; due = bridge.NextDeadline()) {
      wall = wall + std::max(Duration(0), *due - mono);
      mono = std::max(*due, mono);
      Step(Tick{});
    }
    wall = wall + (end - mono);
    mono = end;
    bridge.CheckInvariants();
  }

  size_t StoredOnline() const {
    return static_cast<size_t>(
        std::count_if(stored.begin(), stored.end(), [](const auto& car) { return car.second; }));
  }

  using Writes = std::array<size_t, 2>;  // offline, online

  Bridge bridge{Limits{}, FleetCas{}};
  Timestamp wall = kStoryStart;
  Instant mono{1000};
  Timestamp broker_started_at = kStoryStart;
  uint64_t session = 0;
  std::vector<CarRef> refs;
  std::map<CarRef, bool> stored;
  Writes writes{};
};

TEST_CASE("links: after a broker's restart only cars that stay away are said to be offline") {
  for (const bool plugin_knows_them : {true, false}) {
    CAPTURE(plugin_knows_them);
    Crowd crowd;
    CHECK(crowd.bridge.gauges().cars_online == 2000);
    crowd.Step(BrokerDown{});
    crowd.Passes(2s);
    crowd.broker_started_at = crowd.wall;
    crowd.Step(BrokerUp{});
    if (plugin_knows_them) {  // what it says at its start of the cars in its ring file
      for (const CarRef& ref : crowd.refs) {
        crowd.Say(ref, false, v1::OFFLINE_REASON_BROKER_RESTART);
      }
    }
    crowd.Passes(3s);
    CHECK(crowd.bridge.gauges().cars_online == 0);
    CHECK(crowd.bridge.gauges().cars_awaited == 2000);
    CHECK(crowd.StoredOnline() == 2000);
    for (size_t i = 0; i < 1900; ++i) {
      crowd.Passes(10ms);
      crowd.Say(crowd.refs[i], true, v1::OFFLINE_REASON_UNSPECIFIED);
      CHECK(crowd.bridge.gauges().cars_online == i + 1);  // true at once
    }
    CHECK(crowd.writes == Crowd::Writes{0, 1900});
    crowd.Passes(1min);
    CHECK(crowd.writes == Crowd::Writes{100, 1900});
    CHECK(crowd.StoredOnline() == 1900);
    CHECK(crowd.bridge.gauges().cars_awaited == 0);
    // One of those comes late, and goes.
    crowd.Say(crowd.refs[1999], true, v1::OFFLINE_REASON_UNSPECIFIED);
    CHECK(crowd.StoredOnline() == 1901);
    crowd.Say(crowd.refs[1999], false, v1::OFFLINE_REASON_CONNECTION_ENDED);
    CHECK(crowd.StoredOnline() == 1900);
  }
}

TEST_CASE("links: of a car that was away before, a broker's restart says nothing new") {
  Crowd crowd;
  crowd.Say(crowd.refs[0], false, v1::OFFLINE_REASON_CONNECTION_ENDED);
  crowd.writes = {0, 0};
  crowd.broker_started_at = crowd.wall + 1s;
  crowd.Passes(1s);
  crowd.Say(crowd.refs[0], false, v1::OFFLINE_REASON_BROKER_RESTART);
  crowd.Passes(1min);
  CHECK(crowd.writes == Crowd::Writes{0, 0});
}

TEST_CASE("links: at the bound of cars one more is refused as full") {
  Counters counters;
  Limits limits;
  limits.cars_max = 1;
  Links links(limits, counters);
  const Now now{kStoryStart, Instant{1}};
  Effects out;
  const std::string online = PresenceBytes(true, kStoryStart, 1, kStoryStart);
  CHECK(links.Arrived(RefOf("a"), online, now, out) == LinkChange::kOnline);
  CHECK(links.Arrived(RefOf("b"), online, now, out) == LinkChange::kNone);
  CHECK(counters.refused.at(v1::REASON_FULL) == 1);
  const std::string again = PresenceBytes(true, kStoryStart, 2, kStoryStart);
  CHECK(links.Arrived(RefOf("a"), again, now, out) == LinkChange::kReconnected);
  links.CheckInvariants();
}

}  // namespace latchkey::bridge
