// See disk.h.
#include "tools/bench/disk.h"

#include <cerrno>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

#include "tools/bench/process.h"

namespace latchkey::bench {

namespace {

constexpr size_t kBlockBytes = 4096;

Error Broken(const std::filesystem::path& path) {
  return {v1::REASON_STORE_UNAVAILABLE,
          "cannot write " + path.string() + ": " + std::generic_category().message(errno)};
}

}  // namespace

Result<std::vector<double>> SyncSeconds(const std::filesystem::path& folder, Duration time) {
  const std::filesystem::path path = folder / "syncs";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) {
    return tl::unexpected<Error>(Broken(path));
  }
  const std::string block(kBlockBytes, 'b');
  std::vector<double> all;
  bool whole = true;
  const double until = MonotonicSeconds() + static_cast<double>(time.count()) / 1000;
  for (double before = MonotonicSeconds(); whole && before < until;) {
    whole = ::write(file, block.data(), block.size()) == static_cast<ssize_t>(block.size()) &&
            ::fdatasync(file) == 0;
    const double after = MonotonicSeconds();
    all.push_back(after - before);
    before = after;
  }
  const Error error = Broken(path);
  ::close(file);
  ::unlink(path.c_str());
  if (!whole) {
    return tl::unexpected<Error>(error);
  }
  return all;
}

}  // namespace latchkey::bench
