// Renewal: requests that are forged, and grants that a car must not take.
#include "proto/renewal.h"

#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "proto/reason.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using testing::ForEachDamaged;
using testing::kNow;
using testing::kSecond;
using testing::MakeTestCar;
using testing::Ref;
using testing::Said;
using testing::TestCar;

constexpr Duration kDay = std::chrono::hours(24);

// What the registrar would answer with for this identity and key.
std::string Certified(const CertificateIdentity& identity, const PublicKey& key,
                      const tools::Issued& ca, int days = 60) {
  return PemToDer(tools::CertifyClient(identity, key, ca, {kNow, days}).value()).value();
}

TEST_CASE("renewal: a request says which key asks and when") {
  const TestCar car = MakeTestCar("demo", "F3-17");
  const std::string bytes = MakeCertificateRequest(car.ref, car.key, kNow);
  CHECK(bytes.size() <= kCertificateRequestBytesMax);
  const auto request = OpenCertificateRequest(bytes, car.ref);
  REQUIRE(request);
  CHECK(request->key.ToPoint() == car.key.Public().ToPoint());
  CHECK(request->requested_at == kNow);
}

TEST_CASE("renewal: a request for another car, by another key or changed is refused") {
  const TestCar car = MakeTestCar("demo", "F3-17");
  const PrivateKey thief = PrivateKey::Generate();
  const std::string good = MakeCertificateRequest(car.ref, car.key, kNow);

  struct Case {
    const char* what;
    std::function<void(v1::CertificateRequest&)> change;
    std::string said;
  };

  for (const Case& row : std::vector<Case>{
           {"as it is", [](auto&) {}, "allowed"},
           {"another key", [&](auto& r) { r.set_public_key(thief.Public().ToPoint()); },
            "REASON_BAD_SIGNATURE"},
           {"signed by another", [&](auto& r) { r.set_signature(thief.Sign("x")); },
            "REASON_BAD_SIGNATURE"},
           {"unsigned", [](auto& r) { r.clear_signature(); }, "REASON_BAD_SIGNATURE"},
           {"another time", [](auto& r) { r.set_requested_at_ms(1); }, "REASON_BAD_SIGNATURE"},
           {"no time there is", [](auto& r) { r.set_requested_at_ms(~uint64_t{0}); },
            "REASON_MALFORMED"},
           {"no key", [](auto& r) { r.clear_public_key(); }, "REASON_MALFORMED"},
           {"off the curve", [](auto& r) { r.set_public_key('\x02' + std::string(32, '\xff')); },
            "REASON_MALFORMED"},
           {"too large", [](auto& r) { r.set_signature(std::string(300, 'x')); },
            "REASON_MALFORMED"},
       }) {
    CAPTURE(row.what);
    v1::CertificateRequest request;
    REQUIRE(request.ParseFromString(good));
    row.change(request);
    CHECK(Said(OpenCertificateRequest(request.SerializeAsString(), car.ref)) == row.said);
  }
  CHECK(Said(OpenCertificateRequest(good, Ref("demo", "F3-18"))) == "REASON_BAD_SIGNATURE");
  CHECK(Said(OpenCertificateRequest(good, Ref("other", "F3-17"))) == "REASON_BAD_SIGNATURE");
  CHECK(Said(OpenCertificateRequest("", car.ref)) == "REASON_MALFORMED");
  // Fleet and car cannot run into each other.
  const std::string shifted = MakeCertificateRequest(Ref("demof", "3-17"), car.key, kNow);
  CHECK(Said(OpenCertificateRequest(shifted, Ref("demo", "f3-17"))) == "REASON_BAD_SIGNATURE");
  ForEachDamaged(good, [&](const std::string& damaged) {
    CHECK_FALSE(OpenCertificateRequest(damaged, car.ref));
  });
}

TEST_CASE("renewal: a longer certificate for the same key and car is taken") {
  const TestCar car = MakeTestCar("demo", "F3-17");
  const Certificate held = Certificate::FromDer(car.certificate_der).value();
  const std::string der = Certified(held.identity, held.public_key, car.ca);
  const std::string grant = MakeCertificateGrant(kNow, der);
  CHECK(grant.size() <= kCertificateGrantBytesMax);
  const auto taken = OpenCertificateGrant(grant, held, car.ca_der, kNow);
  REQUIRE(taken);
  CHECK(taken->der == der);
  CHECK(taken->serial != held.serial);
  CHECK(taken->not_after == kNow + 60 * kDay);
}

