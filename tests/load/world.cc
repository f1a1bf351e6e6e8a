// See world.h.
#include "tests/load/world.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <thread>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/support/wire_fixtures.h"
#include "tools/ca/ca.h"
#include "tools/car/memory.h"

namespace latchkey::load {

namespace {

using std::chrono::milliseconds;
using testing::Eventually;
using testing::HttpGet;
using testing::Process;

constexpr const char* kBroker = "/usr/sbin/mosquitto";
constexpr const char* kBridge = LK_BINARY_DIR "/bin/latchkey-bridge";
constexpr const char* kShim = LK_BINARY_DIR "/tests/load/fault_shim.so";
constexpr const char* kFakeTime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
constexpr uint64_t kMb = uint64_t{1} << 20;

void Put(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

// Rates protect a cell from one sender; here a few senders are the load of a thousand.
void LiftRates(const std::filesystem::path& configuration) {
  std::istringstream lines(testing::ReadAll(configuration));
  std::string out;
  for (std::string line; std::getline(lines, line);) {
    out += line + "\n";
    if (line.find("latchkey_guard.so") != std::string::npos) {
      out +=
          "plugin_opt_rate_message off\nplugin_opt_rate_command off\n"
          "plugin_opt_rate_claim_address off\n";
    } else if (line.find("latchkey_auth.so") != std::string::npos) {
      out += "plugin_opt_rate_sign_in off\n";
    }
  }
  Put(configuration, out);
}

// Environment of a process that sees another clock. libfaketime reads the file at each call.
std::vector<std::string> FakedBy(const std::filesystem::path& file) {
  return {"FAKETIME_TIMESTAMP_FILE=" + file.string(), "FAKETIME_NO_CACHE=1",
          "FAKETIME_DONT_FAKE_MONOTONIC=1"};
}

}  // namespace

void Expect(bool holds, const std::string& otherwise) {
  if (!holds) {
    throw Surprise(otherwise);
  }
}

World::World(const WorldOptions& options)
    : options_(options),
      random_(options.seed != 0 ? options.seed : static_cast<uint64_t>(TrueTime().ms)),
      shim_(cell_.path() / "shim"),
      control_(cell_.path() / "control") {
  LiftRates(cell_.path() / "broker" / "mosquitto.conf");
  std::vector<PrivateKey> phones;
  for (size_t i = 0; i < kPhones; ++i) {
    phones.push_back(PrivateKey::Generate());
  }
  MakeCars(phones);
  if (options_.disk == Disk::kOwn) {
    MountDisk();
  }
  if (options_.path == Path::kProxy) {
    proxy_ = std::make_unique<Proxy>(cell_.car_port());
  }
  SetBridgeClock(0);
  SetCarsClock(0);
  load_ = std::make_unique<Load>(options_.load, place_, std::move(phones), *control_.operator->());
}

World::~World() {
  load_->Stop();
  cars_process_.reset();
  bridge_.reset();
  broker_.reset();
  if (mounted_) {
    ::umount2(store().c_str(), MNT_DETACH);
  }
}

// Cars whose rings name all phones, so that nobody has to pair.
void World::MakeCars(const std::vector<PrivateKey>& phones) {
  const Timestamp now = TrueTime();
  const tools::Issued ca = cell_.FleetCa("demo");
  place_.ca_file = cell_.path() / "ca" / "cell.pem";
  place_.port = cell_.phone_port();
  place_.cell = cell_.name();
  for (size_t i = 0; i < options_.load.cars; ++i) {
    const CarRef ref = CarOf(i);
    const tools::Issued issued = tools::IssueClient(CarIdentity{ref}, ca, now, 30).value();
    car::Memory memory = car::NewMemory(ref, now);
    for (const PrivateKey& phone : phones) {
      memory.ring.keys.push_back(testing::OnRing(phone.Public(), v1::ROLE_OWNER));
    }
    const std::filesystem::path folder = CarFolder(cell_.path(), i);
    std::filesystem::create_directories(folder);
    Put(folder / "car.pem", issued.certificate_pem);
    Put(folder / "car.key", issued.private_key_pem);
    MemoryFile(folder / "memory.bin").Put(car::SerializeMemory(memory));
    const PrivateKey key = std::move(PrivateKey::FromPem(issued.private_key_pem).value());
    place_.pairings.push_back({ref,
                               "127.0.0.1",
                               cell_.phone_port(),
                               cell_.name(),
                               key.Public(),
                               PemToDer(issued.certificate_pem).value(),
                               memory.ring,
                               {}});
    control_->awake.at(i) = 1;
  }
}

void World::MountDisk() {
  std::filesystem::create_directories(store());
  const std::string size = "mode=0700,size=" + std::to_string(options_.disk_mb) + "m";
  mounted_ = ::mount("tmpfs", store().c_str(), "tmpfs", 0, size.c_str()) == 0;
  Expect(mounted_,
         "cannot mount a disk of its own: SKIPPED needs LATCHKEY_FAULTS_NO_MOUNT=1, else be root");
}

std::vector<std::string> World::BridgeCommand() const {
  std::vector<std::string> command = {"/usr/bin/env"};
  std::string preload;
  if (options_.preload == Preload::kShim) {
    command.push_back("LATCHKEY_SHIM=" + (cell_.path() / "shim").string());
    preload = kShim;
  }
  if (options_.bridge_clock == Clock::kFaked) {
    preload += (preload.empty() ? "" : ":") + std::string(kFakeTime);
    const auto faked = FakedBy(cell_.path() / "bridge.clock");
    command.insert(command.end(), faked.begin(), faked.end());
  }
  if (!preload.empty()) {
    command.push_back("LD_PRELOAD=" + preload);
  }
  command.push_back(kBridge);
  command.push_back("--config");
  command.push_back((cell_.path() / "bridge" / "latchkey.toml").string());
  return command;
}

void World::StartBroker() {
  broker_.reset();
  broker_ = std::make_unique<Process>(
      std::vector<std::string>{kBroker, "-c",
                               (cell_.path() / "broker" / "mosquitto.conf").string()},
      cell_.path() / "test" / "broker.log");
  const bool serves = Eventually([&] {
    testing::RawClient probe({cell_.phone_port(), 4, "probe", {}, {}, {}, {}, true, 0});
    return !broker_->Running() || probe.Connect() >= 0;
  });
  Expect(serves && broker_->Running(), "the broker does not start");
}

bool World::TryBridge() {
  bridge_.reset();
  bridge_ = std::make_unique<Process>(BridgeCommand(), cell_.path() / "test" / "bridge.log");
  const bool serves = Eventually(
      [&] { return !bridge_->Running() || HttpGet(cell_.http_port(), "/readyz").status == 200; },
      options_.start_patience);
  return serves && bridge_->Running();
}

bool World::TryBridgeAlone() {
  broker_->Signal(SIGSTOP);
  bridge_.reset();
  bridge_ = std::make_unique<Process>(BridgeCommand(), cell_.path() / "test" / "bridge.log");
  // It answers once its store is open, with 503 as long as it has no broker.
  Eventually(
      [&] { return !bridge_->Running() || HttpGet(cell_.http_port(), "/readyz").status != 0; });
  const bool starts = bridge_->Running();
  bridge_->Kill();
  broker_->Signal(SIGCONT);
  return starts;
}

void World::StartBridge() {
  Expect(TryBridge(), "the bridge does not start");
}

void World::AwaitReady() const {
  Eventually([&] { return HttpGet(cell_.http_port(), "/readyz").status == 200; },
             milliseconds(10000));
}

void World::StartCars() {
  cars_process_.reset();
  std::vector<std::string> command = {"/usr/bin/env"};
  if (options_.cars_clock == Clock::kFaked) {
    command.push_back(std::string("LD_PRELOAD=") + kFakeTime);
    const auto faked = FakedBy(cell_.path() / "cars.clock");
    command.insert(command.end(), faked.begin(), faked.end());
  }
  const int port = proxy_ ? proxy_->port() : cell_.car_port();
  for (const std::string& word :
       {"/proc/" + std::to_string(::getpid()) + "/exe", std::string("--cars"),
        cell_.path().string(), (cell_.path() / "control").string(), std::to_string(port),
        std::to_string(options_.load.cars)}) {
    command.push_back(word);
  }
  cars_process_ = std::make_unique<Process>(command, cell_.path() / "test" / "cars.log");
}

void World::StartAll() {
  StartBroker();
  StartBridge();
  StartCars();
  size_t known = 0;
  const bool all = Eventually(
      [&] {
        size_t online = 0;
        for (size_t i = 0; i < options_.load.cars; ++i) {
          online += control_->online.at(i);
        }
        for (; online == options_.load.cars && known < online; ++known) {
          const std::string path = "/v1/cars/demo/" + CarOf(known).car.str();
          if (HttpGet(cell_.http_port(), path).status != 200) {
            return false;
          }
        }
        return online == options_.load.cars;
      },
      options_.start_patience);
  Expect(all, "the bridge does not know all cars in time");
}

void World::Pass(int ms) {
  Eventually([&] { return load_->AllSent(); }, milliseconds(ms));
}

void World::Wait(int ms) {
  Eventually([] { return false; }, milliseconds(ms));
}

void World::SetClock(const std::string& whose, int seconds) {
  const std::filesystem::path file = cell_.path() / (whose + ".clock");
  Put(file.string() + ".new", (seconds < 0 ? "" : "+") + std::to_string(seconds) + "s\n");
  std::filesystem::rename(file.string() + ".new", file);
}

void World::FillDisk(int mb) {
  struct statvfs facts = {};
  ::statvfs(store().c_str(), &facts);
  const uint64_t free = uint64_t{facts.f_bavail} * facts.f_frsize;
  const uint64_t wanted = static_cast<uint64_t>(mb) * kMb;
  const int file = ::open((store() / "filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const bool filled =
      file >= 0 && free > wanted &&
      ::posix_fallocate(file, ::lseek(file, 0, SEEK_END), static_cast<off_t>(free - wanted)) == 0;
  ::close(file);
  Expect(filled, "cannot fill the disk");
}

void World::EmptyDisk() {
  ::unlink((store() / "filler").c_str());
}

void World::MountReadOnly(bool read_only) {
  const unsigned long flags =
      MS_REMOUNT | (read_only ? static_cast<unsigned long>(MS_RDONLY) : 0UL);
  Expect(::mount("tmpfs", store().c_str(), "tmpfs", flags, nullptr) == 0,
         "cannot remount the disk");
}

uint64_t World::CutPower() {
  uint64_t lost = 0;
  for (const auto& entry : std::filesystem::directory_iterator(store())) {
    if (entry.path().extension() != ".log") {
      continue;
    }
    const uint64_t number = std::stoull(entry.path().stem().string());
    const ShimControl::Synced& note = shim_->synced.at(number % shim_->synced.size());
    const uint64_t synced = note.log == number ? note.bytes.load() : 0;
    const uint64_t size = entry.file_size();
    if (size <= synced) {
      continue;
    }
    const uint64_t left = synced + random_() % (size - synced + 1);
    std::filesystem::resize_file(entry.path(), left);
    lost += size - left;
    if (left > synced && random_() % 2 == 0) {
      // A page that came to the disk only in part.
      std::fstream file(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
      const uint64_t back = 1 + random_() % std::min<uint64_t>(left - synced, 64);
      file.seekp(static_cast<std::streamoff>(left - back));
      file.put(static_cast<char>(random_()));
    }
  }
  return lost;
}

void World::Heal() {
  shim_->crash_point = static_cast<int32_t>(CrashPoint::kNone);
  shim_->sync_errno = 0;
  shim_->write_errno = 0;
  shim_->sync_ms = 0;
  shim_->sync_lies = 0;
  SetBridgeClock(0);
  SetCarsClock(0);
  if (proxy_) {
    proxy_->Set(Proxy::Mode::kPass);
  }
  for (Process* process : {broker_.get(), bridge_.get(), cars_process_.get()}) {
    process->Signal(SIGCONT);
  }
  if (!broker_->Running()) {
    StartBroker();
  }
  if (!bridge_->Running()) {
    StartBridge();
  }
  if (!cars_process_->Running()) {
    StartCars();
  }
}

std::string World::BridgeLog() const {
  return testing::ReadAll(cell_.path() / "test" / "bridge.log");
}

void World::KeepLogs(const std::filesystem::path& folder) const {
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  std::filesystem::copy(
      cell_.path() / "test", folder,
      std::filesystem::copy_options::overwrite_existing | std::filesystem::copy_options::recursive,
      ignored);
}

void World::PrintLogs() const {
  for (const char* name : {"broker", "bridge", "cars"}) {
    const std::string text = testing::ReadAll(cell_.path() / "test" / (std::string(name) + ".log"));
    constexpr size_t kMost = 4000;
    std::cerr << "===== " << name << "\n"
              << text.substr(text.size() > kMost ? text.size() - kMost : 0);
  }
}

}  // namespace latchkey::load
