// See key_text.h.
#include "tools/latchkey/key_text.h"

namespace latchkey::cli {

namespace {

constexpr std::string_view kPrefix = "key:";

}  // namespace

std::vector<std::string> GuardKeyIds(const std::vector<std::string>& arguments) {
  std::vector<std::string> guarded = arguments;
  for (std::string& argument : guarded) {
    const bool option_like = argument.size() > 1 && argument[0] == '-' && argument[1] != '-';
    const bool two_dashes = argument.rfind("--", 0) == 0;
    // Of "--" and 20 more, only what no long option looks like: those have no capitals and digits.
    const bool odd =
        two_dashes && argument.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != std::string::npos;
    if ((option_like || odd) && KeyId::Parse(argument)) {
      argument.insert(0, kPrefix);
    }
  }
  return guarded;
}

std::optional<KeyId> ParseKeyText(std::string_view text) {
  return KeyId::Parse(text.rfind(kPrefix, 0) == 0 ? text.substr(kPrefix.size()) : text);
}

}  // namespace latchkey::cli