TEST_CASE("renewal: a grant for another key, car or CA, or no longer one, is not taken") {
  const TestCar car = MakeTestCar("demo", "F3-17");
  const Certificate held = Certificate::FromDer(car.certificate_der).value();
  const tools::Issued same_name = tools::MakeCa("demo", kNow, 3650);
  const PublicKey& key = held.public_key;

  struct Case {
    const char* what;
    std::string certificate;
    std::string said;
  };

  for (const Case& row : std::vector<Case>{
           {"control", Certified(held.identity, key, car.ca), "allowed"},
           {"another key", Certified(held.identity, PrivateKey::Generate().Public(), car.ca),
            "REASON_WRONG_CAR"},
           {"another car", Certified(CarIdentity{Ref("demo", "F3-18")}, key, car.ca),
            "REASON_WRONG_CAR"},
           {"another fleet", Certified(CarIdentity{Ref("other", "F3-17")}, key, car.ca),
            "REASON_WRONG_CAR"},
           {"a registrar's", Certified(RegistrarIdentity{car.ref.fleet}, key, car.ca),
            "REASON_WRONG_CAR"},
           {"another CA of the same name", Certified(held.identity, key, same_name),
            "REASON_BAD_CERTIFICATE"},
           {"as long", Certified(held.identity, key, car.ca, 30), "REASON_OLDER_VERSION"},
           {"shorter", Certified(held.identity, key, car.ca, 29), "REASON_OLDER_VERSION"},
           {"the one held", held.der, "REASON_OLDER_VERSION"},
           {"rubbish", "rubbish", "REASON_BAD_CERTIFICATE"},
           {"the CA's own", car.ca_der, "REASON_BAD_CERTIFICATE"},
       }) {
    CAPTURE(row.what);
    CHECK(Said(OpenCertificateGrant(MakeCertificateGrant(kNow, row.certificate), held, car.ca_der,
                                    kNow)) == row.said);
  }
  const std::string good = MakeCertificateGrant(kNow, Certified(held.identity, key, car.ca));
  CHECK(Said(OpenCertificateGrant(good, held, car.ca_der, kNow - kDay)) ==
        "REASON_BAD_CERTIFICATE");
  CHECK(Said(OpenCertificateGrant(good, held, car.ca_der, kNow + 61 * kDay)) ==
        "REASON_BAD_CERTIFICATE");
  CHECK(Said(OpenCertificateGrant(std::string(5000, '\0'), held, car.ca_der, kNow)) ==
        "REASON_MALFORMED");
  CHECK(Said(OpenCertificateGrant("", held, car.ca_der, kNow)) == "REASON_BAD_CERTIFICATE");
}

TEST_CASE("renewal: a refusal gives the registrar's reason, and no certificate beside it counts") {
  const TestCar car = MakeTestCar("demo", "F3-17");
  const Certificate held = Certificate::FromDer(car.certificate_der).value();
  for (const Reason reason : {v1::REASON_BAD_SIGNATURE, v1::REASON_NOT_ALLOWED, v1::REASON_FULL,
                              v1::REASON_STORE_UNAVAILABLE}) {
    const std::string bytes = MakeCertificateRefusal(kNow, reason);
    const auto refused = OpenCertificateGrant(bytes, held, car.ca_der, kNow);
    CHECK(Said(refused) == v1::Reason_Name(reason));
    CHECK(refused.error().text.find(FactsOf(reason).text) != std::string::npos);
  }
  v1::CertificateGrant both;
  both.set_certificate(Certified(held.identity, held.public_key, car.ca));
  CHECK(Said(OpenCertificateGrant(both.SerializeAsString(), held, car.ca_der, kNow)) == "allowed");
  both.set_reason(v1::REASON_FULL);
  CHECK(Said(OpenCertificateGrant(both.SerializeAsString(), held, car.ca_der, kNow)) ==
        "REASON_FULL");
  both.set_reason(static_cast<v1::Reason>(4711));
  CHECK(Said(OpenCertificateGrant(both.SerializeAsString(), held, car.ca_der, kNow)) ==
        "REASON_INTERNAL");
}

TEST_CASE("renewal: no damaged grant gives another certificate, and none crashes the reader") {
  const TestCar car = MakeTestCar("demo", "F3-17");
  const Certificate held = Certificate::FromDer(car.certificate_der).value();
  const std::string der = Certified(held.identity, held.public_key, car.ca);
  ForEachDamaged(MakeCertificateGrant(kNow, der), [&](const std::string& damaged) {
    const auto taken = OpenCertificateGrant(damaged, held, car.ca_der, kNow);
    CHECK((!taken || taken->der == der));  // the echoed time is nobody's secret
  });
}

TEST_CASE("renewal: due when two thirds of the life have passed") {
  const TestCar car = MakeTestCar("demo", "F3-17");
  const Certificate held = Certificate::FromDer(car.certificate_der).value();
  const Duration life = 30 * kDay + std::chrono::hours(1);
  CHECK(RenewalDue(held) == held.not_before + life * 2 / 3);
  Certificate backwards = held;
  backwards.not_after = backwards.not_before - kDay;
  CHECK(RenewalDue(backwards) == backwards.not_before);
}

}  // namespace
}  // namespace latchkey
