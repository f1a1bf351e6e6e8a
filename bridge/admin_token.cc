// One line of base64url.
#include "bridge/admin_token.h"

#include <cerrno>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/crypto.h"
#include "proto/types.h"

namespace latchkey::bridge {

namespace {

constexpr size_t kTokenBytes = 32;
constexpr size_t kTokenCharacters = 43;  // of base64url
constexpr mode_t kOthers = 077;

tl::unexpected<Error> Failed(const std::filesystem::path& path, int code) {
  return Fail(v1::REASON_STORE_UNAVAILABLE,
              path.string() + ": " + std::generic_category().message(code) +
                  ": check the folder, its owner and the room on the disk");
}

Result<std::string> Make(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) {
    return Failed(path, errno);
  }
  std::string token = Base64UrlEncode(RandomBytes(kTokenBytes));
  const std::string line = token + "\n";
  const ssize_t written = ::write(file, line.data(), line.size());
  const int code = written < 0 ? errno : EIO;
  const bool whole = written == static_cast<ssize_t>(line.size()) && ::fsync(file) == 0;
  ::close(file);
  if (!whole) {
    ::unlink(path.c_str());
    return Failed(path, code);
  }
  return token;
}

}  // namespace

Result<std::string> AdminToken(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) {
    return errno == ENOENT ? Make(path) : Result<std::string>(Failed(path, errno));
  }
  struct stat about = {};
  std::string text(2 * kTokenCharacters, '\0');
  const bool known = ::fstat(file, &about) == 0;
  const ssize_t count = ::read(file, text.data(), text.size());
  ::close(file);
  if (!known || count < 0) {
    return Failed(path, EIO);
  }
  text.resize(static_cast<size_t>(count));
  while (!text.empty() && text.back() == '\n') {
    text.pop_back();
  }
  if ((about.st_mode & kOthers) != 0) {
    return Fail(v1::REASON_MALFORMED, path.string() + " can be read by others: chmod 600 it");
  }
  if (text.size() != kTokenCharacters || !Base64UrlDecode(text)) {
    return Fail(
        v1::REASON_MALFORMED,
        path.string() + " holds no token: delete it, the bridge makes another at its start");
  }
  return text;
}

}  // namespace latchkey::bridge
