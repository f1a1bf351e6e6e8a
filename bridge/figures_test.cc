// Figures of the broker: which topics are figures, and what a broken one does.
#include "bridge/figures.h"

#include <doctest/doctest.h>

#include "proto/blocks.h"
#include "proto/topic.h"

namespace latchkey::bridge {
namespace {

bool Tell(FigureBoard& board, const std::string& topic, const std::string& payload) {
  return board.Take({topic, payload, 0, Retain::kYes, 0});
}

TEST_CASE("figures: counters of refusals and numbers are kept, the newest stands") {
  FigureBoard board;
  CHECK(Tell(board, "$SYS/broker/latchkey/refused/write/wrong_car", "3"));
  CHECK(Tell(board, "$SYS/broker/latchkey/refused/write/wrong_car", "4"));
  CHECK(Tell(board, "$SYS/broker/latchkey/rings", "12"));
  CHECK(Tell(board, "$SYS/broker/latchkey/taps/allowed", "7"));
  const BrokerFigures shown = board.Show();
  CHECK(shown.refused ==
        std::map<std::pair<std::string, std::string>, uint64_t>{{{"write", "wrong_car"}, 4}});
  CHECK(shown.numbers == std::map<std::string, uint64_t>{{"rings", 12}, {"taps_allowed", 7}});
  board.Clear();
  CHECK(board.Show() == BrokerFigures{});
}

TEST_CASE("figures: everything else goes on to the core") {
  FigureBoard board;
  CHECK_FALSE(Tell(board, std::string(kBlocksChangedTopic), "1"));
  CHECK_FALSE(Tell(board, std::string(kEventTopic), "1"));
  CHECK_FALSE(Tell(board, std::string(kControlAnswerTopic), "1"));
  CHECK_FALSE(Tell(board, "lk/1/f/c/presence", "1"));
  CHECK_FALSE(Tell(board, "$SYS/broker/uptime", "1"));
  CHECK(board.Show() == BrokerFigures{});
}

TEST_CASE("figures: what is no figure below their topic is dropped, and so is a flood of names") {
  FigureBoard board;
  for (const char* name : {"", "a b", "A", "1a", "a//b", "a/", "a/b/c/d", "a\"b", "a\nb"}) {
    CHECK(Tell(board, std::string("$SYS/broker/latchkey/") + name, "1"));
  }
  CHECK(Tell(board, "$SYS/broker/latchkey/" + std::string(33, 'a'), "1"));
  for (const char* payload : {"", "-1", "1.5", "x", "1x", "99999999999999999999999"}) {
    CHECK(Tell(board, "$SYS/broker/latchkey/rings", payload));
  }
  CHECK(board.Show() == BrokerFigures{});
  for (size_t i = 0; i < 2 * kFiguresMax; ++i) {
    Tell(board, "$SYS/broker/latchkey/a" + std::to_string(i), "1");
    Tell(board, "$SYS/broker/latchkey/refused/read/a" + std::to_string(i), "1");
  }
  CHECK(board.Show().numbers.size() == kFiguresMax);
  CHECK(board.Show().refused.size() == kFiguresMax);
  Tell(board, "$SYS/broker/latchkey/a1", "2");
  CHECK(board.Show().numbers.at("a1") == 2);
}

}  // namespace
}  // namespace latchkey::bridge
