// Rings: only genuine ones, never back.
#include "plugins/auth/directory.h"

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <malloc.h>

#include "tests/support/wire_fixtures.h"

namespace {

// What new has given out and delete has not taken back, as malloc counts it.
std::atomic<size_t> bytes_in_use{0};

size_t SizeOf(void* memory) {
  return ::malloc_usable_size(memory) + sizeof(size_t);
}

void Free(void* memory) {
  if (memory != nullptr) {
    bytes_in_use -= SizeOf(memory);
    std::free(memory);
  }
}

}  // namespace

void* operator new(size_t size) {
  void* const memory = std::malloc(size);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  bytes_in_use += SizeOf(memory);
  return memory;
}

void operator delete(void* memory) noexcept {
  Free(memory);
}

void operator delete(void* memory, size_t /*size*/) noexcept {
  Free(memory);
}

namespace latchkey::auth {
namespace {

using testing::kNow;
using testing::Said;

struct World {
  testing::TestCar car = testing::MakeTestCar("f1", "car1");
  PrivateKey a = PrivateKey::Generate();
  PrivateKey b = PrivateKey::Generate();
  Trust trust;
  Directory directory;

  World() { trust.fleet_cas["f1"] = car.ca_der; }

  std::string Ring(uint64_t version, const std::vector<const PrivateKey*>& keys) const {
    KeyRing ring{car.ref, version, kNow, {}};
    for (const PrivateKey* key : keys) {
      ring.keys.push_back(testing::OnRing(key->Public(), v1::ROLE_OWNER));
    }
    return SealKeyRing(ring, car.key, car.certificate_der);
  }

  Result<Applied> Apply(const std::string& ring, std::optional<Place> place = std::nullopt) {
    return directory.Apply(ring, trust, place);
  }

