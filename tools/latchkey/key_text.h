// Key ids on the command line. One in 64 begins with '-', and would be read as an option.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/types.h"

namespace latchkey::cli {

// The arguments behind the program's name, with "key:" before each that is a key id and begins with
// '-'. Options of one '-' are shorter.
std::vector<std::string> GuardKeyIds(const std::vector<std::string>& arguments);

// A key id as a person may write it: with or without "key:" before it. nullopt: no key id.
std::optional<KeyId> ParseKeyText(std::string_view text);

}  // namespace latchkey::cli
