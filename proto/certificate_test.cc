// Identity URIs, and certificates that lie, are broken, or are of another CA.
#include "proto/certificate.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "tests/support/wire_fixtures.h"
#include "tools/ca/ca.h"

namespace latchkey {
namespace {

using testing::ForEachDamaged;
using testing::Issue;
using testing::kNow;
using testing::Ref;
using testing::Said;

// A self-signed certificate with these extensions and a key of `curve`, DER.
std::string CertificateWith(const std::vector<std::pair<int, std::string>>& extensions,
                            const char* curve = "P-256") {
  EVP_PKEY* key = EVP_EC_gen(curve);
  X509* certificate = X509_new();
  REQUIRE(X509_set_version(certificate, X509_VERSION_3) == 1);
  ASN1_TIME_set(X509_getm_notBefore(certificate), kNow.ms / 1000);
  ASN1_TIME_set(X509_getm_notAfter(certificate), kNow.ms / 1000 + 3600);
  REQUIRE(X509_set_pubkey(certificate, key) == 1);
  for (const auto& [nid, text] : extensions) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, text.c_str());
    REQUIRE(extension != nullptr);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  REQUIRE(X509_sign(certificate, key, EVP_sha256()) > 0);
  unsigned char* raw = nullptr;
  const int length = i2d_X509(certificate, &raw);
  std::string der(reinterpret_cast<char*>(raw), static_cast<size_t>(length));
  OPENSSL_free(raw);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return der;
}

TEST_CASE("identity: each kind's URI goes there and back") {
  const uint32_t energy_link = Bit(v1::PERMISSION_READ_ENERGY) | Bit(v1::PERMISSION_READ_LINK);

  struct Case {
    CertificateIdentity identity;
    std::string uri;
  };

  for (const Case& row : {
           Case{CarIdentity{Ref("demo", "F3-17")}, "urn:latchkey:car:demo:F3-17"},
           Case{OperatorIdentity{FleetId::Parse("demo").value(), "ann", energy_link},
                "urn:latchkey:operator:demo:ann:energy+link"},
           Case{BridgeIdentity{"main"}, "urn:latchkey:bridge:main"},
       }) {
    CHECK(ToUri(row.identity) == row.uri);
    const auto identity = ParseIdentityUri(row.uri);
    REQUIRE(identity);
    CHECK(*identity == row.identity);
  }
  CHECK(ParseIdentityUri("urn:latchkey:operator:demo:ann:link+energy").value() ==
        ParseIdentityUri("urn:latchkey:operator:demo:ann:energy+link").value());
}

TEST_CASE("identity: every other URI is a bad certificate") {
  using std::string_view_literals::operator""sv;
  for (const std::string_view uri : {""sv,
                                     "urn:latchkey:"sv,
                                     "urn:latchkey:car"sv,
                                     "urn:latchkey:car:demo"sv,
                                     "urn:latchkey:car:demo:"sv,
                                     "urn:latchkey:car::F3"sv,
                                     "urn:latchkey:car:demo:F3:x"sv,
                                     "urn:latchkey:car:DEMO:F3"sv,
                                     "urn:latchkey:car:demo:F3/x"sv,
                                     "urn:latchkey:car:demo:F3\0"sv,
                                     "urn:latchkey:car:demo:+"sv,
                                     "urn:latchkey:phone:demo:F3"sv,
                                     "URN:latchkey:car:demo:F3"sv,
                                     "urn:latchkey:operator:demo:ann"sv,
                                     "urn:latchkey:operator:demo:ann:"sv,
                                     "urn:latchkey:operator:demo:ann:all"sv,
                                     "urn:latchkey:operator:demo:ann:energy+energy"sv,
                                     "urn:latchkey:operator:demo:ann:energy+"sv,
                                     "urn:latchkey:operator:demo::energy"sv,
                                     "urn:latchkey:operator:demo:a n:energy"sv,
                                     "urn:latchkey:operator:demo:a/n:energy"sv,
                                     "urn:latchkey:bridge"sv,
                                     "urn:latchkey:bridge:"sv,
                                     "urn:latchkey:bridge:a:b"sv,
                                     "urn:latchkey:bridge:abcdefghijklmnopqrstuvwxyz0123456"sv}) {
    CAPTURE(uri);
    CHECK(Said(ParseIdentityUri(uri)) == "REASON_BAD_CERTIFICATE");
  }
  CHECK_FALSE(ParseIdentityUri("urn:latchkey:bridge:" + std::string(100000, ':')));
}

TEST_CASE("certificate: an issued one is read back as it was asked for") {
  const auto car = testing::MakeTestCar("demo", "F3-17");
  const auto certificate = Certificate::FromDer(car.certificate_der);
  REQUIRE(certificate);
  CHECK(certificate->identity == CertificateIdentity(CarIdentity{Ref("demo", "F3-17")}));
  CHECK(certificate->public_key.ToPoint() == car.key.Public().ToPoint());
  CHECK(certificate->not_before == kNow - std::chrono::hours(1));
  CHECK(certificate->not_after == kNow + std::chrono::hours(24 * 30));
  CHECK(certificate->der == car.certificate_der);
}

TEST_CASE("certificate: exactly one Latchkey URI and a P-256 key, or it names nobody") {
  struct Case {
    std::vector<std::pair<int, std::string>> extensions;
    const char* curve;
    std::string said;
  };

  const int san = NID_subject_alt_name;
  for (const Case& row : {
           Case{{{san, "URI:urn:latchkey:bridge:a"}}, "P-256", "allowed"},
           Case{{{san, "DNS:x,URI:https://a.example,URI:urn:latchkey:bridge:a"}},
                "P-256",
                "allowed"},
           Case{{}, "P-256", "REASON_BAD_CERTIFICATE"},
           Case{{{san, "DNS:urn.latchkey"}}, "P-256", "REASON_BAD_CERTIFICATE"},
           Case{{{san, "email:urn:latchkey:bridge:a"}}, "P-256", "REASON_BAD_CERTIFICATE"},
           Case{{{san, "URI:urn:latchkey:bridge:a,URI:urn:latchkey:bridge:b"}},
                "P-256",
                "REASON_BAD_CERTIFICATE"},
           Case{{{san, "URI:urn:latchkey:bridge:a"}, {san, "URI:urn:latchkey:bridge:a"}},
                "P-256",
                "REASON_BAD_CERTIFICATE"},
           Case{{{san, "URI:urn:latchkey:king:a"}}, "P-256", "REASON_BAD_CERTIFICATE"},
           Case{{{san, "URI:urn:latchkey:bridge:a"}}, "P-384", "REASON_BAD_CERTIFICATE"},
           Case{{{san, "URI:urn:latchkey:bridge:a"}}, "secp256k1", "REASON_BAD_CERTIFICATE"},
       }) {
    CHECK(Said(Certificate::FromDer(CertificateWith(row.extensions, row.curve))) == row.said);
  }
}

TEST_CASE("certificate: the common name is nobody's identity") {
  const tools::Issued ca = tools::MakeCa("urn:latchkey:bridge:main", kNow, 30);
  CHECK(Said(Certificate::FromPem(ca.certificate_pem)) == "REASON_BAD_CERTIFICATE");
}

TEST_CASE("certificate: rubbish, truncation and trailing bytes do not parse") {
  const auto car = testing::MakeTestCar("demo", "F3-17");
  for (const std::string& der : {std::string(), std::string("x"), std::string(100000, '\x30'),
                                 car.certificate_der + "x", car.certificate_der.substr(1)}) {
    CHECK(Said(Certificate::FromDer(der)) == "REASON_BAD_CERTIFICATE");
  }
  for (const std::string& pem : {std::string(), std::string("-----BEGIN CERTIFICATE-----\n"),
                                 std::string(100000, 'x'), car.key.ToPem()}) {
    CHECK(Said(PemToDer(pem)) == "REASON_BAD_CERTIFICATE");
    CHECK(Said(Certificate::FromPem(pem)) == "REASON_BAD_CERTIFICATE");
  }
}

TEST_CASE("signed by: the fleet's CA, in the time of both, and nobody else") {
  const auto car = testing::MakeTestCar("demo", "F3-17");
  const std::string& der = car.certificate_der;
  CHECK(Said(CheckSignedBy(der, car.ca_der, kNow)) == "allowed");
  const Duration day = std::chrono::hours(24);
  CHECK(Said(CheckSignedBy(der, car.ca_der, kNow + 30 * day)) == "allowed");
  CHECK(Said(CheckSignedBy(der, car.ca_der, kNow + 30 * day + Duration(1))) ==
        "REASON_BAD_CERTIFICATE");
  CHECK(Said(CheckSignedBy(der, car.ca_der, kNow - std::chrono::hours(1) - Duration(1))) ==
        "REASON_BAD_CERTIFICATE");

  const tools::Issued same_name = tools::MakeCa("demo", kNow, 3650);
  CHECK(CheckSignedBy(der, PemToDer(same_name.certificate_pem).value(), kNow).error().text ==
        "certificate is not signed by this CA");
  const tools::Issued other = tools::MakeCa("other", kNow, 3650);
  CHECK(CheckSignedBy(der, PemToDer(other.certificate_pem).value(), kNow).error().text ==
        "certificate names another issuer than this CA");
  CHECK(Said(CheckSignedBy(der, "", kNow)) == "REASON_BAD_CERTIFICATE");
  CHECK(Said(CheckSignedBy("", car.ca_der, kNow)) == "REASON_BAD_CERTIFICATE");
}

TEST_CASE("signed by: a CA out of its time signs nothing any more") {
  const tools::Issued ca = tools::MakeCa("short", kNow, 10);
  const auto issued = Issue(CarIdentity{Ref("demo", "F3-17")}, ca, kNow, 30);
  const std::string ca_der = PemToDer(ca.certificate_pem).value();
  CHECK(Said(CheckSignedBy(issued.first, ca_der, kNow)) == "allowed");
  CHECK(CheckSignedBy(issued.first, ca_der, kNow + std::chrono::hours(24 * 20)).error().text ==
        "CA certificate has expired: have a new one issued");
}

TEST_CASE("signed by: a car cannot sign for another car") {
  const tools::Issued ca = tools::MakeCa("demo", kNow, 3650);
  const tools::Issued car =
      tools::IssueClient(CarIdentity{Ref("demo", "thief")}, ca, kNow, 30).value();
  const auto forged = Issue(CarIdentity{Ref("demo", "victim")}, car);
  CHECK(CheckSignedBy(forged.first, PemToDer(car.certificate_pem).value(), kNow).error().text ==
        "the issuing certificate is not a CA");
  CHECK(Said(CheckSignedBy(forged.first, PemToDer(ca.certificate_pem).value(), kNow)) ==
        "REASON_BAD_CERTIFICATE");
}

TEST_CASE("signed by: a CA says CA:TRUE and that its key signs certificates, both") {
  const int basic = NID_basic_constraints;
  const int usage = NID_key_usage;

  struct Case {
    std::vector<std::pair<int, std::string>> extensions;
    std::string said;
  };

  for (const Case& row : {
           Case{{{basic, "critical,CA:TRUE"}, {usage, "critical,keyCertSign"}}, "allowed"},
           Case{{{basic, "critical,CA:FALSE"}, {usage, "critical,keyCertSign"}},
                "REASON_BAD_CERTIFICATE"},
           Case{{{basic, "critical,CA:TRUE"}, {usage, "critical,digitalSignature"}},
                "REASON_BAD_CERTIFICATE"},
           Case{{{usage, "critical,keyCertSign"}}, "REASON_BAD_CERTIFICATE"},
           Case{{}, "REASON_BAD_CERTIFICATE"},
       }) {
    const std::string der = CertificateWith(row.extensions);  // signed by itself, empty names
    CHECK(Said(CheckSignedBy(der, der, kNow)) == row.said);
  }
}

TEST_CASE("signed by: no damaged copy passes, and none crashes the reader") {
  const auto car = testing::MakeTestCar("demo", "F3-17");
  ForEachDamaged(car.certificate_der, [&](const std::string& damaged) {
    static_cast<void>(Certificate::FromDer(damaged));
    CHECK_FALSE(CheckSignedBy(damaged, car.ca_der, kNow));
  });
}

}  // namespace
}  // namespace latchkey
