// The load generator against its sink: what it counts is what went by, with and without TLS.
#include "tools/bench/swarm.h"

#include <set>
#include <string>

#include <doctest/doctest.h>

#include "proto/certificate.h"
#include "tools/bench/sink.h"
#include "tools/ca/ca.h"

namespace latchkey::bench {

namespace {

constexpr Duration kPatience = std::chrono::seconds(30);

Timestamp Now() {
  return {std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch())
              .count()};
}

// A CA, and a sink that wants certificates of it.
struct Place {
  explicit Place(bool with_tls) {
    const tools::Issued ca = tools::MakeCa("bench", Now(), 1);
    const auto server = tools::IssueServer({"127.0.0.1"}, ca, Now(), 1);
    const auto client = tools::IssueClient(BridgeIdentity{"b"}, ca, Now(), 1);
    REQUIRE(server);
    REQUIRE(client);
    std::shared_ptr<const Tls> serving;
    if (with_tls) {
      serving = *Tls::Server(server->certificate_pem, server->private_key_pem, ca.certificate_pem);
      endpoint.tls = *Tls::Client(ca.certificate_pem);
      stranger_tls = *Tls::Client(tools::MakeCa("other", Now(), 1).certificate_pem);
      identity = *Identity::FromPem(client->certificate_pem, client->private_key_pem);
    }
    auto started = Sink::Start(serving);
    REQUIRE(started);
    sink = std::move(*started);
    endpoint.host = "127.0.0.1";
    endpoint.port = sink->port();
  }

  Endpoint endpoint;
  std::shared_ptr<const Tls> stranger_tls;
  std::shared_ptr<const Identity> identity;
  std::unique_ptr<Sink> sink;
};

ClientWish Named(const std::string& client_id, const Place& place) {
  ClientWish wish;
  wish.client_id = client_id;
  wish.identity = place.identity;
  return wish;
}

}  // namespace

TEST_CASE("bench swarm: every message of many pairs comes, once, and is counted on both sides") {
  for (const bool tls : {false, true}) {
    CAPTURE(tls);
    const Place place(tls);
    Swarm swarm(place.endpoint);
    constexpr size_t kPairs = 50;
    constexpr size_t kEach = 40;
    for (size_t i = 0; i < kPairs; ++i) {
      const size_t reader = swarm.Add(Named("r" + std::to_string(i), place));
      swarm.Subscribe(reader, "t/" + std::to_string(i), 1);
      swarm.Add(Named("w" + std::to_string(i), place));
    }
    REQUIRE(swarm.Drive(kPatience));
    REQUIRE(swarm.connected() == 2 * kPairs);
    CHECK((swarm.Cipher(0).rfind("TLSv1.3", 0) == 0) == tls);

    std::set<std::string> got;
    swarm.on_message = [&](size_t client, const Arrived& arrived) {
      CHECK(arrived.topic == "t/" + std::to_string(client / 2));
      got.insert(std::to_string(client) + " " + std::string(arrived.payload.substr(0, 4)));
    };
    const std::string filler(700, 'x');
    for (size_t message = 0; message < kEach; ++message) {
      for (size_t i = 0; i < kPairs; ++i) {
        const std::string payload = std::to_string(1000 + message) + filler;
        CHECK(swarm.Publish(2 * i + 1, {"t/" + std::to_string(i), payload, message % 2 == 0}));
      }
    }
    REQUIRE(swarm.DriveUntil(kPatience, [&] {
      return swarm.counters().received == kPairs * kEach &&
             swarm.counters().acknowledged == kPairs * kEach / 2;
    }));
    CHECK(got.size() == kPairs * kEach);
    CHECK(swarm.counters().sent == kPairs * kEach);
    CHECK(swarm.counters().refused == 0);
    CHECK(swarm.counters().lost == 0);
    CHECK(swarm.first_trouble() == "");
    const uint64_t payload_bytes = kPairs * kEach * (filler.size() + 4);
    CHECK(swarm.bytes_out() > payload_bytes);
    CHECK(swarm.bytes_out() < payload_bytes * 3 / 2);
    CHECK(swarm.bytes_in() > payload_bytes);
    CHECK(swarm.cpu_seconds() > 0);
  }
}

