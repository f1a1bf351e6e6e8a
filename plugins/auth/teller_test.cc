// Each refusal is told once in each way, and what is allowed costs nothing and is not told.
#include "plugins/auth/teller.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "latchkey/v1/log.pb.h"
#include "proto/topic.h"

namespace latchkey::auth {
namespace {

class FakeBroker : public broker::Broker {
 public:
  void Log(broker::Level /*level*/, const std::string& line) override { lines.push_back(line); }

  bool Send(const Publish& publish) override {
    if (publish.topic == kEventTopic) {
      v1::LogEntry entry;
      REQUIRE(entry.ParseFromString(publish.payload));
      events.push_back(entry.event());
    }
    return taken;
  }

  bool SendTo(const std::string& /*client_id*/, const Publish& /*publish*/) override {
    return false;
  }

  void Kick(const std::string& /*client_id*/) override {}

  std::vector<std::string> lines;
  std::vector<std::string> events;
  bool taken = true;
};

const Now kAt{Timestamp{1'700'000'000'000}, Instant{1000}};

Principal Of(PrincipalKind kind) {
  Principal principal;
  principal.kind = kind;
  principal.car.fleet = FleetId::Parse("demo").value();
  principal.name = "eve";
  principal.key = KeyId::Parse("abcdefghijklmnopqrstuv").value();
  return principal;
}

class OneName : public broker::Names {
 public:
  std::string_view Id(const void* /*connection*/) const override { return "client"; }

  std::string_view Address(const void* /*connection*/) const override { return "192.0.2.1"; }

  std::string_view UserName(const void* /*connection*/) const override { return {}; }
};

const OneName kNames;
const broker::Client kClient{nullptr, kNames};

broker::AccessRequest Asked(At at) {
  return {kClient, at, "lk/1/demo/car-1/presence", {}, Retain::kNo};
}

TEST_CASE("teller: what is allowed is told of operators' subscriptions only") {
  FakeBroker broker;
  Teller teller(broker);
  const Principal phone = Of(PrincipalKind::kPhone);
  const Principal eve = Of(PrincipalKind::kOperator);
  for (const At at : {At::kRead, At::kWrite, At::kSubscribe}) {
    teller.Judged(Asked(at), &phone, Verdict::Allow(), kAt);
    teller.Judged(Asked(at), &eve, Verdict::Allow(), kAt);
  }
  CHECK(broker.lines.size() == 1);
  CHECK(broker.events == std::vector<std::string>{"tap"});
}

TEST_CASE(
    "teller: a refused write or subscription is a line and an entry, a delivery only a line") {
  FakeBroker broker;
  Teller teller(broker);
  const Principal phone = Of(PrincipalKind::kPhone);
  const Verdict no = Verdict::Refuse(v1::REASON_NOT_ON_RING);
  teller.Judged(Asked(At::kWrite), &phone, no, kAt);
  teller.Judged(Asked(At::kSubscribe), &phone, no, kAt);
  teller.Judged(Asked(At::kWrite), nullptr, no, kAt);
  CHECK(broker.events ==
        std::vector<std::string>{"access_refused", "access_refused", "access_refused"});
  teller.Judged(Asked(At::kRead), &phone, no, kAt);
  CHECK(broker.events.size() == 3);
  CHECK(broker.lines.size() == 4);
  const Principal eve = Of(PrincipalKind::kOperator);
  teller.Judged(Asked(At::kWrite), &eve, no, kAt);
  teller.Judged(Asked(At::kRead), &eve, no, kAt);
  CHECK(broker.events.size() == 4);
  CHECK(broker.events.back() == "tap_refused");
  CHECK(broker.lines.size() == 6);
}

TEST_CASE("teller: a refused sign-in and a refused ring are entries; what is left out is said") {
  FakeBroker broker;
  Teller teller(broker);
  for (int i = 0; i < 12; ++i) {
    teller.RefuseSignIn(kClient, {}, {v1::REASON_BAD_TOKEN, "no"}, kAt);
  }
  CHECK(broker.events == std::vector<std::string>(10, "sign_in_refused"));
  const Principal car = Of(PrincipalKind::kCar);
  teller.RefuseClient({At::kRing, v1::REASON_OLDER_VERSION, "client", "t", "older"}, &car, kAt);
  CHECK(broker.events.back() == "access_refused");
  teller.Tell(kAt);
  CHECK(broker.events.back() == "sign_in_refused");
  CHECK(broker.events.size() == 12);
}

TEST_CASE("teller: what the broker does not take is a line") {
  FakeBroker broker;
  broker.taken = false;
  Teller teller(broker);
  teller.Say(Publish{"t", "p", 0, Retain::kNo, 0});
  REQUIRE(broker.lines.size() == 1);
  CHECK(broker.lines.front() == "latchkey not_published topic=\"t\"");
}

}  // namespace
}  // namespace latchkey::auth
