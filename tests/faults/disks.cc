// Rows in which the disk under the bridge's store fails.
#include <cerrno>
#include <map>

#include "storage/rocksdb_store.h"
#include "tests/faults/fault.h"

namespace latchkey::faults {

namespace {

using std::chrono::milliseconds;
using testing::Eventually;

constexpr milliseconds kNotice{15000};

// While the store cannot write, phones are told so; when it can, commands are held again.
void ExpectRefusals(World& world, size_t before) {
  Expect(Eventually([&] { return world.load().refused_by_store() > before; }, kNotice),
         "nobody was told that the store cannot write");
}

void ExpectHolding(World& world) {
  const size_t before = world.load().held();
  Expect(
      Eventually([&] { return world.load().held() > before || world.load().AllSent(); }, kNotice),
      "nothing is held any more although the disk is well again");
}

std::string FillDisk(World& world) {
  int fills = 0;
  for (const int mb : {200, 0, 50, 0}) {
    world.Pass(world.Between(1000, 1800));
    const size_t before = world.load().refused_by_store();
    world.FillDisk(mb);
    ++fills;
    ExpectRefusals(world, before);
    world.Pass(world.Between(200, 1500));
    Expect(world.bridge().Running(), "the bridge died of a full disk");
    world.EmptyDisk();
    ExpectHolding(world);
  }
  return std::to_string(fills) + " times full, " + std::to_string(world.load().refused_by_store()) +
         " refused for it";
}

// As a kernel does that finds its disk broken: writes fail from one moment to the next. And a start
// on a disk that is mounted read-only.
std::string MakeReadOnly(World& world) {
  for (int i = 0; i < 2; ++i) {
    world.Pass(world.Between(1000, 1800));
    const size_t before = world.load().refused_by_store();
    world.shim().write_errno = EROFS;
    ExpectRefusals(world, before);
    world.Pass(world.Between(200, 1000));
    world.shim().write_errno = 0;
    ExpectHolding(world);
    world.Pass(500);
    world.bridge().Kill();
    world.MountReadOnly(true);
    Expect(!world.TryBridge(), "the bridge serves on a read-only disk");
    Expect(world.BridgeLog().find("bridge_cannot_run") != std::string::npos,
           "the bridge does not say why it does not start");
    world.MountReadOnly(false);
    world.StartBridge();
  }
  return "2 times while it ran, 2 starts refused, " +
         std::to_string(world.load().refused_by_store()) + " commands refused";
}

std::string FailSync(World& world) {
  int failures = 0;
  while (!world.load().AllSent()) {
    world.Pass(world.Between(800, 1800));
    if (world.load().AllSent()) {
      break;
    }
    const size_t before = world.load().refused_by_store();
    world.shim().sync_errno = failures % 2 == 0 ? EIO : ENOSPC;
    ++failures;
    ExpectRefusals(world, before);
    world.Pass(world.Between(0, 1000));
    world.shim().sync_errno = 0;
    ExpectHolding(world);
  }
  Expect(failures >= 3, "only " + std::to_string(failures) + " failures");
  return std::to_string(failures) + " times for up to 1 s, " +
         std::to_string(world.load().refused_by_store()) + " refused for it";
}

std::string SlowSync(World& world) {
  int slow = 0;
  while (!world.load().AllSent()) {
    world.Pass(world.Between(500, 1000));
    world.shim().sync_ms = slow % 3 == 2 ? 3000 : world.Between(50, 400);
    ++slow;
    world.Pass(world.Between(1000, 2000));
    world.shim().sync_ms = 0;
  }
  Expect(world.shim().faults > 10, "too few syncs were slow");
  return std::to_string(world.shim().faults) + " syncs of 50 ms to 3 s";
}

std::string CutPower(World& world) {
  int cuts = 0;
  uint64_t lost = 0;
  while (!world.load().AllSent()) {
    world.Pass(world.Between(700, 2000));
    world.shim().crash_in = world.Between(1, 3);
    world.shim().crash_point =
        static_cast<int32_t>(cuts % 2 == 0 ? CrashPoint::kBeforeSync : CrashPoint::kTornWrite);
    if (!Eventually([&] { return !world.bridge().Running(); }, milliseconds(2000))) {
      world.bridge().Kill();
    }
    world.shim().crash_point = static_cast<int32_t>(CrashPoint::kNone);
    lost += world.CutPower();
    ++cuts;
    world.StartBridge();
  }
  Expect(cuts >= 3 && lost > 0,
         "only " + std::to_string(cuts) + " cuts with " + std::to_string(lost) + " bytes lost");
  return std::to_string(cuts) + " power cuts, " + std::to_string(lost) +
         " unsynced bytes of logs lost, torn or changed";
}

}  // namespace

std::vector<Fault> DiskFaults() {
  WorldOptions own_disk;
  own_disk.disk = Disk::kOwn;
  return {
      {.name = "disk full", .options = own_disk, .inject = FillDisk, .needs_mount = true},
      {.name = "disk read-only", .options = own_disk, .inject = MakeReadOnly, .needs_mount = true},
      {.name = "sync fails", .options = {}, .inject = FailSync},
      {.name = "sync slow", .options = {}, .inject = SlowSync},
      {.name = "power cut, log torn", .options = {}, .inject = CutPower},
  };
}

}  // namespace latchkey::faults
