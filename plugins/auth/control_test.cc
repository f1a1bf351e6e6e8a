// The control topic's requests: every refusal, all or nothing, and paging.
#include "plugins/auth/control.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey::auth {
namespace {

using testing::kNow;
using testing::Said;

// A key id of its own for each number.
KeyId Key(size_t n) {
  std::string text = std::to_string(n);
  return KeyId::Parse(std::string(22 - text.size(), 'A') + text).value();
}

Block BlockOf(size_t n, Timestamp changed_at = kNow, bool lifted = false) {
  Block block;
  block.scope.key = Key(n);
  block.lifted = lifted;
  block.changed_at = changed_at;
  block.cause = v1::BLOCK_CAUSE_ADMINISTRATOR;
  return block;
}

v1::Control Merging(const std::vector<Block>& wanted, uint64_t id = 7) {
  v1::Control control;
  control.set_request_id(id);
  control.mutable_merge_blocks();
  for (const Block& block : wanted) {
    *control.mutable_merge_blocks()->add_blocks() = BlockToWire(block);
  }
  return control;
}

Controlled Do(const v1::Control& control, Blocks& blocks) {
  return DoControl(control.SerializeAsString(), blocks);
}

TEST_CASE("control: an echo changes nothing and has its own number") {
  Blocks blocks;
  static_cast<void>(Do(Merging({BlockOf(1)}), blocks));
  v1::Control control;
  control.set_request_id((uint64_t{1} << 63) + 5);
  control.mutable_echo();
  const Controlled done = Do(control, blocks);
  v1::ControlAnswer wanted;
  wanted.set_request_id((uint64_t{1} << 63) + 5);
  CHECK(done.answer.SerializeAsString() == wanted.SerializeAsString());
  CHECK(done.changed.empty());
  CHECK(blocks.size() == 1);
}

TEST_CASE("control: what is merged is in force, and said to have changed") {
  Blocks blocks;
  const Controlled done = Do(Merging({BlockOf(1), BlockOf(2)}), blocks);
  CHECK(Said(done.answer.reason()) == "allowed");
  CHECK(done.answer.request_id() == 7);
  CHECK(done.answer.changed() == 2);
  CHECK(done.answer.blocks_size() == 0);
  CHECK(done.changed == std::vector<Block>{BlockOf(1), BlockOf(2)});
  CHECK(blocks.standing() == 2);
  const Controlled again = Do(Merging({BlockOf(1), BlockOf(2)}), blocks);
  CHECK(again.answer.changed() == 0);
  CHECK(again.answer.blocks_size() == 0);
  CHECK(again.changed.empty());
}

TEST_CASE("control: who is behind is told what is held") {
  Blocks blocks;
  const Block held = BlockOf(1, kNow + Duration(5), true);
  REQUIRE(blocks.Merge(held));
  const Controlled done = Do(Merging({BlockOf(1), BlockOf(2)}), blocks);
  CHECK(done.answer.changed() == 1);
  REQUIRE(done.answer.blocks_size() == 1);
  CHECK(BlockFromWire(done.answer.blocks(0)).value() == held);
}

TEST_CASE("control: only keys of blocks that stand are to be disconnected") {
  CHECK(KeysToDrop({BlockOf(1), BlockOf(2, kNow, true), BlockOf(3)}) ==
        std::vector<KeyId>{Key(1), Key(3)});
}

TEST_CASE("control: nothing is done of a request that is wrong anywhere") {
  struct Case {
    const char* what;
    std::string payload;
    const char* said;
    uint64_t id;
  };

  v1::Control bad_last = Merging({BlockOf(1), BlockOf(2)});
  bad_last.mutable_merge_blocks()->mutable_blocks(1)->set_key_id("short");
  v1::Control car_only = Merging({BlockOf(1)});
  car_only.mutable_merge_blocks()->mutable_blocks(0)->set_car("c1");
  v1::Control no_cause = Merging({BlockOf(1)});
  no_cause.mutable_merge_blocks()->mutable_blocks(0)->clear_cause();
  std::vector<Block> many;
  for (size_t i = 0; i < 201; ++i) {
    many.push_back(BlockOf(i));
  }
  v1::Control list;
  list.mutable_list_blocks()->mutable_after()->set_key_id("short");
  v1::Control nothing;
  nothing.set_request_id(9);
  const std::vector<Case> cases = {
      {"empty", "", "REASON_MALFORMED", 0},
      {"garbage", std::string("\xff\xff\xff\xff garbage"), "REASON_MALFORMED", 0},
      {"no request", nothing.SerializeAsString(), "REASON_MALFORMED", 9},
      {"a bad block last", bad_last.SerializeAsString(), "REASON_MALFORMED", 7},
      {"a car without fleet", car_only.SerializeAsString(), "REASON_MALFORMED", 7},
      {"no cause", no_cause.SerializeAsString(), "REASON_MALFORMED", 7},
      {"201 blocks", Merging(many).SerializeAsString(), "REASON_TOO_LARGE", 7},
      {"60001 bytes", std::string(60001, 'x'), "REASON_TOO_LARGE", 0},
      {"listing after nobody", list.SerializeAsString(), "REASON_MALFORMED", 0},
  };
  for (const Case& c : cases) {
    INFO(c.what);
    Blocks blocks;
    const Controlled done = DoControl(c.payload, blocks);
    CHECK(Said(done.answer.reason()) == c.said);
    CHECK(done.answer.request_id() == c.id);
    CHECK(done.answer.text().size() <= kControlTextBytesMax);
    CHECK_FALSE(done.answer.text().empty());
    CHECK(done.answer.blocks_size() == 0);
    CHECK(done.changed.empty());
    CHECK(blocks.size() == 0);
  }
  many.pop_back();
  Blocks blocks;
  CHECK(Do(Merging(many), blocks).answer.changed() == 200);
}

TEST_CASE("control: damaged requests never do more than they say and never break") {
  const std::string good = Merging({BlockOf(1), BlockOf(2)}).SerializeAsString();
  testing::ForEachDamaged(good, [](const std::string& damaged) {
    Blocks blocks;
    const Controlled done = DoControl(damaged, blocks);
    CHECK(blocks.size() == done.changed.size());
    CHECK(done.answer.changed() == done.changed.size());
    if (done.answer.reason() != v1::REASON_UNSPECIFIED) {
      CHECK(blocks.size() == 0);
    }
  });
}

TEST_CASE("control: all blocks are listed page by page, none twice") {
  Blocks blocks;
  for (size_t i = 0; i < 450; ++i) {
    REQUIRE(blocks.Merge(BlockOf(i, kNow, i % 2 == 0)));
  }
  v1::Control list;
  list.mutable_list_blocks();
  std::vector<int> pages;
  Blocks copy;
  for (bool more = true; more;) {
    const Controlled done = Do(list, blocks);
    REQUIRE(Said(done.answer.reason()) == "allowed");
    REQUIRE(done.answer.blocks_size() > 0);
    CHECK(done.answer.ByteSizeLong() <= kControlBytesMax);
    pages.push_back(done.answer.blocks_size());
    for (const v1::Block& wire : done.answer.blocks()) {
      CHECK(copy.Merge(BlockFromWire(wire).value()).value());
    }
    v1::Block* after = list.mutable_list_blocks()->mutable_after();
    after->set_key_id(done.answer.blocks(done.answer.blocks_size() - 1).key_id());
    more = done.answer.more();
  }
  CHECK(pages == std::vector<int>{200, 200, 50});
  CHECK(copy.size() == 450);
}

TEST_CASE("control: when the blocks are full a request is refused whole, and lifting makes room") {
  Blocks blocks;
  for (size_t i = 0; i + 1 < kBlocksMax; ++i) {
    REQUIRE(blocks.Merge(BlockOf(i)));
  }
  const size_t next = kBlocksMax + 5;
  const Controlled over = Do(Merging({BlockOf(next), BlockOf(next + 1)}), blocks);
  CHECK(Said(over.answer.reason()) == "REASON_FULL");
  CHECK(blocks.size() == kBlocksMax - 1);
  CHECK(Do(Merging({BlockOf(next)}), blocks).answer.changed() == 1);
  CHECK(Said(Do(Merging({BlockOf(next + 1)}), blocks).answer.reason()) == "REASON_FULL");
  // The first may be lifted, and then one more fits.
  CHECK(Do(Merging({BlockOf(0, kNow + Duration(1), true)}), blocks).answer.changed() == 1);
  // Not if the same request lets it stand again.
  CHECK(Said(Do(Merging({BlockOf(0, kNow + Duration(2)), BlockOf(next + 1)}), blocks)
                 .answer.reason()) == "REASON_FULL");
  CHECK(Do(Merging({BlockOf(next + 1)}), blocks).answer.changed() == 1);
  CHECK(blocks.size() == kBlocksMax);
}

TEST_CASE("control: the record of a block is read back, and noise is no block") {
  Block block = BlockOf(3);
  block.scope.fleet = FleetId::Parse("f1").value();
  block.scope.car = CarId::Parse("c1").value();
  block.note = std::string(kBlockNoteBytesMax, 'n');
  block.command = testing::TestId();
  CHECK(BlockRecord(block).size() <= kBlockBytesMax);
  CHECK(BlockOfRecord(BlockRecord(block)).value() == block);
  CHECK(ScopeText(block.scope) == Key(3).str() + " f1/c1");
  CHECK(Said(BlockOfRecord("noise")) == "REASON_MALFORMED");
}

}  // namespace
}  // namespace latchkey::auth
