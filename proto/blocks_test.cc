// Blocks: what the wire may say, that merging in any order ends in the same, whom they deny, and
// what happens at the bound.
#include "proto/blocks.h"

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using testing::kNow;
using testing::kSecond;
using testing::Said;
using testing::TestId;

KeyId Key(const std::string& name) {
  return KeyId::Parse(name + std::string(22 - name.size(), '_')).value();
}

BlockScope Scope(const std::string& key, const char* fleet = "", const char* car = "") {
  BlockScope scope{Key(key), {}, {}};
  if (*fleet != '\0') {
    scope.fleet = FleetId::Parse(fleet).value();
  }
  if (*car != '\0') {
    scope.car = CarId::Parse(car).value();
  }
  return scope;
}

Block At(const BlockScope& scope, int64_t ms, bool lifted = false) {
  return {scope, lifted, {ms}, v1::BLOCK_CAUSE_ADMINISTRATOR, "lost", std::nullopt};
}

std::string Text(const Block& block) {
  return block.scope.key.str() + "/" + block.scope.fleet.str() + "/" + block.scope.car.str() +
         (block.lifted ? " lifted " : " stands ") + std::to_string(block.changed_at.ms) + " " +
         v1::BlockCause_Name(block.cause) + " " + block.note + " " +
         (block.command ? block.command->ToText() : "-") + "\n";
}

// Everything held, by both ways of looking.
std::string Text(const Blocks& blocks) {
  std::string text;
  blocks.ForEach([&text](const Block& block) { text += Text(block); });
  std::string listed;
  for (const Block& block : blocks.List(std::nullopt, kBlocksMax)) {
    listed += Text(block);
  }
  CHECK(listed == text);
  return text;
}

v1::Block Wire() {
  v1::Block wire;
  wire.set_key_id(Key("a").str());
  wire.set_fleet("f1");
  wire.set_car("car1");
  wire.set_changed_at_ms(static_cast<uint64_t>(kNow.ms));
  wire.set_cause(v1::BLOCK_CAUSE_OWNER);
  wire.set_note("removed by Ann");
  wire.set_command_id(TestId().ToBytes());
  return wire;
}

