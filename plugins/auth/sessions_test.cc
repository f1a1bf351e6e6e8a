// Presence and whom to disconnect, as stories.
#include "plugins/auth/sessions.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "proto/crypto.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::auth {
namespace {

using testing::kNow;
using testing::kSecond;
using testing::Ref;

struct Story {
  Sessions sessions{kNow};
  std::array<char, 8> places{};
  Timestamp now = kNow;

  Sessions::Connection At(size_t n) const { return &places[n]; }

  static std::string Words(const std::optional<Publish>& publish) {
    if (!publish) {
      return "";
    }
    v1::Presence presence;
    REQUIRE(presence.ParseFromString(publish->payload));
    CHECK(publish->retain == Retain::kYes);
    CHECK(presence.broker_started_at_ms() == static_cast<uint64_t>(kNow.ms));
    return publish->topic + (presence.online() ? " online " : " offline ") +
           std::to_string(presence.session()) + " since " +
           std::to_string(presence.since_ms() - static_cast<uint64_t>(kNow.ms)) + " " +
           v1::OfflineReason_Name(presence.reason()).substr(15);
  }

  std::string CarConnects(size_t n, const std::string& client_id = "f1/c1") {
    now = now + kSecond;
    Principal car;
    car.kind = PrincipalKind::kCar;
    car.car = Ref("f1", "c1");
    return Words(sessions.Begin(At(n), {car, client_id, now, Mono(), 30}, "10.0.0.1"));
  }

  std::string PhoneConnects(size_t n, const KeyId& key, const std::string& client_id) {
    Principal phone;
    phone.key = key;
    return Words(sessions.Begin(At(n), {phone, client_id, now, Mono(), 60}, ""));
  }

  bool MayWrite(Sessions::Connection connection) const {
    const Live* live = sessions.Find(connection);
    return live != nullptr && live->may_write;
  }

  std::string Ends(size_t n) {
    now = now + kSecond;
    const std::optional<Publish> said = sessions.End(At(n), {now, Mono()});
    ended = {};
    if (said) {
      v1::Presence presence;
      REQUIRE(presence.ParseFromString(said->payload));
      ended = presence.ended();
    }
    return Words(said);
  }

  Instant Mono() const { return Instant{now.ms - kNow.ms + 500}; }

