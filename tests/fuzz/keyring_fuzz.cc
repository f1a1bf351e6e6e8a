// Key rings. The first byte says which: 'r' a SignedKeyRing as it comes, 'b' a KeyRing body that a
// real car signs.
#include <string>

#include "proto/keyring.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::fuzz {
namespace {

void TryRing(std::string_view bytes, const testing::TestCar& car) {
  static_cast<void>(FleetOfKeyRing(bytes));
  static_cast<void>(OpenKeyRing(bytes, bytes, testing::kNow));
  const Result<KeyRing> of = OpenKeyRingOf(bytes, car.key.Public());
  Require(!of, "nobody guesses a signature of the car made for this run");
  Require(!OpenKeyRing(bytes, car.ca_der, std::nullopt), "nor one of its CA");
}

void TryBody(std::string_view body, const testing::TestCar& car) {
  const std::string bytes = testing::SignBody(std::string(body), car.key, car.certificate_der);
  const Result<KeyRing> ring = OpenKeyRing(bytes, car.ca_der, testing::kNow);
  if (!ring) {
    return;
  }
  Require(ring->ref == car.ref && ring->version >= 1 && ring->keys.size() <= kRingKeysMax,
          "a ring that opens keeps its bounds");
  const Result<KeyRing> again =
      OpenKeyRing(SealKeyRing(*ring, car.key, car.certificate_der), car.ca_der, testing::kNow);
  Require(again && *again == *ring, "a ring that opens seals to the same ring");
}

}  // namespace

void Try(std::string_view input) {
  static const testing::TestCar car = testing::MakeTestCar("f1", "car1");
  if (input.empty()) {
    return;
  }
  const std::string_view rest = input.substr(1);
  if (input[0] == 'r') {
    TryRing(rest, car);
  } else if (input[0] == 'b') {
    TryBody(rest, car);
  }
}

}  // namespace latchkey::fuzz
