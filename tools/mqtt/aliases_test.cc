// Which topics get an alias, and when it stands for them.
#include "tools/mqtt/aliases.h"

#include <doctest/doctest.h>

namespace latchkey::tools {

TEST_CASE(
    "topic aliases: a retained message's topic is said once with its number, then only that") {
  TopicAliases aliases(2);
  CHECK(aliases.Name("a", Retain::kYes) == TopicName{"a", 1});
  CHECK(aliases.Name("a", Retain::kYes) == TopicName{"", 1});
  CHECK(aliases.Name("lane", Retain::kNo) == TopicName{"lane", 0});
  CHECK(aliases.Name("lane", Retain::kNo) == TopicName{"lane", 0});
  CHECK(aliases.Name("b", Retain::kYes) == TopicName{"b", 2});
  CHECK(aliases.Name("c", Retain::kYes) == TopicName{"c", 0});
  CHECK(aliases.Name("c", Retain::kYes) == TopicName{"c", 0});
  CHECK(aliases.Name("b", Retain::kYes) == TopicName{"", 2});
}

TEST_CASE("topic aliases: a broker that takes none gets none") {
  TopicAliases aliases;
  CHECK(aliases.Name("a", Retain::kYes) == TopicName{"a", 0});
  CHECK(aliases.Name("a", Retain::kYes) == TopicName{"a", 0});
}

TEST_CASE("topic aliases: what was not sent leaves no number that stands for nothing") {
  TopicAliases aliases(2);
  CHECK(aliases.Name("a", Retain::kYes) == TopicName{"a", 1});
  aliases.Forget("a");
  CHECK(aliases.Name("a", Retain::kYes) == TopicName{"a", 2});
  CHECK(aliases.Name("a", Retain::kYes) == TopicName{"", 2});
  aliases.Forget("a");
  CHECK(aliases.Name("a", Retain::kYes) == TopicName{"a", 0});
}

}  // namespace latchkey::tools
