// Applying and finding rings. See the header for what is kept and what is not.
#include "plugins/auth/directory.h"

#include <algorithm>
#include <utility>

#include "latchkey/v1/keyring.pb.h"
#include "proto/crypto.h"
#include "proto/wire.h"

namespace latchkey::auth {

namespace {

using Digest = std::array<char, 16>;

// No message of protobuf begins so: the 'd' ends a group that did not begin.
constexpr std::string_view kErased = "erased:";
constexpr size_t kVersionBytes = 8;

std::string NameHash(Place place) {
  std::string name(place.fleet);
  name += '\0';
  name += place.car;
  return Sha256(name);
}

Digest HalfSha256(std::string_view bytes) {
  const std::string sha = Sha256(bytes);
  Digest digest{};
  std::copy_n(sha.begin(), digest.size(), digest.begin());
  return digest;
}

std::optional<Digest> DigestOf(std::string_view signed_ring) {
  const auto outer = FromWire<v1::SignedKeyRing>(signed_ring, kKeyRingBytesMax);
  if (!outer || outer->key_ring().empty()) {
    return std::nullopt;
  }
  return HalfSha256(outer->key_ring());
}

// As HeldKey::times; what it stands for is added to `held`.
uint16_t KeepTimes(const RingKey& key, HeldRing& held) {
  if (key.not_before.ms == 0 && key.not_after.ms == 0 && key.week.empty()) {
    return 0;
  }
  if (held.times == nullptr) {
    held.times = std::make_unique<HeldTimes>();
  }
  HeldTimes& times = *held.times;
  times.keys.push_back({key.not_before, key.not_after, static_cast<uint16_t>(times.week.size()),
                        static_cast<uint16_t>(key.week.size())});
  times.week.insert(times.week.end(), key.week.begin(), key.week.end());
  return static_cast<uint16_t>(times.keys.size());
}

HeldRing Compact(const KeyRing& ring, const Digest& digest, const Digest& carried) {
  HeldRing held{ring.version,     digest, carried, std::make_unique<HeldKey[]>(ring.keys.size()),
                ring.keys.size(), nullptr};
  for (size_t i = 0; i < ring.keys.size(); ++i) {
    const RingKey& key = ring.keys[i];
    LK_ASSERT(key.id.str().size() == kKeyIdCharacters);
    HeldKey& compact = held.keys[i];
    std::copy_n(key.id.str().begin(), kKeyIdCharacters, compact.id.begin());
    compact.permissions = key.permissions;
    compact.times = KeepTimes(key, held);
  }
  return held;
}

std::vector<KeyId> FellOff(const HeldRing& before, const HeldRing& after) {
  std::vector<KeyId> fell_off;
  for (const HeldKey& key : before.Keys()) {
    if (after.Find(key.Id()) != nullptr) {
      continue;
    }
    if (std::optional<KeyId> id = KeyId::Parse(key.Id())) {
      fell_off.push_back(std::move(*id));
    }
  }
  return fell_off;
}

// Of a ring that opens.
bool IsRevoked(std::string_view signed_ring, const Revocations* revoked) {
  if (revoked == nullptr || revoked->serials.empty()) {
    return false;
  }
  const auto outer = FromWire<v1::SignedKeyRing>(signed_ring, kKeyRingBytesMax);
  LK_ASSERT(outer.has_value());
  const Result<Certificate> certificate = Certificate::FromDer(outer->certificate());
  LK_ASSERT(certificate.has_value());
  return revoked->serials.contains(certificate->serial);
}

}  // namespace

Verdict HeldRing::CheckWindow(const HeldKey& key, Timestamp now) const {
  if (key.times == 0) {
    return Verdict::Allow();
  }
  LK_ASSERT(times != nullptr && key.times <= times->keys.size());
  const HeldTimes::Key& held = times->keys[key.times - 1U];
  const bool begun = held.not_before.ms == 0 || now >= held.not_before;
  const bool over = held.not_after.ms != 0 && now >= held.not_after;
  LK_ASSERT(size_t{held.week_first} + held.week_count <= times->week.size());
  const bool open =
      held.week_count == 0 || InWeek({times->week.data() + held.week_first, held.week_count}, now);
  return begun && !over && open ? Verdict::Allow() : Verdict::Refuse(v1::REASON_OUTSIDE_WINDOW);
}

const HeldKey* HeldRing::Find(std::string_view key) const {
  const std::span<const HeldKey> all = Keys();
  const auto found =
      std::find_if(all.begin(), all.end(), [key](const HeldKey& held) { return held.Id() == key; });
  return found == all.end() ? nullptr : &*found;
}

size_t Directory::Hash::operator()(const Place& place) const {
  const std::hash<std::string_view> hash;
  return hash(place.fleet) * 1000003 ^ hash(place.car);
}

bool Directory::Equal::operator()(const Place& a, const Place& b) const {
  return a.car == b.car && a.fleet == b.fleet;
}

Result<Applied> Directory::Apply(std::string_view signed_ring, const Trust& trust,
                                 const std::optional<Place>& place) {
  if (place && trust.FindFleetCa(place->fleet) != nullptr) {
    if (std::optional<Applied> verified = FindVerified(signed_ring, *place)) {
      return std::move(*verified);
    }
  }
  LK_TRY(const FleetId fleet, FleetOfKeyRing(signed_ring));
  const std::string* ca = trust.FindFleetCa(fleet.str());
  if (ca == nullptr) {
    return Fail(v1::REASON_BAD_CERTIFICATE,
                "a key ring of fleet " + fleet.str() + ", which is not of this cell: ignored");
  }
  LK_TRY(const KeyRing ring, OpenKeyRing(signed_ring, *ca, std::nullopt));
  if (place && (place->fleet != ring.ref.fleet.str() || place->car != ring.ref.car.str())) {
    return Fail(v1::REASON_WRONG_CAR, "the key ring of car " + ring.ref.ToText() +
                                          " came on another car's topic: ignored");
  }
  const std::optional<Digest> digest = DigestOf(signed_ring);
  LK_ASSERT(digest.has_value());
  Applied applied{ring.ref, ring.version, ring.keys.size(), true, {}};
  const bool revoked = place && IsRevoked(signed_ring, trust.FindFleetRevoked(fleet.str()));
  const auto bad = [&] {
    return Fail(v1::REASON_BAD_CERTIFICATE,
                "the key ring of car " + ring.ref.ToText() +
                    " is signed under a revoked certificate: ignored; the one before stays");
  };
  const auto found = rings_.find(Place{ring.ref.fleet.str(), ring.ref.car.str()});
  if (found == rings_.end()) {
    if (revoked) {
      return bad();
    }
    const auto erased = erased_.empty()
                            ? erased_.end()
                            : erased_.find(NameHash({ring.ref.fleet.str(), ring.ref.car.str()}));
    if (erased != erased_.end() && ring.version < erased->second) {
      return Fail(v1::REASON_OLDER_VERSION,
                  "the key ring of car " + ring.ref.ToText() +
                      " is older than the one it had when it was erased: ignored");
    }
    if (erased != erased_.end()) {
      erased_.erase(erased);
    }
    rings_.emplace(Car{&*fleets_.insert(ring.ref.fleet).first, ring.ref.car},
                   Compact(ring, *digest, HalfSha256(signed_ring)));
    return applied;
  }
  HeldRing& held = found->second;
  if (ring.version == held.version && *digest == held.digest) {
    applied.changed = false;
    held.carried = HalfSha256(signed_ring);
    return applied;
  }
  if (ring.version <= held.version) {
    return Fail(v1::REASON_OLDER_VERSION,
                "the key ring of car " + ring.ref.ToText() + " is version " +
                    std::to_string(ring.version) + ", the one held is " +
                    std::to_string(held.version) +
                    ": ignored; the car sends its newest when it connects");
  }
  if (revoked) {
    return bad();
  }
  HeldRing next = Compact(ring, *digest, HalfSha256(signed_ring));
  applied.fell_off = FellOff(held, next);
  held = std::move(next);
  return applied;
}

std::optional<Applied> Directory::FindVerified(std::string_view signed_ring,
                                               const Place& place) const {
  const auto found = rings_.find(place);
  if (found == rings_.end() || found->second.carried != HalfSha256(signed_ring)) {
    return std::nullopt;
  }
  return Applied{found->first.ref(), found->second.version, found->second.key_count, false, {}};
}

bool IsErasedMark(std::string_view content) {
  return content.substr(0, kErased.size()) == kErased &&
         content.size() == kErased.size() + kDigestBytes + kVersionBytes;
}

std::vector<KeyId> Directory::Forget(Place place) {
  std::vector<KeyId> keys;
  uint64_t& lowest = erased_[NameHash(place)];
  const auto found = rings_.find(place);
  if (found != rings_.end()) {
    keys = FellOff(found->second, {});
    lowest = std::max(lowest, found->second.version);
    rings_.erase(found);
  }
  return keys;
}

std::string Directory::ErasedMark(Place place) const {
  const std::string hash = NameHash(place);
  const auto erased = erased_.find(hash);
  std::string mark = std::string(kErased) + hash;
  for (size_t i = kVersionBytes; i-- > 0;) {
    mark += static_cast<char>((erased == erased_.end() ? 0 : erased->second) >> (8 * i) & 0xffU);
  }
  return mark;
}

std::string Directory::ForgetMarked(std::string_view mark) {
  LK_ASSERT(IsErasedMark(mark));
  std::string hash(mark.substr(kErased.size(), kDigestBytes));
  uint64_t version = 0;
  for (const char byte : mark.substr(kErased.size() + kDigestBytes)) {
    version = version << 8U | static_cast<unsigned char>(byte);
  }
  uint64_t& lowest = erased_[hash];
  lowest = std::max(lowest, version);
  for (const auto& [car, ring] : rings_) {
    if (NameHash(car.place()) == hash) {
      const CarRef erased = car.ref();
      Forget({erased.fleet.str(), erased.car.str()});
      return erased.ToText();
    }
  }
  return hash;
}

const HeldRing* Directory::Find(Place place) const {
  const auto found = rings_.find(place);
  return found == rings_.end() ? nullptr : &found->second;
}

Verdict Directory::CheckHeld(Place place, std::string_view signed_ring) const {
  const HeldRing* held = Find(place);
  if (held == nullptr) {
    return Verdict::Allow();
  }
  const std::optional<Digest> digest = DigestOf(signed_ring);
  if (!digest) {
    return Verdict::Refuse(v1::REASON_MALFORMED);
  }
  return *digest == held->digest ? Verdict::Allow() : Verdict::Refuse(v1::REASON_OLDER_VERSION);
}

void Directory::ForEachCar(const std::function<void(const CarRef&)>& visit) const {
  for (const auto& [car, ring] : rings_) {
    visit(car.ref());
  }
}

}  // namespace latchkey::auth
