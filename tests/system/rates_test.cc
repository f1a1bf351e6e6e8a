// Floods through the real broker: who sends too much is refused, and nobody else notices.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "proto/command.h"
#include "proto/pairing.h"
#include "proto/token.h"
#include "proto/topic.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kNotAuthorized = 0x87;
constexpr const char* kAttacker = "127.0.0.2";
constexpr const char* kOwner = "127.0.0.3";

int64_t MsSince(steady_clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start).count();
}

RawOptions From(RawOptions options, const std::string& address) {
  options.source_address = address;
  return options;
}

// A thread that does something again and again until it is stopped or has done it `most` times.
class Again {
 public:
  template <class Body>
  Again(int most, Body body)
      : thread_([this, most, body] {
          for (int i = 0; i < most && !stop_; ++i) {
            body(i);
          }
        }) {}

  ~Again() { Stop(); }

  void Stop() {
    stop_ = true;
    if (thread_.joinable()) {
      thread_.join();
    }
  }

 private:
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// Pairs a new key from the owner's address; how long that took, -1 when it failed.
int64_t PairMs(const Cell& cell, const PairingOffer& offer) {
  const PrivateKey key = PrivateKey::Generate();
  const std::string nonce = RandomBytes(16);
  RawClient phone(From(cell.AsPhone(key), kOwner));
  const auto start = steady_clock::now();
  const KeyId lane = key.Public().Id();
  const std::string answer_topic = PairingAnswerTopic(offer.ref, lane);
  if (phone.Connect() != 0 || phone.Subscribe(answer_topic) != 1 ||
      phone.Send({PairingTopic(offer.ref, lane), MakeClaim(offer, key.Public(), nonce, "alice")}) !=
          0) {
    return -1;
  }
  const std::optional<Publish> answer = phone.NextOn(answer_topic, milliseconds(10000));
  const bool paired =
      answer && CheckAnswer(answer->payload, offer, key.Public(), nonce, "alice").has_value();
  return paired ? MsSince(start) : -1;
}

std::string Flash(const CarRef& ref, const PrivateKey& key) {
  v1::Command action;
  action.mutable_flash_lights();
  const Timestamp now{UnixMs()};
  return SealCommand({ref, CommandId::Make(now.ms, RandomBytes(10)), now,
                      now + std::chrono::seconds(30), action},
                     key)
      .value();
}

int64_t MedianConnectMs(const Cell& cell, const PrivateKey& key, int tries) {
  std::vector<int64_t> times;
  for (int i = 0; i < tries; ++i) {
    RawClient phone(From(cell.AsPhone(key), kOwner));
    const auto start = steady_clock::now();
    const int code = phone.Connect();
    CHECK(code == 0);
    times.push_back(MsSince(start));
    phone.Disconnect();
  }
  std::nth_element(times.begin(), times.begin() + tries / 2, times.end());
  return times.at(static_cast<size_t>(tries) / 2);
}

}  // namespace

