// What tests of signed things need: a fleet's CA with a car, rings and commands signed over any
// body (also one our own code would never make), and hostile copies of good bytes.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "latchkey/v1/command.pb.h"
#include "latchkey/v1/keyring.pb.h"
#include "proto/certificate.h"
#include "proto/command.h"
#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/result.h"
#include "tools/ca/ca.h"

namespace latchkey::testing {

inline constexpr Timestamp kNow{1'700'000'000'000};
inline constexpr Duration kSecond{1000};

inline CarRef Ref(std::string_view fleet, std::string_view car) {
  return {FleetId::Parse(fleet).value(), CarId::Parse(car).value()};
}

inline CommandId TestId(char fill = 'i') {
  return CommandId::FromBytes(std::string(16, fill)).value();
}

// "REASON_MALFORMED"; "allowed" for success.
inline std::string Said(Reason reason) {
  return reason == v1::REASON_UNSPECIFIED ? "allowed" : v1::Reason_Name(reason);
}

inline std::string Said(Verdict verdict) {
  return Said(verdict.reason);
}

template <class T>
std::string Said(const Result<T>& result) {
  return result ? "allowed" : Said(result.error().reason);
}

// A CA, and one car of its fleet with key and certificate.
struct TestCar {
  tools::Issued ca;
  std::string ca_der;
  CarRef ref;
  PrivateKey key;
  std::string certificate_der;
};

// A certificate for `identity` from `ca`, with its key.
inline std::pair<std::string, PrivateKey> Issue(const CertificateIdentity& identity,
                                                const tools::Issued& ca, Timestamp from = kNow,
                                                int days = 30) {
  const tools::Issued issued = tools::IssueClient(identity, ca, from, days).value();
  return {PemToDer(issued.certificate_pem).value(),
          std::move(PrivateKey::FromPem(issued.private_key_pem).value())};
}

inline TestCar MakeTestCar(std::string_view fleet, std::string_view car) {
  const tools::Issued ca = tools::MakeCa(std::string(fleet), kNow, 3650);
  const CarRef ref = Ref(fleet, car);
  auto [der, key] = Issue(CarIdentity{ref}, ca);
  return {ca, PemToDer(ca.certificate_pem).value(), ref, std::move(key), der};
}

inline RingKey OnRing(const PublicKey& key, v1::Role role) {
  return {key.Id(), key.ToPoint(), role, PermissionsOf(role), {}, {}, "a phone"};
}

// A SignedKeyRing whose signature is right, whatever the body says.
inline std::string SignBody(const std::string& body, const PrivateKey& key,
                            const std::string& certificate_der) {
  v1::SignedKeyRing outer;
  outer.set_key_ring(body);
  outer.set_signature(key.Sign(WithDomain("latchkey.v1.keyring", body)));
  outer.set_certificate(certificate_der);
  return outer.SerializeAsString();
}

// A SignedCommand whose signature is right, whatever the body says.
inline std::string SignCommandBody(const std::string& body, const PrivateKey& key) {
  v1::SignedCommand outer;
  outer.set_command(body);
  outer.set_signature(key.Sign(WithDomain("latchkey.v1.command", body)));
  return outer.SerializeAsString();
}

// Calls `visit` with every proper prefix of `bytes`, and with every copy that has one bit flipped.
inline void ForEachDamaged(const std::string& bytes,
                           const std::function<void(const std::string&)>& visit) {
  for (size_t length = 0; length < bytes.size(); ++length) {
    visit(bytes.substr(0, length));
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ (1U << bit));
      visit(damaged);
    }
  }
}

}  // namespace latchkey::testing
