// What samples say: medians with their spread, and percentiles. Pure.
#pragma once

#include <cstddef>
#include <vector>

namespace latchkey::bench {

// A figure that was taken several times.
struct Spread {
  double median = 0;  // of an even count: the mean of the two in the middle
  // The median of all samples there could be lies between these, with 95 % confidence (by ranks,
  // whatever their distribution). Of fewer than six: the least and the most.
  double low = 0;
  double high = 0;
  double least = 0;
  double most = 0;
  size_t count = 0;  // 0: nothing was measured, and the others say nothing
};

Spread SpreadOf(std::vector<double> samples);

// The nearest-rank percentile: the smallest sample that at least `share` (0 to 1) of all are not
// above. Sorts `samples`. 0 when there are none.
double Percentile(std::vector<double>& samples, double share);

// What latencies are told by.
struct Tail {
  double p50 = 0;
  double p99 = 0;
  double p999 = 0;
  size_t count = 0;
};

Tail TailOf(std::vector<double> samples);

// Each of `figures` by the one of the same round in `baseline`; rounds in which the baseline is not
// above 0 are left out, as is what only one of both has.
std::vector<double> RatiosOf(const std::vector<double>& figures,
                             const std::vector<double>& baseline);

}  // namespace latchkey::bench
