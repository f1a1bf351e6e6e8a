// Rows in which the disk under the bridge's store fails.
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "tests/faults/fault.h"
#include "tests/faults/flips.h"

namespace latchkey::faults {

namespace {

using std::chrono::milliseconds;
using testing::Eventually;

// The bridge asks a failed store again after up to 15 s.
constexpr milliseconds kNotice{45000};

// While the store cannot write, phones are told so; when it can, commands are held again.
void ExpectRefusals(World& world, size_t before) {
  const bool told = Eventually(
      [&] { return world.load().refused_by_store() > before || world.load().AllSent(); }, kNotice);
  Expect(told && world.load().refused_by_store() > 0,
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

// `lies`: the disk says that it has synced and has not. The bridge may then find its store damaged
// and refuse it; somebody moves it away.
std::string CutPowerOf(World& world, bool lies) {
  int cuts = 0;
  int refused = 0;
  uint64_t lost = 0;
  world.shim().sync_lies = lies ? 1 : 0;
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
    if (!lies) {
      world.StartBridge();
    } else if (!world.TryBridge()) {
      Expect(world.BridgeLog().find("is damaged") != std::string::npos ||
                 world.BridgeLog().find("does not open") != std::string::npos,
             "the bridge does not start and does not say that its store is damaged");
      ++refused;
      std::filesystem::remove_all(world.store());
      world.StartBridge();
    }
  }
  Expect(cuts >= 3 && lost > 0,
         "only " + std::to_string(cuts) + " cuts with " + std::to_string(lost) + " bytes lost");
  return std::to_string(cuts) + " power cuts, " + std::to_string(lost) +
         " unsynced bytes of logs lost, torn or changed" +
         (lies ? ", " + std::to_string(refused) + " starts refused" : "");
}

std::string CutPower(World& world) {
  return CutPowerOf(world, false);
}

std::string CutPowerOfALiar(World& world) {
  return CutPowerOf(world, true);
}

// Bytes of what the cars have written of their acts.
size_t ActBytes(World& world) {
  size_t bytes = 0;
  for (size_t car = 0; car < world.options().load.cars; ++car) {
    std::error_code none;  // a car that has not acted has no file
    const auto size =
        std::filesystem::file_size(CarFolder(world.cell().path(), car) / "acts.log", none);
    bytes += none ? 0 : static_cast<size_t>(size);
  }
  return bytes;
}

// Each time the cars are killed, amidst their acts, they wake with the memory they had at the
// beginning.
std::string MakeCarsForget(World& world) {
  namespace fs = std::filesystem;
  const auto memories = [&](const std::string& from, const std::string& to) {
    for (size_t car = 0; car < world.options().load.cars; ++car) {
      const fs::path folder = CarFolder(world.cell().path(), car);
      fs::copy_file(folder / from, folder / to, fs::copy_options::overwrite_existing);
    }
  };
  world.cars().Kill();
  memories("memory.bin", "kept.bin");
  world.StartCars();
  int kills = 0;
  while (!world.load().AllSent()) {
    const size_t before = ActBytes(world);
    for (int looks = 0; looks < 1000 && ActBytes(world) == before; ++looks) {
      world.Pass(2);
    }
    world.Pass(world.Between(0, 40));
    world.cars().Kill();
    ++kills;
    memories("kept.bin", "memory.bin");
    world.StartCars();
  }
  return std::to_string(kills) + " kills, each with the memory of the beginning";
}

constexpr int kFlips = 200;
constexpr int kFlipsOfRunning = 6;

// What the real bridge does with a flipped bit: it does not start and says why, or starts and tells
// of what it lost. In between the store is put back, so that the load can go on.
std::string FlipBits(World& world) {
  namespace fs = std::filesystem;
  const fs::path kept = world.cell().path() / "kept";
  int refused = 0;
  int started = 0;
  for (int i = 0; i < kFlipsOfRunning; ++i) {
    world.Pass(world.Between(800, 1500));
    world.bridge().Kill();
    fs::remove_all(kept);
    fs::copy(world.store(), kept, fs::copy_options::recursive);
    const std::string place = FlipOneBit(world.store(), world.random());
    const size_t log_before = world.BridgeLog().size();
    if (world.TryBridgeAlone()) {
      ++started;
    } else {
      ++refused;
      const std::string said = world.BridgeLog().substr(log_before);
      Expect(said.find("bridge_cannot_run") != std::string::npos,
             "the bridge does not start with a bit flipped in " + place + " and does not say why");
    }
    fs::remove_all(world.store());
    fs::copy(kept, world.store(), fs::copy_options::recursive);
    world.StartBridge();
  }
  return std::to_string(refused) + " starts refused, " + std::to_string(started) + " started";
}

std::string FlipStored(World& world) {
  world.bridge().Kill();
  const FlipTally tally =
      FlipAndRead(world.store(), world.cell().path() / "scratch", kFlips, world.random());
  Expect(tally.wrong == 0, std::to_string(tally.wrong) +
                               " flips made the store say what nobody "
                               "had written");
  Expect(tally.silent == 0, std::to_string(tally.silent) +
                                " flips lost something and nobody was told, in " + tally.where);
  world.StartBridge();
  return "; read again after " + std::to_string(kFlips) +
         " flips: " + std::to_string(tally.refused) + " refused to open, " +
         std::to_string(tally.told) + " told of, " + std::to_string(tally.harmless) +
         " harmless, " + std::to_string(tally.as_torn) + " in a log's last record";
}

}  // namespace

std::vector<Fault> DiskFaults() {
  WorldOptions own_disk;
  own_disk.disk = Disk::kOwn;
  own_disk.load.per_second = 450;  // the load is there until the fault has been done often
  WorldOptions read_only =
      own_disk;  // a refusal is a fast answer: a fast load would be all of them
  read_only.load.per_second = 200;
  WorldOptions slow;
  slow.load.per_second = 200;
  WorldOptions slower;
  slower.load.per_second = 450;
  return {
      {.name = "disk full", .options = own_disk, .inject = FillDisk, .needs_mount = true},
      {.name = "disk read-only", .options = read_only, .inject = MakeReadOnly, .needs_mount = true},
      {.name = "sync fails", .options = slow, .inject = FailSync},
      {.name = "sync slow", .options = {}, .inject = SlowSync},
      {.name = "power cut, log torn", .options = {}, .inject = CutPower},
      {.name = "bits flipped", .options = slower, .inject = FlipBits, .afterwards = FlipStored},
  };
}

std::vector<Fault> Controls() {
  WorldOptions few;
  few.load.commands = 3000;
  few.load.per_second = 300;
  return {
      {.name = "control: disk lies",
       .options = few,
       .inject = CutPowerOfALiar,
       .seen = [](const Tally& tally) { return tally.lost > 0; }},
      {.name = "control: cars forget",
       .options = few,
       .inject = MakeCarsForget,
       .seen = [](const Tally& tally) { return tally.twice > 0; }},
  };
}

}  // namespace latchkey::faults
