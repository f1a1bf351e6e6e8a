// Certificates as the rest of the system will judge them: by proto/certificate and by libcrypto's
// own chain building, as a TLS peer does it.
#include "tools/ca/ca.h"

#include <memory>
#include <string>
#include <utility>

#include <doctest/doctest.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

namespace latchkey::tools {
namespace {

constexpr Timestamp kNow{1'700'000'000'000};

X509* Read(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  REQUIRE(certificate != nullptr);
  return certificate;
}

struct Peer {
  int purpose;       // X509_PURPOSE_SSL_CLIENT or _SERVER
  std::string host;  // checked for servers when not empty
};

// "ok", or libcrypto's words.
std::string ChainSays(const Issued& leaf, const Issued& ca, const Peer& peer,
                      Timestamp now = kNow) {
  X509* leaf_x509 = Read(leaf.certificate_pem);
  X509* ca_x509 = Read(ca.certificate_pem);
  X509_STORE* store = X509_STORE_new();
  X509_STORE_add_cert(store, ca_x509);
  X509_STORE_CTX* context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, leaf_x509, nullptr);
  X509_VERIFY_PARAM* params = X509_STORE_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_time(params, now.ms / 1000);
  X509_VERIFY_PARAM_set_purpose(params, peer.purpose);
  X509_VERIFY_PARAM_set_flags(params, X509_V_FLAG_X509_STRICT);
  if (!peer.host.empty() && X509_VERIFY_PARAM_set1_ip_asc(params, peer.host.c_str()) != 1) {
    X509_VERIFY_PARAM_set1_host(params, peer.host.data(), peer.host.size());
  }
  const bool ok = X509_verify_cert(context) == 1;
  std::string said = ok ? "ok" : X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
  X509_STORE_CTX_free(context);
  X509_STORE_free(store);
  X509_free(ca_x509);
  X509_free(leaf_x509);
  return said;
}

CarIdentity TheCar() {
  return {{FleetId::Parse("demo").value(), CarId::Parse("F3-17").value()}};
}

TEST_CASE("ca: a client certificate is the identity it was issued for, signed by its CA") {
  const Issued ca = MakeCa("Latchkey fleet demo", kNow, 3650);
  const auto issued = IssueClient(TheCar(), ca, kNow, 30);
  REQUIRE(issued);
  const auto certificate = Certificate::FromPem(issued->certificate_pem);
  REQUIRE(certificate);
  CHECK(certificate->identity == CertificateIdentity(TheCar()));
  CHECK(CheckSignedBy(certificate->der, PemToDer(ca.certificate_pem).value(), kNow));
  const auto key = PrivateKey::FromPem(issued->private_key_pem);
  REQUIRE(key);
  CHECK(key->Public().ToPoint() == certificate->public_key.ToPoint());
}

TEST_CASE("ca: a strict TLS peer takes clients as clients and servers as servers, by host") {
  const Issued ca = MakeCa("Latchkey cell one", kNow, 3650);
  const Issued client = IssueClient(BridgeIdentity{"main"}, ca, kNow, 30).value();
  const Issued server = IssueServer({"broker.example", "127.0.0.1", "::1"}, ca, kNow, 30).value();
  const Peer as_client{X509_PURPOSE_SSL_CLIENT, ""};
  CHECK(ChainSays(client, ca, as_client) == "ok");
  CHECK(ChainSays(client, ca, {X509_PURPOSE_SSL_SERVER, ""}) != "ok");
  for (const char* host : {"broker.example", "127.0.0.1", "::1"}) {
    CAPTURE(host);
    CHECK(ChainSays(server, ca, {X509_PURPOSE_SSL_SERVER, host}) == "ok");
  }
  CHECK(ChainSays(server, ca, {X509_PURPOSE_SSL_SERVER, "other.example"}) != "ok");
  CHECK(ChainSays(server, ca, {X509_PURPOSE_SSL_SERVER, "127.0.0.2"}) != "ok");
  CHECK(ChainSays(server, ca, as_client) != "ok");
}

TEST_CASE("ca: no certificate is taken from another CA or out of its time") {
  const Issued ca = MakeCa("one", kNow, 3650);
  const Issued client = IssueClient(TheCar(), ca, kNow, 30).value();
  const Peer peer{X509_PURPOSE_SSL_CLIENT, ""};
  CHECK(ChainSays(client, MakeCa("one", kNow, 3650), peer) != "ok");
  CHECK(ChainSays(client, ca, peer, kNow + std::chrono::hours(24 * 31)) ==
        "certificate has expired");
  CHECK(ChainSays(client, ca, peer, kNow - std::chrono::hours(2)) ==
        "certificate is not yet valid");
}

TEST_CASE("ca: serial numbers, keys and CAs are never the same twice") {
  const Issued ca = MakeCa("one", kNow, 3650);
  const Issued a = IssueClient(TheCar(), ca, kNow, 30).value();
  const Issued b = IssueClient(TheCar(), ca, kNow, 30).value();
  CHECK(a.private_key_pem != b.private_key_pem);
  X509* first = Read(a.certificate_pem);
  X509* second = Read(b.certificate_pem);
  CHECK(ASN1_INTEGER_cmp(X509_get0_serialNumber(first), X509_get0_serialNumber(second)) != 0);
  X509_free(first);
  X509_free(second);
}

TEST_CASE("ca: a CA that does not parse, or whose key is another's, issues nothing") {
  const Issued one = MakeCa("one", kNow, 3650);
  const Issued two = MakeCa("two", kNow, 3650);
  for (const Issued& ca : {Issued{}, Issued{"x", "y"}, Issued{one.certificate_pem, ""},
                           Issued{one.certificate_pem, two.private_key_pem}}) {
    const auto client = IssueClient(TheCar(), ca, kNow, 30);
    REQUIRE_FALSE(client);
    CHECK(client.error().reason == v1::REASON_BAD_CERTIFICATE);
    CHECK_FALSE(IssueServer({"x"}, ca, kNow, 30));
  }
}

TEST_CASE("ca: identities and hosts that no certificate can carry are refused") {
  const Issued ca = MakeCa("one", kNow, 3650);
  const FleetId fleet = FleetId::Parse("demo").value();
  for (const CertificateIdentity& identity :
       {CertificateIdentity(CarIdentity{}), CertificateIdentity(BridgeIdentity{""}),
        CertificateIdentity(BridgeIdentity{"a,URI:urn:latchkey:bridge:b"}),
        CertificateIdentity(OperatorIdentity{fleet, "ann", 0}),
        CertificateIdentity(OperatorIdentity{fleet, "ann", 0xffffffff})}) {
    CHECK_FALSE(IssueClient(identity, ca, kNow, 30));
  }
  for (const char* host : {"", "a b", "a,DNS:b", "-x", ".x", "a\nb", "*.example", "x/y"}) {
    CAPTURE(host);
    CHECK_FALSE(IssueServer({host}, ca, kNow, 30));
  }
  CHECK_FALSE(IssueServer({}, ca, kNow, 30));
}

TEST_CASE("ca: a certificate for a key made elsewhere passes as a client's, and is for that key") {
  const Issued ca = MakeCa("fleet demo", kNow, 3650);
  const PrivateKey key = PrivateKey::Generate();
  const std::string pem = CertifyClient(TheCar(), key.Public(), ca, {kNow, 10}).value();
  CHECK(ChainSays({pem, ""}, ca, {X509_PURPOSE_SSL_CLIENT, ""}) == "ok");
  const Certificate certificate = Certificate::FromPem(pem).value();
  CHECK(certificate.public_key.ToPoint() == key.Public().ToPoint());
  CHECK(certificate.not_after == kNow + std::chrono::hours(240));
  CHECK_FALSE(CertifyClient(TheCar(), key.Public(), {ca.certificate_pem, ""}, {kNow, 10}));
  CHECK_FALSE(MakeCrl({ca.certificate_pem, ""}, {}, 1, {kNow, 10}));
}

}  // namespace
}  // namespace latchkey::tools
