// Private keys are SHA-256 of their names. The CA's is not: nothing that
// happens depends on it.
#include "tests/sim/keys.h"

#include <algorithm>
#include <utility>

#include "bridge/core/story.h"

namespace latchkey::sim {

namespace {

// The private key whose number is SHA-256 of `name`, by way of SEC 1 (RFC 5915)
// in PEM.
PrivateKey FixedKey(const std::string& name) {
  std::string der("\x30\x31\x02\x01\x01\x04\x20", 7);
  der += Sha256("latchkey simulation " + name);
  der += std::string("\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 12);
  std::string base64 = Base64UrlEncode(der);
  std::replace(base64.begin(), base64.end(), '-', '+');
  std::replace(base64.begin(), base64.end(), '_', '/');
  base64.append((4 - base64.size() % 4) % 4, '=');
  base64.insert(64, "\n");
  return PrivateKey::FromPem(
             "-----BEGIN EC "
             "PRIVATE KEY-----\n" +
             base64 +
             "\n-----END EC "
             "PRIVATE KEY-----\n")
      .value();
}

PhoneKeys MakePhone(const std::string& name, bool owner) {
  PrivateKey key = FixedKey(name);
  const PublicKey public_key = key.Public();
  const v1::Role role = owner ? v1::ROLE_OWNER : v1::ROLE_DRIVER;
  RingKey ring_key{public_key.Id(), public_key.ToPoint(), role, PermissionsOf(role), {}, {}, name};
  return {name, owner, std::move(key), public_key.Id(), std::move(ring_key)};
}

Keys MakeKeys() {
  Keys keys;
  for (const char* name : {"k1", "k2", "k3", "k4"}) {
    const std::string text = name;
    keys.phones.push_back(MakePhone(text, text == "k1" || text == "k4"));
  }
  constexpr int kDays = 3650;
  const tools::Issued ca = tools::MakeCa("fleet f", bridge::kStoryStart, kDays);
  for (const char* name : {"car1", "car2", "car3"}) {
    const CarRef ref = bridge::RefOf(name);
    PrivateKey key = FixedKey(name);
    const std::string pem =
        tools::CertifyClient(CarIdentity{ref}, key.Public(), ca, {bridge::kStoryStart, kDays})
            .value();
    keys.cars.push_back(
        {ref, std::move(key), PemToDer(pem).value(), Sha256(std::string("relay ") + name)});
  }
  keys.cas = {{keys.cars[0].ref.fleet, PemToDer(ca.certificate_pem).value()}};
  return keys;
}

}  // namespace

const Keys& AllKeys() {
  static const Keys keys = MakeKeys();
  return keys;
}

const PhoneKeys& PhoneOf(const KeyId& id) {
  const auto& phones = AllKeys().phones;
  const auto at = std::find_if(phones.begin(), phones.end(),
                               [&](const PhoneKeys& phone) { return phone.id == id; });
  LK_ASSERT(at != phones.end());
  return *at;
}

const PhoneKeys& PhoneOf(const std::string& name) {
  const auto& phones = AllKeys().phones;
  const auto at = std::find_if(phones.begin(), phones.end(),
                               [&](const PhoneKeys& phone) { return phone.name == name; });
  LK_ASSERT(at != phones.end());
  return *at;
}

std::string NameOf(const KeyId& id) {
  for (const PhoneKeys& phone : AllKeys().phones) {
    if (phone.id == id) {
      return phone.name;
    }
  }
  return "k?";
}

std::string TextOf(const BlockScope& scope) {
  const std::string where =
      scope.fleet.empty() ? "everywhere"
                          : scope.fleet.str() + (scope.car.empty() ? "" : "/" + scope.car.str());
  return NameOf(scope.key) + " " + where;
}

}  // namespace latchkey::sim
