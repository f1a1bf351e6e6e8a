// Counters and lines of refusals.
#include "plugins/refusals.h"

#include <string>

#include <doctest/doctest.h>

namespace latchkey {
namespace {

TEST_CASE("refusals: each is counted by place and reason, and told once") {
  Refusals refusals;
  for (int i = 0; i < 3; ++i) {
    refusals.Count({At::kRead, v1::REASON_EXPIRED, {}, {}, {}}, Instant{});
  }
  refusals.Count({At::kConnect, v1::REASON_BAD_TOKEN, {}, {}, {}}, Instant{});
  CHECK(refusals.Of(At::kRead, v1::REASON_EXPIRED) == 3);
  CHECK(refusals.Of(At::kWrite, v1::REASON_EXPIRED) == 0);
  const std::vector<Publish> changed = refusals.TakeChanged();
  REQUIRE(changed.size() == 2);
  CHECK(changed[0].topic == "$SYS/broker/latchkey/refused/connect/bad_token");
  CHECK(changed[1].topic == "$SYS/broker/latchkey/refused/read/expired");
  CHECK(changed[1].payload == "3");
  CHECK(refusals.TakeChanged().empty());
}

TEST_CASE("refusals: a line says where, why, who and what, and cannot be forged") {
  Refusals refusals;
  const auto line = refusals.Count(
      {At::kWrite, v1::REASON_WRONG_CAR, "a\"\nlatchkey", "lk/1/x", "text"}, Instant{});
  REQUIRE(line);
  CHECK(*line ==
        "latchkey refused at=write reason=wrong_car who=\"a\\\"\\x0alatchkey\" topic=\"lk/1/x\" "
        "text=\"text\"");
  CHECK(Quoted(std::string(500, 'x')).size() == 165);
}

TEST_CASE("refusals: a flood gives twenty lines a second and says how many it left out") {
  Refusals refusals;
  int lines = 0;
  for (int i = 0; i < 1000; ++i) {
    lines += refusals.Count({At::kRead, v1::REASON_EXPIRED, {}, {}, {}}, Instant{5000}) ? 1 : 0;
  }
  CHECK(lines == kRefusalLinesPerSecondMax);
  CHECK(refusals.Of(At::kRead, v1::REASON_EXPIRED) == 1000);
  CHECK_FALSE(refusals.TakeSuppressed(Instant{5999}));
  const auto left_out = refusals.TakeSuppressed(Instant{6000});
  REQUIRE(left_out);
  CHECK(left_out->find("lines_left_out=980") != std::string::npos);
  CHECK(refusals.Count({At::kRead, v1::REASON_EXPIRED, {}, {}, {}}, Instant{6001}));
}

TEST_CASE("refusals: an unknown reason is counted as ours") {
  Refusals refusals;
  refusals.Count({At::kRing, static_cast<Reason>(999), {}, {}, {}}, Instant{});
  CHECK(refusals.Of(At::kRing, v1::REASON_INTERNAL) == 1);
}

}  // namespace
}  // namespace latchkey
