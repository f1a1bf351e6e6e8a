// Rows in which what is around the processes goes wrong: clocks, the network of the cars, the
// broker's memory.
#include <csignal>

#include "tests/faults/fault.h"

namespace latchkey::faults {

namespace {

std::string SetBridgeClock(World& world) {
  int jumps = 0;
  while (!world.load().AllSent()) {
    for (const int seconds : {45, -45, 3600, -3600, 0}) {
      world.SetBridgeClock(seconds);
      ++jumps;
      world.Pass(seconds == 0 ? 1500 : 800);
    }
  }
  world.SetBridgeClock(0);
  Expect(jumps >= 10, "only " + std::to_string(jumps) + " jumps");
  return std::to_string(jumps) + " jumps of 45 s and 1 h, both ways";
}

// Ahead only by little: a car whose clock was ahead by more refuses everything until the truth has
// come up to it, which is right and would leave nothing to see.
std::string SetCarsClock(World& world) {
  int jumps = 0;
  while (!world.load().AllSent()) {
    for (const int seconds : {1, -45, -3600, 2, 0}) {
      world.SetCarsClock(seconds);
      ++jumps;
      world.Pass(seconds == 0 ? 1500 : 800);
    }
  }
  world.SetCarsClock(0);
  Expect(jumps >= 10, "only " + std::to_string(jumps) + " jumps");
  return std::to_string(jumps) + " jumps, ahead by 1 and 2 s, back by 45 s and 1 h";
}

std::string CutNetwork(World& world) {
  int cuts = 0;
  while (!world.load().AllSent()) {
    world.Pass(world.Between(1500, 3000));
    world.proxy().Set(Proxy::Mode::kCut);
    ++cuts;
    world.Pass(world.Between(100, 1000));
    world.proxy().Set(Proxy::Mode::kPass);
  }
  Expect(cuts >= 3, "only " + std::to_string(cuts) + " cuts");
  return std::to_string(cuts) + " cuts";
}

std::string DelayNetwork(World& world) {
  world.proxy().Set(Proxy::Mode::kDelay);
  while (!world.load().AllSent()) {
    world.Pass(1000);
  }
  return "each packet 150 to 600 ms late";
}

std::string HoldNetwork(World& world) {
  int holes = 0;
  while (!world.load().AllSent()) {
    world.Pass(world.Between(1500, 2500));
    world.proxy().Set(Proxy::Mode::kHole);
    ++holes;
    world.Wait(world.Between(1000, 9000));
    world.proxy().Set(Proxy::Mode::kPass);
  }
  Expect(holes >= 2, "only " + std::to_string(holes) + " holes");
  return std::to_string(holes) + " times silent for 1 to 9 s";
}

std::string LoseBrokerMemory(World& world) {
  int losses = 0;
  while (!world.load().AllSent()) {
    world.Pass(world.Between(1500, 3000));
    const bool bridge_last = losses % 4 > 1;  // what cars and phones say until then, nobody keeps
    if (bridge_last) {
      world.bridge().Signal(SIGSTOP);
    }
    if (losses % 2 == 0) {
      world.broker().Kill();
    } else {
      world.broker().Stop();
    }
    std::filesystem::remove(world.cell().path() / "broker" / "mosquitto.db");
    ++losses;
    world.StartBroker();
    if (bridge_last) {
      world.Wait(world.Between(1500, 4000));
      world.bridge().Signal(SIGCONT);
    }
    world.AwaitReady();
  }
  Expect(losses >= 3, "only " + std::to_string(losses) + " losses");
  return std::to_string(losses) + " restarts without mosquitto.db";
}

WorldOptions ByProxy() {
  WorldOptions options;
  options.path = Path::kProxy;
  return options;
}

}  // namespace

std::vector<Fault> WorldFaults() {
  WorldOptions bridge_clock;
  bridge_clock.bridge_clock = Clock::kFaked;
  WorldOptions cars_clock;
  cars_clock.cars_clock = Clock::kFaked;
  cars_clock.late_by = std::chrono::seconds(1);  // from the broker's look to the car's
  WorldOptions memory;
  memory.load.per_second = 400;  // no faster than the bridge comes back
  return {
      {.name = "bridge's clock set", .options = bridge_clock, .inject = SetBridgeClock},
      {.name = "cars' clock set", .options = cars_clock, .inject = SetCarsClock},
      {.name = "network cut", .options = ByProxy(), .inject = CutNetwork},
      {.name = "network delayed", .options = ByProxy(), .inject = DelayNetwork},
      {.name = "network half-open", .options = ByProxy(), .inject = HoldNetwork},
      {.name = "broker's memory lost", .options = memory, .inject = LoseBrokerMemory},
  };
}

}  // namespace latchkey::faults
