// Tests of figures.h.
#include "tools/bench/figures.h"

#include <doctest/doctest.h>

namespace latchkey::bench {

TEST_CASE("figures: a spread is the median between the least and the most") {
  struct Row {
    std::vector<double> samples;
    double median;
    double least;
    double most;
  };

  const std::vector<Row> rows = {
      {{}, 0, 0, 0},
      {{4}, 4, 4, 4},
      {{9, 1, 5}, 5, 1, 9},
      {{8, 2, 4, 6}, 5, 2, 8},
  };
  for (const Row& row : rows) {
    const Spread spread = SpreadOf(row.samples);
    CHECK(spread.median == doctest::Approx(row.median));
    CHECK(spread.least == doctest::Approx(row.least));
    CHECK(spread.most == doctest::Approx(row.most));
    CHECK(spread.count == row.samples.size());
  }
}

TEST_CASE("figures: where the median lies is said by ranks near the middle") {
  struct Row {
    int count;
    double low;
    double high;
  };

  // Of 1, 2 .. count.
  const std::vector<Row> rows = {{1, 1, 1},   {5, 1, 5},    {6, 1, 6},      {10, 1, 10},
                                 {11, 2, 10}, {60, 22, 39}, {240, 104, 137}};
  for (const Row& row : rows) {
    CAPTURE(row.count);
    std::vector<double> samples;
    for (int i = row.count; i >= 1; --i) {
      samples.push_back(i);
    }
    const Spread spread = SpreadOf(samples);
    CHECK(spread.low == doctest::Approx(row.low));
    CHECK(spread.high == doctest::Approx(row.high));
    CHECK(spread.least == doctest::Approx(1));
    CHECK(spread.most == doctest::Approx(row.count));
  }
}

TEST_CASE("figures: a percentile is a sample, of the nearest rank") {
  std::vector<double> hundred;
  for (int i = 100; i >= 1; --i) {
    hundred.push_back(i);
  }
  CHECK(Percentile(hundred, 0.5) == doctest::Approx(50));
  CHECK(Percentile(hundred, 0.99) == doctest::Approx(99));
  CHECK(Percentile(hundred, 0.999) == doctest::Approx(100));
  CHECK(Percentile(hundred, 0) == doctest::Approx(1));
  CHECK(Percentile(hundred, 1) == doctest::Approx(100));
  std::vector<double> none;
  CHECK(Percentile(none, 0.5) == doctest::Approx(0));
  const Tail tail = TailOf(hundred);
  CHECK(tail.p50 == doctest::Approx(50));
  CHECK(tail.p99 == doctest::Approx(99));
  CHECK(tail.p999 == doctest::Approx(100));
  CHECK(tail.count == 100);
}

TEST_CASE("figures: ratios are taken within a round, and not by nothing") {
  const std::vector<double> ratios = RatiosOf({10, 20, 30, 40}, {5, 0, 60});
  REQUIRE(ratios.size() == 2);
  CHECK(ratios[0] == doctest::Approx(2));
  CHECK(ratios[1] == doctest::Approx(0.5));
}

}  // namespace latchkey::bench
