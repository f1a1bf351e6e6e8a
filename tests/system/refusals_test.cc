// Who is refused, and with which code, by the real broker: in MQTT 5 and in 3.1.1. Each refusal has
// its positive control beside it.
#include <functional>

#include <doctest/doctest.h>

#include "latchkey/v1/state.pb.h"
#include "proto/command.h"
#include "proto/token.h"
#include "proto/topic.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

constexpr int kNotAuthorized = 0x87;
constexpr int kOldNotAuthorized = 5;  // 3.1.1 return code
constexpr int kOldSubscribeFailed = 0x80;

Timestamp Clock() {
  return Timestamp{UnixMs()};
}

// A JWT over any header and payload.
std::string Jwt(const std::string& header, const std::string& payload,
                const std::function<std::string(const std::string&)>& sign) {
  const std::string text = Base64UrlEncode(header) + "." + Base64UrlEncode(payload);
  return text + "." + Base64UrlEncode(sign(text));
}

std::string Header(const std::string& algorithm, const PublicKey& key) {
  return R"({"alg":")" + algorithm + R"(","typ":"JWT","jwk":{"kty":"EC","crv":"P-256","x":")" +
         Base64UrlEncode(key.X()) + R"(","y":")" + Base64UrlEncode(key.Y()) + R"("}})";
}

std::string Payload(const PublicKey& key, const std::string& cell, int64_t now_s) {
  return R"({"sub":")" + key.Id().str() + R"(","aud":")" + cell + R"(","iat":)" +
         std::to_string(now_s) + R"(,"exp":)" + std::to_string(now_s + 300) + "}";
}

std::string FlashFor(const CarRef& ref, const PrivateKey& key) {
  v1::Command action;
  action.mutable_flash_lights();
  const Timestamp now = Clock();
  return SealCommand({ref, CommandId::Make(now.ms, std::string(10, 'r')), now,
                      now + std::chrono::seconds(30), action},
                     key)
      .value();
}

int CodeOf(RawOptions options) {
  RawClient client(std::move(options));
  return client.Connect();
}

}  // namespace

TEST_CASE("only a token that the phone's own key signed for this cell, now, signs a phone in") {
  Cell cell;
  cell.StartBroker();
  const PrivateKey key = PrivateKey::Generate();
  const PrivateKey other = PrivateKey::Generate();
  const int64_t now_s = UnixMs() / 1000;
  const auto sign = [&](const std::string& text) { return key.Sign(text); };
  const std::string payload = Payload(key.Public(), cell.name(), now_s);

  struct Case {
    const char* what;
    std::string password;
  };

  const std::vector<Case> refused = {
      {"expired",
       MintToken(key, cell.name(), Clock() - std::chrono::minutes(30), std::chrono::minutes(5))},
      {"for another key", MintToken(other, cell.name(), Clock(), std::chrono::minutes(5))},
      {"for another cell", MintToken(key, "elsewhere", Clock(), std::chrono::minutes(5))},
      {"signed by another key", Jwt(Header("ES256", key.Public()), payload,
                                    [&](const std::string& text) { return other.Sign(text); })},
      {"unsigned", Jwt(Header("none", key.Public()), payload,
                       [](const std::string&) { return std::string(); })},
      {"ES256 without signature", Jwt(Header("ES256", key.Public()), payload,
                                      [](const std::string&) { return std::string(); })},
      {"HS256 with the public key",
       Jwt(Header("HS256", key.Public()), payload,
           [&](const std::string& text) { return HmacSha256(key.Public().ToDer(), text); })},
      {"HS256 with the public point",
       Jwt(Header("HS256", key.Public()), payload,
           [&](const std::string& text) { return HmacSha256(key.Public().ToPoint(), text); })},
      {"not a token", "password"},
      {"empty", ""},
  };
  for (const int version : {5, 4}) {
    CAPTURE(version);
    RawOptions good = cell.AsPhone(key, version);
    good.password = Jwt(Header("ES256", key.Public()), payload, sign);
    CHECK(CodeOf(good) == 0);  // control: the same way of making it, signed right
    for (const Case& one : refused) {
      CAPTURE(one.what);
      RawOptions options = cell.AsPhone(key, version);
      options.password = one.password;
      const int code = CodeOf(options);
      CHECK(code == (version == 5 ? kNotAuthorized : kOldNotAuthorized));
    }
    RawOptions nobody = cell.AsPhone(key, version);
    nobody.user_name.reset();
    nobody.password.reset();
    CHECK(CodeOf(nobody) == (version == 5 ? kNotAuthorized : kOldNotAuthorized));
  }
  REQUIRE(cell.broker().Running());
}

