// Stories of presence.
#include "bridge/core/links.h"

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

TEST_CASE("links: what is no presence is refused") {
  Story s;
  s.Arrives(PresenceTopic(s.ref), "\xff\xff", Retain::kYes);
  s.Arrives(PresenceTopic(s.ref), "", Retain::kYes);
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
