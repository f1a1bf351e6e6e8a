// The word that proves to HTTP that somebody may have things erased. It lies beside the store, for
// this user only: who can read it can read and delete the store as well, so it is no new power, and
// it works on a machine that holds no CA.
#pragma once

#include <filesystem>
#include <string>

#include "proto/result.h"

namespace latchkey::bridge {

inline constexpr const char* kAdminTokenFile = "admin.token";

// Reads the token, or makes one (0600) when there is none. Error REASON_MALFORMED: it can be read
// by others or is no such word; REASON_STORE_UNAVAILABLE: it can be neither read nor made.
Result<std::string> AdminToken(const std::filesystem::path& path);

}  // namespace latchkey::bridge
