// The key ring: sealing it (the car), opening it (everyone else), and asking what a key may do.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "latchkey/v1/keyring.pb.h"
#include "proto/certificate.h"
#include "proto/crypto.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey {

inline constexpr size_t kRingKeysMax = 32;
inline constexpr size_t kLabelBytesMax = 64;
inline constexpr size_t kKeyRingBytesMax = 16384;

// Bit of a permission in a mask. Permissions outside 1..31 and PERMISSION_ANY_KEY, which no ring
// holds, give 0.
constexpr uint32_t Bit(v1::Permission permission) {
  const int bit = static_cast<int>(permission);
  return bit >= 1 && bit <= 31 && permission != v1::PERMISSION_ANY_KEY ? uint32_t{1} << bit : 0;
}

// The mask with what it implies: who may read the location may read the area. Only on a key without
// the location is the permission for the area written down, so that software which does not know
// it reads all other rings.
constexpr uint32_t WithImplied(uint32_t permissions) {
  return (permissions & Bit(v1::PERMISSION_READ_LOCATION)) == 0
             ? permissions
             : permissions | Bit(v1::PERMISSION_READ_AREA);
}

inline constexpr size_t kWeekWindowsMax = 14;
inline constexpr uint16_t kWeekMinutes = 10080;

// Part of the week, minutes since Monday 00:00 UTC, 0 to 10079: [start, end), beyond Sunday when
// end <= start (start == end: the whole week).
struct WeekWindow {
  uint16_t start = 0;
  uint16_t end = 0;
  bool operator==(const WeekWindow&) const = default;
};

// Is `now` inside one of `windows`? No windows: always.
bool InWeek(std::span<const WeekWindow> windows, Timestamp now);

// One key as checked: what a decision needs, nothing else.
struct RingKey {
  KeyId id;
  std::string public_key;  // 33 bytes
  v1::Role role = v1::ROLE_UNSPECIFIED;
  uint32_t permissions = 0;  // mask of Bit(), with what is implied
  Timestamp not_before;      // 0: always
  Timestamp not_after;       // 0: never ends
  std::string label;
  std::vector<WeekWindow> week = {};  // empty: at any time of the week
  bool operator==(const RingKey&) const = default;
};

struct KeyRing {
  CarRef ref;
  uint64_t version = 0;
  Timestamp written_at;
  std::vector<RingKey> keys;
  const RingKey* Find(const KeyId& id) const;
  bool operator==(const KeyRing&) const = default;
};

// Everything a role gets at pairing; ROLE_GUEST: signal, close, comfort and body, energy, climate,
// drive.
uint32_t PermissionsOf(v1::Role role);
std::vector<v1::Permission> PermissionList(uint32_t mask);

// A key of the wire, checked: point on the curve, role and permissions known, times and label
// within bounds; its id is computed from the point. Error REASON_MALFORMED.
Result<RingKey> KeyFromWire(const v1::Key& key);
v1::Key KeyToWire(const RingKey& key);

// Serialized SignedKeyRing. `certificate_der` is the car's, `key` its private key.
std::string SealKeyRing(const KeyRing& ring, const PrivateKey& key,
                        std::string_view certificate_der);

// Opens serialized SignedKeyRing bytes and checks: parses; certificate is a car's and is signed by
// `ca_der` (the CA of the fleet the certificate names); signature by that certificate's key; fleet
// and car in the ring equal the certificate's; 1 <= version; at most kRingKeysMax distinct valid
// keys; roles and permissions known. Certificate validity is checked at `now` only when `now` is
// given: a ring outlives its certificate. Errors REASON_MALFORMED, REASON_BAD_CERTIFICATE,
// REASON_BAD_SIGNATURE, REASON_WRONG_CAR, REASON_FULL.
Result<KeyRing> OpenKeyRing(std::string_view signed_ring, std::string_view ca_der,
                            std::optional<Timestamp> now);

// As OpenKeyRing, for who holds the car's certificate already (a paired phone): the ring's
// certificate must carry the same public key.
Result<KeyRing> OpenKeyRingOf(std::string_view signed_ring, const PublicKey& car_key);

// Which fleet a serialized SignedKeyRing's certificate names, unchecked: to pick the CA by.
Result<FleetId> FleetOfKeyRing(std::string_view signed_ring);

// Is `now` inside the key's time and hours? REASON_OUTSIDE_WINDOW.
Verdict CheckWindow(const RingKey& key, Timestamp now);

// May `key` of `ring` use `permission` now? PERMISSION_ANY_KEY: every key on the ring inside its
// window. REASON_NOT_ON_RING, REASON_OUTSIDE_WINDOW,
// REASON_NOT_PERMITTED.
Verdict May(const KeyRing& ring, const KeyId& key, v1::Permission permission, Timestamp now);

}  // namespace latchkey
