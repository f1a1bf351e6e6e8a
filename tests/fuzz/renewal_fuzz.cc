// Renewal of certificates. The first byte says which: 'r' a request as the registrar gets it, 'g' a
// grant as the car gets it, 'c' a certificate that comes in a grant.
#include <string>

#include "proto/renewal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::fuzz {
namespace {

void TryRequest(std::string_view bytes, const testing::TestCar& car) {
  const Result<CertificateRequest> request = OpenCertificateRequest(bytes, car.ref);
  if (request) {
    Require(request->requested_at.ms >= 0, "a request's time is a time");
    Require(request->key.ToPoint() != car.key.Public().ToPoint(),
            "nobody signs with the key of a car made for this run");
  }
}

void TryGrant(std::string_view bytes, const testing::TestCar& car) {
  static const Certificate held = Certificate::FromDer(car.certificate_der).value();
  Require(!OpenCertificateGrant(bytes, held, car.ca_der, testing::kNow),
          "nobody guesses the CA's signature");
}

}  // namespace

void Try(std::string_view input) {
  static const testing::TestCar car = testing::MakeTestCar("f1", "car1");
  if (input.empty()) {
    return;
  }
  const std::string_view rest = input.substr(1);
  if (input[0] == 'r') {
    TryRequest(rest, car);
  } else if (input[0] == 'g') {
    TryGrant(rest, car);
  } else if (input[0] == 'c' && !rest.empty() && rest.size() < kCertificateGrantBytesMax - 64) {
    TryGrant(MakeCertificateGrant(testing::kNow, rest), car);
  }
}

}  // namespace latchkey::fuzz
