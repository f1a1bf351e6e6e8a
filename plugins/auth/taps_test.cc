// What is logged of operators, and that one of them cannot fill the log.
#include "plugins/auth/taps.h"

#include <string>

#include <doctest/doctest.h>

namespace latchkey::auth {
namespace {

const Verdict kYes = Verdict::Allow();
const Verdict kWrongCar = Verdict::Refuse(v1::REASON_WRONG_CAR);

TEST_CASE("taps: every subscription is a line, allowed or not, and every refusal") {
  Taps taps;
  const Instant now{1000};
  CHECK(taps.Note({At::kSubscribe, "operator:f1/ann", "lk/1/f1/#", kYes}, now) ==
        "latchkey tap who=\"operator:f1/ann\" at=subscribe filter=\"lk/1/f1/#\" allowed=yes");
  CHECK(taps.Note({At::kSubscribe, "operator:f1/ann", "lk/1/f2/#", kWrongCar}, now) ==
        "latchkey tap who=\"operator:f1/ann\" at=subscribe filter=\"lk/1/f2/#\" allowed=no "
        "reason=wrong_car");
  CHECK(taps.Note({At::kWrite, "operator:f1/ann", "a\nb", kWrongCar}, now) ==
        "latchkey tap who=\"operator:f1/ann\" at=write topic=\"a\\x0ab\" allowed=no "
        "reason=wrong_car");
  CHECK_FALSE(taps.Note({At::kRead, "operator:f1/ann", "t", kYes}, now).has_value());
  CHECK(taps.subscribed() == 1);
  CHECK(taps.refused() == 2);
}

TEST_CASE("taps: refused deliveries run out of lines for one operator, subscriptions do not") {
  Taps taps;
  const Instant now{1000};
  int lines = 0;
  for (int i = 0; i < 1000; ++i) {
    lines += taps.Note({At::kRead, "operator:f1/ann", "t", kWrongCar}, now) ? 1 : 0;
  }
  CHECK(lines == 20);
  CHECK(taps.lines_left_out() == 980);
  CHECK(taps.refused() == 1000);
  CHECK(taps.Note({At::kSubscribe, "operator:f1/ann", "f", kYes}, now).has_value());
  CHECK(taps.Note({At::kRead, "operator:f1/bob", "t", kWrongCar}, now).has_value());
  CHECK(taps.Note({At::kRead, "operator:f1/ann", "t", kWrongCar}, Instant{3000}).has_value());
}

TEST_CASE("taps: numbers are told when they changed") {
  Taps taps;
  CHECK(taps.TakeChanged().empty());
  taps.Note({At::kSubscribe, "o", "f", kYes}, Instant{0});
  const auto told = taps.TakeChanged();
  REQUIRE(told.size() == 1);
  CHECK(told[0] == Publish{"$SYS/broker/latchkey/taps/subscribed", "1", 0, Retain::kYes, 0});
  CHECK(taps.TakeChanged().empty());
}

}  // namespace
}  // namespace latchkey::auth
