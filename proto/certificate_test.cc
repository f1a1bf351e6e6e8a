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
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7);
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
           Case{RegistrarIdentity{FleetId::Parse("demo").value()}, "urn:latchkey:registrar:demo"},
           Case{AdministratorIdentity{"ann"}, "urn:latchkey:administrator:ann"},
           Case{PeerIdentity{"b2"}, "urn:latchkey:peer:b2"},
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
                                     "urn:latchkey:registrar"sv,
                                     "urn:latchkey:registrar:"sv,
                                     "urn:latchkey:registrar:DEMO"sv,
                                     "urn:latchkey:registrar:demo:x"sv,
                                     "urn:latchkey:registrar:+"sv,
                                     "urn:latchkey:administrator"sv,
                                     "urn:latchkey:administrator:"sv,
                                     "urn:latchkey:administrator:a/b"sv,
                                     "urn:latchkey:administrator:a:b"sv,
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
  CHECK(certificate->serial.size() >= 8);
  CHECK(certificate->serial[0] != '\0');
  CHECK(EndOf(car.certificate_der).value() == certificate->not_after);
  CHECK(EndOf(car.ca_der).value() == kNow + std::chrono::hours(24 * 3650));
  CHECK(Said(EndOf("x")) == "REASON_BAD_CERTIFICATE");
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

// A fleet's CA, and lists it has signed.
struct Lists {
  tools::Issued ca = tools::MakeCa("demo", kNow, 3650);
  std::string ca_der = PemToDer(ca.certificate_pem).value();

  std::string Make(const std::vector<tools::Revoked>& revoked, uint64_t number = 1) const {
    return tools::MakeCrl(ca, revoked, number, {kNow, 30}).value();
  }
};

std::string PemBody(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509_CRL* crl = PEM_read_bio_X509_CRL(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  REQUIRE(crl != nullptr);
  unsigned char* raw = nullptr;
  const int length = i2d_X509_CRL(crl, &raw);
  std::string der(reinterpret_cast<char*>(raw), static_cast<size_t>(length));
  OPENSSL_free(raw);
  X509_CRL_free(crl);
  return der;
}

// What a list of this CA is with one more extension, signed.
std::string ListWith(const tools::Issued& ca, const std::string& pem, int nid,
                     const std::string& text) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509_CRL* crl = PEM_read_bio_X509_CRL(bio, nullptr, nullptr, nullptr);
  BIO* key_bio =
      BIO_new_mem_buf(ca.private_key_pem.data(), static_cast<int>(ca.private_key_pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(key_bio, nullptr, nullptr, nullptr);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, text.c_str());
  REQUIRE(extension != nullptr);
  X509_CRL_add_ext(crl, extension, -1);
  REQUIRE(X509_CRL_sign(crl, key, EVP_sha256()) > 0);
  unsigned char* raw = nullptr;
  const int length = i2d_X509_CRL(crl, &raw);
  std::string der(reinterpret_cast<char*>(raw), static_cast<size_t>(length));
  OPENSSL_free(raw);
  X509_EXTENSION_free(extension);
  X509_CRL_free(crl);
  EVP_PKEY_free(key);
  BIO_free(bio);
  BIO_free(key_bio);
  return der;
}

TEST_CASE("revocations: a CA's list is read, as PEM and as DER") {
  const Lists lists;
  const Certificate car =
      Certificate::FromDer(Issue(CarIdentity{Ref("demo", "F3-17")}, lists.ca).first).value();
  const std::string longest(20, '\x7f');
  const std::string pem =
      lists.Make({{car.serial, kNow}, {"\x01", kNow}, {longest, kNow - testing::kSecond}}, 4711);
  for (const std::string& bytes : {pem, PemBody(pem)}) {
    const auto read = ReadRevocations(bytes, lists.ca_der);
    REQUIRE(read);
    CHECK(read->serials.size() == 3);
    CHECK(read->serials.count(car.serial) == 1);
    CHECK(read->serials.count("\x01") == 1);
    CHECK(read->serials.count(longest) == 1);
    CHECK(read->number == 4711);
    CHECK(read->this_update == kNow);
    CHECK(read->next_update == kNow + std::chrono::hours(24 * 30));
  }
}

TEST_CASE("revocations: a list of nobody revokes nobody") {
  const Lists lists;
  const auto read = ReadRevocations(lists.Make({}, 0xffffffffffffffff), lists.ca_der);
  REQUIRE(read);
  CHECK(read->serials.empty());
  CHECK(read->number == 0xffffffffffffffff);
}

TEST_CASE("revocations: another CA's list, rubbish and another certificate are no list") {
  const Lists lists;
  const Lists same_name;
  const tools::Issued other = tools::MakeCa("other", kNow, 3650);
  const std::string good = lists.Make({{"\x01", kNow}});
  const std::string other_list = tools::MakeCrl(other, {{"\x01", kNow}}, 1, {kNow, 30}).value();
  const tools::Issued car =
      tools::IssueClient(CarIdentity{Ref("demo", "thief")}, lists.ca, kNow, 30).value();
  const std::string by_car = tools::MakeCrl(car, {}, 1, {kNow, 30}).value();

  struct Case {
    const char* what;
    std::string crl;
    std::string ca;
    std::string_view text;
  };

  const std::string der = PemBody(good);
  for (const Case& row : {
           Case{"another name", other_list, lists.ca_der, "another CA's"},
           Case{"another key", same_name.Make({}), lists.ca_der, "not signed by this CA"},
           Case{"a car's", by_car, PemToDer(car.certificate_pem).value(), "not a CA"},
           Case{"no CA", good, "", "CA certificate does not parse"},
           Case{"empty", "", lists.ca_der, "does not parse"},
           Case{"rubbish", "-----BEGIN X509 CRL-----\nrubbish\n", lists.ca_der, "does not parse"},
           Case{"a certificate", lists.ca.certificate_pem, lists.ca_der, "does not parse"},
           Case{"a key", lists.ca.private_key_pem, lists.ca_der, "does not parse"},
           Case{"more than a list", der + "x", lists.ca_der, "does not parse"},
           Case{"huge", std::string(9'000'000, '\x30'), lists.ca_der, "does not parse"},
           Case{"delta", ListWith(lists.ca, good, NID_delta_crl, "critical,DER:020101"),
                lists.ca_der, "critical extension"},
       }) {
    CAPTURE(row.what);
    const auto read = ReadRevocations(row.crl, row.ca);
    REQUIRE_FALSE(read);
    CHECK(read.error().reason == v1::REASON_BAD_CERTIFICATE);
    CHECK(read.error().text.find(row.text) != std::string::npos);
  }
}

TEST_CASE("revocations: no damaged list passes, and none crashes the reader") {
  const Lists lists;
  const std::string pem = lists.Make({{"\x01\x02", kNow}});
  ForEachDamaged(PemBody(pem), [&](const std::string& damaged) {
    CHECK_FALSE(ReadRevocations(damaged, lists.ca_der));
  });
  // Text around the base64, and its white space, may change.
  ForEachDamaged(pem, [&](const std::string& damaged) {
    const auto read = ReadRevocations(damaged, lists.ca_der);
    if (read) {
      CHECK(read->serials == std::set<std::string, std::less<>>{"\x01\x02"});
    }
  });
}

}  // namespace
}  // namespace latchkey
