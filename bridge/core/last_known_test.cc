// Stories of last-known state.
#include "bridge/core/last_known.h"

#include <doctest/doctest.h>

#include "bridge/core/story.h"

namespace latchkey::bridge {

TEST_CASE("last known: a newer message is stored, an equal or older one is counted") {
  Story s;
  s.StateArrives(Group::kBody, 10s, 5, Retain::kNo);
  CHECK(s.Said() == "write state body 5");
  s.StateArrives(Group::kBody, 10s, 5);
  CHECK(s.Said() == "");
  s.StateArrives(Group::kBody, 11s, 6);
  CHECK(s.Said() == "");
  CHECK(s.bridge->counters().state_older == 2);
  s.StateArrives(Group::kBody, 10s, 6);
  CHECK(s.Said() == "write state body 6");
  s.StateArrives(Group::kEnergy, 20s, 1);
  CHECK(s.Said() == "write state energy 1");
  CHECK(s.bridge->counters().state_stored == 3);
}

TEST_CASE("last known: what was observed too far ahead is refused, at the edge it is stored") {
  Story s;
  s.StateArrives(Group::kBody, -kStateAheadMax - 1ms, 1);
  CHECK(s.Said() == "");
  CHECK(s.Refused(v1::REASON_CLOCK_AHEAD) == 1);
  s.StateArrives(Group::kBody, -kStateAheadMax, 2);
  CHECK(s.Said() == "write state body 2");
}

TEST_CASE("last known: what does not parse as its topic's group is refused and counted") {
  Story s;
  s.Arrives(StateTopic(s.ref, Group::kBody), "\xff\xff", Retain::kYes);
  s.Arrives(StateTopic(s.ref, Group::kEnergy), StateBytes(Group::kBody, s.wall, 1), Retain::kYes);
  CHECK(s.Refused(v1::REASON_MALFORMED) == 2);
  v1::StateGroup state;
  state.set_observed_at_ms(1);
  state.mutable_energy()->mutable_soc()->set_value(101);
  s.Arrives(StateTopic(s.ref, Group::kEnergy), state.SerializeAsString(), Retain::kYes);
  CHECK(s.Refused(v1::REASON_IMPOSSIBLE_VALUE) == 1);
  s.Arrives(StateTopic(s.ref, Group::kEnergy), std::string(kStateBytesMax + 1, 'x'), Retain::kYes);
  CHECK(s.Refused(v1::REASON_TOO_LARGE) == 1);
  CHECK(s.Said() == "");
}

TEST_CASE("last known: a broker that comes back empty is given everything") {
  Story s;
  s.StateArrives(Group::kBody, 10s, 5);
  s.StateArrives(Group::kEnergy, 9s, 7);
  s.BrokerDown();
  s.BrokerUp();
  s.Said();
  s.Passes(1999ms);
  CHECK(s.Said() == "");
  s.Passes(1ms);
  CHECK(s.Said() == "publish ring 1 | publish state body 5 | publish state energy 7");
  s.Passes(60s);
  CHECK(s.Said() == "");
  CHECK(s.bridge->counters().republished == 3);
}

TEST_CASE("last known: the broker keeps what it shows as new, and is given what it shows older") {
  Story s;
  s.StateArrives(Group::kBody, 10s, 5);
  s.StateArrives(Group::kEnergy, 9s, 7);
  const std::string body = StateBytes(Group::kBody, s.wall - 10s, 5);
  s.BrokerDown();
  s.BrokerUp();
  s.RingArrives(1, {"k1", "k2"}, Retain::kYes);
  s.Said();
  s.Arrives(StateTopic(s.ref, Group::kBody), body, Retain::kYes);
  s.StateArrives(Group::kEnergy, 30s, 6);
  s.Passes(5s);
  CHECK(s.Said().find("body") == std::string::npos);
  s.BrokerDown();
  s.BrokerUp();
  s.StateArrives(Group::kEnergy, 1s, 8);
  s.Passes(5s);
  CHECK(s.Said().find("publish state energy") == std::string::npos);
}

TEST_CASE("last known: an older retained message is answered with the newer one held") {
  Story s;
  s.StateArrives(Group::kEnergy, 9s, 7);
  s.BrokerDown();
  s.BrokerUp();
  s.StateArrives(Group::kEnergy, 30s, 6);
  s.RingArrives(1, {"k1", "k2"}, Retain::kYes);
  s.Said();
  s.Passes(5s);
  CHECK(s.Said() == "publish state energy 7");
}

TEST_CASE("last known: it waits for the broker to end showing, but not for ever") {
  Story s;
  s.StateArrives(Group::kBody, 10s, 5);
  s.BrokerDown();
  s.BrokerUp();
  s.RingArrives(1, {"k1", "k2"}, Retain::kYes);
  s.Said();
  for (int i = 0; i < 10; ++i) {
    s.Passes(1s);
    s.StateArrives(Group::kEnergy, 1s, static_cast<uint64_t>(i));
  }
  CHECK(s.Said().find("publish") == std::string::npos);
  for (int i = 0; i < 600; ++i) {
    s.Passes(1s);
    s.StateArrives(Group::kEnergy, 1s, static_cast<uint64_t>(i));
  }
  CHECK(s.Said().find("publish state body 5") != std::string::npos);
}

TEST_CASE("last known: while the broker says that it shows, its end is waited for") {
  Story s;
  s.StateArrives(Group::kBody, 10s, 5);
  s.BrokerDown();
  s.BrokerUp();
  s.BrokerShows();
  s.Said();
  for (int i = 0; i < 30; ++i) {
    s.Passes(10s);
    s.StateArrives(Group::kEnergy, 1s, static_cast<uint64_t>(i), Retain::kYes);
  }
  CHECK(s.Said().find("publish") == std::string::npos);
  s.BrokerShown();
  CHECK(s.Said().find("publish ring 1 | publish state body 5") != std::string::npos);
  s.BrokerShows();  // nothing is waited for any more
  s.BrokerShown();
  s.Passes(5s);
  CHECK(s.Said() == "");
}

TEST_CASE("last known: an end that never comes is not waited for longer than ten minutes") {
  Story s;
  s.StateArrives(Group::kBody, 10s, 5);
  s.BrokerDown();
  s.BrokerUp();
  s.BrokerShows();
  s.Said();
  s.Passes(599s);
  CHECK(s.Said() == "");
  s.Passes(2s);
  CHECK(s.Said() == "publish ring 1 | publish state body 5");
}

TEST_CASE("last known: an end that was not announced changes nothing") {
  Story s;
  s.StateArrives(Group::kBody, 10s, 5);
  s.BrokerDown();
  s.BrokerUp();
  s.Said();
  s.BrokerShown();
  CHECK(s.Said() == "");
  s.Passes(2s);
  CHECK(s.Said() == "publish ring 1 | publish state body 5");
  s.BrokerDown();
  s.BrokerShown();
  s.BrokerUp();
  s.BrokerShows();
  s.BrokerDown();
  s.BrokerUp();  // shows again, and has not said so yet
  s.Said();
  s.Passes(2s);
  CHECK(s.Said() == "publish ring 1 | publish state body 5");
}

TEST_CASE("last known: a restart remembers, so an older message does not win afterwards") {
  Story s;
  s.StateArrives(Group::kBody, 10s, 5);
  s.Restarts(Story::Crash::kProcess);
  s.Said();
  s.StateArrives(Group::kBody, 20s, 4);
  CHECK(s.Said() == "");
  s.Passes(5s);
  CHECK(s.Said() == "publish ring 1 | publish state body 5");
}

TEST_CASE("last known: a large fleet is given back in bounded steps, each car once") {
  Counters counters;
  const Limits limits;
  LastKnown last_known(limits, counters);
  Effects out;
  for (int i = 0; i < 1000; ++i) {
    const CarRef ref = RefOf("c" + std::to_string(i));
    last_known.Arrived(ref, Group::kBody,
                       Publish{"", StateBytes(Group::kBody, kStoryStart, 1), 1, Retain::kNo, 0},
                       {kStoryStart, Instant{1000}}, out);
  }
  last_known.BrokerUp();
  out.clear();
  int calls = 1;
  while (!last_known.Reconcile(100, out)) {
    CHECK(out.size() <= static_cast<size_t>(calls) * 100);
    REQUIRE(++calls < 100);
  }
  CHECK(calls > 9);
  CHECK(out.size() == 1000);
  last_known.CheckInvariants();
}

TEST_CASE("last known: at the bound of cars one more is refused as full") {
  Limits limits;
  limits.cars_max = 1;
  Story s(limits);
  s.StateArrives(Group::kBody, 1s, 1);
  CHECK(s.Said() == "write state body 1");
  s.Arrives(StateTopic(RefOf("car2"), Group::kBody), StateBytes(Group::kBody, s.wall, 1),
            Retain::kYes);
  CHECK(s.Said() == "");
  CHECK(s.Refused(v1::REASON_FULL) == 1);
}

TEST_CASE("last known: a broker that took an older message after a newer one is given the newer") {
  Story s;
  s.StateArrives(Group::kBody, 10s, 5, Retain::kNo);
  const std::string older = StateBytes(Group::kBody, s.wall - 10s, 5);
  s.Passes(5s);
  s.StateArrives(Group::kBody, 0s, 6, Retain::kNo);
  s.Said();
  s.Arrives(StateTopic(s.ref, Group::kBody),
            older);  // what was given back crossed what the car said
  s.Passes(1s);
  CHECK(s.Said() == "publish state body 6");
  s.Passes(60s);
  CHECK(s.Said() == "");
  s.Arrives(StateTopic(s.ref, Group::kBody), older);
  s.Passes(1s);
  CHECK(s.Said() == "publish state body 6");
}

TEST_CASE("last known: a car whose clock was set back is not fought over") {
  Story s;
  s.StateArrives(Group::kBody, 0s, 5, Retain::kNo);
  s.Said();
  for (uint64_t sequence = 6; sequence < 10; ++sequence) {
    s.StateArrives(Group::kBody, 60s, sequence, Retain::kNo);
    s.Passes(1s);
  }
  CHECK(s.Said() == "");
  s.Passes(60s);
  s.StateArrives(Group::kBody, 0s, 10, Retain::kNo);
  CHECK(s.Said() == "write state body 10");
}

TEST_CASE(
    "last known: when a clock that was ahead is corrected, what comes next is taken at once") {
  Story s;
  s.StateArrives(Group::kBody, -120s, 5, Retain::kNo);
  const std::string ahead = StateBytes(Group::kBody, s.wall + 120s, 5);
  s.Passes(10s);
  s.Said();
  // What was observed before that had arrived is told late, and older.
  s.StateArrives(Group::kBody, 30s, 6, Retain::kNo);
  CHECK(s.Said() == "");
  s.StateArrives(Group::kBody, 0s, 7, Retain::kNo);
  CHECK(s.Said() == "write state body 7");
  s.Passes(1s);
  // The broker shows its old copy: it is given the newer one, and that stays.
  s.Arrives(StateTopic(s.ref, Group::kBody), ahead, Retain::kYes);
  s.Passes(1s);
  CHECK(s.Said() == "publish state body 7");
  s.Passes(200s);
  s.Arrives(StateTopic(s.ref, Group::kBody), ahead, Retain::kNo);
  s.Passes(1s);
  CHECK(s.Said() == "publish state body 7");
  // So it is after a start of the bridge, from what is in the store.
  s.StateArrives(Group::kBody, -120s, 8, Retain::kNo);
  s.Passes(5s);
  s.Restarts(Story::Crash::kProcess);
  s.Said();
  s.StateArrives(Group::kBody, 0s, 9, Retain::kYes);
  CHECK(s.Said() == "write state body 9");
}

TEST_CASE("last known: the word that a place is hidden is taken whatever the time it bears") {
  Story s;
  const auto place = [&s](Duration ago, uint64_t sequence, bool hidden) {
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>((s.wall - ago).ms));
    state.set_sequence(sequence);
    state.mutable_location();
    if (!hidden) {
      state.mutable_location()->mutable_latitude()->set_value(48);
    }
    s.Arrives(StateTopic(s.ref, Group::kLocation), state.SerializeAsString(), Retain::kNo);
    return s.Said();
  };
  CHECK(place(0s, 5, false) == "write state location 5");
  s.Passes(1s);
  s.Said();
  CHECK_MESSAGE(place(2h, 6, true) == "write state location 6", "the clock was set back");
  CHECK_MESSAGE(place(1s, 5, false) == "", "once more, from the broker");
  CHECK(place(0s, 7, false) == "write state location 7");
}

