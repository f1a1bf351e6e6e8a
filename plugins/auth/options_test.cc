// Options: what is missing, unknown or wrong keeps the broker from starting.
#include "plugins/auth/options.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey::auth {
namespace {

using testing::Said;

const std::vector<broker::Option> kNeeded = {
    {"cell", "c"}, {"cell_ca", "/ca"}, {"fleet_ca_dir", "/fleets"}, {"ring_file", "/rings"}};

TEST_CASE("options: the needed ones are enough, and the others have defaults") {
  const auto options = ReadOptions(kNeeded);
  REQUIRE(options);
  CHECK(options->trust.cell == "c");
  CHECK(options->trust.cell_crl.empty());
  CHECK(options->ring_file == "/rings");
  CHECK(options->rate_sign_in == Rate{5, 200});
  CHECK(options->admit_rate.unlimited());
}

TEST_CASE("options: each needed one is missed, and empty is missing") {
  for (size_t i = 0; i < kNeeded.size(); ++i) {
    std::vector<broker::Option> given = kNeeded;
    given[i].value.clear();
    CHECK(Said(ReadOptions(given)) == "REASON_MALFORMED");
    given.erase(given.begin() + static_cast<std::ptrdiff_t>(i));
    const auto options = ReadOptions(given);
    REQUIRE_FALSE(options);
    CHECK(options.error().text.find("plugin_opt_" + kNeeded[i].key) == 0);
  }
}

TEST_CASE("options: unknown ones and rates that are none are errors") {
  std::vector<broker::Option> given = kNeeded;
  given.push_back({"cell_crl", "/crl"});
  given.push_back({"rate_sign_in", "1:2"});
  const auto options = ReadOptions(given);
  REQUIRE(options);
  CHECK(options->trust.cell_crl == "/crl");
  CHECK(options->rate_sign_in == Rate{1, 2});
  given.back().value = "off";
  CHECK(ReadOptions(given)->rate_sign_in.unlimited());
  given.back().value = "fast";
  CHECK(Said(ReadOptions(given)) == "REASON_MALFORMED");
  given.back() = {"admit_rate", "200:2000"};
  CHECK(ReadOptions(given)->admit_rate == Rate{200, 2000});
  given.back().value = "200";
  CHECK(Said(ReadOptions(given)) == "REASON_MALFORMED");
  given.back() = {"rate_signin", "1:2"};
  CHECK(Said(ReadOptions(given)) == "REASON_MALFORMED");
}

}  // namespace
}  // namespace latchkey::auth