TEST_CASE("a phone that is not on the ring reads, writes and subscribes nothing of the car") {
  Cell cell;
  cell.StartBroker();
  const PrivateKey owner = PrivateKey::Generate();
  const PrivateKey stranger = PrivateKey::Generate();
  const PrivateKey neighbour = PrivateKey::Generate();
  RawCar car(cell, "demo", "car-1");
  RawCar next(cell, "demo", "car-2");
  REQUIRE(car.PublishRing({{owner.Public(), v1::ROLE_OWNER}}) == 0);
  REQUIRE(next.PublishRing({{neighbour.Public(), v1::ROLE_OWNER}}) == 0);
  REQUIRE(car.PublishSpeed(42) == 0);
  const std::string state = StateTopic(car.ref(), Group::kDrive);
  REQUIRE(car.client().Subscribe("lk/1/demo/car-1/command/+") == 1);
  for (const int version : {5, 4}) {
    CAPTURE(version);
    const int no = version == 5 ? kNotAuthorized : kOldSubscribeFailed;
    RawClient good(cell.AsPhone(owner, version));
    REQUIRE(good.Connect() == 0);
    CHECK(good.Subscribe(state) == 1);
    CHECK(good.NextOn(state).has_value());
    CHECK(good.Send({CommandTopic(car.ref(), owner.Public().Id()), FlashFor(car.ref(), owner)}) ==
          0);
    CHECK(car.client().NextOn(CommandTopic(car.ref(), owner.Public().Id())).has_value());
    for (const PrivateKey* bad : {&stranger, &neighbour}) {
      RawClient client(cell.AsPhone(*bad, version));
      REQUIRE(client.Connect() == 0);
      const KeyId id = bad->Public().Id();
      CHECK(client.Subscribe(state) == no);
      CHECK(client.Subscribe("lk/1/demo/car-1/#") == no);
      CHECK(client.Subscribe("lk/1/demo/+/state/drive") == no);
      CHECK(client.Subscribe("lk/1/#") == no);
      CHECK(client.Subscribe("#") == no);
      CHECK(client.Subscribe("$SYS/#") == no);
      CHECK(client.Subscribe("$share/a/" + state) == no);
      const int code = client.Send({CommandTopic(car.ref(), id), FlashFor(car.ref(), *bad)});
      CHECK(code == (version == 5 ? kNotAuthorized : 0));
      // On the owner's lane, with the owner's own bytes.
      const int lane =
          client.Send({CommandTopic(car.ref(), owner.Public().Id()), FlashFor(car.ref(), owner)});
      CHECK(lane == (version == 5 ? kNotAuthorized : 0));
      CHECK_FALSE(client.Next(std::chrono::milliseconds(300)).has_value());
    }
    CHECK_FALSE(car.client().Next(std::chrono::milliseconds(300)).has_value());
  }
}

TEST_CASE("a car cannot pose as another car") {
  Cell cell({"demo", "rival"});
  cell.StartBroker();
  RawCar victim(cell, "demo", "car-1");
  RawCar car(cell, "demo", "car-2");
  const PrivateKey phone = PrivateKey::Generate();
  REQUIRE(victim.PublishRing({{phone.Public(), v1::ROLE_OWNER}}) == 0);
  REQUIRE(victim.PublishSpeed(1) == 0);
  REQUIRE(car.PublishSpeed(2) == 0);  // control: its own topic
  SUBCASE("by writing the other's topics") {
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>(UnixMs()));
    state.mutable_drive()->mutable_speed()->set_value(200);
    CHECK(car.client().Send({StateTopic(victim.ref(), Group::kDrive), state.SerializeAsString(), 1,
                             Retain::kYes, 0}) == kNotAuthorized);
    const KeyRing ring{victim.ref(), 99, Clock(), {OnRing(phone.Public(), v1::ROLE_OWNER)}};
    CHECK(car.client().Send({KeyRingTopic(victim.ref()),
                             SealKeyRing(ring, car.key(), car.certificate_der()), 1, Retain::kYes,
                             0}) == kNotAuthorized);
    CHECK(car.client().Subscribe("lk/1/demo/car-1/command/+") == kNotAuthorized);
    CHECK(car.client().Subscribe("lk/1/demo/+/command/+") == kNotAuthorized);
  }
  SUBCASE("by publishing the other's ring on its own topic") {
    const KeyRing ring{victim.ref(), 99, Clock(), {OnRing(phone.Public(), v1::ROLE_OWNER)}};
    CHECK(car.client().Send({KeyRingTopic(car.ref()),
                             SealKeyRing(ring, victim.key(), victim.certificate_der()), 1,
                             Retain::kYes, 0}) != 0);
  }
  SUBCASE("by the other's client id") {
    for (const int version : {5, 4}) {
      RawOptions options = cell.AsCar(car.ref(), version);
      options.client_id = victim.ref().ToText();
      const int code = CodeOf(options);
      CHECK((code == 0x85 || code == kNotAuthorized || code == kOldNotAuthorized || code == 2));
      CHECK(victim.client().Ping());  // and the other is not thrown out
    }
  }
  SUBCASE("with a certificate from another fleet's CA") {
    const CertificateIdentity posed = CarIdentity{victim.ref()};
    for (const int version : {5, 4}) {
      const int code = CodeOf(
          cell.WithCertificate(posed, cell.FleetCa("rival"), victim.ref().ToText(), version));
      CHECK(code == (version == 5 ? kNotAuthorized : kOldNotAuthorized));
      const int own = CodeOf(cell.WithCertificate(CarIdentity{Ref("rival", "car-1")},
                                                  cell.FleetCa("rival"), "rival/car-1", version));
      CHECK(own == 0);
    }
    CHECK(victim.client().Ping());
  }
  SUBCASE("with a certificate from a CA nobody knows, or none") {
    const tools::Issued unknown = tools::MakeCa("unknown", Clock(), 30);
    CHECK(CodeOf(cell.WithCertificate(CarIdentity{victim.ref()}, unknown, victim.ref().ToText())) ==
          kHungUp);
    RawOptions none = cell.AsCar(victim.ref());
    none.certificate_pem.clear();
    CHECK(CodeOf(none) == kHungUp);
    // Nor with a phone's token on the cars' port.
    RawOptions token = cell.AsPhone(phone);
    token.port = cell.car_port();
    CHECK(CodeOf(token) == kHungUp);
  }
}

