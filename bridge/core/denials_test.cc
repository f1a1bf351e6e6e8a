// Stories of how bridge and plugin come to hold the same blocks.
#include "bridge/core/denials.h"

#include <doctest/doctest.h>

#include "bridge/core/story.h"

namespace latchkey::bridge {

namespace {

Block BlockNumber(int number, int64_t changed_at) {
  std::string text = std::to_string(number);
  text = std::string(21 - text.size(), 'a') + text + "A";
  Block block;
  block.scope.key = KeyId::Parse(text).value();
  block.changed_at = Timestamp{changed_at};
  block.cause = v1::BLOCK_CAUSE_ADMINISTRATOR;
  return block;
}

std::string AnswerTo(const Publish& publish, PluginModel& plugin) {
  v1::BlocksChanged told;
  return plugin.Answer(publish.payload, told);
}

}  // namespace

TEST_CASE("denials: hundreds on either side go over in chunks and pages, the newer change wins") {
  Story s;
  s.BrokerDown();
  for (int i = 0; i < 450; ++i) {
    Block ours = BlockNumber(i, 1000);
    ours.note = "ours";
    s.store.current["block " + std::to_string(i)] = storage::BlockRecord{ours};
    Block theirs = BlockNumber(i + 300, 1000 + i % 3 - 1);
    theirs.note = "theirs";
    REQUIRE(s.plugin.blocks.Merge(theirs).value());
  }
  s.asked = 0;
  s.Restarts(Story::Crash::kProcess);
  CHECK(s.bridge->gauges().blocks == 750);
  CHECK(s.plugin.blocks.size() == 750);
  CHECK(s.bridge->gauges().blocks_agreed);
  CHECK(s.asked == 3 + 4);
  CHECK(s.plugin.blocks.Find(BlockNumber(301, 0).scope)->note == "theirs");  // same time: its note
  CHECK(s.plugin.blocks.Find(BlockNumber(300, 0).scope)->note == "ours");    // theirs was older
  CHECK(s.plugin.blocks.Find(BlockNumber(302, 0).scope)->note == "theirs");  // ours was older
  for (int i = 0; i < 750; ++i) {
    const auto stored = s.store.durable.find("block " + TextOf(BlockNumber(i, 0).scope) +
                                             BlockNumber(i, 0).scope.key.str());
    if (i >= 450 || s.plugin.blocks.Find(BlockNumber(i, 0).scope)->note == "theirs") {
      REQUIRE(stored != s.store.durable.end());
    }
  }
}

TEST_CASE("denials: an unanswered request is sent again, then given up, counted, and begun anew") {
  Story s;
  s.BrokerDown();
  s.plugin_answers = false;
  s.asked = 0;
  s.BrokerUp();
  CHECK_FALSE(s.bridge->gauges().blocks_agreed);
  CHECK(s.asked == 1);
  s.Passes(5s - 1ms);
  CHECK(s.asked == 1);
  s.Passes(1ms);
  CHECK(s.asked == 2);
  s.Passes(15s);
  CHECK(s.asked == kTriesMax);
  CHECK(s.bridge->counters().block_requests_unanswered == 0);
  s.Passes(5s);
  CHECK(s.asked == kTriesMax);
  CHECK(s.bridge->counters().block_requests_unanswered == 1);
  s.plugin_answers = true;
  s.Passes(kAgreeAgainAfter);
  CHECK(s.bridge->gauges().blocks_agreed);
  CHECK(!s.bridge->NextDeadline().has_value());
}

TEST_CASE("denials: a change whose answer is lost is told until it is answered") {
  Story s;
  s.plugin_answers = false;
  s.Sends("k1", "c1", "remove_key", 0s);
  CHECK(s.plugin.blocks.size() == 0);
  s.plugin_answers = true;
  s.Passes(5s);
  CHECK(s.plugin.blocks.standing() == 1);
  CHECK(s.Agrees());
  CHECK(!s.bridge->NextDeadline().has_value());
}

TEST_CASE("denials: the plugin's later change comes back with its answer and is kept") {
  Story s;
  s.Sends("k1", "c1", "remove_key", 0s);
  s.BrokerDown();
  const BlockScope scope{SharedKeys().IdOf("k2"), s.ref.fleet, s.ref.car};
  Block newer = *s.plugin.blocks.Find(scope);
  newer.cause = v1::BLOCK_CAUSE_ADMINISTRATOR;
  newer.changed_at = newer.changed_at + 1h;
  newer.note = "court order";
  REQUIRE(s.plugin.blocks.Merge(newer).value());
  s.Said();
  s.BrokerUp();
  CHECK(s.Said() == "tell block k2 f/car1 | write block k2 f/car1 durable");
  CHECK(s.Agrees());
  CHECK(s.bridge->counters().blocks_taken == 1);
}

TEST_CASE("denials: answers that nobody asked for, or twice, or are no message, do no harm") {
  Story s;
  const std::string topic(kControlAnswerTopic);
  s.Arrives(topic, "\xff\xff");
  s.Arrives(std::string(kBlocksChangedTopic), "\xff\xff");
  CHECK(s.Refused(v1::REASON_MALFORMED) == 2);
  v1::ControlAnswer answer;
  answer.set_request_id(77);
  answer.set_more(true);
  *answer.add_blocks() = BlockToWire(BlockNumber(1, 5));
  answer.add_blocks()->set_key_id("not a key");
  s.Arrives(topic, answer.SerializeAsString());
  s.Arrives(topic, answer.SerializeAsString());
  CHECK(s.bridge->gauges().blocks == 1);  // news is news
  CHECK(s.bridge->counters().blocks_taken == 1);
  CHECK(s.Refused(v1::REASON_MALFORMED) == 4);
  CHECK(s.bridge->gauges().blocks_agreed);
}

TEST_CASE("denials: a plugin whose pages do not go on is not listened to for ever") {
  Counters counters;
  Denials denials(counters);
  Effects out;
  const Now now{kStoryStart, Instant{0}};
  denials.BrokerUp(now, out);
  for (int round = 0; round < 3 && !out.empty(); ++round) {
    const auto* publish = std::get_if<Publish>(&out.back());
    if (publish == nullptr) {
      break;
    }
    v1::Control control;
    REQUIRE(control.ParseFromString(publish->payload));
    v1::ControlAnswer answer;
    answer.set_request_id(control.request_id());
    *answer.add_blocks() = BlockToWire(BlockNumber(1, 5));
    answer.set_more(true);
    out.clear();
    denials.Answered(answer.SerializeAsString(), now, out);
  }
  CHECK(out.empty());
  CHECK_FALSE(denials.agreed());
  CHECK(counters.refused.at(v1::REASON_MALFORMED) == 1);
  CHECK(denials.NextDeadline() == now.mono + kAgreeAgainAfter);
  denials.CheckInvariants();
}

TEST_CASE("denials: a plugin that is full is told the rest, asked, and told again later") {
  Counters counters;
  Denials denials(counters);
  for (int i = 0; i < 201; ++i) {
    denials.Load({BlockNumber(i, 5)});
  }
  PluginModel plugin;
  Effects out;
  Now now{kStoryStart, Instant{0}};
  denials.BrokerUp(now, out);
  v1::Control control;
  REQUIRE(control.ParseFromString(std::get<Publish>(out.back()).payload));
  v1::ControlAnswer full;
  full.set_request_id(control.request_id());
  full.set_reason(v1::REASON_FULL);
  out.clear();
  denials.Answered(full.SerializeAsString(), now, out);
  for (int left = 0; left < 2; ++left) {
    const std::string answer = AnswerTo(std::get<Publish>(out.back()), plugin);
    out.clear();
    denials.Answered(answer, now, out);
  }
  CHECK(plugin.blocks.size() == 1);
  CHECK_FALSE(denials.agreed());
  CHECK(counters.refused.at(v1::REASON_FULL) == 1);
  denials.CheckInvariants();
  out.clear();
  now.mono = now.mono + kAgreeAgainAfter;
  denials.Passes(now, out);
  while (!out.empty() && std::holds_alternative<Publish>(out.back())) {
    const std::string answer = AnswerTo(std::get<Publish>(out.back()), plugin);
    out.clear();
    denials.Answered(answer, now, out);
  }
  CHECK(plugin.blocks.size() == 201);
  CHECK(denials.agreed());
}

TEST_CASE(
    "denials: many changes at once are told together when there are too many to tell singly") {
  Counters counters;
  Denials denials(counters);
  PluginModel plugin;
  Effects out;
  const Now now{kStoryStart, Instant{0}};
  denials.BrokerUp(now, out);
  const std::string empty = AnswerTo(std::get<Publish>(out.front()), plugin);
  out.clear();
  denials.Answered(empty, now, out);
  REQUIRE(denials.agreed());
  CommandId id;
  out.clear();
  for (int i = 0; i < 100; ++i) {
    REQUIRE(denials.Deny(BlockNumber(i, 0).scope.key, RefOf("car1"), id, now, out));
  }
  denials.CheckInvariants();
  int rounds = 0;
  while (!out.empty() && ++rounds < 10) {
    Effects now_said;
    now_said.swap(out);
    for (const Effect& effect : now_said) {
      if (const auto* publish = std::get_if<Publish>(&effect)) {
        denials.Answered(AnswerTo(*publish, plugin), now, out);
      }
    }
  }
  CHECK(plugin.blocks.standing() == 100);
  CHECK(denials.agreed());
}

TEST_CASE("denials: at the bound the lifted block of longest ago is forgotten, in the store too") {
  Counters counters;
  Denials denials(counters);
  for (size_t i = 0; i < kBlocksMax; ++i) {
    Block block = BlockNumber(static_cast<int>(i), 1000);
    block.lifted = i == 70;
    denials.Load({block});
  }
  Effects out;
  const Now now{kStoryStart, Instant{0}};
  const KeyId key = SharedKeys().IdOf("k2");
  CHECK(denials.Deny(key, RefOf("car1"), CommandId{}, now, out));
  const auto erased = std::get<storage::EraseBlock>(std::get<Write>(out.front()).change);
  CHECK(erased.scope == BlockNumber(70, 0).scope);
  out.clear();
  CHECK_FALSE(denials.Deny(SharedKeys().IdOf("k3"), RefOf("car1"), CommandId{}, now, out));
  CHECK(counters.refused.at(v1::REASON_FULL) == 1);
  denials.Lift(key, RefOf("car1"), now, out);
  denials.CheckInvariants();
}

}  // namespace latchkey::bridge