TEST_CASE("last known: cars are counted by their freshest group, again and again") {
  Story s;
  const auto counted = [&] {
    const auto count = s.bridge->gauges().cars_by_freshness;
    return std::to_string(count[0]) + " " + std::to_string(count[1]) + " " +
           std::to_string(count[2]);
  };
  s.CarConnects();
  s.StateArrives(Group::kEnergy, 2h, 1, Retain::kNo);
  s.StateArrives(Group::kBody, 10s, 1, Retain::kNo);
  s.Passes(kFreshnessCountEvery);
  CHECK(counted() == "1 0 0");
  s.Passes(5min);
  CHECK(counted() == "0 1 0");
  s.Passes(1h);
  CHECK(counted() == "0 0 1");
  s.StateArrives(Group::kBody, 0s, 2, Retain::kNo);
  s.CarLeaves();
  s.Passes(kFreshnessCountEvery);
  CHECK(counted() == "0 1 0");  // nothing of a car that is away is live
  s.Restarts(Story::Crash::kProcess);
  s.Passes(kFreshnessCountEvery);
  CHECK(counted() == "0 1 0");
}

TEST_CASE("last known: what is forgotten is neither held nor given back") {
  Counters counters;
  const Limits limits;
  LastKnown last_known(limits, counters);
  Effects out;
  last_known.BrokerUp();
  const Publish publish{"", StateBytes(Group::kBody, kStoryStart, 1), 1, Retain::kNo, 0};
  const Now now{kStoryStart, Instant{1000}};
  CHECK(last_known.Arrived(RefOf("car1"), Group::kBody, publish, now, out) == StateTaken::kStored);
  last_known.Forget(RefOf("car1"));
  last_known.Forget(RefOf("car2"));
  CHECK(last_known.cars() == 0);
  last_known.BrokerUp();
  out.clear();
  CHECK(last_known.Reconcile(100, out));
  CHECK(out.empty());
}

}  // namespace latchkey::bridge
