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
  CHECK(s.Said() == "receipt k1 c1 REFUSED not_on_ring");
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

}  // namespace latchkey::bridge
