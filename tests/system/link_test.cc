// The tools' door to paho: on a network that is slow, whoever no longer wants a connection gets
// none, and whoever wants it again gets one; whom the broker ends the connection of may come back
// at once.
#include "tools/mqtt/link.h"

#include <array>
#include <chrono>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <doctest/doctest.h>

#include "latchkey/v1/state.pb.h"
#include "proto/topic.h"
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

// A retained topic is said once in a connection and then stands behind a number of its own, which
// the next connection does not know.
TEST_CASE(
    "link: what a car says arrives on its topics, the first and each later time, also after a "
    "reconnect") {
  Cell cell;
  cell.StartBroker();
  RawCar car(cell, "demo", "F3-17");
  const PrivateKey phone = PrivateKey::Generate();
  REQUIRE(car.PublishRing({{phone.Public(), v1::ROLE_OWNER}}) == 0);
  RawClient listener(cell.AsPhone(phone));
  REQUIRE(listener.Connect() == 0);
  REQUIRE(listener.Subscribe("lk/1/" + car.ref().ToText() + "/state/+") == 1);
  const RawOptions raw = cell.AsCar(car.ref());
  tools::LinkOptions options;
  options.port = cell.car_port();
  options.client_id = raw.client_id;
  options.ca_file = (cell.path() / "ca" / "cell.pem").string();
  options.certificate_file = (cell.path() / "link.pem").string();
  options.private_key_file = (cell.path() / "link.key").string();
  std::ofstream(options.certificate_file) << raw.certificate_pem;
  std::ofstream(options.private_key_file) << raw.private_key_pem;
  tools::Inbox inbox;
  tools::Link link(0, options, inbox);
  uint64_t sequence = 0;
  for (int connection = 0; connection < 2; ++connection) {
    link.Connect();
    const auto connected = inbox.Wait(seconds(20));
    REQUIRE((connected && connected->kind == LinkEvent::Kind::kConnected));
    for (int i = 0; i < 6; ++i) {
      v1::StateGroup state;
      state.set_observed_at_ms(static_cast<uint64_t>(UnixMs()));
      state.set_sequence(++sequence);
      const Group group = i % 2 == 0 ? Group::kDrive : Group::kBody;
      if (group == Group::kDrive) {
        state.mutable_drive()->mutable_speed()->set_value(static_cast<float>(i));
      } else {
        state.mutable_body()->mutable_is_locked()->set_value(true);
      }
      const Publish said{StateTopic(car.ref(), group), state.SerializeAsString(), 1, Retain::kYes,
                         0};
      REQUIRE(link.Send(said, sequence).has_value());
      const auto answer = inbox.Wait(seconds(20));
      REQUIRE((answer && answer->kind == LinkEvent::Kind::kPublished));
      CHECK(answer->reason_code == 0);
      CHECK(answer->tag == sequence);
      CHECK(answer->message.topic == said.topic);
      const auto heard = listener.Next();
      REQUIRE(heard.has_value());
      CHECK(heard->topic == said.topic);
      CHECK(heard->payload == said.payload);
    }
    link.Disconnect();
  }
}

}  // namespace latchkey::testing
