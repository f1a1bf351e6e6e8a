// See sms_inbox.h.
#include "tools/latchkey/sms_inbox.h"

#include <fstream>
#include <system_error>

#include "proto/sms.h"

namespace latchkey::cli {

namespace {

constexpr size_t kFilesMax = 32;

}  // namespace

Result<void> SmsInbox::Check(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                folder.string() + " is no folder: give the inboxpath of the car's gammu-smsd");
  }
  return {};
}

std::vector<SmsFile> SmsInbox::Poll() {
  std::map<std::filesystem::path, uintmax_t> now;
  std::error_code error;
  for (auto each = std::filesystem::directory_iterator(folder_, error);
       !error && each != std::filesystem::directory_iterator(); each.increment(error)) {
    std::error_code gone;
    const uintmax_t size = each->file_size(gone);
    if (!gone && each->path().extension() == ".bin" && each->is_regular_file(gone)) {
      now[each->path()] = size;
    }
  }
  std::vector<SmsFile> files;
  for (const auto& [path, size] : now) {
    const auto before = seen_.find(path);
    if (before == seen_.end() || before->second != size || files.size() == kFilesMax) {
      continue;
    }
    std::ifstream file(path, std::ios::binary);
    std::string bytes(kSmsBytesMax + 1, '\0');
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    bytes.resize(static_cast<size_t>(file.gcount()));
    files.push_back({path, std::move(bytes)});
  }
  seen_ = std::move(now);
  return files;
}

Result<void> SmsInbox::Remove(const SmsFile& file) {
  std::error_code error;
  std::filesystem::remove(file.path, error);
  if (error) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                file.path.string() + " cannot be deleted (" + error.message() +
                    "): let the car's user delete there; until then it is read again and again");
  }
  return {};
}

}  // namespace latchkey::cli
