// The bridge's door to paho, against the real broker: what it is told to say while it is between
// two connections, which nobody has told it yet.
#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/mqtt.h"
#include "latchkey/v1/state.pb.h"
#include "proto/receipt.h"
#include "proto/topic.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

using std::chrono::seconds;

constexpr int kReceipts = 300;
constexpr int kCars = 500;
constexpr Duration kWordsPatience = seconds(20);

bridge::MqttOptions OptionsOf(const Cell& cell) {
  bridge::MqttOptions options;
  options.host = "127.0.0.1";
  options.port = cell.car_port();
  options.client_id = "bridge/main";
  options.ca_file = (cell.path() / "ca" / "cell.pem").string();
  options.certificate_file = (cell.path() / "bridge" / "bridge.pem").string();
  options.private_key_file = (cell.path() / "bridge" / "bridge.key").string();
  return options;
}

// True: `Wanted` came out of the intake.
template <class Wanted>
bool Came(bridge::Intake& intake) {
  const auto until = std::chrono::steady_clock::now() + kWordsPatience;
  while (std::chrono::steady_clock::now() < until) {
    for (const bridge::Input& input : intake.Drain(1000, seconds(1))) {
      if (std::holds_alternative<Wanted>(input)) {
        return true;
      }
    }
    intake.Finish();
  }
  return false;
}

Publish ReceiptOf(const CarRef& ref, const KeyId& lane, int number) {
  const CommandId id = CommandId::Make(UnixMs(), std::to_string(1'000'000'000 + number));
  const Outcome outcome = MakeOutcome(ref, id, v1::RECEIPT_STATE_HELD, v1::REASON_UNSPECIFIED,
                                      Timestamp{UnixMs()}, v1::RECEIPT_SOURCE_BRIDGE);
  return {ReceiptTopic(ref, lane), SealBridgeReceipt(outcome), 1, Retain::kNo, 0};
}

}  // namespace

TEST_CASE("the bridge's link says every receipt, in order, also those of between two connections") {
  Cell cell;
  cell.StartBroker();
  RawClient other(cell.WithCertificate(BridgeIdentity{"other"}, cell.CellCa(), "bridge/other"));
  REQUIRE(other.Connect() == 0);
  const CarRef ref{FleetId::Parse("demo").value(), CarId::Parse("car-1").value()};
  const KeyId lane = PrivateKey::Generate().Public().Id();
  REQUIRE(other.Subscribe(ReceiptTopic(ref, lane)) == 1);

  bridge::Intake intake(10000);
  bridge::FigureBoard figures;
  bridge::Mqtt mqtt(OptionsOf(cell), intake, figures, [](const bridge::LogEvent&) {});
  REQUIRE(mqtt.Start().has_value());
  REQUIRE(Came<bridge::BrokerUp>(intake));

  std::vector<std::string> said;
  for (int i = 0; i < kReceipts; ++i) {
    if (i == kReceipts / 3) {
      mqtt.Reconnect();
    }
    if (i == 2 * kReceipts / 3) {
      REQUIRE(Came<bridge::BrokerDown>(intake));
    }
    const Publish receipt = ReceiptOf(ref, lane, i);
    said.push_back(receipt.payload);
    mqtt.Send(receipt);
  }
  std::vector<std::string> heard;
  while (heard.size() < said.size()) {
    const std::optional<Publish> next = other.Next(kWordsPatience);
    if (!next) {
      break;
    }
    if (std::find(heard.begin(), heard.end(), next->payload) == heard.end()) {
      heard.push_back(next->payload);  // what the broker had not confirmed may come once more
    }
  }
  CHECK(heard.size() == said.size());
  CHECK(heard == said);
  mqtt.Stop();
}

TEST_CASE("what waits for a connection when the bridge's link stops is given to who comes next") {
  const Cell cell;  // and no broker
  const CarRef ref{FleetId::Parse("demo").value(), CarId::Parse("car-1").value()};
  const KeyId lane = PrivateKey::Generate().Public().Id();
  bridge::Intake intake(10000);
  bridge::FigureBoard figures;
  bridge::MqttOptions options = OptionsOf(cell);
  options.words = {ReceiptOf(ref, lane, 0)};
  bridge::Mqtt mqtt(options, intake, figures, [](const bridge::LogEvent&) {});
  REQUIRE(mqtt.Start().has_value());
  std::vector<std::string> said = {options.words[0].payload};
  for (int i = 1; i <= 3; ++i) {
    const Publish receipt = ReceiptOf(ref, lane, i);
    said.push_back(receipt.payload);
    mqtt.Send(receipt);
    REQUIRE(Eventually([&] { return mqtt.backlog() <= 1; }));  // the link has looked at it
  }
  mqtt.Stop();
  std::vector<std::string> unsaid;
  for (const Publish& publish : mqtt.TakeUnsaid()) {
    unsaid.push_back(publish.payload);
  }
  CHECK(unsaid.size() == said.size());
  for (const std::string& payload : said) {
    CHECK(std::find(unsaid.begin(), unsaid.end(), payload) != unsaid.end());
  }
}

TEST_CASE("what is new reaches the bridge before all that the broker retains has") {
  Cell cell;
  cell.StartBroker();
  RawClient other(cell.WithCertificate(BridgeIdentity{"other"}, cell.CellCa(), "bridge/other"));
  REQUIRE(other.Connect() == 0);
  for (int i = 0; i < kCars; ++i) {
    const CarRef ref{FleetId::Parse("demo").value(), CarId::Parse("c" + std::to_string(i)).value()};
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>(UnixMs()));
    state.set_sequence(1);
    state.mutable_area();
    // Of the part that is shown last: its end is the end of all.
    REQUIRE(other.Send({StateTopic(ref, Group::kArea), state.SerializeAsString(), 1, Retain::kYes,
                        0}) == 0);
  }
  bridge::Intake intake(10000);
  bridge::FigureBoard figures;
  bridge::Mqtt mqtt(OptionsOf(cell), intake, figures, [](const bridge::LogEvent&) {});
  REQUIRE(mqtt.Start().has_value());
  REQUIRE(Came<bridge::BrokerUp>(intake));
  const CarRef ref{FleetId::Parse("demo").value(), CarId::Parse("c1").value()};
  const KeyId lane = PrivateKey::Generate().Public().Id();
  REQUIRE(other.Send(ReceiptOf(ref, lane, 1)) == 0);

  int states = 0;
  int states_before = -1;
  int shown = 0;
  int states_after = 0;
  const auto until = std::chrono::steady_clock::now() + kWordsPatience;
  while (shown == 0 && std::chrono::steady_clock::now() < until) {
    for (const bridge::Input& input : intake.Drain(1000, seconds(1))) {
      if (const auto* message = std::get_if<bridge::Message>(&input)) {
        const bool receipt = message->publish.topic == ReceiptTopic(ref, lane);
        states_before = receipt ? states : states_before;
        states += message->publish.topic.find("/state/") != std::string::npos ? 1 : 0;
      }
      shown += std::holds_alternative<bridge::BrokerShown>(input) ? 1 : 0;
      states_after += shown > 0 && std::holds_alternative<bridge::Message>(input) ? 1 : 0;
    }
    intake.Finish();
  }
  CHECK(states == kCars);
  CHECK(states_before == 0);
  CHECK(shown == 1);
  CHECK(states_after == 0);
  mqtt.Stop();
}

}  // namespace latchkey::testing
