// What the broker's plugin refuses and who listens in becomes entries of the cell's log, for
// bridges' ears only, and no flood of strangers fills it.
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "latchkey/v1/log.pb.h"
#include "proto/topic.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

constexpr int kNotAuthorized = 0x87;

RawOptions AsBridge(const Cell& cell) {
  return cell.WithCertificate(BridgeIdentity{"second"}, cell.CellCa(), "bridge/second");
}

// Someone with a key and no token that fits it.
int SignsInWrongly(const Cell& cell, const PrivateKey& key, int version = 5) {
  RawOptions options = cell.AsPhone(key, version);
  options.password = "no.token.this";
  RawClient client(options);
  return client.Connect();
}

std::optional<v1::LogEntry> NextEntry(RawClient& bridge) {
  const auto publish = bridge.NextOn(std::string(kEventTopic));
  v1::LogEntry entry;
  if (!publish || !entry.ParseFromString(publish->payload)) {
    return std::nullopt;
  }
  CHECK(publish->retain == Retain::kNo);
  return entry;
}

}  // namespace

TEST_CASE("bridges alone hear what the plugin has for the log") {
  Cell cell({"demo", "rival"});
  cell.StartBroker();
  RawCar car(cell, "demo", "car-1");
  const PrivateKey owner = PrivateKey::Generate();
  const PrivateKey stranger = PrivateKey::Generate();
  REQUIRE(car.PublishRing({{owner.Public(), v1::ROLE_OWNER}}) == 0);
  RawClient bridge(AsBridge(cell));
  REQUIRE(bridge.Connect() == 0);
  REQUIRE(bridge.Subscribe(std::string(kEventTopic)) == 1);

  CHECK(SignsInWrongly(cell, stranger) == kNotAuthorized);
  std::optional<v1::LogEntry> entry = NextEntry(bridge);
  REQUIRE(entry.has_value());
  CHECK(entry->event() == "sign_in_refused");
  CHECK(entry->reason() == v1::REASON_BAD_TOKEN);
  CHECK(entry->key_id().empty());
  CHECK(entry->who().substr(0, 22) == stranger.Public().Id().str());
  CHECK(entry->note().find("127.0.0.1") != std::string::npos);
  CHECK(entry->note().find("no.token.this") == std::string::npos);

  RawClient phone(cell.AsPhone(stranger, 4));
  REQUIRE(phone.Connect() == 0);
  CHECK(phone.Subscribe("lk/1/demo/car-1/state/+") == 0x80);
  entry = NextEntry(bridge);
  REQUIRE(entry.has_value());
  CHECK(entry->event() == "access_refused");
  CHECK(entry->reason() == v1::REASON_NOT_ON_RING);
  CHECK(entry->key_id() == stranger.Public().Id().str());
  CHECK(entry->fleet() == "demo");
  CHECK(entry->car() == "car-1");

  const OperatorIdentity ann{car.ref().fleet, "ann", Bit(v1::PERMISSION_READ_BODY)};
  RawClient tap(cell.WithCertificate(ann, cell.FleetCa("demo"), "demo/operator/ann"));
  REQUIRE(tap.Connect() == 0);
  CHECK(tap.Subscribe("lk/1/demo/+/state/body") == 1);
  CHECK(tap.Subscribe("lk/1/rival/#") == kNotAuthorized);
  for (const char* event : {"tap", "tap_refused"}) {
    entry = NextEntry(bridge);
    REQUIRE(entry.has_value());
    CHECK(entry->event() == event);
    CHECK(entry->who() == "operator:demo/ann");
  }

  // Nobody else hears of it, and nobody but the plugin says it.
  CHECK(phone.Subscribe(std::string(kEventTopic)) == 0x80);
  CHECK(tap.Subscribe(std::string(kEventTopic)) == kNotAuthorized);
  CHECK(car.client().Subscribe(std::string(kEventTopic)) == kNotAuthorized);
  CHECK(bridge.Send({std::string(kEventTopic), "lie", 1, Retain::kNo, 0}) == kNotAuthorized);
}

TEST_CASE("a flood of refused sign-ins leaves a few entries and a count of the rest") {
  Cell cell;
  cell.StartBroker();
  RawClient bridge(AsBridge(cell));
  REQUIRE(bridge.Connect() == 0);
  REQUIRE(bridge.Subscribe(std::string(kEventTopic)) == 1);
  const PrivateKey stranger = PrivateKey::Generate();
  constexpr int kAttempts = 60;
  for (int i = 0; i < kAttempts; ++i) {
    REQUIRE(SignsInWrongly(cell, stranger, i % 2 == 0 ? 5 : 4) > 0);
  }
  uint64_t told = 0;
  uint64_t left_out = 0;
  CHECK(Eventually([&] {
    const std::optional<v1::LogEntry> entry = NextEntry(bridge);
    if (entry && entry->reason() == v1::REASON_FULL) {
      left_out += std::stoull(entry->note());
    } else if (entry) {
      ++told;
    }
    return told + left_out >= kAttempts;
  }));
  CHECK(told + left_out == kAttempts);
  CHECK(told <= 15);
}

TEST_CASE("what the plugin says is in the bridge's log") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  RawCar car(cell, "demo", "car-1");
  const PrivateKey owner = PrivateKey::Generate();
  const PrivateKey stranger = PrivateKey::Generate();
  REQUIRE(car.PublishRing({{owner.Public(), v1::ROLE_OWNER}}) == 0);
  CHECK(SignsInWrongly(cell, stranger) == kNotAuthorized);
  RawClient phone(cell.AsPhone(stranger));
  REQUIRE(phone.Connect() == 0);
  CHECK(phone.Subscribe("lk/1/demo/car-1/presence") == kNotAuthorized);
  const OperatorIdentity ann{car.ref().fleet, "ann", Bit(v1::PERMISSION_READ_BODY)};
  RawClient tap(cell.WithCertificate(ann, cell.FleetCa("demo"), "demo/operator/ann"));
  REQUIRE(tap.Connect() == 0);
  CHECK(tap.Subscribe("lk/1/demo/+/state/body") == 1);
  CHECK(tap.Subscribe("lk/1/rival/#") == kNotAuthorized);
  for (const char* event : {"sign_in_refused", "access_refused", "tap", "tap_refused"}) {
    CAPTURE(event);
    std::string body;
    const auto in_log = [&] {
      body = HttpGet(cell.http_port(), std::string("/v1/log?event=") + event).body;
      const auto answer = nlohmann::json::parse(body, nullptr, false);
      return answer.is_object() && answer["entries"].size() == 1 &&
             answer["entries"][0].value("event", "") == event;
    };
    const bool found = Eventually(in_log, std::chrono::milliseconds(10000));
    INFO(body);
    CHECK(found);
  }
}

}  // namespace latchkey::testing