  bool Holds(const PrivateKey& key) const {
    const HeldRing* ring = directory.Find({"f1", "car1"});
    return ring != nullptr && ring->Find(key.Public().Id().str()) != nullptr;
  }
};

TEST_CASE("directory: a newer ring replaces the one held and says which keys fell off") {
  World w;
  const auto first = w.Apply(w.Ring(3, {&w.a, &w.b}));
  REQUIRE(first);
  CHECK(first->changed);
  CHECK(first->fell_off.empty());
  const auto second = w.Apply(w.Ring(4, {&w.b}));
  REQUIRE(second);
  CHECK(second->fell_off == std::vector<KeyId>{w.a.Public().Id()});
  CHECK_FALSE(w.Holds(w.a));
  CHECK(w.Holds(w.b));
  CHECK(w.directory.size() == 1);
}

TEST_CASE("directory: a ring never goes back to an older version") {
  World w;
  REQUIRE(w.Apply(w.Ring(4, {&w.b})));
  CHECK(Said(w.Apply(w.Ring(3, {&w.a, &w.b}))) == "REASON_OLDER_VERSION");
  CHECK(Said(w.Apply(w.Ring(4, {&w.a}))) == "REASON_OLDER_VERSION");
  CHECK_FALSE(w.Holds(w.a));
  CHECK(w.Holds(w.b));
}

TEST_CASE("directory: an erased car is forgotten, and yet no older ring of it is believed again") {
  World w;
  const Place place{"f1", "car1"};
  const std::string old = w.Ring(3, {&w.a, &w.b});
  const std::string newest = w.Ring(4, {&w.b});
  REQUIRE(w.Apply(newest));
  CHECK(w.directory.Forget(place) == std::vector<KeyId>{w.b.Public().Id()});
  CHECK(w.directory.size() == 0);
  CHECK_FALSE(w.Holds(w.b));
  const std::string mark = w.directory.ErasedMark(place);
  CHECK(IsErasedMark(mark));
  CHECK(mark.find("car1") == std::string::npos);
  CHECK_FALSE(IsErasedMark(newest));
  CHECK(Said(w.Apply(old, place)) == "REASON_OLDER_VERSION");
  CHECK(w.directory.Forget(place).empty());
  CHECK(w.directory.ErasedMark(place) == mark);
  CHECK(w.Apply(newest, place));
  CHECK(w.Holds(w.b));
  // From a file: the ring before the mark goes, what comes after is judged by it.
  World again;
  again.trust = w.trust;
  REQUIRE(again.Apply(old));
  CHECK(again.directory.ForgetMarked(mark) == "f1/car1");
  CHECK(again.directory.size() == 0);
  CHECK(again.directory.ForgetMarked(mark) != "f1/car1");
  CHECK(Said(again.Apply(old)) == "REASON_OLDER_VERSION");
  CHECK(again.Apply(newest));
}

TEST_CASE("directory: the ring already held is taken again, also when signed anew") {
  World w;
  const std::string ring = w.Ring(4, {&w.b});
  REQUIRE(w.Apply(ring));
  for (const std::string& again : {ring, w.Ring(4, {&w.b})}) {
    const auto applied = w.Apply(again);
    REQUIRE(applied);
    CHECK_FALSE(applied->changed);
  }
}

TEST_CASE(
    "directory: the bytes verified before are taken on their own topic only, and never in part") {
  World w;
  const std::string ring = w.Ring(4, {&w.b});
  REQUIRE(w.Apply(ring, Place{"f1", "car1"}));
  const auto again = w.Apply(ring, Place{"f1", "car1"});
  REQUIRE(again);
  CHECK_FALSE(again->changed);
  CHECK(again->ref == w.car.ref);
  CHECK(again->version == 4);
  CHECK(Said(w.Apply(ring, Place{"f1", "car2"})) == "REASON_WRONG_CAR");
  CHECK(Said(w.Apply(SealKeyRing({w.car.ref, 4, kNow, {}}, w.a, w.car.certificate_der),
                     Place{"f1", "car1"})) == "REASON_BAD_SIGNATURE");
  w.trust.fleet_cas.clear();
  CHECK(Said(w.Apply(ring, Place{"f1", "car1"})) == "REASON_BAD_CERTIFICATE");
}

TEST_CASE("directory: a ring must be of a fleet of this cell, of its topic's car, and genuine") {
  World w;
  const std::string ring = w.Ring(1, {&w.a});
  CHECK(Said(w.Apply(ring, Place{"f1", "car2"})) == "REASON_WRONG_CAR");
  CHECK(Said(w.Apply(ring, Place{"f2", "car1"})) == "REASON_WRONG_CAR");
  const testing::TestCar impostor = testing::MakeTestCar("f1", "car1");
  const KeyRing wish{w.car.ref, 9, kNow, {}};
  CHECK(Said(w.Apply(SealKeyRing(wish, impostor.key, impostor.certificate_der))) ==
        "REASON_BAD_CERTIFICATE");
  CHECK(Said(w.Apply(SealKeyRing(wish, w.a, w.car.certificate_der))) == "REASON_BAD_SIGNATURE");
  CHECK(Said(w.Apply("garbage")) == "REASON_MALFORMED");
  w.trust.fleet_cas.clear();
  CHECK(Said(w.Apply(ring)) == "REASON_BAD_CERTIFICATE");
  CHECK(w.directory.size() == 0);
}

TEST_CASE("directory: no damaged copy of a ring changes what is held") {
  World w;
  REQUIRE(w.Apply(w.Ring(4, {&w.b})));
  const std::string next = w.Ring(5, {&w.a});
  size_t taken = 0;
  for (size_t at = 0; at < next.size(); ++at) {
    std::string damaged = next;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    const auto applied = w.Apply(damaged);
    taken += applied && applied->changed ? 1 : 0;
  }
  CHECK(taken == 0);
  CHECK(w.Holds(w.b));
}

TEST_CASE("directory: a look-up finds by fleet and car, and an unknown car not") {
  World w;
  REQUIRE(w.Apply(w.Ring(1, {&w.a})));
  CHECK(w.directory.Find({"f1", "car1"}) != nullptr);
  CHECK(w.directory.Find({"f1", "car2"}) == nullptr);
  CHECK(w.directory.Find({"f2", "car1"}) == nullptr);
}

TEST_CASE("directory: a revoked certificate brings no new ring, and the one held stays") {
  World w;
  const Place place{"f1", "car1"};
  const std::string held = w.Ring(4, {&w.a});
  const std::string next = w.Ring(5, {&w.a, &w.b});
  w.trust.fleet_revoked["f1"].serials = {Certificate::FromDer(w.car.certificate_der)->serial};
  CHECK(Said(w.Apply(held, place)) == "REASON_BAD_CERTIFICATE");  // the first is new, too
  CHECK(w.Apply(held));  // from the ring file: it was taken over before
  CHECK(w.Apply(held, place));
  CHECK(w.Apply(w.Ring(4, {&w.a}), place));  // the same ring, signed again
  CHECK(Said(w.Apply(next, place)) == "REASON_BAD_CERTIFICATE");
  CHECK_FALSE(w.Holds(w.b));
  CHECK(w.Holds(w.a));
  w.trust.fleet_revoked["f1"].serials = {"another"};
  CHECK(w.Apply(next, place));
  CHECK(w.Holds(w.b));
}

TEST_CASE("directory: a ring of thirty-two keys with all their hours is kept whole") {
  World w;
  KeyRing ring{w.car.ref, 1, kNow, {}};
  for (uint16_t i = 0; i < kRingKeysMax; ++i) {
    ring.keys.push_back(testing::OnRing(PrivateKey::Generate().Public(), v1::ROLE_GUEST));
    for (uint16_t j = 0; j < kWeekWindowsMax; ++j) {
      const auto start = static_cast<uint16_t>(300 * i + j);
      ring.keys.back().week.push_back({start, static_cast<uint16_t>(start + 1)});
    }
  }
  REQUIRE(w.Apply(SealKeyRing(ring, w.car.key, w.car.certificate_der)));
  const HeldRing* held = w.directory.Find({"f1", "car1"});
  REQUIRE(held != nullptr);
  // kNow is 22:13 on a Tuesday; the first minute of its week:
  const Timestamp monday = kNow - Duration((1440 + 22 * 60 + 13) * 60'000 + 20'000);
  for (int minute = 0; minute < kWeekMinutes; ++minute) {
    const Timestamp now = monday + Duration(minute * 60'000);
    for (const RingKey& key : ring.keys) {
      const HeldKey* compact = held->Find(key.id.str());
      REQUIRE(compact != nullptr);
      CHECK(held->CheckWindow(*compact, now) == CheckWindow(key, now));
    }
  }
}

TEST_CASE("directory: a pairing takes at most 200 bytes, even when it is its car's only one") {
  constexpr size_t kCars = 300;
  World w;
  const PrivateKey phone = PrivateKey::Generate();
  std::vector<std::string> rings;
  for (size_t i = 0; i < kCars; ++i) {
    const CarRef ref = testing::Ref("f1", "car" + std::to_string(100000 + i));
    const auto [der, key] = testing::Issue(CarIdentity{ref}, w.car.ca);
    rings.push_back(
        SealKeyRing({ref, 1, kNow, {testing::OnRing(phone.Public(), v1::ROLE_OWNER)}}, key, der));
  }
  const auto apply = [&](Directory& directory) {
    for (const std::string& ring : rings) {
      REQUIRE(directory.Apply(ring, w.trust, std::nullopt));
    }
    return bytes_in_use.load();
  };
  // What is kept of certificates and keys that were just read is the same after each time.
  Directory first;
  const size_t before = apply(first);
  const size_t after = apply(w.directory);
  CHECK((after - before) / kCars <= 200);
}

}  // namespace
}  // namespace latchkey::auth
