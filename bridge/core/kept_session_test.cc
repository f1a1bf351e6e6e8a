// Stories of a session that went on from one bridge to the next: nothing is published again, and
// nobody waits to be shown.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/core/story.h"
#include "proto/state.h"

namespace latchkey::bridge {

namespace {

std::string Body(uint64_t sequence) {
  v1::StateGroup state;
  state.set_observed_at_ms(1'700'000'000'000);
  state.set_sequence(sequence);
  state.mutable_body()->mutable_is_locked()->set_value(true);
  return state.SerializeAsString();
}

CarRef Car(const std::string& name) {
  return {FleetId::Parse("demo").value(), CarId::Parse(name).value()};
}

struct Successor {
  explicit Successor(bool online) {
    v1::Presence presence;
    presence.set_online(online);
    presence.set_session(1);
    presence.set_since_ms(1);
    presence.set_broker_started_at_ms(1);
    bridge.Load(storage::PresenceRecord{Car("a"), {1}, presence.SerializeAsString()});
    bridge.Load(storage::StateRecord{Car("a"), Group::kBody, {1'700'000'000'000}, Body(1)});
  }

  // How many words of state it says by itself within a minute.
  size_t Comes(bool kept) {
    Effects out;
    bridge.Step(BrokerUp{kept}, now, out);
    for (int i = 0; i < 60; ++i) {
      now.mono = now.mono + Duration(1000);
      now.wall = now.wall + Duration(1000);
      bridge.Step(Tick{}, now, out);
    }
    size_t words = 0;
    for (const Effect& effect : out) {
      const auto* publish = std::get_if<Publish>(&effect);
      words += publish != nullptr && publish->retain == Retain::kYes ? 1 : 0;
    }
    bridge.CheckInvariants();
    return words;
  }

  Now now{{1'700'000'100'000}, {1'000'000}};
  Bridge bridge{Limits(), FleetCas()};
};

}  // namespace

TEST_CASE("kept session: what the one before had said is not said again") {
  Successor shown(true);
  CHECK(shown.Comes(false) == 1);
  CHECK(shown.bridge.gauges().cars_online == 0);  // the broker did not show it
  Successor kept(true);
  CHECK(kept.Comes(true) == 0);
  CHECK(kept.bridge.gauges().cars_online == 1);
  CHECK(kept.bridge.gauges().broker_has_all);
}

TEST_CASE("kept session: a later one is a session like any other") {
  Successor s(true);
  CHECK(s.Comes(true) == 0);
  Effects out;
  s.bridge.Step(BrokerDown{}, s.now, out);
  CHECK(s.bridge.gauges().broker_has_all);
  CHECK(s.Comes(false) == 1);
}

TEST_CASE("kept session: a broker that went while it lacked something has not all") {
  Successor s(true);
  CHECK_FALSE(s.bridge.gauges().broker_has_all);  // there was none
  Effects out;
  s.bridge.Step(BrokerUp{}, s.now, out);
  CHECK_FALSE(s.bridge.gauges().broker_has_all);
  s.bridge.Step(BrokerDown{}, s.now, out);
  CHECK_FALSE(s.bridge.gauges().broker_has_all);
}

TEST_CASE("kept session: a record loaded again counts as it was said last") {
  Successor s(true);
  v1::Presence away;
  away.set_session(1);
  away.set_since_ms(2);
  away.set_broker_started_at_ms(1);
  s.bridge.Load(storage::PresenceRecord{Car("a"), {2}, away.SerializeAsString()});
  s.bridge.Load(storage::StateRecord{Car("a"), Group::kBody, {1'700'000'000'000}, Body(2)});
  s.bridge.CheckInvariants();
  CHECK(s.Comes(true) == 0);
  CHECK(s.bridge.gauges().cars_online == 0);
  CHECK(s.bridge.gauges().cars == 1);
  // The older one is older now.
  Effects out;
  s.bridge.Step(Message{{StateTopic(Car("a"), Group::kBody), Body(1), 1, Retain::kNo, 0}}, s.now,
                out);
  CHECK(s.bridge.counters().state_older == 1);
}

}  // namespace latchkey::bridge
