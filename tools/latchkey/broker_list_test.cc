// What a car or a phone remembers of the brokers of its cell.
#include "tools/latchkey/broker_list.h"

#include <doctest/doctest.h>

#include "tests/support/process.h"

namespace latchkey::cli {
namespace {

using tools::BrokerAddress;

const std::vector<BrokerAddress> kKnown = {{"10.0.0.1", 1}, {"10.0.0.2", 2}};

std::string Order(const tools::LinkOptions& link) {
  std::string text = link.host + ":" + std::to_string(link.port);
  for (const BrokerAddress& other : link.others) {
    text += " " + other.ToText();
  }
  return text;
}

std::string Use(const std::filesystem::path& folder, const std::vector<std::string>& given = {},
                const std::vector<BrokerAddress>& known = kKnown, const char* served = nullptr) {
  tools::LinkOptions link;
  const Result<void> used = UseBrokers(folder, "local", known, given, link);
  if (!used) {
    return used.error().text;
  }
  if (served != nullptr && link.served) {
    link.served(tools::ParseBrokerAddress(served).value());
  }
  return Order(link);
}

TEST_CASE("broker list: the cell's brokers in their order, then the one that served last first") {
  const testing::TempDir folder;
  CHECK(Use(folder.path(), {}, kKnown, "10.0.0.2:2") == "10.0.0.1:1 10.0.0.2:2");
  CHECK(Use(folder.path()) == "10.0.0.2:2 10.0.0.1:1");
}

TEST_CASE("broker list: what was given once stays, before what is known") {
  const testing::TempDir folder;
  CHECK(Use(folder.path(), {"b:5", "10.0.0.2:2"}) == "b:5 10.0.0.2:2 10.0.0.1:1");
  CHECK(Use(folder.path()) == "b:5 10.0.0.2:2 10.0.0.1:1");
  CHECK(Use(folder.path(), {"c:7"}) == "c:7 10.0.0.1:1 10.0.0.2:2");
}

TEST_CASE("broker list: the last one is forgotten when nobody names it any more") {
  const testing::TempDir folder;
  Use(folder.path(), {}, kKnown, "10.0.0.2:2");
  CHECK(Use(folder.path(), {}, {{"10.0.0.1", 1}}) == "10.0.0.1:1");
}

TEST_CASE("broker list: a broken file counts as empty, a broken address is said") {
  const testing::TempDir folder;
  REQUIRE(
      WriteFile(folder.path() / "brokers.json", R"({"cells":{"local":[1]}})", Secrecy::kPublic));
  CHECK(Use(folder.path()) == "10.0.0.1:1 10.0.0.2:2");
  CHECK(Use(folder.path(), {"nonsense"}).find("HOST:PORT") != std::string::npos);
  CHECK(Use(folder.path(), {}, {}).find("--broker") != std::string::npos);
}

}  // namespace
}  // namespace latchkey::cli
