// What of a peer's retained state gives way.
#include "plugins/guard/newest.h"

#include <string>

#include <doctest/doctest.h>

#include "latchkey/v1/state.pb.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::guard {
namespace {

using testing::kNow;

struct Story {
  NewestStates newest;
  const std::string name = StateTopic(testing::Ref("f1", "c1"), Group::kDrive);

  bool Take(int64_t seconds, uint64_t sequence, bool from_peer) {
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>(kNow.ms + seconds * 1000));
    state.set_sequence(sequence);
    state.mutable_drive()->mutable_speed()->set_value(1);
    return newest.Take(ParseTopic(name).value(), state.SerializeAsString(), from_peer, kNow);
  }
};

TEST_CASE("newest: nothing is kept before a peer is met, and what is not known gives way") {
  Story s;
  CHECK(s.Take(-5, 9, false));
  CHECK(s.newest.size() == 0);
  s.newest.Begin();
  CHECK(s.Take(-10, 1, true));
  CHECK(s.newest.size() == 1);
}

TEST_CASE("newest: a peer's word that is older or the same does not pass") {
  Story s;
  s.newest.Begin();
  CHECK(s.Take(-10, 5, false));
  CHECK_FALSE(s.Take(-11, 4, true));
  CHECK_FALSE(s.Take(-10, 5, true));
  CHECK(s.Take(-10, 6, true));
  CHECK(s.Take(-9, 7, true));
  CHECK_FALSE(s.Take(-10, 6, true));
}

TEST_CASE("newest: the car's own word always stands, also when its clock went back") {
  Story s;
  s.newest.Begin();
  CHECK(s.Take(-10, 5, false));
  CHECK(s.Take(-100, 6, false));
  CHECK(s.Take(-90, 7, true));
}

TEST_CASE("newest: a time in the future does not hold back what the car said after it") {
  Story s;
  s.newest.Begin();
  CHECK(s.Take(3600, 5, false));
  CHECK_FALSE(s.Take(-2, 4, true));
  CHECK(s.Take(-1, 6, true));
}

TEST_CASE("newest: the peer's word that a place is hidden passes, whatever the time it bears") {
  NewestStates newest;
  newest.Begin();
  const std::string name = StateTopic(testing::Ref("f1", "c1"), Group::kLocation);
  const Topic topic = *ParseTopic(name);
  const auto take = [&](int64_t seconds, uint64_t sequence, bool hidden) {
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>(kNow.ms + seconds * 1000));
    state.set_sequence(sequence);
    state.mutable_location();
    if (!hidden) {
      state.mutable_location()->mutable_latitude()->set_value(48);
    }
    return newest.Take(topic, state.SerializeAsString(), true, kNow);
  };
  CHECK(take(-10, 5, false));
  CHECK_FALSE_MESSAGE(take(-7200, 4, true), "said before");
  CHECK(take(-7200, 6, true));
}

TEST_CASE("newest: what is emptied is forgotten") {
  Story s;
  s.newest.Begin();
  CHECK(s.Take(-10, 5, false));
  CHECK(s.newest.Take(ParseTopic(s.name).value(), "", true, kNow));
  CHECK(s.newest.size() == 0);
}

}  // namespace
}  // namespace latchkey::guard