TEST_CASE("bench sink: who subscribes with a wildcard is given what it matches and no more") {
  const Place place(false);
  Swarm swarm(place.endpoint);
  const size_t all = swarm.Add(Named("all", place));
  const size_t some = swarm.Add(Named("some", place));
  const size_t writer = swarm.Add(Named("writer", place));
  swarm.Subscribe(all, "a/#", 0);
  swarm.Subscribe(some, "a/+/x", 0);
  REQUIRE(swarm.Drive(kPatience));
  std::string got;
  swarm.on_message = [&](size_t client, const Arrived& arrived) {
    got += (client == all ? "all " : "some ") + std::string(arrived.topic) + "; ";
  };
  for (const char* topic : {"b/1/x", "a/1/y", "a/1/x", "a/last"}) {
    swarm.Publish(writer, {topic, "p", 0});
    REQUIRE(swarm.Drive(kPatience));
  }
  REQUIRE(swarm.DriveUntil(kPatience, [&] { return got.find("a/last") != std::string::npos; }));
  CHECK(swarm.counters().received == 4);
  CHECK(got.find("some a/1/x") != std::string::npos);
  CHECK(got.find("b/1/x") == std::string::npos);
  CHECK(got.find("some a/1/y") == std::string::npos);
}

TEST_CASE("bench swarm: messages larger than a read come whole") {
  const Place place(true);
  Swarm swarm(place.endpoint);
  const size_t client = swarm.Add(Named("a", place));
  swarm.Subscribe(client, "t", 0);
  REQUIRE(swarm.Drive(kPatience));
  const std::string large(250'000, 'y');
  size_t same = 0;
  swarm.on_message = [&](size_t, const Arrived& arrived) { same += arrived.payload == large; };
  for (int i = 0; i < 20; ++i) {
    swarm.Publish(client, {"t", large, 0});
  }
  REQUIRE(swarm.DriveUntil(kPatience, [&] { return swarm.counters().received == 20; }));
  CHECK(same == 20);
}

TEST_CASE("bench swarm: who is lost is told, and comes again when asked to") {
  Place place(true);
  Swarm swarm(place.endpoint);
  swarm.Subscribe(swarm.Add(Named("a", place)), "t", 0);
  REQUIRE(swarm.Drive(kPatience));
  size_t lost = 0;
  swarm.on_lost = [&](size_t, const Lost&) { ++lost; };
  place.sink.reset();
  REQUIRE(swarm.DriveUntil(kPatience, [&] { return lost == 1; }));
  CHECK(swarm.connected() == 0);
  CHECK(!swarm.Publish(0, {"t", "x"}));
  swarm.Reconnect(0);
  REQUIRE(swarm.DriveUntil(kPatience, [&] { return lost == 2; }));  // nobody listens

  const Place other(true);
  auto endpoint = other.endpoint;
  swarm.Move(0, endpoint);
  swarm.Reconnect(0);
  REQUIRE(swarm.DriveUntil(kPatience, [&] { return lost == 3; }));  // its CA is another one
  endpoint.tls = other.stranger_tls;
  ClientWish stranger = Named("b", other);
  stranger.endpoint = endpoint;
  swarm.Add(stranger);
  REQUIRE(swarm.DriveUntil(kPatience, [&] { return lost == 4; }));
  ClientWish right = Named("c", other);
  right.endpoint = other.endpoint;
  const size_t client = swarm.Add(right);
  swarm.Subscribe(client, "t", 0);
  REQUIRE(swarm.Drive(kPatience));
  CHECK(swarm.IsConnected(client));
  swarm.Leave(client);
  REQUIRE(swarm.DriveUntil(kPatience, [&] { return !swarm.IsConnected(client); }));
  swarm.Reconnect(client);
  REQUIRE(swarm.Drive(kPatience));
  CHECK(swarm.Publish(client, {"t", "x"}));
  REQUIRE(swarm.DriveUntil(kPatience, [&] { return swarm.counters().received == 1; }));
  CHECK(swarm.counters().entered == 3);
}

}  // namespace latchkey::bench
