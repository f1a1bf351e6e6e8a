// Sealing and opening key rings; the checks are in the order keyring.h lists their errors.
#include "proto/keyring.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "proto/wire.h"

namespace latchkey {
namespace {

constexpr std::string_view kDomain = "latchkey.v1.keyring";
constexpr int kPermissionEntriesMax = 32;

constexpr uint32_t kReadAll = Bit(v1::PERMISSION_READ_BODY) | Bit(v1::PERMISSION_READ_ENERGY) |
                              Bit(v1::PERMISSION_READ_LOCATION) | Bit(v1::PERMISSION_READ_CLIMATE) |
                              Bit(v1::PERMISSION_READ_DRIVE) | Bit(v1::PERMISSION_READ_SERVICE) |
                              Bit(v1::PERMISSION_READ_APPS) | Bit(v1::PERMISSION_READ_LINK) |
                              Bit(v1::PERMISSION_READ_AREA);
constexpr uint32_t kDriver = kReadAll | Bit(v1::PERMISSION_OPEN) | Bit(v1::PERMISSION_SIGNAL) |
                             Bit(v1::PERMISSION_CLOSE) | Bit(v1::PERMISSION_COMFORT) |
                             Bit(v1::PERMISSION_SETTINGS);
constexpr uint32_t kOwner = kDriver | Bit(v1::PERMISSION_KEYS);
constexpr uint32_t kGuest = Bit(v1::PERMISSION_SIGNAL) | Bit(v1::PERMISSION_CLOSE) |
                            Bit(v1::PERMISSION_COMFORT) | Bit(v1::PERMISSION_READ_BODY) |
                            Bit(v1::PERMISSION_READ_ENERGY) | Bit(v1::PERMISSION_READ_CLIMATE) |
                            Bit(v1::PERMISSION_READ_DRIVE);

constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kFirstMinute = int64_t{3} * 1440;  // 1970-01-01 was a Thursday

// Minutes since Monday 00:00 UTC.
int64_t MinuteOfWeek(Timestamp now) {
  constexpr int64_t kWeekMs = kWeekMinutes * kMinuteMs;
  const int64_t ms = (now.ms % kWeekMs + kWeekMs) % kWeekMs;
  return (ms / kMinuteMs + kFirstMinute) % kWeekMinutes;
}

// nullopt: more than kWeekWindowsMax, or a minute that no week has.
std::optional<std::vector<WeekWindow>> WeekFromWire(const v1::Key& key) {
  if (key.week_size() > static_cast<int>(kWeekWindowsMax)) {
    return std::nullopt;
  }
  std::vector<WeekWindow> week;
  for (const v1::WeekWindow& window : key.week()) {
    if (window.start_minute() >= kWeekMinutes || window.end_minute() >= kWeekMinutes) {
      return std::nullopt;
    }
    week.push_back(
        {static_cast<uint16_t>(window.start_minute()), static_cast<uint16_t>(window.end_minute())});
  }
  return week;
}

// A SignedKeyRing whose certificate has been read, with nothing about it believed.
struct Opened {
  v1::SignedKeyRing outer;
  Certificate certificate;
  CarRef ref;
};

Result<Opened> OpenOuter(std::string_view signed_ring) {
  std::optional<v1::SignedKeyRing> outer =
      FromWire<v1::SignedKeyRing>(signed_ring, kKeyRingBytesMax);
  if (!outer) {
    return Fail(v1::REASON_MALFORMED,
                "a key ring does not parse or is too large: ignored; the car re-sends its ring");
  }
  LK_TRY(Certificate certificate, Certificate::FromDer(outer->certificate()));
  const auto* car = std::get_if<CarIdentity>(&certificate.identity);
  if (car == nullptr) {
    return Fail(v1::REASON_BAD_CERTIFICATE,
                "the certificate in a key ring is not a car's: ignored; only cars write rings");
  }
  CarRef ref = car->ref;
  return Opened{std::move(*outer), std::move(certificate), std::move(ref)};
}

Result<void> CheckIssuer(const Opened& opened, std::string_view ca_der,
                         std::optional<Timestamp> now) {
  const std::string& der = opened.outer.certificate();
  if (now) {
    return CheckSignedBy(der, ca_der, *now);
  }
  // A ring outlives its certificate: any moment in the time of both will do. The ends of the
  // certificate's time are tried, so a CA renewed in between is still found.
  Result<void> begun = CheckSignedBy(der, ca_der, opened.certificate.not_before);
  if (begun) {
    return begun;
  }
  return CheckSignedBy(der, ca_der, opened.certificate.not_after - Duration(1000));
}

Result<KeyRing> ReadRing(const Opened& opened) {
  const std::string& bytes = opened.outer.key_ring();
  if (!opened.certificate.public_key.Verify(WithDomain(kDomain, bytes), opened.outer.signature())) {
    return Fail(v1::REASON_BAD_SIGNATURE, "the key ring of car " + opened.ref.ToText() +
                                              " is not signed by its certificate's key: ignored");
  }
  const std::optional<v1::KeyRing> wire = FromWire<v1::KeyRing>(bytes, kKeyRingBytesMax);
  if (!wire) {
    return Fail(v1::REASON_MALFORMED,
                "the key ring of car " + opened.ref.ToText() + " does not parse: ignored");
  }
  if (wire->fleet() != opened.ref.fleet.str() || wire->car() != opened.ref.car.str()) {
    return Fail(v1::REASON_WRONG_CAR,
                "a key ring signed by car " + opened.ref.ToText() + " names another car: ignored");
  }
  const std::optional<Timestamp> written_at = TimeFromWire(wire->written_at_ms());
  if (wire->version() == 0 || !written_at) {
    return Fail(v1::REASON_MALFORMED, "the key ring of car " + opened.ref.ToText() +
                                          " has no version or an impossible time: ignored");
  }
  if (wire->keys_size() > static_cast<int>(kRingKeysMax)) {
    return Fail(v1::REASON_FULL, "the key ring of car " + opened.ref.ToText() +
                                     " holds more than 32 keys: ignored; remove keys first");
  }
  KeyRing ring{opened.ref, wire->version(), *written_at, {}};
  for (const v1::Key& key : wire->keys()) {
    LK_TRY(RingKey checked, KeyFromWire(key));
    if (ring.Find(checked.id) != nullptr) {
      return Fail(v1::REASON_MALFORMED, "the key ring of car " + opened.ref.ToText() +
                                            " names key " + checked.id.str() + " twice: ignored");
    }
    ring.keys.push_back(std::move(checked));
  }
  return ring;
}

}  // namespace

const RingKey* KeyRing::Find(const KeyId& id) const {
  const auto found =
      std::find_if(keys.begin(), keys.end(), [&id](const RingKey& key) { return key.id == id; });
  return found == keys.end() ? nullptr : &*found;
}

bool InWeek(std::span<const WeekWindow> windows, Timestamp now) {
  if (windows.empty()) {
    return true;
  }
  const int64_t minute = MinuteOfWeek(now);
  return std::any_of(windows.begin(), windows.end(), [minute](const WeekWindow& window) {
    const bool begun = minute >= window.start;
    const bool open = minute < window.end;
    return window.start < window.end ? begun && open : begun || open;
  });
}

uint32_t PermissionsOf(v1::Role role) {
  if (role == v1::ROLE_OWNER || role == v1::ROLE_FLEET) {
    return kOwner;
  }
  if (role == v1::ROLE_DRIVER) {
    return kDriver;
  }
  return role == v1::ROLE_GUEST ? kGuest : 0;
}

std::vector<v1::Permission> PermissionList(uint32_t mask) {
  std::vector<v1::Permission> list;
  for (int bit = 1; bit <= 31; ++bit) {
    const auto permission = static_cast<v1::Permission>(bit);
    if (v1::Permission_IsValid(bit) && (mask & Bit(permission)) != 0) {
      list.push_back(permission);
    }
  }
  return list;
}

Result<RingKey> KeyFromWire(const v1::Key& key) {
  if (key.public_key().size() != kPublicKeyBytes) {
    return Fail(v1::REASON_MALFORMED, "a key is not a 33-byte compressed point: refused");
  }
  LK_TRY(KeyId id, PublicKey::IdOf(key.public_key()));
  RingKey checked{std::move(id), key.public_key(), key.role(), 0, {}, {}, key.label()};
  const std::string name = "key " + checked.id.str();
  if (!v1::Role_IsValid(key.role()) || key.role() == v1::ROLE_UNSPECIFIED) {
    return Fail(v1::REASON_MALFORMED, name + " has no role this software knows: refused");
  }
  if (key.permissions_size() > kPermissionEntriesMax) {
    return Fail(v1::REASON_MALFORMED, name + " lists too many permissions: refused");
  }
  for (const int permission : key.permissions()) {
    if (!v1::Permission_IsValid(permission) || Bit(static_cast<v1::Permission>(permission)) == 0) {
      return Fail(v1::REASON_MALFORMED,
                  name + " has a permission this software does not know: refused");
    }
    checked.permissions |= Bit(static_cast<v1::Permission>(permission));
  }
  checked.permissions = WithImplied(checked.permissions);
  const std::optional<Timestamp> not_before = TimeFromWire(key.not_before_ms());
  const std::optional<Timestamp> not_after = TimeFromWire(key.not_after_ms());
  if (!not_before || !not_after) {
    return Fail(v1::REASON_MALFORMED, name + " has a time after the year 9999: refused");
  }
  if (key.label().size() > kLabelBytesMax) {
    return Fail(v1::REASON_MALFORMED, name + " has a label above 64 bytes: refused");
  }
  std::optional<std::vector<WeekWindow>> week = WeekFromWire(key);
  if (!week) {
    return Fail(v1::REASON_MALFORMED,
                name + " has more than 14 weekly hours or a minute no week has: refused");
  }
  checked.week = std::move(*week);
  checked.not_before = *not_before;
  checked.not_after = *not_after;
  return checked;
}

v1::Key KeyToWire(const RingKey& key) {
  v1::Key wire;
  wire.set_public_key(key.public_key);
  wire.set_role(key.role);
  const bool implied = (key.permissions & Bit(v1::PERMISSION_READ_LOCATION)) != 0;
  const uint32_t written =
      implied ? key.permissions & ~Bit(v1::PERMISSION_READ_AREA) : key.permissions;
  for (const v1::Permission permission : PermissionList(written)) {
    wire.add_permissions(permission);
  }
  wire.set_not_before_ms(static_cast<uint64_t>(key.not_before.ms));
  wire.set_not_after_ms(static_cast<uint64_t>(key.not_after.ms));
  wire.set_label(key.label);
  for (const WeekWindow& window : key.week) {
    v1::WeekWindow* added = wire.add_week();
    added->set_start_minute(window.start);
    added->set_end_minute(window.end);
  }
  return wire;
}

std::string SealKeyRing(const KeyRing& ring, const PrivateKey& key,
                        std::string_view certificate_der) {
  v1::KeyRing wire;
  wire.set_fleet(ring.ref.fleet.str());
  wire.set_car(ring.ref.car.str());
  wire.set_version(ring.version);
  wire.set_written_at_ms(static_cast<uint64_t>(ring.written_at.ms));
  for (const RingKey& each : ring.keys) {
    *wire.add_keys() = KeyToWire(each);
  }
  v1::SignedKeyRing outer;
  outer.set_key_ring(wire.SerializeAsString());
  outer.set_signature(key.Sign(WithDomain(kDomain, outer.key_ring())));
  outer.set_certificate(std::string(certificate_der));
  return outer.SerializeAsString();
}

Result<KeyRing> OpenKeyRing(std::string_view signed_ring, std::string_view ca_der,
                            std::optional<Timestamp> now) {
  LK_TRY(const Opened opened, OpenOuter(signed_ring));
  LK_CHECK(CheckIssuer(opened, ca_der, now));
  return ReadRing(opened);
}

Result<KeyRing> OpenKeyRingOf(std::string_view signed_ring, const PublicKey& car_key) {
  LK_TRY(const Opened opened, OpenOuter(signed_ring));
  if (opened.certificate.public_key.ToPoint() != car_key.ToPoint()) {
    return Fail(v1::REASON_BAD_CERTIFICATE,
                "a key ring carries the certificate of another key than car " +
                    opened.ref.ToText() + " paired with: ignored; pair again if the car changed");
  }
  return ReadRing(opened);
}

Result<FleetId> FleetOfKeyRing(std::string_view signed_ring) {
  LK_TRY(Opened opened, OpenOuter(signed_ring));
  return std::move(opened.ref.fleet);
}

Verdict CheckWindow(const RingKey& key, Timestamp now) {
  const bool begun = now >= key.not_before;
  const bool over = key.not_after.ms != 0 && now >= key.not_after;
  const bool inside = begun && !over && InWeek(key.week, now);
  return inside ? Verdict::Allow() : Verdict::Refuse(v1::REASON_OUTSIDE_WINDOW);
}

Verdict May(const KeyRing& ring, const KeyId& key, v1::Permission permission, Timestamp now) {
  const RingKey* found = ring.Find(key);
  if (found == nullptr) {
    return Verdict::Refuse(v1::REASON_NOT_ON_RING);
  }
  const Verdict window = CheckWindow(*found, now);
  if (!window.allowed()) {
    return window;
  }
  if (permission == v1::PERMISSION_ANY_KEY) {
    return Verdict::Allow();
  }
  const uint32_t bit = Bit(permission);
  if (bit == 0 || (found->permissions & bit) == 0) {
    return Verdict::Refuse(v1::REASON_NOT_PERMITTED);
  }
  return Verdict::Allow();
}

}  // namespace latchkey
