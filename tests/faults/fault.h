// A row of the table: a fault, how it is done to a cell under load, and what must be seen of it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/load/judge.h"
#include "tests/load/world.h"

namespace latchkey::faults {

using load::CarFolder;
using load::Clock;
using load::CrashPoint;
using load::Disk;
using load::Expect;
using load::Path;
using load::Proxy;
using load::Surprise;
using load::Tally;
using load::World;
using load::WorldOptions;

struct Fault {
  std::string name;
  WorldOptions options;
  // Does the fault, again and again, until the load is sent. Returns what it did, for the table,
  // for example "9 kills". Throws Surprise when it could not, or when what must follow did not.
  std::function<std::string(World& world)> inject;
  // After everything runs again and each command has ended; empty: nothing more. Likewise.
  std::function<std::string(World& world)> afterwards{};
  // A control: something is broken on purpose that Latchkey rests on, and the suite must see it.
  // True: it did.
  std::function<bool(const Tally& tally)> seen{};
  // Runs beside others: it mostly waits.
  bool beside = false;
  // Needs a file system of its own.
  bool needs_mount = false;
};

std::vector<Fault> ProcessFaults();  // killed and stopped
std::vector<Fault> DiskFaults();     // full, read-only, failing, slow, torn, flipped
std::vector<Fault> WorldFaults();    // clocks, network, the broker's memory
std::vector<Fault> Controls();

}  // namespace latchkey::faults
