// What is kept, what gives way, and that equal bytes alone are taken for the same.
#include "proto/last_read.h"

#include <string>

#include <doctest/doctest.h>

namespace latchkey {
namespace {

TEST_CASE("last read: what was kept is found by the same bytes, wherever they are") {
  LastRead<int> read(8);
  CHECK(read.Find("a") == nullptr);
  read.Keep("a", 1);
  const std::string same = "a";
  REQUIRE(read.Find(same) != nullptr);
  CHECK(*read.Find(same) == 1);
  CHECK(read.Find("b") == nullptr);
  CHECK(read.Find("") == nullptr);
}

TEST_CASE("last read: other bytes of the same slot take its place, and are not taken for it") {
  LastRead<int> read(1);
  read.Keep("a", 1);
  read.Keep("b", 2);
  CHECK(read.Find("a") == nullptr);
  REQUIRE(read.Find("b") != nullptr);
  CHECK(*read.Find("b") == 2);
}

TEST_CASE("last read: empty bytes are bytes") {
  LastRead<int> read(4);
  CHECK(read.Find("") == nullptr);
  read.Keep("", 7);
  REQUIRE(read.Find("") != nullptr);
  CHECK(*read.Find("") == 7);
}

}  // namespace
}  // namespace latchkey
