// Who a client is, from what it showed when it connected. Everything later asks about a Principal;
// nothing but this file makes one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "proto/certificate.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::auth {

enum class PrincipalKind : uint8_t {
  kPhone,
  kCar,
  kOperator,
  kBridge,
  kRegistrar,
  kAdministrator,
  kPeer
};

inline constexpr size_t kPrincipalKindCount = 7;

struct Principal {
  PrincipalKind kind = PrincipalKind::kPhone;
  CarRef car;                // kCar: itself. kOperator, kRegistrar: only `fleet` is set
  KeyId key;                 // kPhone
  std::string name;          // kOperator, kBridge, kAdministrator, kPeer
  uint32_t permissions = 0;  // kOperator: mask of Bit(PERMISSION_READ_*)
  std::string serial;        // of its certificate, as Certificate::serial; empty: it has none
  bool operator==(const Principal&) const = default;

  // For logs and as MQTT user name: "phone:{key}", "car:{fleet}/{car}", "operator:{fleet}/{name}",
  // "bridge:{name}", "registrar:{fleet}", "administrator:{name}", "peer:{name}".
  std::string ToText() const;
};

// What a client showed. Views live as long as the call.
struct Credentials {
  std::optional<std::string_view> certificate;  // DER, as the TLS layer took it
  std::optional<std::string_view> user_name;
  std::optional<std::string_view> password;
  std::string_view client_id;
};

// Whom this cell believes.
struct Trust {
  std::string cell;     // `aud` of phones' tokens
  std::string cell_ca;  // DER; signs bridges, administrators and peers
  std::map<std::string, std::string, std::less<>> fleet_cas;      // fleet -> DER
  Revocations cell_revoked;                                       // by the cell's CA
  std::map<std::string, Revocations, std::less<>> fleet_revoked;  // fleet -> by its CA

  // nullptr: no such fleet in this cell.
  const std::string* FindFleetCa(std::string_view fleet) const;
  // nullptr: its CA has revoked nothing.
  const Revocations* FindFleetRevoked(std::string_view fleet) const;
  // The CA that signs principals like this one, DER; nullptr: none here, or it has no certificate.
  const std::string* CaOf(const Principal& principal) const;
  // Has that CA revoked the principal's certificate?
  bool Revoked(const Principal& principal) const;
};

// A client with a certificate is judged by the certificate alone, any other by its token. Errors,
// in the order checked: with a certificate REASON_BAD_CERTIFICATE (form, fleet not of this cell,
// not signed by that fleet's or the cell's CA, out of its time, revoked); without one
// REASON_BAD_TOKEN (no user name or password) and those of CheckToken; then REASON_NOT_ALLOWED: the
// client id is not the principal's own, or its names could be mistaken for another principal's
// client id.
Result<Principal> Identify(const Credentials& credentials, const Trust& trust, Timestamp now);

// Is this the client id of this broker's own end of its connection to the one it is joined with?
// Nobody has it who signed in: that end never does.
bool IsPeerClientId(std::string_view client_id);

// Whose session a client id is, for sessions that rest in the broker while their client is away:
// client ids are bound to principals at sign-in, so the id alone says it. nullopt: nobody's, an
// operator's (its rights are in its certificate), an administrator's (it reads nothing), or one the
// broker made up.
std::optional<Principal> RestingPrincipal(std::string_view client_id, const Trust& trust);

}  // namespace latchkey::auth
