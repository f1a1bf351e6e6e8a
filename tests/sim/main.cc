// sim --seed N --steps M [--trace 1]: one run of the simulation, to look at a seed that found
// something.
#include <cstdlib>
#include <iostream>
#include <string>

#include "tests/sim/world.h"

int main(int argc, char** argv) {
  uint64_t seed = 1;
  bool trace = false;
  uint64_t steps = 10'000;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--seed") {
      seed = std::strtoull(argv[i + 1], nullptr, 10);
    } else if (name == "--steps") {
      steps = std::strtoull(argv[i + 1], nullptr, 10);
    } else if (name == "--trace") {
      trace = std::string(argv[i + 1]) == "1";
    } else {
      std::cerr << "usage: sim [--seed N] [--steps M] [--trace 1]\n";
      return 2;
    }
  }
  std::ostream* out = trace ? &std::cout : nullptr;
  uint64_t step = 0;
  try {
    latchkey::sim::World world(seed, out);
    for (; step < steps; ++step) {
      world.Step();
    }
    world.Drain();
    std::cout << "seed " << seed << " " << world.Summary() << "\n";
    return 0;
  } catch (const latchkey::Fault& fault) {
    std::cerr << "seed " << seed << " step " << step << ": " << fault.what() << "\n";
    return 1;
  }
}
