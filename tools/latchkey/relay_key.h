// A car's relay key (proto/sms.h) in its folder: cars/{fleet}/{car}/relay.key, 0600, 32 bytes as
// base64url on one line. The bridge has the same one in the car's contact.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "proto/result.h"
#include "proto/types.h"
#include "tools/latchkey/folder.h"

namespace latchkey::cli {

std::filesystem::path RelayKeyFile(const Folder& folder, const CarRef& ref);
// What the bridge reads of the car: its number and the relay key.
std::filesystem::path ContactFile(const Folder& folder, const CarRef& ref);

// The key's bytes; nullopt: the car has none, no SMS means anything to it. Errors:
// REASON_STORE_UNAVAILABLE (it cannot be read), REASON_MALFORMED (it is no key).
Result<std::optional<std::string>> ReadRelayKey(const Folder& folder, const CarRef& ref);

// `key` has kRelayKeyBytes bytes. Error REASON_STORE_UNAVAILABLE.
Result<void> WriteRelayKey(const Folder& folder, const CarRef& ref, std::string_view key);

}  // namespace latchkey::cli
