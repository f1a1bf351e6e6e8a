// Which broker is tried when.
#include "tools/mqtt/brokers.h"

#include <doctest/doctest.h>

namespace latchkey::tools {
namespace {

constexpr Instant kNow{1000};

BrokerList Two() {
  return BrokerList({{"a", 1}, {"b", 2}});
}

TEST_CASE("brokers: the first that answers is used, and stays") {
  BrokerList list = Two();
  CHECK(list.current() == BrokerAddress{"a", 1});
  CHECK(list.Ended(BrokerEnd::kUnreachable, kNow));
  CHECK(list.current() == BrokerAddress{"b", 2});
  list.Served();
  CHECK_FALSE(list.Ended(BrokerEnd::kLost, kNow));  // a cell change: the same one, after a while
  CHECK(list.current() == BrokerAddress{"b", 2});
}

TEST_CASE("brokers: when all have failed there is a back-off, and the round begins anew") {
  BrokerList list({{"a", 1}, {"b", 2}, {"c", 3}});
  CHECK(list.Ended(BrokerEnd::kUnreachable, kNow));
  CHECK(list.Ended(BrokerEnd::kBusy, kNow));
  CHECK_FALSE(list.Ended(BrokerEnd::kUnreachable, kNow));
  CHECK(list.current() == BrokerAddress{"a", 1});
  CHECK(list.Ended(BrokerEnd::kUnreachable, kNow));
}

TEST_CASE("brokers: who is sent away tries the next at once") {
  BrokerList list = Two();
  list.Served();
  CHECK(list.Ended(BrokerEnd::kSentAway, kNow));
  CHECK(list.current() == BrokerAddress{"b", 2});
  CHECK_FALSE(list.Ended(BrokerEnd::kUnreachable, kNow));  // both have failed
  CHECK(list.current() == BrokerAddress{"a", 1});
}

TEST_CASE("brokers: two that each send to the other are not hammered") {
  BrokerList list = Two();
  list.Served();
  CHECK(list.Ended(BrokerEnd::kSentAway, kNow));
  list.Served();
  CHECK_FALSE(list.Ended(BrokerEnd::kSentAway, kNow + std::chrono::milliseconds(300)));
  list.Served();
  CHECK(list.Ended(BrokerEnd::kSentAway, kNow + std::chrono::seconds(5)));
}

TEST_CASE("brokers: a list of one knows the usual back-off only") {
  BrokerList list({{"a", 1}});
  for (const BrokerEnd how : {BrokerEnd::kLost, BrokerEnd::kSentAway, BrokerEnd::kUnreachable,
                              BrokerEnd::kBusy, BrokerEnd::kRefused}) {
    CHECK_FALSE(list.Ended(how, kNow));
    CHECK(list.current() == BrokerAddress{"a", 1});
  }
}

TEST_CASE("brokers: a refusal is not tried elsewhere at once, but elsewhere next time") {
  BrokerList list = Two();
  CHECK_FALSE(list.Ended(BrokerEnd::kRefused, kNow));
  CHECK(list.current() == BrokerAddress{"b", 2});
}

TEST_CASE("brokers: an address is a host and a port") {
  CHECK(ParseBrokerAddress("b.example.org:8883").value() == BrokerAddress{"b.example.org", 8883});
  for (const char* text : {"", ":", "a", "a:", "a:0", "a:65536", "a:12x", ":12", "a b:12", "-a:1",
                           "a:99999999999", "ssl://a:12"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseBrokerAddress(text));
  }
}

}  // namespace
}  // namespace latchkey::tools
