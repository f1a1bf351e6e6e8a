// See figures.h.
#include "tools/bench/figures.h"

#include <algorithm>
#include <cmath>

namespace latchkey::bench {

namespace {

constexpr double kNormal95 = 1.96;

}  // namespace

Spread SpreadOf(std::vector<double> samples) {
  if (samples.empty()) {
    return {};
  }
  std::sort(samples.begin(), samples.end());
  const size_t middle = samples.size() / 2;
  const double median =
      samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
  // The ranks n/2 -+ 1.96/2 * sqrt(n): each sample is below the median with a chance of a half.
  const auto count = static_cast<double>(samples.size());
  const double rank = std::floor((count - kNormal95 * std::sqrt(count)) / 2);
  const size_t from_end = rank < 1 ? 0 : static_cast<size_t>(rank) - 1;
  return {median,          samples[from_end], samples[samples.size() - 1 - from_end],
          samples.front(), samples.back(),    samples.size()};
}

double Percentile(std::vector<double>& samples, double share) {
  if (samples.empty()) {
    return 0;
  }
  std::sort(samples.begin(), samples.end());
  // Not one rank too many when the product is a whole number but for its last bit.
  const double rank = std::ceil(share * static_cast<double>(samples.size()) - 1e-9);
  const auto most = static_cast<double>(samples.size());
  return samples[static_cast<size_t>(std::clamp(rank, 1.0, most)) - 1];
}

Tail TailOf(std::vector<double> samples) {
  return {Percentile(samples, 0.5), Percentile(samples, 0.99), Percentile(samples, 0.999),
          samples.size()};
}

std::vector<double> RatiosOf(const std::vector<double>& figures,
                             const std::vector<double>& baseline) {
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(figures.size(), baseline.size()); ++i) {
    if (baseline[i] > 0) {
      ratios.push_back(figures[i] / baseline[i]);
    }
  }
  return ratios;
}

}  // namespace latchkey::bench
