// Stories of the whole core: what it listens to, when it wants to be called, what it counts.
#include "bridge/core/bridge.h"

#include <doctest/doctest.h>

#include "bridge/core/outbox.h"
#include "bridge/core/story.h"

namespace latchkey::bridge {

TEST_CASE("bridge: what is not its to hear is refused and counted") {
  Story s;
  s.Arrives("lk/2/f/car1/presence", "");
  s.Arrives("somewhere/else", "");
  s.Arrives(PairingTopic(s.ref, SharedKeys().IdOf("k1")), "x");
  s.Arrives(PairingAnswerTopic(s.ref, SharedKeys().IdOf("k1")), "x");
  CHECK(s.Refused(v1::REASON_UNKNOWN_TOPIC) == 4);
  CHECK(s.Said() == "");
}

TEST_CASE("bridge: a command that does not parse, or is retained, is refused without a word") {
  Story s;
  const std::string lane = CommandTopic(s.ref, SharedKeys().IdOf("k1"));
  s.Arrives(lane, "\xff\xff");
  CHECK(s.Refused(v1::REASON_MALFORMED) == 1);
  s.Arrives(lane, std::string(kCommandBytesMax + 1, 'x'));
  CHECK(s.Refused(v1::REASON_TOO_LARGE) == 1);
  CommandRequest request;
  request.ref = RefOf("car2");
  request.issued_at = s.wall;
  request.expires_at = s.wall + 60s;
  request.action.mutable_lock();
  const PrivateKey& k1 = SharedKeys().phones.at("k1");
  s.Arrives(lane, SealCommand(request, k1).value());
  CHECK(s.Refused(v1::REASON_WRONG_CAR) == 1);
  request.ref = s.ref;
  s.Arrives(CommandTopic(s.ref, SharedKeys().IdOf("k2")), SealCommand(request, k1).value());
  CHECK(s.Refused(v1::REASON_WRONG_LANE) == 1);
  s.Arrives(lane, SealCommand(request, k1).value(), Retain::kYes);
  CHECK(s.Refused(v1::REASON_RETAIN_NOT_ALLOWED) == 1);
  CHECK(s.Said() == "");
}

TEST_CASE("bridge: a command with another's signature is refused") {
  Story s;
  CommandRequest request;
  request.ref = s.ref;
  request.issued_at = s.wall;
  request.expires_at = s.wall + 60s;
  request.action.mutable_unlock();
  std::string bytes = SealCommand(request, SharedKeys().phones.at("k1")).value();
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  s.Arrives(CommandTopic(s.ref, SharedKeys().IdOf("k1")), bytes);
  CHECK(s.Said() == "receipt k1 c? REFUSED bad_signature");
}

TEST_CASE("bridge: it wants to be called when something is due and not otherwise") {
  Story s;
  CHECK(!s.bridge->NextDeadline().has_value());
  s.BrokerDown();
  s.BrokerUp();
  s.PresenceAgain();
  CHECK(s.bridge->NextDeadline() == s.mono + 2s);
  s.Passes(2s);
  CHECK(!s.bridge->NextDeadline().has_value());
  s.Sends("k1", "c1", "lock", 60s);
  CHECK(s.bridge->NextDeadline() == s.mono + 60s);
  s.CarConnects();
  CHECK(s.bridge->NextDeadline() == s.mono + 500ms);
  s.CarLeaves();
  CHECK(s.bridge->NextDeadline() == s.mono + 60s);
  s.BrokerUp();
  s.BrokerDown();
  CHECK(s.bridge->NextDeadline() == s.mono + 60s + kAnswerGrace);
}

TEST_CASE("bridge: counters and gauges tell what happened") {
  Story s;
  s.Sends("k1", "c1", "lock", 60s);
  s.CarConnects();
  s.Passes(500ms);
  const Counters& counters = s.bridge->counters();
  CHECK(counters.messages == 5);  // ring, presence, command, presence, the plugin's list of blocks
  CHECK(counters.rings_stored == 1);
  CHECK(counters.commands_seen == 1);
  CHECK(counters.commands_held == 1);
  CHECK(counters.commands_delivered == 1);
  CHECK(counters.commands_closed == 0);
  const Gauges gauges = s.bridge->gauges();
  CHECK(gauges.cars == 1);
  CHECK(gauges.cars_online == 1);
  CHECK(gauges.commands_open == 1);
  CHECK(gauges.commands_held == 1);
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(counters.commands_closed == 1);
  CHECK(s.bridge->gauges().commands_open == 0);
}

TEST_CASE("bridge: the same inputs give the same effects, byte for byte") {
  std::vector<Effects> runs;
  const std::string ring = SharedKeys().Ring(RefOf("car1"), 1, {"k1", "k2"});
  const std::string body = StateBytes(Group::kBody, kStoryStart, 1);
  for (int run = 0; run < 2; ++run) {
    Bridge bridge({}, SharedKeys().Cas());
    Effects out;
    Now now{kStoryStart, Instant{5}};
    bridge.Step(BrokerUp{}, now, out);
    bridge.Step(Message{Publish{KeyRingTopic(RefOf("car1")), ring, 1, Retain::kYes, 0}}, now, out);
    bridge.Step(Message{Publish{StateTopic(RefOf("car1"), Group::kBody), body, 1, Retain::kYes, 0}},
                now, out);
    now.mono = now.mono + 10s;
    bridge.Step(BrokerDown{}, now, out);
    bridge.Step(BrokerUp{}, now, out);
    now.mono = now.mono + 10s;
    bridge.Step(Tick{}, now, out);
    runs.push_back(std::move(out));
  }
  CHECK(runs[0].size() > 3);
  CHECK(runs[0] == runs[1]);
}

}  // namespace latchkey::bridge
