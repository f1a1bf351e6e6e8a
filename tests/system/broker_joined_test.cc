// Two brokers that are joined: what is said at one is heard at the other, once, and what must act
// everywhere acts at both.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "latchkey/v1/control.pb.h"
#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/state.pb.h"
#include "proto/blocks.h"
#include "proto/reason.h"
#include "proto/topic.h"
#include "tests/support/wire_fixtures.h"
#include "tests/system/two_brokers.h"

namespace latchkey::testing {
namespace {

constexpr int kNotAuthorized = 0x87;

// The same client at the second broker.
RawOptions At(RawOptions options, int port) {
  options.port = port;
  return options;
}

std::string Speed(float speed, int64_t observed_ms, uint64_t sequence) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(observed_ms));
  state.set_sequence(sequence);
  state.mutable_drive()->mutable_speed()->set_value(speed);
  return state.SerializeAsString();
}

// The speed that a client has been told last on `topic`; -1: none.
float SpeedIn(const std::vector<Publish>& messages, const std::string& topic) {
  float speed = -1;
  for (const Publish& message : messages) {
    v1::StateGroup state;
    if (message.topic == topic && state.ParseFromString(message.payload)) {
      speed = state.drive().speed().value();
    }
  }
  return speed;
}

// Everything that has arrived, until nothing comes for `patience`.
std::vector<Publish> Drain(RawClient& client,
                           std::chrono::milliseconds patience = std::chrono::milliseconds(50)) {
  std::vector<Publish> all;
  while (std::optional<Publish> message = client.Next(patience)) {
    all.push_back(std::move(*message));
  }
  return all;
}

struct Joined : TwoBrokers {
  PrivateKey key = PrivateKey::Generate();
  RawCar car{cell, "demo", "c1"};
  const std::string drive = StateTopic(car.ref(), Group::kDrive);

  // A phone of the car at either broker, listening.
  std::unique_ptr<RawClient> Listen(bool at_second) {
    auto phone = std::make_unique<RawClient>(at_second ? At(cell.AsPhone(key), phone_port)
                                                       : cell.AsPhone(key));
    REQUIRE(phone->Connect() == 0);
    const std::string own = "lk/1/" + car.ref().ToText() + "/";
    REQUIRE(Eventually([&] {
      return phone->SubscribeAll({{own + "state/+"}, {own + "presence"}, {own + "keyring"}}) ==
             std::vector<int>{1, 1, 1};
    }));
    return phone;
  }
};

TEST_CASE("joined: a phone at one broker sees the car at the other, its ring, state and presence") {
  Joined j;
  REQUIRE(j.car.PublishRing({{j.key.Public(), v1::ROLE_OWNER}}) == 0);
  REQUIRE(j.car.PublishSpeed(31) == 0);
  const auto phone = j.Listen(true);
  std::vector<Publish> heard;
  CHECK(Eventually([&] {
    for (const Publish& message : Drain(*phone)) {
      heard.push_back(message);
    }
    bool online = false;
    for (const Publish& message : heard) {
      v1::Presence presence;
      online = online || (message.topic == PresenceTopic(j.car.ref()) &&
                          presence.ParseFromString(message.payload) && presence.online());
    }
    return online && SpeedIn(heard, j.drive) == 31;
  }));
  REQUIRE(j.car.PublishSpeed(32) == 0);
  heard.clear();
  CHECK(Eventually([&] {
    for (const Publish& message : Drain(*phone)) {
      heard.push_back(message);
    }
    return SpeedIn(heard, j.drive) == 32;
  }));
  int times = 0;
  for (const Publish& message : heard) {
    times += message.topic == j.drive ? 1 : 0;
  }
  CHECK_MESSAGE(times == 1, "no word goes round in a circle");
}

TEST_CASE("joined: what a broker retained while it was alone does not push back what is newer") {
  Joined j;
  REQUIRE(j.car.PublishRing({{j.key.Public(), v1::ROLE_OWNER}}) == 0);
  RawClient bridge(j.cell.WithCertificate(BridgeIdentity{"two"}, j.cell.CellCa(), "bridge/two"));
  REQUIRE(bridge.Connect() == 0);
  const int64_t now = UnixMs();
  REQUIRE(bridge.Send({j.drive, Speed(10, now - 9000, 1), 1, Retain::kYes, 0}) == 0);
  const auto there = j.Listen(true);
  REQUIRE(Eventually([&] { return SpeedIn(Drain(*there), j.drive) == 10; }));
  // The second one is away, and the first hears more; then they show each other what they have.
  REQUIRE(j.second->Stop() == 0);
  REQUIRE(bridge.Send({j.drive, Speed(20, now - 5000, 2), 1, Retain::kYes, 0}) == 0);
  j.StartSecond();
  for (const bool second : {true, false}) {
    CAPTURE(second);
    float speed = -1;
    CHECK(Eventually([&] {
      const auto phone = j.Listen(second);
      speed = SpeedIn(Drain(*phone, std::chrono::milliseconds(300)), j.drive);
      return speed == 20;
    }));
  }
}

