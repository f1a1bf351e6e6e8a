// Log lines are logfmt whatever is in them.
#include "bridge/log.h"

#include <doctest/doctest.h>

namespace latchkey::bridge {

TEST_CASE("log: values are quoted when they need it, and cannot begin a line of their own") {
  const LogEvent event{LogEvent::Level::kInfo,
                       "command_refused",
                       {{"car", "f/car1"}, {"why", "a \"b\"\nfake=1"}, {"empty", ""}}};
  CHECK(ToLine(event) == "command_refused car=f/car1 why=\"a \\\"b\\\"\\x0afake=1\" empty=\"\"");
}

}  // namespace latchkey::bridge
