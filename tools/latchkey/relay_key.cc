// See relay_key.h.
#include "tools/latchkey/relay_key.h"

#include <system_error>

#include "proto/sms.h"

namespace latchkey::cli {

std::filesystem::path RelayKeyFile(const Folder& folder, const CarRef& ref) {
  return folder.Car(ref) / "relay.key";
}

std::filesystem::path ContactFile(const Folder& folder, const CarRef& ref) {
  return folder.Bridge() / "contacts" / ref.fleet.str() / (ref.car.str() + ".json");
}

Result<std::optional<std::string>> ReadRelayKey(const Folder& folder, const CarRef& ref) {
  const std::filesystem::path path = RelayKeyFile(folder, ref);
  std::error_code error;
  if (!std::filesystem::exists(path, error) && !error) {
    return std::optional<std::string>();
  }
  LK_TRY(std::string text, ReadFile(path));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) {
    text.pop_back();
  }
  std::optional<std::string> key = Base64UrlDecode(text);
  if (!key || key->size() != kRelayKeyBytes) {
    return Fail(v1::REASON_MALFORMED, path.string() + " is not a relay key: make another with " +
                                          "`latchkey car sms " + ref.car.str() + " --fleet " +
                                          ref.fleet.str() + " --number +... --new-key`");
  }
  return key;
}

Result<void> WriteRelayKey(const Folder& folder, const CarRef& ref, std::string_view key) {
  return WriteFile(RelayKeyFile(folder, ref), Base64UrlEncode(key) + "\n", Secrecy::kSecret);
}

}  // namespace latchkey::cli
