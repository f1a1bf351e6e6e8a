// Key ids that look like options.
#include "tools/latchkey/key_text.h"

#include <doctest/doctest.h>

namespace latchkey::cli {

TEST_CASE("key text: an id that begins with '-' is not read as an option, an option still is") {
  const std::vector<std::string> given = {
      "phone", "share", "-QmwS5rWXp3VDEYpoxFUzv", "--mwS5rWXp3VDEYpoxFUzv",
      "--may", "-h",    "--keys-per-car-allowed", "-"};
  std::vector<std::string> wanted = given;
  wanted[2] = "key:-QmwS5rWXp3VDEYpoxFUzv";
  wanted[3] = "key:--mwS5rWXp3VDEYpoxFUzv";
  CHECK(GuardKeyIds(given) == wanted);
  CHECK(ParseKeyText("key:-QmwS5rWXp3VDEYpoxFUzv")->str() == "-QmwS5rWXp3VDEYpoxFUzv");
  CHECK(ParseKeyText("-QmwS5rWXp3VDEYpoxFUzv")->str() == "-QmwS5rWXp3VDEYpoxFUzv");
  CHECK_FALSE(ParseKeyText("key:").has_value());
  CHECK_FALSE(ParseKeyText("bob").has_value());
}

}  // namespace latchkey::cli
