// Memory that two processes of a test share: the preloaded shim and the cars read in it what
// they shall do, and write into it what they did.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <stdexcept>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace latchkey::load {

// Where a process with the shim ends itself with SIGKILL. "Log" is the store's write-ahead log.
enum class CrashPoint : int32_t {
  kNone,
  kBeforeWrite,  // of a batch into the log
  kTornWrite,    // after the first half of a batch's bytes
  kBeforeSync,   // the batch is written and not synced
  kAfterSync,    // it is synced, and nobody has heard of it
  kBeforeSend,   // of bytes to the broker
  kAfterSend,
};

// What the preloaded shim does inside the bridge. All zero: nothing but taking notes.
struct ShimControl {
  struct Synced {
    std::atomic<uint64_t> log;    // number of a log file of the store, 0: none
    std::atomic<uint64_t> bytes;  // of it that a sync has made lasting
  };

  std::atomic<int32_t> crash_point;  // a CrashPoint
  std::atomic<int64_t> crash_in;     // at the n-th time it comes by, 1: the next
  std::atomic<int32_t> sync_errno;   // each sync of the log fails with it; 0: none
  std::atomic<int32_t> write_errno;  // each write into the store's files likewise
  std::atomic<int32_t> sync_ms;      // how long each sync of the log takes more
  std::atomic<int32_t> sync_lies;    // 1: syncs do nothing and are noted as if nothing was synced
  std::atomic<uint64_t> syncs;       // that were let through
  std::atomic<uint64_t> faults;      // calls that were failed or delayed
  std::array<Synced, 256> synced;    // by number modulo its size
};

inline constexpr size_t kCarsMax = 256;

// What the cars' process does.
struct CarsControl {
  std::array<std::atomic<uint8_t>, kCarsMax> awake;   // by car: 1 connected, 0 asleep
  std::array<std::atomic<uint8_t>, kCarsMax> online;  // subscribed, as the car itself sees it
  std::atomic<uint64_t> acted;
};

// `T` in a file that other processes map, too. T is all zero when the file is new.
template <class T>
class Shared {
 public:
  explicit Shared(const std::filesystem::path& path) {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void* mapped = MAP_FAILED;
    if (file >= 0 && ::ftruncate(file, sizeof(T)) == 0) {
      mapped = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
    if (file >= 0) {
      ::close(file);
    }
    if (mapped == MAP_FAILED) {
      throw std::runtime_error("cannot share " + path.string());
    }
    value_ = static_cast<T*>(mapped);
  }

  ~Shared() { ::munmap(value_, sizeof(T)); }

  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  T* operator->() const { return value_; }

 private:
  T* value_ = nullptr;
};

}  // namespace latchkey::load
