// The tools' door to paho: on a network that is slow, whoever no longer wants a connection gets
// none, and whoever wants it again gets one; whom the broker ends the connection of may come back
// at once.
#include "tools/mqtt/link.h"

#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/cell.h"
#include "tests/support/proxy.h"

namespace latchkey::testing {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using tools::LinkEvent;

struct SlowCell {
  SlowCell() : proxy(cell.phone_port()) {
    cell.StartBroker();
    proxy.Set(Proxy::Mode::kDelay);  // a connection takes seconds
    options.port = proxy.port();
    options.ca_file = (cell.path() / "ca" / "cell.pem").string();
    options.client_id = "slow";
  }

  // The first event within `wait`.
  std::optional<LinkEvent::Kind> Next(Duration wait) {
    const std::optional<LinkEvent> event = inbox.Wait(wait);
    return event ? std::optional(event->kind) : std::nullopt;
  }

  Cell cell;
  Proxy proxy;
  tools::Inbox inbox;
  tools::LinkOptions options;
};

}  // namespace

TEST_CASE("link: connected again while the connection that was taken back is still being made") {
  SlowCell s;
  tools::Link link(0, s.options, s.inbox);
  for (int i = 0; i < 3; ++i) {
    link.Connect();
    CHECK_FALSE(s.Next(milliseconds(100)).has_value());
    link.Disconnect();
  }
  link.Connect();
  // Without a token the broker refuses, which is an answer all the same.
  CHECK(s.Next(seconds(20)) == LinkEvent::Kind::kRefused);
  CHECK_FALSE(s.Next(milliseconds(500)).has_value());
}

TEST_CASE(
    "link: a connection that is taken back while it is made is ended, and nobody hears of it") {
  SlowCell s;
  const PrivateKey key = PrivateKey::Generate();
  const RawOptions raw = s.cell.AsPhone(key);
  s.options.user_name = raw.user_name.value();
  s.options.client_id = s.options.user_name + "/slow";
  s.options.password = [raw] { return raw.password.value(); };
  const auto log_has = [&s](const std::string& text) {
    return s.cell.BrokerLog().find(text) != std::string::npos;
  };
  tools::Link link(0, s.options, s.inbox);
  link.Connect();
  CHECK_FALSE(s.Next(milliseconds(100)).has_value());
  link.Disconnect();
  CHECK(Eventually([&] { return log_has("Client " + s.options.client_id + " disconnected"); }));
  CHECK_FALSE(s.Next(milliseconds(100)).has_value());
  link.Connect();
  CHECK(s.Next(seconds(20)) == LinkEvent::Kind::kConnected);
}

// Two clients of one name: each takes the place of the other, which comes back at once. The broker
// ends a connection with a word, and paho is not done with it when it passes the word on.
TEST_CASE("link: who comes back while paho still ends the last connection gets a whole one") {
  constexpr int kTimes = 12;  // each takes paho a second
  Cell cell;
  cell.StartBroker();
  const PrivateKey key = PrivateKey::Generate();
  const RawOptions raw = cell.AsPhone(key);
  tools::LinkOptions options;
  options.port = cell.phone_port();
  options.ca_file = (cell.path() / "ca" / "cell.pem").string();
  options.user_name = raw.user_name.value();
  options.client_id = options.user_name + "/two";
  options.password = [raw] { return raw.password.value(); };
  tools::Inbox inbox;
  std::array<std::unique_ptr<tools::Link>, 2> links;
  std::array<bool, 2> up{};
  for (size_t i = 0; i < links.size(); ++i) {
    links.at(i) = std::make_unique<tools::Link>(i, options, inbox);
  }
  links[0]->Connect();
  int connected = 0;
  std::map<std::string, int> surprises;
  for (int i = 0; i < 4 * kTimes && connected < kTimes; ++i) {
    const std::optional<LinkEvent> event = inbox.Wait(seconds(20));
    REQUIRE(event.has_value());
    bool& is_up = up.at(event->link);
    if (event->kind == LinkEvent::Kind::kConnected) {
      surprises["connected twice"] += is_up ? 1 : 0;
      is_up = true;
      ++connected;
      if (connected == 1) {
        links[1]->Connect();
      }
      continue;
    }
    REQUIRE((event->kind == LinkEvent::Kind::kDisconnected ||
             event->kind == LinkEvent::Kind::kRefused));
    if (!is_up) {
      ++surprises[std::to_string(event->reason_code) + " " + event->text];
    }
    is_up = false;
    links.at(event->link)->Connect();
  }
  CHECK(connected == kTimes);
  for (const auto& [what, times] : surprises) {
    CHECK_MESSAGE(times == 0, times, " times of ", connected, ": ", what);
  }
}

}  // namespace latchkey::testing
