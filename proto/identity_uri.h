// Who a certificate says its holder is, as text. Identity is one URI in subjectAltName (RFC 5280
// section 4.2.1.6), never the common name:
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
#include <string>
#include <string_view>
#include <variant>

#include "proto/result.h"
#include "proto/types.h"

namespace latchkey {

inline constexpr std::string_view kIdentityUrn = "urn:latchkey:";

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

}  // namespace latchkey
