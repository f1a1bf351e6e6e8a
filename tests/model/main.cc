// model --seed N --steps M [--trace 1]: one history, to look at a seed that found something.
#include <cstdlib>
#include <iostream>
#include <string>

#include "tests/model/world.h"

int main(int argc, char** argv) {
  uint64_t seed = 1;
  uint64_t steps = 50'000;
  bool trace = false;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--seed") {
      seed = std::strtoull(argv[i + 1], nullptr, 10);
    } else if (name == "--steps") {
      steps = std::strtoull(argv[i + 1], nullptr, 10);
    } else if (name == "--trace") {
      trace = std::string(argv[i + 1]) == "1";
    } else {
      std::cerr << "usage: model [--seed N] [--steps M] [--trace 1]\n";
      return 2;
    }
  }
  uint64_t step = 0;
  try {
    latchkey::model::World world(seed, trace ? &std::cout : nullptr);
    for (; step < steps; ++step) {
      world.Step();
    }
    std::cout << "seed " << seed << ": " << world.Summary() << "\n";
    return 0;
  } catch (const latchkey::Fault& fault) {
    std::cerr << "seed " << seed << " step " << step << ": " << fault.what() << "\n";
    return 1;
  }
}
