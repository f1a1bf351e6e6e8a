// The simulation with fixed seeds, and a few fresh ones each time; a failure prints its seed.
#include <chrono>
#include <iostream>

#include <doctest/doctest.h>

#include "tests/sim/world.h"

namespace latchkey::sim {

namespace {

constexpr uint64_t kSteps = 10'000;

constexpr uint64_t kFewSteps = 700;

void Run(uint64_t seed, uint64_t steps) {
  uint64_t step = 0;
  try {
    World world(seed);
    for (; step < steps; ++step) {
      world.Step();
    }
    world.Drain();
    if (steps == kSteps) {
      MESSAGE("seed " << seed << " " << world.Summary());
    }
  } catch (const Fault& fault) {
    FAIL_CHECK("seed " << seed << " step " << step << ": " << std::string(fault.what())
                       << " (sim --seed " << seed << " --steps " << steps << ")");
  }
}

}  // namespace

TEST_CASE("sim: what must always hold does, for fixed seeds") {
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    Run(seed, kSteps);
  }
}

// What is unfinished when everything calms down is different each time.
TEST_CASE("sim: what must always hold does, for many short runs") {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Run(seed, kFewSteps);
  }
}

TEST_CASE("sim: what must always hold does, for fresh seeds") {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto first =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  for (uint64_t seed = first; seed < first + 6; ++seed) {
    Run(seed, kSteps);
  }
}

}  // namespace latchkey::sim
