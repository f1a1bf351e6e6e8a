// Certificates, their names, and revocation lists. The first byte says which: 'c' a certificate,
// 'u' a URI, 'v' a revocation list.
#include <string>

#include "proto/certificate.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::fuzz {
namespace {

void TryUri(std::string_view uri) {
  const Result<CertificateIdentity> identity = ParseIdentityUri(uri);
  if (identity) {
    const Result<CertificateIdentity> again = ParseIdentityUri(ToUri(*identity));
    Require(again && *again == *identity, "a URI that parses is written so that it parses alike");
  }
}

void TryCertificate(std::string_view bytes, const testing::TestCar& car) {
  static_cast<void>(PemToDer(bytes));
  static_cast<void>(Certificate::FromPem(bytes));
  const Result<Certificate> read = Certificate::FromDer(bytes);
  if (read) {
    Require(read->serial.size() <= 20, "a serial number keeps its bound");
  }
  static_cast<void>(CheckSignedBy(bytes, bytes, testing::kNow));
  Require(!CheckSignedBy(bytes, car.ca_der, testing::kNow), "nobody guesses the CA's signature");
}

}  // namespace

void Try(std::string_view input) {
  static const testing::TestCar car = testing::MakeTestCar("f1", "car1");
  if (input.empty()) {
    return;
  }
  const std::string_view rest = input.substr(1);
  if (input[0] == 'u') {
    TryUri(rest);
  } else if (input[0] == 'c') {
    TryCertificate(rest, car);
  } else if (input[0] == 'v') {
    static_cast<void>(ReadRevocations(rest, rest));
    Require(!ReadRevocations(rest, car.ca_der), "nobody guesses the CA's signature of a list");
  }
}

}  // namespace latchkey::fuzz