TEST_CASE("an owner pairs while somebody floods the car with claims of fifty keys") {
  Cell cell;
  cell.StartBroker();
  cell.StartCar("car-1", {"--offer"});
  cell.StartCar("car-2", {"--offer"});
  const PairingOffer quiet_offer = ParseQrText(cell.QrText("car-2")).value();
  const PairingOffer offer = ParseQrText(cell.QrText("car-1")).value();
  const int64_t quiet_ms = PairMs(cell, quiet_offer);
  REQUIRE(quiet_ms >= 0);

  struct Attacker {
    PrivateKey key = PrivateKey::Generate();
    std::unique_ptr<RawClient> client;
    std::string claim;
  };

  PairingOffer guessed = offer;
  guessed.secret = RandomBytes(kPairingSecretBytes);
  std::vector<Attacker> attackers(50);
  for (Attacker& attacker : attackers) {
    attacker.client = std::make_unique<RawClient>(From(cell.AsPhone(attacker.key), kAttacker));
    REQUIRE(attacker.client->Connect() == 0);
    attacker.claim = MakeClaim(guessed, attacker.key.Public(), RandomBytes(16), "mallory");
  }
  std::atomic<int> passed = 0;
  std::atomic<int> refused = 0;
  const auto start = steady_clock::now();
  Again flood(20000, [&](int i) {
    Attacker& attacker = attackers.at(static_cast<size_t>(i) % attackers.size());
    const int code = attacker.client->Send(
        {PairingTopic(offer.ref, attacker.key.Public().Id()), attacker.claim});
    passed += code == 0 ? 1 : 0;
    refused += code == kNotAuthorized ? 1 : 0;
  });
  REQUIRE(Eventually([&] { return refused > 200; }));
  const int64_t flooded_ms = PairMs(cell, offer);
  flood.Stop();
  const double lasted_s = static_cast<double>(MsSince(start)) / 1000;
  std::printf("pairing: quiet %lld ms, flooded %lld ms; %d claims passed, %d refused in %.1f s\n",
              static_cast<long long>(quiet_ms), static_cast<long long>(flooded_ms), passed.load(),
              refused.load(), lasted_s);
  CHECK(flooded_ms >= 0);
  CHECK(flooded_ms < quiet_ms + 2000);
  CHECK(passed >= 20);
  CHECK(passed <= 20 + 0.5 * lasted_s + 1);
  CHECK(CountLines(cell.BrokerLog(), "reason=full") > 0);
  CHECK(CountLines(cell.BrokerLog(), "text=\"rate_claim_address\"") > 0);
}

TEST_CASE(
    "a flood of wrong sign-ins with Alice's name neither locks Alice out nor slows her much") {
  Cell cell;
  cell.StartBroker();
  const PrivateKey alice = PrivateKey::Generate();
  const PrivateKey mallory = PrivateKey::Generate();
  const int64_t quiet_ms = MedianConnectMs(cell, alice, 11);

  std::atomic<int> refused = 0;
  std::atomic<int> accepted = 0;
  Again flood(30000, [&](int i) {
    RawOptions options = From(cell.AsPhone(alice), kAttacker);
    options.client_id = alice.Public().Id().str() + "/" + std::to_string(i);
    const std::string& good = *options.password;
    const std::string stolen =
        MintToken(mallory, cell.name(), Timestamp{UnixMs()}, std::chrono::minutes(5));
    // Alice's claims with a signature that is not hers.
    options.password = good.substr(0, good.rfind('.')) + stolen.substr(stolen.rfind('.'));
    RawClient client(options);
    const int code = client.Connect();
    refused += code == kNotAuthorized ? 1 : 0;
    accepted += code == 0 ? 1 : 0;
  });
  // More than the burst, and in a second whose log lines were not used up before.
  REQUIRE(Eventually(
      [&] { return refused > 250 && CountLines(cell.BrokerLog(), "at=connect reason=full") > 0; }));
  const int64_t flooded_ms = MedianConnectMs(cell, alice, 21);
  flood.Stop();
  std::printf("sign-in: quiet %lld ms, flooded %lld ms (median); %d refused\n",
              static_cast<long long>(quiet_ms), static_cast<long long>(flooded_ms), refused.load());
  CHECK(accepted == 0);
  CHECK(flooded_ms < quiet_ms + 300);
  CHECK(CountLines(cell.BrokerLog(), "at=connect reason=bad_signature") > 0);
}

