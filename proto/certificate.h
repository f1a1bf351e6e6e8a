// Who a certificate says its holder is. Identity is one URI in subjectAltName (RFC 5280 section
// 4.2.1.6), never the common name:
//   urn:latchkey:car:{fleet}:{car}
//   urn:latchkey:operator:{fleet}:{name}:{groups joined by '+'}
//   urn:latchkey:bridge:{name}
//   urn:latchkey:registrar:{fleet}          renews certificates of the fleet's cars
//   urn:latchkey:administrator:{name}       blocks keys, moves clients
//   urn:latchkey:peer:{name}                a broker towards the one it is joined with
// A fleet's cars, operators and registrar are signed directly by the fleet's CA, bridge,
// administrators and peers by the cell's CA: one fleet's CA cannot name another fleet's car,
// because the checker picks the CA by the fleet named.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>

#include "proto/crypto.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey {

struct CarIdentity {
  CarRef ref;
  bool operator==(const CarIdentity&) const = default;
};

struct OperatorIdentity {
  FleetId fleet;
  std::string name;          // 1 to 32 of A-Z a-z 0-9 '-' '_'
  uint32_t permissions = 0;  // mask of 1 << PERMISSION_READ_*
  bool operator==(const OperatorIdentity&) const = default;
};

struct BridgeIdentity {
  std::string name;
  bool operator==(const BridgeIdentity&) const = default;
};

struct RegistrarIdentity {
  FleetId fleet;
  bool operator==(const RegistrarIdentity&) const = default;
};

struct AdministratorIdentity {
  std::string name;
  bool operator==(const AdministratorIdentity&) const = default;
};

struct PeerIdentity {
  std::string name;
  bool operator==(const PeerIdentity&) const = default;
};

using CertificateIdentity = std::variant<CarIdentity, OperatorIdentity, BridgeIdentity,
                                         RegistrarIdentity, AdministratorIdentity, PeerIdentity>;

// The URI for an identity, and back. Error REASON_BAD_CERTIFICATE: not of the grammar above.
std::string ToUri(const CertificateIdentity& identity);
Result<CertificateIdentity> ParseIdentityUri(std::string_view uri);

// A certificate as read: nothing about it is trusted until SignedBy says so.
struct Certificate {
  std::string der;
  CertificateIdentity identity;
  PublicKey public_key;
  Timestamp not_before;
  Timestamp not_after;
  // RFC 5280 section 4.1.2.2, positive: 1 to 20 big-endian bytes without leading zeros.
  std::string serial;

  // DER. Errors REASON_BAD_CERTIFICATE: does not parse, not P-256, not exactly one Latchkey URI.
  static Result<Certificate> FromDer(std::string_view der);
  // First certificate of a PEM text.
  static Result<Certificate> FromPem(std::string_view pem);
};

// PEM -> DER of the first certificate. Error REASON_BAD_CERTIFICATE.
Result<std::string> PemToDer(std::string_view pem);

// DER of a libcrypto X509 object, which is freed: for a C library that hands one over as void*.
// nullopt: `x509` is null or cannot be encoded.
std::optional<std::string> TakeX509Der(void* x509);

// Is `der` signed by the CA certificate `ca_der` (signature, issuer name, CA:TRUE) and `now` in the
// time of both? Error REASON_BAD_CERTIFICATE with the reason in words.
Result<void> CheckSignedBy(std::string_view der, std::string_view ca_der, Timestamp now);

// When a certificate of any kind (a CA's, a server's) ends. Error REASON_BAD_CERTIFICATE: does not
// parse.
Result<Timestamp> EndOf(std::string_view der);

// A certificate revocation list (RFC 5280 section 5), verified.
struct Revocations {
  std::set<std::string, std::less<>> serials;  // as Certificate::serial
  uint64_t number = 0;                         // CRL number (section 5.2.3); 0: none
  Timestamp this_update;
  std::optional<Timestamp> next_update;
};

// PEM or DER, signed by `ca_der`. A list past its next_update is read all the same: old news is
// better than none; the caller warns. A list with a critical extension (a delta, another issuer's
// certificates) is refused. Error REASON_BAD_CERTIFICATE with the reason in words.
Result<Revocations> ReadRevocations(std::string_view crl, std::string_view ca_der);

}  // namespace latchkey
