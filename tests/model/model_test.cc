// Histories of keys with fixed seeds, and a few fresh ones each time; a failure prints its seed.
#include <chrono>

#include <doctest/doctest.h>

#include "tests/model/world.h"

namespace latchkey::model {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSteps = 5'000;  // they are ten times slower
#else
constexpr uint64_t kSteps = 100'000;
#endif

void Run(uint64_t seed) {
  uint64_t step = 0;
  try {
    World world(seed);
    for (; step < kSteps; ++step) {
      world.Step();
    }
    CHECK(world.questions() >= kSteps);
    MESSAGE("seed " << seed << ": " << world.Summary());
  } catch (const Fault& fault) {
    FAIL_CHECK("seed " << seed << " step " << step << ": " << fault.what() << " (model --seed "
                       << seed << " --steps " << kSteps << " --trace 1)");
  }
}

TEST_CASE("model: nobody may what the reference forbids, everybody what it allows, fixed seeds") {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Run(seed);
  }
}

TEST_CASE("model: the same for fresh seeds") {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto first =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  for (uint64_t seed = first; seed < first + 3; ++seed) {
    Run(seed);
  }
}

}  // namespace
}  // namespace latchkey::model
