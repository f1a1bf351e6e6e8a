// A cell under load: broker, bridge and cars as real processes that a test may kill, stop and start
// again; and the disk the bridge's store is on.
#pragma once

#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/load/cars.h"
#include "tests/load/load.h"
#include "tests/load/shared.h"
#include "tests/support/cell.h"
#include "tests/support/process.h"
#include "tests/support/proxy.h"

namespace latchkey::load {

// Something is not as the test needs it; what() says what.
class Surprise : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

void Expect(bool holds, const std::string& otherwise);

enum class Disk : uint8_t {
  kPlain,
  kOwn,  // a file system of its own for the store: `disk_mb` of memory
};

// Of a disk of its own, when nothing else is asked for. The store refuses to write below 256 MB.
inline constexpr int kDiskMb = 400;

// Whether the bridge runs with the shim (shim.cc), which costs it a little at each write.
enum class Preload : uint8_t { kShim, kNone };

enum class Path : uint8_t { kDirect, kProxy };  // of the cars to the broker

enum class Clock : uint8_t { kTrue, kFaked };

struct WorldOptions {
  LoadOptions load;
  Disk disk = Disk::kPlain;
  int disk_mb = kDiskMb;  // of a disk of its own
  Preload preload = Preload::kShim;
  // Until the bridge serves, and until it knows the cars.
  std::chrono::milliseconds start_patience = testing::kPatience;
  uint64_t seed = 0;  // of all chances of the world; 0: each time other ones
  Path path = Path::kDirect;
  Clock bridge_clock = Clock::kTrue;
  Clock cars_clock = Clock::kTrue;
  // How late a car may begin. A car that slept while its clock was set back knows only that time
  // has not gone back: that a command is alive it has from the broker, which looks when it
  // delivers.
  Duration late_by{0};
};

using testing::Proxy;

class World {
 public:
  explicit World(const WorldOptions& options);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // All, and waits until the bridge knows every car of the load.
  void StartAll();

  // Starts again what has ended; waits until it serves.
  void StartBroker();
  void StartBridge();
  // As StartBridge; false: it ended instead of serving.
  bool TryBridge();
  // Whether the bridge starts with the store as it is. The broker is silent meanwhile, so that it
  // promises nothing; it is killed afterwards.
  bool TryBridgeAlone();
  void StartCars();
  // Waits until the bridge is connected to the broker, or for some seconds.
  void AwaitReady() const;

  testing::Process& broker() { return *broker_; }

  testing::Process& bridge() { return *bridge_; }

  testing::Process& cars() { return *cars_process_; }

  ShimControl& shim() { return *shim_.operator->(); }

  Proxy& proxy() { return *proxy_; }

  Load& load() { return *load_; }

  testing::Cell& cell() { return cell_; }

  std::filesystem::path store() const { return cell_.path() / "bridge" / "store"; }

  const WorldOptions& options() const { return options_; }

  std::mt19937_64& random() { return random_; }

  // From a to b, each as likely.
  int Between(int a, int b) { return std::uniform_int_distribution<int>(a, b)(random_); }

  // Lets this much time pass, or less when the load is all sent: the length of a fault, or between
  // faults.
  void Pass(int ms);

  // Lets this much time pass.
  void Wait(int ms);

  // What faked clocks show beside the truth.
  void SetBridgeClock(int seconds) { SetClock("bridge", seconds); }

  void SetCarsClock(int seconds) { SetClock("cars", seconds); }

  // The store's own disk: what is free becomes `mb`, by a file that fills the rest.
  void FillDisk(int mb);
  void EmptyDisk();
  void MountReadOnly(bool read_only);

  // Makes of the stopped store what a power cut leaves: of its logs only what was synced, and
  // of what was not a random part, as it is or damaged. How many bytes were lost.
  uint64_t CutPower();

  // Up to the settled end: all things run as they should.
  void Heal();

  std::string BridgeLog() const;
  void PrintLogs() const;
  // Copies all logs to a folder, for who looks into a row.
  void KeepLogs(const std::filesystem::path& folder) const;

 private:
  void MakeCars(const std::vector<PrivateKey>& phones);
  void MountDisk();
  void SetClock(const std::string& whose, int seconds);
  std::vector<std::string> BridgeCommand() const;

  WorldOptions options_;
  testing::Cell cell_;
  std::mt19937_64 random_;
  Shared<ShimControl> shim_;
  Shared<CarsControl> control_;
  LoadPlace place_;
  bool mounted_ = false;
  std::unique_ptr<Proxy> proxy_;
  std::unique_ptr<testing::Process> broker_;
  std::unique_ptr<testing::Process> bridge_;
  std::unique_ptr<testing::Process> cars_process_;
  std::unique_ptr<Load> load_;
};

}  // namespace latchkey::load
