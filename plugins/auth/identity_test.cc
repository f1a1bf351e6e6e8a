// Sign-in: certificates, tokens, and client ids bound to whom they belong.
#include "plugins/auth/identity.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "proto/token.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::auth {
namespace {

using testing::Issue;
using testing::kNow;
using testing::kSecond;
using testing::Ref;
using testing::Said;

struct World {
  tools::Issued cell_ca = tools::MakeCa("cell", kNow, 3650);
  tools::Issued f1_ca = tools::MakeCa("f1", kNow, 3650);
  tools::Issued f2_ca = tools::MakeCa("f2", kNow, 3650);
  PrivateKey phone = PrivateKey::Generate();
  std::string key = phone.Public().Id().str();
  Trust trust{"cell-1",
              PemToDer(cell_ca.certificate_pem).value(),
              {{"f1", PemToDer(f1_ca.certificate_pem).value()},
               {"f2", PemToDer(f2_ca.certificate_pem).value()}},
              {},
              {}};

  std::string ByCertificate(const CertificateIdentity& identity, const tools::Issued& ca,
                            std::string_view client_id, Timestamp now = kNow) const {
    const std::string der = Issue(identity, ca).first;
    const auto principal = Identify({der, {}, {}, client_id}, trust, now);
    return principal ? principal->ToText() : Said(principal);
  }

  std::string ByToken(std::optional<std::string_view> user, std::optional<std::string> password,
                      std::string_view client_id, Timestamp now = kNow) const {
    Credentials credentials{{}, user, {}, client_id};
    if (password) {
      credentials.password = *password;
    }
    const auto principal = Identify(credentials, trust, now);
    return principal ? principal->ToText() : Said(principal);
  }