TEST_CASE("blocks: the wire's form is checked") {
  struct Row {
    const char* what;
    std::function<void(v1::Block&)> change;
    const char* said;
  };

  const std::vector<Row> rows = {
      {"untouched", [](v1::Block&) {}, "allowed"},
      {"no key", [](v1::Block& b) { b.clear_key_id(); }, "REASON_MALFORMED"},
      {"bad key", [](v1::Block& b) { b.set_key_id("short"); }, "REASON_MALFORMED"},
      {"bad fleet", [](v1::Block& b) { b.set_fleet("F1"); }, "REASON_MALFORMED"},
      {"bad car", [](v1::Block& b) { b.set_car("a/b"); }, "REASON_MALFORMED"},
      {"car without fleet", [](v1::Block& b) { b.clear_fleet(); }, "REASON_MALFORMED"},
      {"whole fleet", [](v1::Block& b) { b.clear_car(); }, "allowed"},
      {"everywhere",
       [](v1::Block& b) {
         b.clear_fleet();
         b.clear_car();
       },
       "allowed"},
      {"no time", [](v1::Block& b) { b.clear_changed_at_ms(); }, "REASON_MALFORMED"},
      {"impossible time", [](v1::Block& b) { b.set_changed_at_ms(~0ULL); }, "REASON_MALFORMED"},
      {"no cause", [](v1::Block& b) { b.clear_cause(); }, "REASON_MALFORMED"},
      {"unknown cause", [](v1::Block& b) { b.set_cause(static_cast<v1::BlockCause>(9)); },
       "REASON_MALFORMED"},
      {"note of 64", [](v1::Block& b) { b.set_note(std::string(64, 'x')); }, "allowed"},
      {"note of 65", [](v1::Block& b) { b.set_note(std::string(65, 'x')); }, "REASON_MALFORMED"},
      {"owner without command", [](v1::Block& b) { b.clear_command_id(); }, "REASON_MALFORMED"},
      {"short command id", [](v1::Block& b) { b.set_command_id("x"); }, "REASON_MALFORMED"},
      {"administrator without command",
       [](v1::Block& b) {
         b.set_cause(v1::BLOCK_CAUSE_ADMINISTRATOR);
         b.clear_command_id();
       },
       "allowed"},
      {"administrator with a short command id",
       [](v1::Block& b) {
         b.set_cause(v1::BLOCK_CAUSE_ADMINISTRATOR);
         b.set_command_id("x");
       },
       "REASON_MALFORMED"},
      {"lifted", [](v1::Block& b) { b.set_lifted(true); }, "allowed"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    v1::Block wire = Wire();
    row.change(wire);
    const Result<Block> block = BlockFromWire(wire);
    CHECK(Said(block) == row.said);
    if (block) {
      CHECK(BlockToWire(*block).SerializeAsString() == wire.SerializeAsString());
      CHECK(wire.ByteSizeLong() <= kBlockBytesMax);
    }
  }
}

TEST_CASE("blocks: the longest block fits its bound, and a full message fits its own") {
  v1::Block wire = Wire();
  wire.set_fleet(std::string(32, 'f'));
  wire.set_car(std::string(32, 'c'));
  wire.set_lifted(true);
  wire.set_changed_at_ms(253402300799999);
  wire.set_note(std::string(64, 'n'));
  REQUIRE(BlockFromWire(wire));
  CHECK(wire.ByteSizeLong() <= kBlockBytesMax);
  v1::ControlAnswer answer;
  answer.set_request_id(~0ULL);
  answer.set_text(std::string(256, 't'));
  for (size_t i = 0; i < kBlocksPerMessageMax; ++i) {
    *answer.add_blocks() = wire;
  }
  CHECK(answer.ByteSizeLong() <= kControlBytesMax);
}

// Every change to one scope that two times, two notes, two causes and two commands make.
std::vector<Block> AllChanges() {
  std::vector<Block> changes;
  for (unsigned bits = 0; bits < 32; ++bits) {
    Block block = At(Scope("a", "f1", "c1"), 1 + (bits & 1U), (bits & 2U) != 0);
    block.note = (bits & 4U) != 0 ? "x" : "";
    block.cause = (bits & 8U) != 0 ? v1::BLOCK_CAUSE_OWNER : v1::BLOCK_CAUSE_ADMINISTRATOR;
    block.command = (bits & 16U) != 0 ? std::optional(TestId()) : std::nullopt;
    changes.push_back(block);
  }
  return changes;
}

Block Joined(const std::vector<Block>& changes) {
  Blocks blocks;
  for (const Block& change : changes) {
    REQUIRE(blocks.Merge(change));
  }
  REQUIRE(blocks.size() == 1);
  return *blocks.Find(changes.front().scope);
}

TEST_CASE("blocks: merging is commutative, associative and idempotent") {
  const std::vector<Block> all = AllChanges();
  for (const Block& a : all) {
    CHECK(Joined({a, a}) == a);
    for (const Block& b : all) {
      const Block ab = Joined({a, b});
      CHECK(ab == Joined({b, a}));
      CHECK(Joined({a, b, a, b}) == ab);
      CHECK((ab == a || ab == b));
      for (const Block& c : all) {
        const bool associative = Joined({ab, c}) == Joined({a, Joined({b, c})});
        CHECK_MESSAGE(associative, Text(a) << Text(b) << Text(c));
      }
    }
  }
}

TEST_CASE("blocks: the newest change wins, and at the same time the one that stands") {
  const BlockScope scope = Scope("a");
  CHECK(Joined({At(scope, 1), At(scope, 2, true)}).lifted);
  CHECK_FALSE(Joined({At(scope, 2), At(scope, 1, true)}).lifted);
  CHECK_FALSE(Joined({At(scope, 2), At(scope, 2, true)}).lifted);
  Block owner = At(scope, 2);
  owner.cause = v1::BLOCK_CAUSE_OWNER;
  owner.command = TestId();
  CHECK(Joined({owner, At(scope, 2)}).cause == v1::BLOCK_CAUSE_ADMINISTRATOR);
}

TEST_CASE("blocks: Merge says whether something was taken") {
  Blocks blocks;
  const BlockScope scope = Scope("a");
  CHECK(*blocks.Merge(At(scope, 5)));
  CHECK_FALSE(*blocks.Merge(At(scope, 5)));
  CHECK_FALSE(*blocks.Merge(At(scope, 4, true)));
  CHECK_FALSE(*blocks.Merge(At(scope, 5, true)));
  CHECK(*blocks.Merge(At(scope, 6, true)));
  CHECK(blocks.standing() == 0);
  CHECK(*blocks.Merge(At(scope, 6)));
  CHECK(blocks.standing() == 1);
  CHECK(blocks.size() == 1);
}

TEST_CASE("blocks: replicas that saw the same changes in any order, split and doubled, are equal") {
  constexpr unsigned kSeed = 20231114;
  std::mt19937 random(kSeed);
  const auto pick = [&random](unsigned below) { return static_cast<int>(random() % below); };
  for (int round = 0; round < 200; ++round) {
    std::vector<Block> changes;
    for (int i = 0; i < 60; ++i) {
      const char* fleets[] = {"", "f1", "f2"};
      const char* fleet = fleets[pick(3)];
      const char* car = *fleet != '\0' && pick(2) == 0 ? "c1" : "";
      Block block = At(Scope(std::string(1, static_cast<char>('a' + pick(4))), fleet, car),
                       1 + pick(6), pick(2) == 0);
      block.note = std::string(1, static_cast<char>('a' + pick(3)));
      changes.push_back(block);
    }
    Blocks first;
    for (const Block& change : changes) {
      REQUIRE(first.Merge(change));
    }
    // The second replica hears two halves from others, doubled, and then all the first holds.
    std::shuffle(changes.begin(), changes.end(), random);
    Blocks second;
    Blocks third;
    for (size_t i = 0; i < changes.size(); ++i) {
      REQUIRE((i % 2 == 0 ? second : third).Merge(changes[i]));
    }
    for (const Block& held : third.List(std::nullopt, 1000)) {
      REQUIRE(second.Merge(held));
      REQUIRE(second.Merge(held));
    }
    REQUIRE(Text(first) == Text(second));
    CHECK(first.standing() == second.standing());
    CHECK(first.size() == second.size());
  }
}

TEST_CASE("blocks: a key is denied where a block of its stands, and nowhere else") {
  Blocks blocks;
  CHECK_FALSE(blocks.Denies(Key("a").str(), "f1", "c1"));
  REQUIRE(blocks.Merge(At(Scope("all"), 1)));
  REQUIRE(blocks.Merge(At(Scope("fleet", "f1"), 1)));
  REQUIRE(blocks.Merge(At(Scope("car", "f1", "c1"), 1)));
  REQUIRE(blocks.Merge(At(Scope("lifted"), 1, true)));
  REQUIRE(blocks.Merge(At(Scope("both"), 1, true)));
  REQUIRE(blocks.Merge(At(Scope("both", "f1", "c2"), 1)));

  struct Row {
    const char* key;
    const char* fleet;
    const char* car;
    bool denied;
    bool everywhere;
  };

  const std::vector<Row> rows = {
      {"all", "f1", "c1", true, true},      {"all", "f2", "c9", true, true},
      {"fleet", "f1", "c1", true, false},   {"fleet", "f1", "c9", true, false},
      {"fleet", "f2", "c1", false, false},  {"car", "f1", "c1", true, false},
      {"car", "f1", "c2", false, false},    {"car", "f2", "c1", false, false},
      {"lifted", "f1", "c1", false, false}, {"both", "f1", "c2", true, false},
      {"both", "f1", "c1", false, false},   {"other", "f1", "c1", false, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.key);
    CAPTURE(row.fleet);
    CAPTURE(row.car);
    CHECK(blocks.Denies(Key(row.key).str(), row.fleet, row.car) == row.denied);
    CHECK(blocks.DeniesEverywhere(Key(row.key).str()) == row.everywhere);
  }
  CHECK_FALSE(blocks.Denies("", "f1", "c1"));
  CHECK(blocks.standing() == 4);
  CHECK(blocks.size() == 6);
}

TEST_CASE("blocks: lists page through everything in the order of key, fleet and car") {
  Blocks blocks;
  for (const char* key : {"b", "a", "c"}) {
    REQUIRE(blocks.Merge(At(Scope(key, "f1", "c1"), 1)));
    REQUIRE(blocks.Merge(At(Scope(key), 1)));
    REQUIRE(blocks.Merge(At(Scope(key, "f1"), 1, true)));
    REQUIRE(blocks.Merge(At(Scope(key, "e"), 1)));
  }
  const std::string all = Text(blocks);
  for (size_t most = 1; most <= 13; ++most) {
    std::string paged;
    std::optional<BlockScope> after;
    BlockScope before;
    for (;;) {
      const std::vector<Block> page = blocks.List(after, most);
      if (page.empty()) {
        break;
      }
      CHECK(page.size() <= most);
      for (const Block& block : page) {
        CHECK(before < block.scope);
        before = block.scope;
        paged += Text(block);
      }
      after = page.back().scope;
    }
    CHECK(paged == all);
  }
  CHECK(blocks.List(Scope("bb"), 100).size() == 4);
  CHECK(blocks.List(Scope("b", "e5"), 1).front().scope == Scope("b", "f1"));
  CHECK(blocks.List(Scope("d"), 100).empty());
  CHECK(blocks.Find(Scope("a", "f1", "c2")) == nullptr);
  CHECK(blocks.Find(Scope("z")) == nullptr);
}

TEST_CASE(
    "blocks: when there is no room the lifted one changed first is forgotten, or it is said") {
  Blocks blocks;
  for (size_t i = 0; i < kBlocksMax; ++i) {
    // Two are lifted: number 70 first.
    const bool lifted = i == 30 || i == 70;
    REQUIRE(blocks.Merge(
        At(Scope("k" + std::to_string(i)), lifted ? 100 - static_cast<int64_t>(i) : 1, lifted)));
  }
  CHECK(blocks.size() == kBlocksMax);
  CHECK_FALSE(*blocks.Merge(At(Scope("old"), 29, true)));
  CHECK(blocks.Find(Scope("old")) == nullptr);
  CHECK(*blocks.Merge(At(Scope("x1"), 1)));
  CHECK(blocks.Find(Scope("k70")) == nullptr);
  CHECK(blocks.Find(Scope("k30")) != nullptr);
  CHECK(*blocks.Merge(At(Scope("x2"), 1)));
  CHECK(blocks.Find(Scope("k30")) == nullptr);
  CHECK(blocks.size() == kBlocksMax);
  CHECK(blocks.standing() == kBlocksMax);
  CHECK(Said(blocks.Merge(At(Scope("x3"), 1))) == "REASON_FULL");
  CHECK(Said(blocks.Merge(At(Scope("x3"), 1, true))) == "REASON_FULL");
  CHECK_FALSE(blocks.Denies(Key("x3").str(), "f1", "c1"));
  // What is held can still change, and lifting makes room.
  CHECK(*blocks.Merge(At(Scope("x1"), 2, true)));
  CHECK(*blocks.Merge(At(Scope("x3"), 1)));
  CHECK(blocks.Find(Scope("x1")) == nullptr);
}

TEST_CASE("blocks: a change made here wins over what is held, also with a clock behind") {
  const BlockScope scope = Scope("a");
  Block held = At(scope, kNow.ms);
  for (const Duration ahead : {Duration(-1000), Duration(0), Duration(1), Duration(1000)}) {
    Blocks blocks;
    REQUIRE(blocks.Merge(held));
    const Block change = Change(&held, At(scope, 0, true), kNow + ahead);
    CHECK(change.changed_at >= kNow + ahead);
    CHECK(change.changed_at > held.changed_at);
    CHECK(*blocks.Merge(change));
    CHECK_FALSE(blocks.DeniesEverywhere(scope.key.str()));
  }
  CHECK(Change(nullptr, At(scope, 0), kNow).changed_at == kNow);
}

}  // namespace
}  // namespace latchkey