TEST_CASE("joined: a key that is blocked at one broker is out at both, also after a restart") {
  Joined j;
  REQUIRE(j.car.PublishRing({{j.key.Public(), v1::ROLE_OWNER}}) == 0);
  const auto here = j.Listen(false);
  const auto there = j.Listen(true);
  const Ran blocked = j.cell.Latchkey({"block", "add", j.key.Public().Id().str()});
  INFO(blocked.output);
  REQUIRE(blocked.exit_code == 0);
  CHECK(Eventually([&] { return here->Ended(std::chrono::milliseconds(50)) != kNoAnswer; }));
  CHECK(Eventually([&] { return there->Ended(std::chrono::milliseconds(50)) != kNoAnswer; }));
  RawClient again(At(j.cell.AsPhone(j.key), j.phone_port));
  CHECK(again.Connect() == kNotAuthorized);
  // What is changed while they are apart is known when they meet.
  REQUIRE(j.second->Stop() == 0);
  REQUIRE(j.cell.Latchkey({"block", "lift", j.key.Public().Id().str()}).exit_code == 0);
  j.StartSecond();
  CHECK(Eventually([&] {
    RawClient later(At(j.cell.AsPhone(j.key), j.phone_port));
    return later.Connect() == 0;
  }));
}

TEST_CASE(
    "joined: a command crosses to the car and its receipt back, and the bridge holds for both") {
  TwoBrokers two;
  two.cell.StartBridge();
  two.cell.StartCar("c1", {"--offer"});
  two.cell.Pair("ann", "c1");
  const std::string second = "127.0.0.1:" + std::to_string(two.phone_port);
  const Ran crossed = two.cell.Latchkey({"phone", "--broker", second, "send", "ann", "c1",
                                         "flash-lights", "--wait", "--timeout", "20s"});
  INFO(crossed.output);
  CHECK(crossed.exit_code == 0);
}

TEST_CASE("joined: who has been moved is not let in, until the other broker is gone") {
  Joined j;
  REQUIRE(j.Move({"--rate", "1000"})["from"]["clients"] == 0);
  CHECK(RawClient(j.cell.AsPhone(j.key)).Connect() == kHungUp);
  const std::string word(FactsOf(v1::REASON_MOVED).word);
  CHECK(Eventually([&] { return CountLines(j.cell.BrokerLog(), "reason=" + word) > 0; }));
  CHECK(RawClient(At(j.cell.AsPhone(j.key), j.phone_port)).Connect() == 0);
  j.second->Kill();
  CHECK(Eventually([&] { return RawClient(j.cell.AsPhone(j.key)).Connect() == 0; }));
}

TEST_CASE("joined: `status` and `list` tell of both brokers, `fleet init` leaves them joined") {
  Joined j;
  j.cell.StartBridge();
  const auto told = [&] {
    const Ran ran = j.cell.Latchkey({"--json", "status"});
    INFO(ran.output);
    REQUIRE(ran.exit_code == 0);
    const auto brokers = nlohmann::json::parse(ran.output)["brokers"];
    REQUIRE(brokers.size() == 2);
    return brokers;
  };
  CHECK(told()[0]["broker"] == "main");
  CHECK(told()[0]["joined_with"] == "b2");
  CHECK(told()[1]["joined_with"] == "main");
  const Ran list = j.cell.Latchkey({"upgrade", "broker", "list"});
  CHECK(list.output.find("configuration " + j.configuration) != std::string::npos);
  j.second.reset();
  CHECK(told()[1]["broker"] == "b2");
  CHECK(told()[1].contains("error"));
  const Ran lines = j.cell.Latchkey({"status"});
  CHECK(lines.output.find("warning: broker b2: ") != std::string::npos);
  REQUIRE(j.cell.Latchkey({"upgrade", "broker", "adopt", "b2"}).exit_code == 0);
  const std::string before = ReadAll(j.configuration);
  REQUIRE(before.find("connection main") != std::string::npos);
  REQUIRE(j.cell.Latchkey({"fleet", "init", "demo", "--plugin-dir", LK_BINARY_DIR "/plugins"})
              .exit_code == 0);
  CHECK(ReadAll(j.configuration).find("connection main") != std::string::npos);
}

}  // namespace
}  // namespace latchkey::testing