  std::string Token(std::string_view cell = "cell-1") const {
    return MintToken(phone, cell, kNow, 60 * kSecond);
  }
};

const CertificateIdentity kCar1 = CarIdentity{Ref("f1", "car1")};
const CertificateIdentity kAnn = OperatorIdentity{FleetId::Parse("f1").value(), "ann", 1U << 17U};

TEST_CASE("identity: the CA is picked by the fleet named, so one fleet cannot name another's car") {
  const World w;
  CHECK(w.ByCertificate(kCar1, w.f1_ca, "f1/car1") == "car:f1/car1");
  CHECK(w.ByCertificate(kCar1, w.f2_ca, "f1/car1") == "REASON_BAD_CERTIFICATE");
  CHECK(w.ByCertificate(kCar1, w.cell_ca, "f1/car1") == "REASON_BAD_CERTIFICATE");
  CHECK(w.ByCertificate(CarIdentity{Ref("f3", "car1")}, w.f1_ca, "f3/car1") ==
        "REASON_BAD_CERTIFICATE");
  CHECK(w.ByCertificate(kAnn, w.f1_ca, "f1/operator/ann") == "operator:f1/ann");
  CHECK(w.ByCertificate(kAnn, w.f2_ca, "f1/operator/ann") == "REASON_BAD_CERTIFICATE");
  CHECK(w.ByCertificate(BridgeIdentity{"main"}, w.cell_ca, "bridge/main") == "bridge:main");
  CHECK(w.ByCertificate(BridgeIdentity{"main"}, w.f1_ca, "bridge/main") ==
        "REASON_BAD_CERTIFICATE");
  const RegistrarIdentity registrar{FleetId::Parse("f1").value()};
  CHECK(w.ByCertificate(registrar, w.f1_ca, "f1/registrar") == "registrar:f1");
  CHECK(w.ByCertificate(registrar, w.f2_ca, "f1/registrar") == "REASON_BAD_CERTIFICATE");
  CHECK(w.ByCertificate(registrar, w.cell_ca, "f1/registrar") == "REASON_BAD_CERTIFICATE");
  const AdministratorIdentity root{"root"};
  CHECK(w.ByCertificate(root, w.cell_ca, "administrator/root") == "administrator:root");
  CHECK(w.ByCertificate(root, w.f1_ca, "administrator/root") == "REASON_BAD_CERTIFICATE");
}

TEST_CASE("identity: a revoked certificate gets nobody in, and revokes nobody else's serial") {
  World w;
  const auto ask = [&w](const std::string& der, const char* id) {
    return Said(Identify({der, {}, {}, id}, w.trust, kNow));
  };
  const std::string car = Issue(kCar1, w.f1_ca).first;
  const std::string renewed = Issue(kCar1, w.f1_ca).first;
  const std::string bridge = Issue(BridgeIdentity{"main"}, w.cell_ca).first;
  const std::string serial = Certificate::FromDer(car)->serial;
  // Serials are a CA's own: the same number from another CA means another certificate.
  w.trust.fleet_revoked["f2"].serials = {serial};
  w.trust.cell_revoked.serials = {serial};
  CHECK(ask(car, "f1/car1") == "allowed");
  w.trust.fleet_revoked["f1"].serials = {serial, Certificate::FromDer(bridge)->serial};
  CHECK(ask(car, "f1/car1") == "REASON_BAD_CERTIFICATE");
  CHECK(ask(renewed, "f1/car1") == "allowed");
  CHECK(ask(bridge, "bridge/main") == "allowed");
  w.trust.cell_revoked.serials = {Certificate::FromDer(bridge)->serial};
  CHECK(ask(bridge, "bridge/main") == "REASON_BAD_CERTIFICATE");
}

TEST_CASE("identity: a certificate out of its time is refused") {
  const World w;
  CHECK(w.ByCertificate(kCar1, w.f1_ca, "f1/car1", kNow + std::chrono::hours(24 * 31)) ==
        "REASON_BAD_CERTIFICATE");
}

TEST_CASE("identity: client ids belong to whom they name") {
  const World w;
  for (const char* id : {"f1/car1", "f1/car1/2", "f1/car1/x/y"}) {
    CHECK(w.ByCertificate(kCar1, w.f1_ca, id) == "car:f1/car1");
  }
  for (const char* id : {"", "f1/car2", "f1/car12", "f1", "auto-123", "bridge/main"}) {
    CHECK(w.ByCertificate(kCar1, w.f1_ca, id) == "REASON_NOT_ALLOWED");
  }
  CHECK(w.ByCertificate(kAnn, w.f1_ca, "f1/operator/annette") == "REASON_NOT_ALLOWED");
  CHECK(w.ByCertificate(BridgeIdentity{"two"}, w.cell_ca, "bridge/main") == "REASON_NOT_ALLOWED");
  CHECK(w.ByToken(w.key, w.Token(), w.key) == "phone:" + w.key);
  CHECK(w.ByToken(w.key, w.Token(), w.key + "/tab2") == "phone:" + w.key);
  CHECK(w.ByToken(w.key, w.Token(), "auto-5A") == "phone:" + w.key);
  CHECK(w.ByToken(w.key, w.Token(), "bridge/main") == "REASON_NOT_ALLOWED");
  CHECK(w.ByToken(w.key, w.Token(), "f1/car1") == "REASON_NOT_ALLOWED");
  CHECK(w.ByToken(w.key, w.Token(), "f1/registrar") == "REASON_NOT_ALLOWED");
  CHECK(w.ByToken(w.key, w.Token(), "administrator/root") == "REASON_NOT_ALLOWED");
  const RegistrarIdentity registrar{FleetId::Parse("f1").value()};
  CHECK(w.ByCertificate(registrar, w.f1_ca, "f1/registrar/2") == "registrar:f1");
  CHECK(w.ByCertificate(registrar, w.f1_ca, "f1/car1") == "REASON_NOT_ALLOWED");
  const AdministratorIdentity root{"root"};
  CHECK(w.ByCertificate(root, w.cell_ca, "administrator/root/7") == "administrator:root");
  CHECK(w.ByCertificate(root, w.cell_ca, "administrator/rooty") == "REASON_NOT_ALLOWED");
  CHECK(w.ByCertificate(root, w.cell_ca, "bridge/root") == "REASON_NOT_ALLOWED");
}

TEST_CASE("identity: names that could be taken for another's client id get nobody in") {
  World w;
  CHECK(w.ByCertificate(CarIdentity{Ref("f1", "operator")}, w.f1_ca, "f1/operator/ann") ==
        "REASON_NOT_ALLOWED");
  CHECK(w.ByCertificate(CarIdentity{Ref("f1", "registrar")}, w.f1_ca, "f1/registrar") ==
        "REASON_NOT_ALLOWED");
  w.trust.fleet_cas["administrator"] = w.trust.fleet_cas["f1"];
  CHECK(w.ByCertificate(CarIdentity{Ref("administrator", "root")}, w.f1_ca, "administrator/root") ==
        "REASON_NOT_ALLOWED");
  w.trust.fleet_cas["bridge"] = w.trust.fleet_cas["f1"];
  CHECK(w.ByCertificate(CarIdentity{Ref("bridge", "main")}, w.f1_ca, "bridge/main") ==
        "REASON_NOT_ALLOWED");
}

TEST_CASE("identity: without a certificate only a good token of this cell gets in") {
  const World w;
  const PrivateKey other = PrivateKey::Generate();
  CHECK(w.ByToken({}, {}, "auto-1") == "REASON_BAD_TOKEN");
  CHECK(w.ByToken(w.key, {}, w.key) == "REASON_BAD_TOKEN");
  CHECK(w.ByToken(w.key, "password", w.key) == "REASON_BAD_TOKEN");
  CHECK(w.ByToken(w.key, w.Token("cell-2"), w.key) == "REASON_BAD_TOKEN");
  CHECK(w.ByToken(w.key, MintToken(other, "cell-1", kNow, kSecond), w.key) == "REASON_WRONG_LANE");
  CHECK(w.ByToken(w.key, w.Token(), w.key, kNow + 61 * kSecond) == "REASON_TOKEN_EXPIRED");
}

TEST_CASE("identity: a client with a certificate is judged by it alone") {
  const World w;
  const std::string der = Issue(kCar1, w.f2_ca).first;
  const std::string token = w.Token();
  CHECK(Said(Identify({der, w.key, token, w.key}, w.trust, kNow)) == "REASON_BAD_CERTIFICATE");
}

TEST_CASE("identity: a resting session is whose its client id is") {
  const World w;
  const auto who = [&](const std::string& id) {
    const auto principal = RestingPrincipal(id, w.trust);
    return principal ? principal->ToText() : "nobody";
  };
  CHECK(who("bridge/main") == "bridge:main");
  CHECK(who("bridge/main/2") == "bridge:main");
  CHECK(who("f1/car1/x") == "car:f1/car1");
  CHECK(who("f1/registrar") == "registrar:f1");
  CHECK(who("f1/registrar/2") == "registrar:f1");
  CHECK(who(w.key) == "phone:" + w.key);
  CHECK(who(w.key + "/tab") == "phone:" + w.key);
  for (const char* id : {"", "bridge", "bridge/", "auto-123", "f1", "f1/", "f1/operator/ann",
                         "f9/car1", "f1/-bad", "x", "administrator/root", "f9/registrar"}) {
    CHECK(who(id) == "nobody");
  }
}

}  // namespace
}  // namespace latchkey::auth
