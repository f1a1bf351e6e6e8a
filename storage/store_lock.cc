// See store_lock.h.
#include "storage/store_lock.h"

#include <fcntl.h>
#include <unistd.h>

namespace latchkey::storage {

std::optional<pid_t> LockHolder(const std::filesystem::path& path) {
  const int file = ::open((path / "LOCK").c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) {
    return std::nullopt;
  }
  struct flock asked = {};
  asked.l_type = F_WRLCK;
  asked.l_whence = SEEK_SET;
  const bool known = ::fcntl(file, F_GETLK, &asked) == 0;
  ::close(file);
  return known && asked.l_type != F_UNLCK ? std::optional<pid_t>(asked.l_pid) : std::nullopt;
}

}  // namespace latchkey::storage