TEST_CASE("commands are limited per key and not per connection, and the refusals are metrics") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  const PrivateKey busy = PrivateKey::Generate();
  const PrivateKey calm = PrivateKey::Generate();
  RawCar car(cell, "demo", "car-1");
  REQUIRE(car.PublishRing({{busy.Public(), v1::ROLE_OWNER}, {calm.Public(), v1::ROLE_DRIVER}}) ==
          0);
  std::vector<std::unique_ptr<RawClient>> connections;
  for (const char* suffix : {"/a", "/b", ""}) {
    RawOptions options = cell.AsPhone(busy);
    // The last: a client id that the broker makes up.
    options.client_id = *suffix == '\0' ? "" : busy.Public().Id().str() + suffix;
    connections.push_back(std::make_unique<RawClient>(options));
    REQUIRE(connections.back()->Connect() == 0);
  }
  const std::string topic = CommandTopic(car.ref(), busy.Public().Id());
  int passed = 0;
  int refused = 0;
  const auto start = steady_clock::now();
  for (size_t i = 0; i < 600; ++i) {
    const int code = connections.at(i % connections.size())->Send({topic, Flash(car.ref(), busy)});
    passed += code == 0 ? 1 : 0;
    refused += code == kNotAuthorized ? 1 : 0;
  }
  const double lasted_s = static_cast<double>(MsSince(start)) / 1000;
  std::printf("commands: %d passed, %d refused in %.1f s\n", passed, refused, lasted_s);
  CHECK(passed + refused == 600);
  CHECK(passed >= 300);
  CHECK(passed <= 300 + 20 * lasted_s + 1);
  CHECK(CountLines(cell.BrokerLog(), "text=\"rate_command\"") > 0);

  RawClient other(cell.AsPhone(calm));
  REQUIRE(other.Connect() == 0);
  CHECK(other.Send({CommandTopic(car.ref(), calm.Public().Id()), Flash(car.ref(), calm)}) == 0);
  // And the busy one goes on at its rate.
  CHECK(Eventually([&] { return connections[0]->Send({topic, Flash(car.ref(), busy)}) == 0; },
                   milliseconds(3000)));

  const std::string line = "latchkey_broker_refused_total{at=\"message\",reason=\"full\"} ";
  std::string page;
  const bool told = Eventually([&] {
    page = HttpGet(cell.http_port(), "/metrics").body;
    const size_t at = page.find(line);
    return at != std::string::npos && std::stoi(page.substr(at + line.size())) >= refused;
  });
  INFO(page);
  CHECK(told);
  CHECK(page.find("latchkey_broker_rings 1\n") != std::string::npos);
  CHECK(page.find("latchkey_certificate_expiry_seconds{holder=\"bridge\"} ") != std::string::npos);
  CHECK(page.find("latchkey_certificate_expiry_seconds{holder=\"fleet_ca\",fleet=\"demo\"} ") !=
        std::string::npos);
}

TEST_CASE("messages are limited per key over all its connections, refused ones too") {
  Cell cell;
  cell.StartBroker();
  const PrivateKey noisy = PrivateKey::Generate();
  const PrivateKey calm = PrivateKey::Generate();
  std::vector<std::unique_ptr<RawClient>> connections;
  for (const char* suffix : {"/a", "/b"}) {
    RawOptions options = cell.AsPhone(noisy);
    options.client_id = noisy.Public().Id().str() + suffix;
    connections.push_back(std::make_unique<RawClient>(options));
    REQUIRE(connections.back()->Connect() == 0);
  }
  // On, until a second whose log lines were not used up before.
  const bool said = Eventually([&] {
    for (size_t i = 0; i < 1500; ++i) {
      REQUIRE(connections.at(i % 2)->Send({"lk/1/demo/car-1/state/drive", "x"}) == kNotAuthorized);
    }
    return CountLines(cell.BrokerLog(), "text=\"rate_message\"") > 0;
  });
  REQUIRE(said);
  // Reading the log took time, in which tokens flowed in: they are used up right before. A machine
  // that stops in between is asked once more.
  CHECK(Eventually([&] {
    for (size_t i = 0; i < 200; ++i) {
      REQUIRE(connections.at(i % 2)->Send({"lk/1/demo/car-1/state/drive", "x"}) == kNotAuthorized);
    }
    return connections[0]->Subscribe("lk/1/demo/car-1/pairing/" + noisy.Public().Id().str() +
                                     "/answer") == kNotAuthorized;
  }));
  RawClient other(cell.AsPhone(calm));
  REQUIRE(other.Connect() == 0);
  CHECK(other.Subscribe("lk/1/demo/car-1/pairing/" + calm.Public().Id().str() + "/answer") == 1);
}

}  // namespace latchkey::testing
