// Stories of key rings.
#include "bridge/core/rings.h"

#include <doctest/doctest.h>

#include "bridge/core/story.h"

namespace latchkey::bridge {

TEST_CASE("rings: a higher version is stored durably, an equal or lower one never") {
  Story s;
  s.RingArrives(3, {"k1"});
  CHECK(s.Said() == "write ring 3 durable");
  s.RingArrives(3, {"k1", "k2"});
  s.RingArrives(2, {"k1", "k2"});
  CHECK(s.Said() == "");
  CHECK(s.Refused(v1::REASON_OLDER_VERSION) == 2);
  s.RingArrives(4, {});
  CHECK(s.Said() == "write ring 4 durable");
}

TEST_CASE("rings: a broker that retains an older ring is given the newer one at once") {
  Story s;
  s.RingArrives(3, {"k1"});
  s.Said();
  s.RingArrives(2, {"k1", "k2"}, Retain::kYes);
  CHECK(s.Said() == "publish ring 3");
  s.RingArrives(3, {"k1"}, Retain::kYes);
  CHECK(s.Said() == "");
}

TEST_CASE("rings: what the fleet's CA does not vouch for, or another car signed, is refused") {
  Story s;
  Keys& keys = SharedKeys();
  s.Arrives(KeyRingTopic(s.ref), "\xff\xff", Retain::kYes);
  CHECK(s.Refused(v1::REASON_MALFORMED) == 1);
  // Another car's ring under this car's topic.
  s.Arrives(KeyRingTopic(s.ref), keys.Ring(RefOf("car2"), 9, {"k3"}), Retain::kYes);
  CHECK(s.Refused(v1::REASON_WRONG_CAR) == 1);
  // A certificate of another CA.
  const auto issued =
      tools::IssueClient(CarIdentity{s.ref}, keys.other_ca, kStoryStart, 10).value();
  KeyRing ring{s.ref, 9, kStoryStart, {keys.RingKeyOf("k3")}};
  s.Arrives(KeyRingTopic(s.ref),
            SealKeyRing(ring, PrivateKey::FromPem(issued.private_key_pem).value(),
                        PemToDer(issued.certificate_pem).value()),
            Retain::kYes);
  CHECK(s.Refused(v1::REASON_BAD_CERTIFICATE) == 1);
  // The right certificate, signed with another key.
  s.Arrives(KeyRingTopic(s.ref),
            SealKeyRing(ring, keys.phones.at("k3"), keys.CarOf(s.ref).certificate_der),
            Retain::kYes);
  CHECK(s.Refused(v1::REASON_BAD_SIGNATURE) == 1);
  // A fleet whose CA is not known.
  const CarRef elsewhere{FleetId::Parse("g").value(), CarId::Parse("car1").value()};
  s.Arrives(KeyRingTopic(elsewhere), keys.Ring(elsewhere, 1, {"k1"}), Retain::kYes);
  CHECK(s.Refused(v1::REASON_BAD_CERTIFICATE) == 2);
  CHECK(s.Said() == "");
}

TEST_CASE("rings: a power cut loses no ring, and versions do not go back after it") {
  Story s;
  s.RingArrives(5, {"k2"});
  s.Restarts(Story::Crash::kPower);
  s.Said();
  s.RingArrives(4, {"k1", "k2"});
  CHECK(s.Said() == "");
  // k1 fell off with version 5: what it asks for is refused also after the restart.
  s.Sends("k1", "c1", "lock", 60s);
  CHECK(s.Said() == "receipt k1 c1 REFUSED not_on_ring maybe");
  s.Sends("k2", "c2", "lock", 60s);
  CHECK(s.Said() == "write c2 HELD durable | receipt k2 c2 HELD");
}

TEST_CASE("rings: a stored ring that the CA no longer vouches for counts as none") {
  Counters counters;
  const Limits limits;
  const FleetCas none;
  Rings rings(limits, none, counters);
  const CarRef ref = RefOf("car1");
  rings.Load({ref, 1, kStoryStart, SharedKeys().Ring(ref, 1, {"k1"})});
  CHECK(rings.Find(ref) == nullptr);
  CHECK(rings.Find(ref) == nullptr);
  CHECK(counters.refused.at(v1::REASON_BAD_CERTIFICATE) == 1);
}

TEST_CASE("rings: only the last ones stay opened, others are opened again when they are needed") {
  Counters counters;
  const Limits limits;
  const FleetCas cas = SharedKeys().Cas();
  Rings rings(limits, cas, counters, 2);
  Effects out;
  const std::vector<CarRef> refs = {RefOf("car1"), RefOf("car2"), RefOf("car3")};
  for (const CarRef& ref : refs) {
    CHECK(rings.Arrived(ref, {"", SharedKeys().Ring(ref, 4, {"k1"}), 1, Retain::kYes, 0},
                        kStoryStart, out));
    rings.CheckInvariants();
  }
  CHECK(rings.opened() == 2);
  for (int i = 0; i < 2; ++i) {
    for (const CarRef& ref : refs) {
      const OpenedRing* ring = rings.Find(ref);
      REQUIRE(ring != nullptr);
      CHECK(ring->ring.ref == ref);
      CHECK(ring->ring.version == 4);
      rings.CheckInvariants();
    }
  }
  // The ring that replaces one is judged against it, opened or not.
  CHECK_FALSE(rings.Arrived(refs[0], {"", SharedKeys().Ring(refs[0], 4, {"k1"}), 1, Retain::kNo, 0},
                            kStoryStart, out));
  CHECK(rings.Arrived(refs[0], {"", SharedKeys().Ring(refs[0], 5, {"k2"}), 1, Retain::kNo, 0},
                      kStoryStart, out));
  CHECK(rings.Find(refs[0])->ring.version == 5);
  CHECK(rings.opened() == 2);
  rings.Forget(refs[0]);
  rings.Forget(refs[1]);
  rings.CheckInvariants();
  CHECK(rings.cars() == 1);
  CHECK(rings.opened() == 1);
}

TEST_CASE("rings: a fleet's CA that comes later is enough, its rings are not asked for again") {
  Story s;
  const FleetCas cas = SharedKeys().Cas();
  const CarRef ref = RefOf("car2");
  s.CasAre({});
  s.Arrives(KeyRingTopic(ref), SharedKeys().Ring(ref, 3, {"k1"}), Retain::kYes);
  s.Arrives(KeyRingTopic(ref), SharedKeys().Ring(ref, 4, {"k1"}));
  CHECK(s.Refused(v1::REASON_BAD_CERTIFICATE) == 2);
  CHECK(s.Said() == "");
  s.CasAre(cas);
  CHECK(s.Said() == "write ring 4 durable");
  s.CasAre(cas);
  CHECK(s.Said() == "");
  // A CA that does not vouch for it is no help.
  s.CasAre({});
  s.Arrives(KeyRingTopic(RefOf("car3")), SharedKeys().Ring(RefOf("car3"), 1, {"k1"}));
  s.CasAre({{ref.fleet, PemToDer(SharedKeys().other_ca.certificate_pem).value()}});
  CHECK(s.Said() == "");
  CHECK(s.bridge->gauges().cars == 2);
}

TEST_CASE("rings: of a fleet without CA only so many rings wait") {
  Counters counters;
  const Limits limits;
  FleetCas cas;
  Rings rings(limits, cas, counters);
  Effects out;
  const std::string ring = SharedKeys().Ring(RefOf("car1"), 1, {"k1"});
  const Publish publish{"", ring, 1, Retain::kYes, 0};
  CHECK_FALSE(rings.Arrived(RefOf("car1"), publish, kStoryStart, out));
  for (size_t i = 0; i < kUnknownFleetRingsMax; ++i) {
    CHECK_FALSE(rings.Arrived(RefOf("other" + std::to_string(i)), publish, kStoryStart, out));
  }
  rings.CheckInvariants();
  cas = SharedKeys().Cas();
  CHECK(rings.CasChanged(kStoryStart, out).empty());  // car1 was the first to come
}

TEST_CASE("rings: a stored ring is read again when its fleet's CA comes back") {
  Story s;
  s.BrokerDown();
  s.CasAre({});
  const FleetCas cas = SharedKeys().Cas();
  s.Restarts(Story::Crash::kPower);
  s.CasAre({});
  s.Passes(10min);
  s.Said();
  s.Sends("k1", "c1", "lock", 10min);
  CHECK(s.Said() == "receipt k1 c1 REFUSED not_on_ring maybe");
  s.CasAre(cas);
  s.Sends("k1", "c2", "lock", 10min);
  CHECK(s.Said() == "write c2 HELD durable | receipt k1 c2 HELD");
}

TEST_CASE("rings: certificates that run out soon are counted, by a clock that goes either way") {
  Story s;
  Keys& keys = SharedKeys();
  const Duration day = 24h;
  const std::vector<std::pair<std::string, int>> cars = {{"e1", 10}, {"e2", 29}, {"e3", 31}};
  Timestamp first{0};
  for (const auto& [name, days] : cars) {
    const CarRef ref = RefOf(name);
    const tools::Issued issued =
        tools::IssueClient(CarIdentity{ref}, keys.ca, kStoryStart, days).value();
    const KeyRing ring{ref, 1, kStoryStart, {keys.RingKeyOf("k1")}};
    s.Arrives(KeyRingTopic(ref),
              SealKeyRing(ring, PrivateKey::FromPem(issued.private_key_pem).value(),
                          PemToDer(issued.certificate_pem).value()),
              Retain::kYes);
    if (first.ms == 0) {
      first = Certificate::FromPem(issued.certificate_pem).value().not_after;
    }
  }
  s.StateArrives(Group::kBody, 0s, 1);  // any step
  CHECK(s.bridge->gauges().certificates_expiring_30d == 2);
  CHECK(s.bridge->gauges().certificate_first_expiry_ms == first.ms);
  s.WallJumps(2 * day);
  s.StateArrives(Group::kBody, 0s, 2);
  CHECK(s.bridge->gauges().certificates_expiring_30d == 3);
  s.WallJumps(-20 * day);
  s.StateArrives(Group::kBody, 0s, 3);
  CHECK(s.bridge->gauges().certificates_expiring_30d == 1);
  s.WallJumps(200 * day);
  s.StateArrives(Group::kBody, 0s, 4);
  CHECK(s.bridge->gauges().certificates_expiring_30d == 3);  // run out is worse than soon
  // After a restart they are looked up little by little from the store.
  s.Restarts(Story::Crash::kPower);
  s.Passes(1s);
  CHECK(s.bridge->gauges().certificates_expiring_30d == 3);
  CHECK(s.bridge->gauges().certificate_first_expiry_ms == first.ms);
}

TEST_CASE("rings: a renewed certificate counts by its own end") {
  Story s;
  Keys& keys = SharedKeys();
  const CarRef ref = RefOf("r1");
  const PrivateKey key = PrivateKey::Generate();
  for (const int days : {10, 300}) {
    const std::string certificate =
        tools::CertifyClient(CarIdentity{ref}, key.Public(), keys.ca, {kStoryStart, days}).value();
    const KeyRing ring{ref, days == 10 ? 1U : 2U, kStoryStart, {keys.RingKeyOf("k1")}};
    s.Arrives(KeyRingTopic(ref), SealKeyRing(ring, key, PemToDer(certificate).value()));
    s.PresenceAgain();
    CHECK(s.bridge->gauges().certificates_expiring_30d == (days == 10 ? 1 : 0));
  }
}

}  // namespace latchkey::bridge
