// Rates as an operator writes them, and addresses as the network gives them: a line each.
#include <string>

#include "plugins/rate.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {
namespace {

void TryRate(std::string_view text, std::string_view name) {
  const Result<Rate> rate = ParseRate(text);
  if (!rate || rate->unlimited()) {
    return;
  }
  Require(rate->per_second > 0 && rate->per_second <= kRateMax && rate->burst >= 1 &&
              rate->burst <= kRateMax,
          "a rate that parses lets something through, and has a bound");
  RateLimiter limiter(*rate, 1);
  int taken = 0;
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    taken += limiter.Take(name, {0}) ? 1 : 0;
  }
  Require(taken >= 1 && (taken == kTries || taken <= rate->burst), "a burst is a bound");
  Require(limiter.size() <= 1, "no more names are held than may be");
}

}  // namespace

void Try(std::string_view input) {
  std::string_view address = input;
  const std::string_view rate = TakeUntil(address, '\n');
  const std::string name = RateName(address);
  Require(RateName(name) == name, "a name stands for itself");
  TryRate(rate, name);
}

}  // namespace latchkey::fuzz
