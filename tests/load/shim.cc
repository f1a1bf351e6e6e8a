// Preloaded into the bridge: makes the store's disk fail, wait, lie or be cut off, and ends the
// process at a named point. What to do stands in a file that LATCHKEY_SHIM names (ShimControl).
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>

#include <dlfcn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/load/shared.h"

namespace {

using latchkey::load::CrashPoint;
using latchkey::load::Shared;
using latchkey::load::ShimControl;

constexpr long kNanosecondsPerMs = 1'000'000;
constexpr int kMsPerSecond = 1000;

ShimControl* Control() {
  static ShimControl* const control = []() -> ShimControl* {
    const char* path = std::getenv("LATCHKEY_SHIM");
    static Shared<ShimControl>* const shared =
        path == nullptr ? nullptr : new Shared<ShimControl>(path);
    return shared == nullptr ? nullptr : shared->operator->();
  }();
  return control;
}

template <class Function>
Function Next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

enum class What : uint8_t { kOther, kLog, kStore, kSocket };

struct Target {
  What what = What::kOther;
  uint64_t log = 0;
};

// What a descriptor is: a socket, a log of the store ("store/000042.log"), another of its files.
Target TargetOf(int file) {
  struct stat facts = {};
  if (::fstat(file, &facts) != 0) {
    return {};
  }
  if (S_ISSOCK(facts.st_mode)) {
    return {What::kSocket, 0};
  }
  char link[64];
  char path[512];
  static_cast<void>(std::snprintf(link, sizeof link, "/proc/self/fd/%d", file));
  const ssize_t size = ::readlink(link, path, sizeof path);
  std::string_view name(path, size > 0 ? static_cast<size_t>(size) : 0);
  const size_t folder = name.rfind("/store/");
  if (folder == std::string_view::npos) {
    return {};
  }
  name.remove_prefix(folder + std::strlen("/store/"));
  uint64_t number = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
  const bool log =
      parsed.ec == std::errc() &&
      std::string_view(parsed.ptr, static_cast<size_t>(name.data() + name.size() - parsed.ptr)) ==
          ".log";
  if (log) {
    return {What::kLog, number};
  }
  // RocksDB's own notes are no part of what is stored.
  return {name.starts_with("LOG") ? What::kOther : What::kStore, 0};
}

// True: this is the moment to end.
bool Due(CrashPoint point) {
  ShimControl* const control = Control();
  return control != nullptr && control->crash_point == static_cast<int32_t>(point) &&
         control->crash_in.fetch_sub(1) == 1;
}

void EndIfDue(CrashPoint point) {
  if (Due(point)) {
    Control()->crash_point = static_cast<int32_t>(CrashPoint::kNone);
    ::kill(::getpid(), SIGKILL);
  }
}

void Wait(int ms) {
  timespec left{ms / kMsPerSecond, ms % kMsPerSecond * kNanosecondsPerMs};
  while (::nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

// Only bytes that were there when the sync began are lasting.
template <class Sync>
int Synced(int file, Sync sync) {
  ShimControl* const control = Control();
  const Target target = control == nullptr ? Target{} : TargetOf(file);
  if (target.what != What::kLog) {
    return sync(file);
  }
  EndIfDue(CrashPoint::kBeforeSync);
  struct stat facts = {};
  ::fstat(file, &facts);
  if (const int ms = control->sync_ms; ms > 0) {
    ++control->faults;
    Wait(ms);
  }
  if (const int error = control->sync_errno; error != 0) {
    ++control->faults;
    errno = error;
    return -1;
  }
  if (control->sync_lies != 0) {
    return 0;
  }
  const int result = sync(file);
  if (result == 0) {
    ShimControl::Synced& note = control->synced.at(target.log % control->synced.size());
    note.bytes = 0;
    note.log = target.log;
    note.bytes = static_cast<uint64_t>(facts.st_size);
    ++control->syncs;
  }
  EndIfDue(CrashPoint::kAfterSync);
  return result;
}

template <class Put>
ssize_t Written(int file, size_t size, Put put) {
  ShimControl* const control = Control();
  const Target target = control == nullptr ? Target{} : TargetOf(file);
  if (target.what == What::kSocket) {
    EndIfDue(CrashPoint::kBeforeSend);
    const ssize_t result = put(size);
    EndIfDue(CrashPoint::kAfterSend);
    return result;
  }
  if (target.what == What::kOther) {
    return put(size);
  }
  if (const int error = control->write_errno; error != 0) {
    ++control->faults;
    errno = error;
    return -1;
  }
  if (target.what == What::kLog) {
    EndIfDue(CrashPoint::kBeforeWrite);
    if (Due(CrashPoint::kTornWrite)) {
      put(size / 2);
      control->crash_point = static_cast<int32_t>(CrashPoint::kNone);
      ::kill(::getpid(), SIGKILL);
    }
  }
  return put(size);
}

}  // namespace

extern "C" {

int fdatasync(int file) {
  static const auto next = Next<int (*)(int)>("fdatasync");
  return Synced(file, next);
}

int fsync(int file) {
  static const auto next = Next<int (*)(int)>("fsync");
  return Synced(file, next);
}

ssize_t write(int file, const void* bytes, size_t size) {
  static const auto next = Next<ssize_t (*)(int, const void*, size_t)>("write");
  return Written(file, size, [&](size_t count) { return next(file, bytes, count); });
}

ssize_t send(int file, const void* bytes, size_t size, int flags) {
  static const auto next = Next<ssize_t (*)(int, const void*, size_t, int)>("send");
  return Written(file, size, [&](size_t count) { return next(file, bytes, count, flags); });
}
}