  v1::EndedSession ended;  // of the last Ends
};

TEST_CASE("sessions: a car is online from its sign-in to the end of its connection") {
  Story s;
  CHECK(s.CarConnects(0) == "lk/1/f1/c1/presence online 1 since 1000 UNSPECIFIED");
  CHECK(s.sessions.Find(s.At(0)) != nullptr);
  CHECK(s.Ends(0) == "lk/1/f1/c1/presence offline 1 since 2000 CONNECTION_ENDED");
  CHECK(s.sessions.Find(s.At(0)) == nullptr);
  CHECK(s.CarConnects(1) == "lk/1/f1/c1/presence online 2 since 3000 UNSPECIFIED");
}

TEST_CASE("sessions: of twenty thousand each is found, and who has ended is not") {
  Sessions sessions(kNow);
  constexpr size_t kMany = 20'000;
  const std::vector<char> places(kMany);
  const auto client = [](size_t n) { return "client-" + std::to_string(n); };
  const auto found = [&](size_t n) {
    const Live* live = sessions.Find(&places[n]);
    return live == nullptr ? std::string() : live->session.client_id;
  };
  for (size_t n = 0; n < kMany; ++n) {
    REQUIRE(found(n).empty());
    static_cast<void>(sessions.Begin(&places[n], {{}, client(n), kNow, {}, 0}, ""));
    REQUIRE(found(n) == client(n));
  }
  for (size_t n = 0; n < kMany; n += 2) {
    static_cast<void>(sessions.End(&places[n], {kNow, {}}));
    REQUIRE(found(n).empty());
  }
  for (size_t n = 0; n < kMany; ++n) {
    REQUIRE(found(n) == (n % 2 == 0 ? "" : client(n)));
  }
  static_cast<void>(sessions.Begin(&places[0], {{}, "another", kNow, {}, 0}, ""));
  CHECK(found(0) == "another");
}

TEST_CASE("sessions: on a take-over the old one's end does not make the car offline") {
  Story s;
  s.CarConnects(0);
  CHECK(s.CarConnects(1) == "lk/1/f1/c1/presence online 2 since 2000 UNSPECIFIED");
  CHECK(s.Ends(0) == "lk/1/f1/c1/presence online 2 since 2000 UNSPECIFIED");
  CHECK(s.ended.reason() == v1::OFFLINE_REASON_TAKEN_OVER);
  CHECK(s.ended.session() == 1);
  CHECK(s.Ends(1) == "lk/1/f1/c1/presence offline 2 since 4000 CONNECTION_ENDED");
  CHECK(s.ended.session() == 2);
}

TEST_CASE(
    "sessions: a connection that is being taken over writes no more, so its will is refused") {
  Story s;
  CHECK_FALSE(s.MayWrite(s.At(0)));
  s.CarConnects(0);
  CHECK(s.MayWrite(s.At(0)));
  s.CarConnects(1);
  CHECK_FALSE(s.MayWrite(s.At(0)));
  CHECK(s.MayWrite(s.At(1)));
  s.Ends(0);
  CHECK_FALSE(s.MayWrite(s.At(0)));
  CHECK(s.MayWrite(s.At(1)));
}

TEST_CASE("sessions: when the newer connection fails after sign-in the older one writes again") {
  Story s;
  s.CarConnects(0);
  s.CarConnects(1);
  CHECK(s.Ends(1) == "lk/1/f1/c1/presence online 2 since 2000 UNSPECIFIED");
  CHECK(s.ended.reason() == v1::OFFLINE_REASON_CONNECTION_ENDED);
  CHECK(s.MayWrite(s.At(0)));
}

TEST_CASE("sessions: two client ids of one car both count and both write") {
  Story s;
  s.CarConnects(0, "f1/c1");
  s.CarConnects(1, "f1/c1/2");
  CHECK(s.MayWrite(s.At(0)));
  CHECK(s.MayWrite(s.At(1)));
  CHECK(s.Ends(1) == "lk/1/f1/c1/presence online 2 since 2000 UNSPECIFIED");
  CHECK(s.ended.reason() == v1::OFFLINE_REASON_CONNECTION_ENDED);
  CHECK(s.Ends(0) == "lk/1/f1/c1/presence offline 2 since 4000 CONNECTION_ENDED");
}

TEST_CASE("sessions: what went by and how long the car was silent is told at the end") {
  Story s;
  s.CarConnects(0);
  s.now = s.now + 20 * kSecond;
  s.sessions.Find(s.At(0))->traffic.Heard(100, s.Mono());
  s.sessions.Find(s.At(0))->traffic.Gave(7);
  s.now = s.now + 5 * kSecond;
  s.sessions.Find(s.At(0))->traffic.Heard(50, s.Mono());
  s.Ends(0);
  CHECK(s.ended.began_at_ms() == static_cast<uint64_t>(kNow.ms) + 1000);
  CHECK(s.ended.ended_at_ms() == static_cast<uint64_t>(kNow.ms) + 27000);
  CHECK(s.ended.messages_from_car() == 2);
  CHECK(s.ended.bytes_from_car() == 150);
  CHECK(s.ended.messages_to_car() == 1);
  CHECK(s.ended.bytes_to_car() == 7);
  CHECK(s.ended.longest_silence_ms() == 20000);
  CHECK(s.ended.silence_at_end_ms() == 1000);
  CHECK(s.ended.keep_alive_s() == 30);
  CHECK(s.ended.address_kind() == v1::ADDRESS_KIND_IPV4);
  CHECK(s.ended.reason() == v1::OFFLINE_REASON_CONNECTION_ENDED);
}

TEST_CASE("sessions: a car that was silent for one and a half keep alive times has timed out") {
  Story s;
  s.CarConnects(0);
  s.now = s.now + 44 * kSecond;
  CHECK(s.Ends(0) == "lk/1/f1/c1/presence offline 1 since 46000 TIMED_OUT");
  CHECK(s.ended.silence_at_end_ms() == 45000);
  // The next presence still tells of it, for a bridge that was away.
  v1::Presence presence;
  Principal car;
  car.kind = PrincipalKind::kCar;
  car.car = Ref("f1", "c1");
  REQUIRE(presence.ParseFromString(
      s.sessions.Begin(s.At(1), {car, "f1/c1", s.now, s.Mono(), 30}, "")->payload));
  CHECK(presence.online());
  CHECK(presence.ended().session() == 1);
  CHECK(presence.ended().reason() == v1::OFFLINE_REASON_TIMED_OUT);
}

TEST_CASE("sessions: a car that the plugin disconnects was kicked") {
  Story s;
  s.CarConnects(0);
  s.sessions.WillKick("f1/c1");
  s.sessions.WillKick("f1/nobody");
  CHECK(s.Ends(0) == "lk/1/f1/c1/presence offline 1 since 2000 KICKED");
}

TEST_CASE("sessions: signing in again on the same connection changes nothing") {
  Story s;
  s.CarConnects(0);
  CHECK(s.CarConnects(0).empty());
  CHECK(s.sessions.Find(s.At(0))->session.signed_in_at == kNow + kSecond);
  CHECK(s.MayWrite(s.At(0)));
  CHECK_FALSE(s.Ends(0).empty());
}

TEST_CASE("sessions: an address that is used again by another client is that client's") {
  Story s;
  const KeyId key = PrivateKey::Generate().Public().Id();
  s.CarConnects(0);
  CHECK(s.PhoneConnects(0, key, key.str()).empty());
  CHECK(s.sessions.Find(s.At(0))->session.principal.kind == PrincipalKind::kPhone);
  CHECK(s.CarConnects(1) == "lk/1/f1/c1/presence online 2 since 2000 UNSPECIFIED");
}

TEST_CASE("sessions: the end of a connection that never signed in says nothing") {
  Story s;
  CHECK(s.Ends(3).empty());
}

TEST_CASE("sessions: clients are found by their key, each once, and by who they are") {
  Story s;
  const auto sorted = [](std::vector<std::string> ids) {
    std::sort(ids.begin(), ids.end());
    return ids;
  };
  const KeyId a = PrivateKey::Generate().Public().Id();
  const KeyId b = PrivateKey::Generate().Public().Id();
  s.PhoneConnects(0, a, a.str());
  s.PhoneConnects(1, a, "auto-1");
  s.PhoneConnects(2, b, b.str());
  s.PhoneConnects(3, b, b.str());  // takes over
  s.CarConnects(4);
  CHECK(s.sessions.ClientsOf({a}) == sorted({a.str(), "auto-1"}));
  CHECK(s.sessions.ClientsOf({}).empty());
  CHECK(s.sessions.ClientsWhere([](const Principal&) { return true; }).size() == 4);
  CHECK(s.sessions.ClientsOf({b, b}) == std::vector<std::string>{b.str()});
  CHECK(s.sessions.ClientsWhere([](const Principal& who) {
    return who.kind == PrincipalKind::kCar;
  }) == std::vector<std::string>{"f1/c1"});
}

TEST_CASE("sessions: at start a known car is offline unless it has come back already") {
  Story s;
  CHECK(Story::Words(s.sessions.OfflineAtStart(Ref("f1", "c1"))) ==
        "lk/1/f1/c1/presence offline 0 since 0 BROKER_RESTART");
  s.CarConnects(0);
  CHECK_FALSE(s.sessions.OfflineAtStart(Ref("f1", "c1")));
}

TEST_CASE("sessions: the kind of an address, never the address") {
  CHECK(AddressKindOf("") == v1::ADDRESS_KIND_UNSPECIFIED);
  CHECK(AddressKindOf("127.0.0.1") == v1::ADDRESS_KIND_LOOPBACK);
  CHECK(AddressKindOf("::1") == v1::ADDRESS_KIND_LOOPBACK);
  CHECK(AddressKindOf("10.1.2.3") == v1::ADDRESS_KIND_IPV4);
  CHECK(AddressKindOf("::ffff:10.1.2.3") == v1::ADDRESS_KIND_IPV4);
  CHECK(AddressKindOf("2001:db8::7") == v1::ADDRESS_KIND_IPV6);
}

// What the plugin of broker b2 says of f1/c1.
std::string FromB2(bool online, int64_t since_s) {
  v1::Presence presence;
  presence.set_online(online);
  presence.set_since_ms(static_cast<uint64_t>((kNow + kSecond * since_s).ms));
  presence.set_broker("b2");
  presence.set_broker_started_at_ms(1);
  return presence.SerializeAsString();
}

TEST_CASE("sessions: a car that moved is where its newest connection is, whatever ends late") {
  Story s;
  const CarRef ref = Ref("f1", "c1");
  s.CarConnects(0);  // since 1 s
  CHECK_MESSAGE(s.sessions.TakePeerWord(ref, FromB2(true, 2)), "it has moved");
  // The old connection's end is not the car's: what the other broker says is said again.
  const std::optional<Publish> said = s.sessions.End(s.At(0), {kNow + kSecond * 9, Instant{9000}});
  REQUIRE(said.has_value());
  CHECK(said->payload == FromB2(true, 2));
  CHECK_MESSAGE(!s.sessions.OfflineAtStart(ref), "it is connected there");
  CHECK(s.sessions.TakePeerWord(ref, FromB2(false, 20)));
}

TEST_CASE("sessions: what the other broker says late of a car that is here does not hold") {
  Story s;
  const CarRef ref = Ref("f1", "c1");
  s.now = kNow + kSecond * 10;
  s.CarConnects(0);  // since 11 s
  CHECK_FALSE(s.sessions.TakePeerWord(ref, FromB2(false, 12)));
  CHECK_FALSE(s.sessions.TakePeerWord(ref, FromB2(true, 5)));
  // But it is the one that is left when the car goes from here.
  const std::optional<Publish> said = s.sessions.End(s.At(0), {kNow + kSecond * 20, Instant{9000}});
  REQUIRE(said.has_value());
  CHECK(said->payload == FromB2(true, 5));
}

TEST_CASE("sessions: the own word that comes back, and what is no word, do not hold") {
  Sessions sessions(kNow, "b2");
  CHECK_FALSE(sessions.TakePeerWord(Ref("f1", "c1"), FromB2(true, 5)));
  CHECK_FALSE(sessions.TakePeerWord(Ref("f1", "c1"), "\xff\xff"));
  CHECK(sessions.OfflineAtStart(Ref("f1", "c1")).has_value());
}

TEST_CASE("sessions: cars of a broker that is gone for long are offline, but those that are here") {
  Story s;
  s.CarConnects(0);  // f1/c1, since 1 s
  CHECK_FALSE(s.sessions.TakePeerWord(Ref("f1", "c1"), FromB2(true, 0)));
  for (int i = 2; i < 6; ++i) {
    CHECK(s.sessions.TakePeerWord(Ref("f1", "c" + std::to_string(i)), FromB2(true, 3)));
  }
  size_t online = 0;
  size_t told = 0;
  for (;;) {
    const std::vector<Publish> said = s.sessions.TakePeerGone(2, kNow + kSecond * 60);
    if (said.empty()) {
      break;
    }
    for (const Publish& publish : said) {
      v1::Presence presence;
      REQUIRE(presence.ParseFromString(publish.payload));
      online += presence.online() ? 1 : 0;
      CHECK((presence.online() || presence.reason() == v1::OFFLINE_REASON_BROKER_RESTART));
      ++told;
    }
  }
  CHECK(told == 5);
  CHECK(online == 1);
}

}  // namespace
}  // namespace latchkey::auth
