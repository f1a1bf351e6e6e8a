// Token buckets: what flows in, what is kept, and what a flood of names or an odd clock does.
#include "plugins/rate.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

constexpr Instant kStart{1'000'000};

Instant After(int64_t ms) {
  return Instant{kStart.ms + ms};
}

int TakeAll(RateLimiter& limiter, std::string_view name, Instant now) {
  int taken = 0;
  while (taken < 1000 && limiter.Take(name, now)) {
    ++taken;
  }
  return taken;
}

TEST_CASE("rate: text is a rate, off, or refused with what to write") {
  CHECK(ParseRate("0.2:5").value() == Rate{0.2, 5});
  CHECK(ParseRate("100:1000").value() == Rate{100, 1000});
  CHECK(ParseRate("1000000:1000000").value() == Rate{1e6, 1e6});
  CHECK(ParseRate("off").value().unlimited());
  for (const char* text :
       {"",      ":",    "5",     "5:",    ":5",        "0:5",      "-1:5",  "5:0",
        "5:0.5", "5:-1", "nan:5", "5:nan", "inf:5",     "5:inf",    "1e2:5", "1:2:3",
        " 1:2",  "1:2 ", "Off",   "1,5:2", "1000001:5", "5:1000001"}) {
    CAPTURE(text);
    const Result<Rate> rate = ParseRate(text);
    CHECK(testing::Said(rate) == "REASON_MALFORMED");
    CHECK(rate.error().text.find("PER_SECOND:BURST") != std::string::npos);
  }
}

TEST_CASE("rate: a burst passes at once, then what flows in, and never more than a burst is kept") {
  RateLimiter limiter(Rate{2, 5}, 10);
  CHECK(TakeAll(limiter, "a", kStart) == 5);
  CHECK_FALSE(limiter.Has("a", After(499)));
  CHECK_FALSE(limiter.Take("a", After(499)));
  CHECK(limiter.Has("a", After(500)));
  CHECK(TakeAll(limiter, "a", After(500)) == 1);
  CHECK(TakeAll(limiter, "a", After(2000)) == 3);
  CHECK(TakeAll(limiter, "a", After(3'600'000)) == 5);
  CHECK(TakeAll(limiter, "b", After(3'600'000)) == 5);  // each name has its own
}

TEST_CASE("rate: a refused try costs nothing, so trying all the time does not keep one out") {
  RateLimiter limiter(Rate{0.1, 1}, 10);
  REQUIRE(limiter.Take("a", kStart));
  int taken = 0;
  for (int64_t ms = 1; ms <= 100'000; ++ms) {
    taken += limiter.Take("a", After(ms)) ? 1 : 0;
  }
  CHECK(taken >= 9);
  CHECK(taken <= 10);
}

TEST_CASE("rate: to ask takes nothing and remembers nothing") {
  RateLimiter limiter(Rate{1, 1}, 10);
  CHECK(limiter.Has("a", kStart));
  CHECK(limiter.Has("a", kStart));
  CHECK(limiter.size() == 0);
  CHECK(limiter.Take("a", kStart));
  CHECK_FALSE(limiter.Has("a", kStart));
}

TEST_CASE("rate: off lets everything pass and remembers nobody") {
  RateLimiter limiter(Rate{}, 10);
  CHECK(TakeAll(limiter, "a", kStart) == 1000);
  CHECK(limiter.Has("a", kStart));
  CHECK(limiter.size() == 0);
}

TEST_CASE("rate: a clock that goes back gives nothing and takes nothing away") {
  RateLimiter limiter(Rate{1, 3}, 10);
  CHECK(limiter.Take("a", kStart));
  CHECK(TakeAll(limiter, "a", After(-100'000)) == 2);
  CHECK_FALSE(limiter.Take("a", After(-100'000)));
  // And goes on from where it is, not from where it was.
  CHECK(limiter.Take("a", After(-99'000)));
  CHECK_FALSE(limiter.Take("a", After(-99'000)));
}

TEST_CASE("rate: a clock that jumps ahead fills a bucket and no more") {
  RateLimiter limiter(Rate{1000, 3}, 10);
  CHECK(TakeAll(limiter, "a", kStart) == 3);
  CHECK(TakeAll(limiter, "a", Instant{INT64_MAX / 4}) == 3);
}

TEST_CASE("rate: beyond its names the one used longest ago is forgotten, and only that") {
  RateLimiter limiter(Rate{0.001, 1}, 3);
  CHECK(limiter.Take("a", kStart));
  CHECK(limiter.Take("b", kStart));
  CHECK(limiter.Take("c", kStart));
  CHECK_FALSE(limiter.Take("a", kStart));  // used last, although refused
  CHECK(limiter.Take("d", kStart));        // forgets b
  CHECK(limiter.size() == 3);
  CHECK_FALSE(limiter.Has("a", kStart));
  CHECK_FALSE(limiter.Has("c", kStart));
  CHECK_FALSE(limiter.Has("d", kStart));
  CHECK(limiter.Has("b", kStart));
}

TEST_CASE("rate: two million names stay within the bound, and one in use stays limited") {
  RateLimiter limiter(Rate{0.001, 1}, 1000);
  REQUIRE(limiter.Take("busy", kStart));
  for (int i = 0; i < 2'000'000; ++i) {
    limiter.Take(std::to_string(i), kStart);
    if (i % 500 == 0) {
      REQUIRE_FALSE(limiter.Take("busy", kStart));
    }
  }
  CHECK(limiter.size() == 1000);
}

TEST_CASE("rate: a limiter for one name at least") {
  RateLimiter limiter(Rate{0.001, 1}, 0);
  CHECK(limiter.Take("a", kStart));
  CHECK_FALSE(limiter.Take("a", kStart));
  CHECK(limiter.Take("b", kStart));
  CHECK(limiter.size() == 1);
}

TEST_CASE("rate: addresses are counted as one subscriber has them") {
  struct Case {
    const char* address;
    const char* name;
  };

  const std::vector<Case> cases = {
      {"192.0.2.1", "192.0.2.1"},
      {"::ffff:192.0.2.1", "192.0.2.1"},
      {"::FFFF:c000:201", "192.0.2.1"},
      {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
      {"2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"},
      {"2001:0DB8:0001:0002::", "2001:db8:1:2::/64"},
      {"2001:db8:1:3::1", "2001:db8:1:3::/64"},
      {"fe80::1%eth0", "fe80::/64"},
      {"::1", "::/64"},
      {"", ""},
      {"not an address", "not an address"},
      {"2001:db8::g", "2001:db8::g"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.address);
    CHECK(RateName(c.address) == c.name);
  }
}

}  // namespace
}  // namespace latchkey
