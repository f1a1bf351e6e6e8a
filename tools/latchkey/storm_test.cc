// A storm is told from the broker's figures, and only while there is one.
#include "tools/latchkey/storm.h"

#include <doctest/doctest.h>

namespace latchkey::cli {

TEST_CASE("storm: told while sign-ins are refused for the rate, or cars are awaited") {
  CHECK_FALSE(StormIn(""));
  CHECK_FALSE(
      StormIn("\nlatchkey_broker_admit_cars_refused 9\n"
              "latchkey_broker_admit_cars_refused_minute 0\n"
              "latchkey_cars_awaited 0\nlatchkey_cars_online 7\n"));
  const auto storm = StormIn(
      "# x\nlatchkey_broker_admit_cars_refused_minute 312\n"
      "latchkey_broker_admit_cars_entered_minute 840\n"
      "latchkey_cars_online 812\nlatchkey_cars_awaited 1188\n");
  REQUIRE(storm);
  CHECK(StormText(*storm) ==
        "reconnect storm: 312 sign-ins of cars refused for the rate in the last minute, 840 let "
        "in; 812 of 2000 cars are back; who was refused comes again by itself");
  CHECK(StormText({0, 5, 7, 1, 1, 0}).rfind("reconnect storm: 7 sign-ins of phones", 0) == 0);
  CHECK(StormText({0, 0, 0, 0, 3, 4}) == "the broker has restarted: 3 of 7 cars are back");
}

}  // namespace latchkey::cli
