// How a car comes back: with full jitter, so that those who lost the same broker do not come back
// in one moment.
#include <algorithm>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/car_story.h"

namespace latchkey::car {

namespace {

using testing::kSecond;

// When it dials again after its connection broke so many times in a row; `random` is the last's.
Duration RetryAfter(int breaks, uint64_t random) {
  Story s;
  for (int i = 1; i < breaks; ++i) {
    s.Gives(Disconnected{"test", 0});
  }
  const int dialled = s.connects_;
  s.Gives(Disconnected{"test", random});
  Duration waited(0);
  while (s.connects_ == dialled && waited < kSecond * 61) {
    s.Passes(Duration(10));
    waited += Duration(10);
  }
  return waited;
}

}  // namespace

TEST_CASE("car: the wait is anywhere from none to a bound that doubles up to a minute") {
  CHECK(RetryAfter(1, 0) <= Duration(10));
  CHECK(RetryAfter(1, 999) <= kSecond);
  CHECK(RetryAfter(1, 999) >= Duration(990));
  CHECK(RetryAfter(2, 1999) >= Duration(1990));
  CHECK(RetryAfter(3, 3999) >= Duration(3990));
  CHECK(RetryAfter(7, 59'999) >= Duration(59'990));
  CHECK(RetryAfter(12, 59'999) <= kSecond * 60);
  CHECK(RetryAfter(12, 60'000) <= Duration(10));
}

TEST_CASE("car: two hundred cars that lost one broker come back spread over the whole wait") {
  std::mt19937_64 random(5);
  std::vector<int> tenths(10);
  for (int i = 0; i < 200; ++i) {
    const Duration wait = RetryAfter(4, random());
    REQUIRE(wait <= kSecond * 8 + Duration(10));
    ++tenths[static_cast<size_t>(std::min<int64_t>(9, wait.count() / 800))];
  }
  // 20 in each tenth, give or take.
  CHECK(*std::max_element(tenths.begin(), tenths.end()) < 40);
  CHECK(*std::min_element(tenths.begin(), tenths.end()) > 5);
}

}  // namespace latchkey::car
