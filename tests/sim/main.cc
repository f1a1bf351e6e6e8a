// sim: one run of the simulation, to look at a seed that found something; or
// many with fresh seeds.
//   sim --seed N [--steps M] [--trace 1]
//   sim --many M [--part P]     M steps in runs of their own, seeds from the
//   clock; P: 1 or 2, so
//                               that two at a time take different ones
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>

#include "tests/sim/world.h"

namespace {

using latchkey::sim::Totals;
using latchkey::sim::World;

constexpr uint64_t kStepsPerRun = 10'000;
constexpr uint64_t kStepsPerShortRun = 700;
constexpr uint64_t kShortOnceIn = 4;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kStepsMax = 150'000;  // they are ten times slower
#else
constexpr uint64_t kStepsMax = ~uint64_t{0};
#endif

struct Options {
  uint64_t seed = 1;
  uint64_t steps = kStepsPerRun;
  uint64_t many = 0;
  uint64_t part = 1;
  bool trace = false;
};

// One run; false: it found something, and says what.
bool Run(uint64_t seed, uint64_t steps, std::ostream* trace, Totals& totals) {
  uint64_t step = 0;
  try {
    World world(seed, trace);
    for (; step < steps; ++step) {
      world.Step();
    }
    world.Drain();
    totals.Add(world.totals());
    return true;
  } catch (const std::exception& fault) {
    std::cout << "seed " << seed << " step " << step << ": " << fault.what()
              << "\nagain: sim --seed " << seed << " --steps " << steps << " --trace 1"
              << std::endl;
    return false;
  }
}

// What is unfinished when everything calms down is different each time: so some
// runs are short.
int RunMany(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now).count());
  const uint64_t first = seconds * 100'000 + (options.part - 1) * 50'000;
  const uint64_t steps = std::min(options.many, kStepsMax);
  std::cout << "first seed " << first << std::endl;
  Totals totals;
  uint64_t runs = 0;
  uint64_t failed = 0;
  while (totals.steps < steps && failed < 5) {
    const uint64_t seed = first + runs++;
    failed +=
        Run(seed, seed % kShortOnceIn == 1 ? kStepsPerShortRun : kStepsPerRun, nullptr, totals) ? 0
                                                                                                : 1;
  }
  const double took =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::cout << "runs " << runs << " failed " << failed << " " << totals.ToText() << " in " << took
            << " s" << std::endl;
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (name == "--seed") {
      options.seed = value;
    } else if (name == "--steps") {
      options.steps = value;
    } else if (name == "--many") {
      options.many = value;
    } else if (name == "--part") {
      options.part = value;
    } else if (name == "--trace") {
      options.trace = value == 1;
    } else {
      std::cerr << "usage: sim [--seed N] [--steps M] [--trace 1] | sim --many "
                   "M [--part 1|2]\n";
      return 2;
    }
  }
  if (options.many > 0) {
    return RunMany(options);
  }
  Totals totals;
  const bool good = Run(options.seed, options.steps, options.trace ? &std::cout : nullptr, totals);
  if (good) {
    std::cout << "seed " << options.seed << " " << totals.ToText() << "\n";
  }
  return good ? 0 : 1;
}