TEST_CASE("an operator reads its groups of its fleet and writes nothing") {
  Cell cell({"demo", "rival"});
  cell.StartBroker();
  RawCar car(cell, "demo", "car-1");
  RawCar rival(cell, "rival", "car-1");
  REQUIRE(car.PublishSpeed(10) == 0);
  REQUIRE(rival.PublishSpeed(20) == 0);
  const OperatorIdentity identity{FleetId::Parse("demo").value(), "olga",
                                  Bit(v1::PERMISSION_READ_DRIVE)};
  for (const int version : {5, 4}) {
    CAPTURE(version);
    const int no = version == 5 ? kNotAuthorized : kOldSubscribeFailed;
    RawClient olga(
        cell.WithCertificate(identity, cell.FleetCa("demo"), "demo/operator/olga", version));
    REQUIRE(olga.Connect() == 0);
    CHECK(olga.Subscribe("lk/1/demo/+/state/drive") == 1);
    const auto state = olga.Next();
    REQUIRE(state.has_value());
    CHECK(state->topic == "lk/1/demo/car-1/state/drive");
    CHECK(olga.Subscribe("lk/1/demo/car-1/state/location") == no);
    CHECK(olga.Subscribe("lk/1/rival/+/state/drive") == no);
    CHECK(olga.Subscribe("lk/1/+/+/state/drive") == no);
    CHECK_FALSE(olga.Next(std::chrono::milliseconds(300)).has_value());
    const int written = olga.Send({state->topic, state->payload, 1, Retain::kYes, 0});
    CHECK(written == (version == 5 ? kNotAuthorized : 0));
    const KeyId lane = PrivateKey::Generate().Public().Id();
    CHECK(olga.Send({CommandTopic(car.ref(), lane), "x"}) == (version == 5 ? kNotAuthorized : 0));
  }
  // Groups beyond its certificate do not arrive through a wide filter either.
  v1::StateGroup location;
  location.set_observed_at_ms(static_cast<uint64_t>(UnixMs()));
  location.mutable_location()->mutable_latitude()->set_value(48.1);
  location.mutable_location()->mutable_longitude()->set_value(11.5);
  RawClient wide(cell.WithCertificate(identity, cell.FleetCa("demo"), "demo/operator/olga"));
  REQUIRE(wide.Connect() == 0);
  REQUIRE(wide.Subscribe("lk/1/demo/+/state/+") == 1);
  REQUIRE(car.client().Send({StateTopic(car.ref(), Group::kLocation), location.SerializeAsString(),
                             1, Retain::kYes, 0}) == 0);
  REQUIRE(car.PublishSpeed(11) == 0);
  for (int i = 0; i < 2; ++i) {
    const auto state = wide.Next();
    REQUIRE(state.has_value());
    CHECK(state->topic == "lk/1/demo/car-1/state/drive");
  }
}

}  // namespace latchkey::testing
