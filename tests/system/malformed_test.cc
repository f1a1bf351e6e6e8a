// Bytes that mean nothing, on every topic and below MQTT: refused, counted, and nobody falls over.
#include <random>

#include <doctest/doctest.h>

#include "latchkey/v1/state.pb.h"
#include "proto/topic.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

std::string Noise(std::mt19937& random, size_t length) {
  std::string bytes(length, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(random() & 0xff);
  }
  return bytes;
}

// Every topic a car or a phone may write, and who writes it.
struct Lane {
  std::string topic;
  bool retained;
  bool phone;
};

}  // namespace

TEST_CASE("malformed bytes on every topic are refused and counted, and all stay up") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  const PrivateKey owner = PrivateKey::Generate();
  const KeyId id = owner.Public().Id();
  RawCar car(cell, "demo", "car-1");
  REQUIRE(car.PublishRing({{owner.Public(), v1::ROLE_OWNER}}) == 0);
  RawClient phone(cell.AsPhone(owner));
  REQUIRE(phone.Connect() == 0);
  std::vector<Lane> lanes = {{KeyRingTopic(car.ref()), true, false},
                             {PairingAnswerTopic(car.ref(), id), false, false},
                             {ReceiptTopic(car.ref(), id), false, false},
                             {PresenceTopic(car.ref()), true, false},
                             {PairingTopic(car.ref(), id), false, true},
                             {CommandTopic(car.ref(), id), false, true}};
  for (const Group group : kGroups) {
    lanes.push_back({StateTopic(car.ref(), group), true, false});
  }
  v1::StateGroup good;
  good.set_observed_at_ms(static_cast<uint64_t>(UnixMs()));
  good.mutable_drive()->mutable_speed()->set_value(3);
  const std::string drive = good.SerializeAsString();
  std::mt19937 random(20261121);  // NOLINT: the same noise each time
  int sent = 0;
  for (const Lane& lane : lanes) {
    CAPTURE(lane.topic);
    RawClient& client = lane.phone ? phone : car.client();
    const Retain right = lane.retained ? Retain::kYes : Retain::kNo;
    const Retain wrong = lane.retained ? Retain::kNo : Retain::kYes;
    const bool is_drive = lane.topic == StateTopic(car.ref(), Group::kDrive);
    for (const size_t length : {1, 7, 64, 300}) {
      CHECK(client.Send({lane.topic, Noise(random, length), 1, right, 0}) >= 0x80);
      ++sent;
    }
    CHECK(client.Send({lane.topic, "", 1, right, 0}) >= 0x80);
    CHECK(client.Send({lane.topic, Noise(random, 40000), 1, right, 0}) >= 0x80);
    CHECK(client.Send({lane.topic, drive, 1, wrong, 0}) >= 0x80);
    sent += 3;
    if (is_drive) {
      for (size_t length = 1; length < drive.size(); ++length) {
        client.Send({lane.topic, drive.substr(0, length), 1, right, 0});  // some may still parse
      }
    } else {
      CHECK(client.Send({lane.topic, drive, 1, right, 0}) >= 0x80);
      ++sent;
    }
    REQUIRE(client.Ping());
  }
  for (const char* topic : {"lk/1/demo/car-1", "lk/1/demo/car-1/state/none",
                            "lk/2/demo/car-1/state", "lk/1/demo/car-1/state/drive/more", "other",
                            "$SYS/broker/x", "$CONTROL/latchkey/v1", "/"}) {
    CAPTURE(topic);
    CHECK(car.client().Send({topic, drive, 1, Retain::kYes, 0}) >= 0x80);
    ++sent;
  }
  SUBCASE("counted under $SYS, logged, and all stay up") {
    RawClient bridge(cell.WithCertificate(BridgeIdentity{"other"}, cell.CellCa(), "bridge/other"));
    REQUIRE(bridge.Connect() == 0);
    REQUIRE(bridge.Subscribe("$SYS/broker/latchkey/refused/#") == 1);
    std::map<std::string, int> counts;
    const bool counted = Eventually([&] {
      while (const auto count = bridge.Next(std::chrono::milliseconds(200))) {
        counts[count->topic] = std::atoi(count->payload.c_str());
      }
      int sum = 0;
      for (const auto& [topic, count] : counts) {
        sum += count;
      }
      return sum >= sent;
    });
    CAPTURE(counts.size());
    CHECK(counted);
    CHECK(CountLines(cell.BrokerLog(), "latchkey refused at=") > 0);
  }
  SUBCASE("broken framing ends that connection only") {
    const PrivateKey stranger = PrivateKey::Generate();
    for (int round = 0; round < 40; ++round) {
      RawClient client(cell.AsPhone(stranger));
      REQUIRE(client.Connect() == 0);
      client.Write(Noise(random, 1 + random() % 400));
      RawClient whole(cell.AsPhone(stranger));
      REQUIRE(whole.Connect() == 0);
      const auto header = static_cast<uint8_t>(random() & 0xff);
      whole.Write(RawPacket(header, Noise(random, random() % 60)));
    }
  }
  REQUIRE(cell.broker().Running());
  REQUIRE(cell.bridge().Running());
  CHECK(HttpGet(cell.http_port(), "/healthz").status == 200);
  // Control: all of it works afterwards.
  REQUIRE(car.PublishSpeed(77) == 0);
  RawClient after(cell.AsPhone(owner));
  REQUIRE(after.Connect() == 0);
  REQUIRE(after.Subscribe(StateTopic(car.ref(), Group::kDrive)) == 1);
  CHECK(after.NextOn(StateTopic(car.ref(), Group::kDrive)).has_value());
  CHECK(Eventually([&] {
    return HttpGet(cell.http_port(), "/v1/cars/demo/car-1").body.find("77") != std::string::npos;
  }));
}

}  // namespace latchkey::testing
