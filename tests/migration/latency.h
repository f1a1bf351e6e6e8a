// How long commands took, in one stretch of time or another.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "tests/load/load.h"

namespace latchkey::migration {

using Moment = std::chrono::steady_clock::time_point;

struct Span {
  Moment begin;
  Moment end;
};

using Spans = std::vector<Span>;

struct Latency {
  size_t commands = 0;
  double p50_ms = 0;
  double p99_ms = 0;
};

struct Latencies {
  Latency done;  // sent until DONE was heard, of cars that are awake all the time
  Latency held;  // sent until HELD was heard, of cars that sleep all the time
};

// Of commands that were sent within one of `within` and answered while nothing of `without` was.
Latencies LatenciesOf(const load::Records& records, const Spans& within, const Spans& without);

// "12.3", and "1.04" of two; "-" when there is nothing to divide by.
std::string Digits(double number, int digits);
std::string Ratio(double part, double whole);

}  // namespace latchkey::migration
