// Rows in which processes are killed and stopped.
#include <array>
#include <csignal>

#include "tests/faults/fault.h"

namespace latchkey::faults {

namespace {

std::string Times(int count, const std::string& what) {
  return std::to_string(count) + " " + what;
}

std::string KillBridge(World& world) {
  int kills = 0;
  while (!world.load().AllSent()) {
    world.Pass(world.Between(600, 2500));
    world.bridge().Kill();
    ++kills;
    world.Pass(world.Between(0, 300));
    world.StartBridge();
  }
  Expect(kills >= 3, "only " + Times(kills, "kills"));
  return Times(kills, "kills");
}

std::string KillBroker(World& world) {
  int kills = 0;
  while (!world.load().AllSent()) {
    world.Pass(world.Between(1000, 3000));
    world.broker().Kill();
    ++kills;
    world.Pass(world.Between(0, 300));
    world.StartBroker();
    world.AwaitReady();
  }
  Expect(kills >= 3, "only " + Times(kills, "kills"));
  return Times(kills, "kills");
}

std::string KillCars(World& world) {
  int kills = 0;
  constexpr int kKillsMax = 20;  // a slow machine gets no more than a fast one
  while (!world.load().AllSent()) {
    world.Pass(world.Between(600, 2500));
    if (kills == kKillsMax) {
      continue;
    }
    world.cars().Kill();
    ++kills;
    world.Pass(world.Between(0, 300));
    world.StartCars();
  }
  Expect(kills >= 3, "only " + Times(kills, "kills of all cars"));
  return Times(kills, "kills of all cars");
}

struct Named {
  CrashPoint point;
  const char* name;
};

constexpr std::array<Named, 6> kPoints = {{{CrashPoint::kBeforeWrite, "before a write"},
                                           {CrashPoint::kTornWrite, "in a write"},
                                           {CrashPoint::kBeforeSync, "before a sync"},
                                           {CrashPoint::kAfterSync, "after a sync"},
                                           {CrashPoint::kBeforeSend, "before a send"},
                                           {CrashPoint::kAfterSend, "after a send"}}};

std::string CrashBridge(World& world) {
  std::array<int, kPoints.size()> crashes{};
  for (size_t i = 0; i < 2 * kPoints.size(); ++i) {
    if (i >= kPoints.size() && world.load().AllSent()) {
      break;
    }
    const Named& named = kPoints.at(i % kPoints.size());
    world.Pass(world.Between(200, 600));
    world.shim().crash_in = world.Between(1, 30);
    world.shim().crash_point = static_cast<int32_t>(named.point);
    const bool died = testing::Eventually([&] { return !world.bridge().Running(); },
                                          std::chrono::milliseconds(10000));
    Expect(died, std::string("the bridge never came to a crash point: ") + named.name);
    ++crashes.at(i % kPoints.size());
    world.StartBridge();
  }
  std::string text = "crashes:";
  for (size_t i = 0; i < kPoints.size(); ++i) {
    text += (i == 0 ? " " : ", ") + Times(crashes.at(i), kPoints.at(i).name);
  }
  return text;
}

void StopFor(World& world, testing::Process& process, int ms) {
  process.Signal(SIGSTOP);
  world.Wait(ms);
  process.Signal(SIGCONT);
}

std::string StopInTurn(World& world) {
  for (const int ms : {2000, 5000}) {
    StopFor(world, world.bridge(), ms);
    world.Pass(1500);
    StopFor(world, world.broker(), ms);
    world.Pass(1500);
    StopFor(world, world.cars(), ms);
    world.Pass(1500);
  }
  return "bridge, broker and cars in turn, 2 and 5 s each";
}

constexpr int kLongStopMs = 120'000;

std::string StopBridgeLong(World& world) {
  world.Pass(4000);
  StopFor(world, world.bridge(), kLongStopMs);
  return "120 s";
}

std::string StopBrokerLong(World& world) {
  world.Pass(4000);
  StopFor(world, world.broker(), kLongStopMs);
  return "120 s";
}

std::string StopCarsLong(World& world) {
  world.Pass(4000);
  StopFor(world, world.cars(), kLongStopMs);
  return "120 s";
}

WorldOptions AtRate(int per_second) {
  WorldOptions options;
  options.load.per_second = per_second;
  return options;
}

}  // namespace

std::vector<Fault> ProcessFaults() {
  return {
      {.name = "none",
       .options = {},
       .inject = [](World&) { return std::string("nothing: the load alone"); }},
      {.name = "bridge killed", .options = {}, .inject = KillBridge},
      {.name = "broker killed", .options = {}, .inject = KillBroker},
      {.name = "cars killed", .options = {}, .inject = KillCars},
      {.name = "bridge crashes", .options = AtRate(450), .inject = CrashBridge},
      {.name = "all stopped in turn", .options = AtRate(450), .inject = StopInTurn},
      {.name = "bridge stopped", .options = AtRate(50), .inject = StopBridgeLong, .beside = true},
      {.name = "broker stopped", .options = AtRate(120), .inject = StopBrokerLong, .beside = true},
      {.name = "cars stopped", .options = AtRate(55), .inject = StopCarsLong, .beside = true},
  };
}

}  // namespace latchkey::faults
