// Two plugins that speak to each other, as stories.
#include "plugins/auth/joined.h"

#include <array>
#include <string>

#include <doctest/doctest.h>

#include "proto/crypto.h"
#include "proto/topic.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::auth {
namespace {

using testing::kNow;

Block ABlock(const KeyId& key, int64_t at, bool lifted = false) {
  Block block;
  block.scope.key = key;
  block.changed_at = Timestamp{at};
  block.cause = v1::BLOCK_CAUSE_ADMINISTRATOR;
  block.lifted = lifted;
  return block;
}

KeyId AKey() {
  return PrivateKey::Generate().Public().Id();
}

// Two brokers; what one says the other hears while they are connected.
struct Story {
  std::array<Joined, 2> joined{Joined("", kNow), Joined("b2", kNow)};
  std::array<Blocks, 2> blocks;
  Instant now{1000};
  bool connected = true;
  int messages = 0;

  void Merge(size_t at, const Block& block) {
    REQUIRE(blocks.at(at).Merge(block).has_value());
    joined.at(at).Changed({block});
  }

  void Run(Duration length) {
    for (const Instant until = now + length; now < until;) {
      now = now + std::chrono::milliseconds(100);
      for (size_t from : {size_t{0}, size_t{1}}) {
        for (const Publish& said : joined.at(from).Due(blocks.at(from), now)) {
          CHECK(said.topic == kPeerTopic);
          if (connected) {
            ++messages;
            Hear(1 - from, said.payload);
          }
        }
      }
    }
  }

  void Hear(size_t at, const std::string& payload) {
    const auto heard = joined.at(at).Heard(payload, now);
    REQUIRE(heard.has_value());
    for (const Block& block : *heard) {
      if (blocks.at(at).Merge(block).value()) {
        joined.at(at).Changed({});
      }
    }
  }
};

TEST_CASE("joined: each knows that the other is there, and when it is not") {
  Story s;
  CHECK_FALSE(s.joined[0].Here(s.now));
  s.Run(std::chrono::seconds(3));
  CHECK(s.joined[0].Here(s.now));
  CHECK(s.joined[0].peer() == "b2");
  CHECK(s.joined[1].peer() == "main");
  s.connected = false;
  s.Run(std::chrono::seconds(3));
  CHECK(s.joined[0].Here(s.now));
  s.Run(std::chrono::seconds(3));
  CHECK_FALSE(s.joined[0].Here(s.now));
  CHECK_FALSE(s.joined[0].TakeGone(s.now));
  s.Run(std::chrono::seconds(30));
  CHECK(s.joined[0].TakeGone(s.now));
  CHECK_FALSE(s.joined[0].TakeGone(s.now));
}

TEST_CASE("joined: an end of the connection is known at once") {
  Story s;
  s.Run(std::chrono::seconds(2));
  s.joined[0].Left();
  CHECK_FALSE(s.joined[0].Here(s.now));
}

TEST_CASE("joined: a block set at one is in force at the other at once") {
  Story s;
  s.Run(std::chrono::seconds(2));
  const KeyId key = AKey();
  s.Merge(0, ABlock(key, 5000));
  s.Run(std::chrono::milliseconds(100));
  CHECK(s.blocks[1].DeniesEverywhere(key.str()));
  s.Merge(1, ABlock(key, 6000, true));
  s.Run(std::chrono::milliseconds(100));
  CHECK_FALSE(s.blocks[0].DeniesEverywhere(key.str()));
}

TEST_CASE("joined: what was changed while they were apart is known to both when they meet") {
  Story s;
  s.connected = false;
  const KeyId one = AKey();
  const KeyId two = AKey();
  for (int i = 0; i < 450; ++i) {
    s.Merge(0, ABlock(AKey(), 4000 + i));
  }
  s.Merge(0, ABlock(one, 5000));
  s.Merge(1, ABlock(two, 5000));
  s.Run(std::chrono::seconds(2));
  s.connected = true;
  s.Run(std::chrono::seconds(3));
  CHECK(s.blocks[1].DeniesEverywhere(one.str()));
  CHECK(s.blocks[0].DeniesEverywhere(two.str()));
  CHECK(s.blocks[0].size() == s.blocks[1].size());
  s.messages = 0;
  s.Run(std::chrono::seconds(60));
  CHECK(s.messages <= 130);  // a word a second of each, and nothing else
}

TEST_CASE("joined: words that cannot be are refused") {
  Joined joined("b2", kNow);
  const Instant now{1000};
  CHECK(joined.Heard("\xff\xff", now).error().reason == v1::REASON_MALFORMED);
  v1::PeerWord word;
  for (const std::string& name : {std::string(), std::string("b 1"), std::string(33, 'b')}) {
    word.set_broker(name);
    CHECK(joined.Heard(word.SerializeAsString(), now).error().reason == v1::REASON_MALFORMED);
  }
  word.set_broker("b2");
  CHECK(joined.Heard(word.SerializeAsString(), now).error().reason == v1::REASON_NOT_ALLOWED);
  word.set_broker("main");
  word.add_blocks()->set_key_id("nonsense");
  CHECK(joined.Heard(word.SerializeAsString(), now).error().reason == v1::REASON_MALFORMED);
  CHECK_FALSE(joined.Here(now));
}

}  // namespace
}  // namespace latchkey::auth
