// Every key ring of the cell, verified, in the few bytes a check needs, and the keys that are
// denied. The signed bytes stay in the ring file and on the broker: a ring of one key costs about
// 190 bytes here, one of four keys 270, so a million pairings (250,000 such cars) take about 70 MB.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <absl/container/node_hash_map.h>

#include "plugins/auth/identity.h"
#include "proto/blocks.h"
#include "proto/keyring.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/topic.h"
#include "proto/types.h"

namespace latchkey::auth {

inline constexpr size_t kKeyIdCharacters = 22;

// A car as a topic names it. Views: used for look-ups only.
struct Place {
  std::string_view fleet;
  std::string_view car;
};

// One key, as a check needs it.
struct HeldKey {
  std::array<char, kKeyIdCharacters> id{};
  uint16_t times = 0;        // 1 for the first of HeldRing's times, 0: at any time
  uint32_t permissions = 0;  // mask of Bit()

  std::string_view Id() const { return {id.data(), id.size()}; }
};

// When keys may act: few rings have such keys.
struct HeldTimes {
  struct Key {
    Timestamp not_before;     // 0: always
    Timestamp not_after;      // 0: never ends
    uint16_t week_first = 0;  // its hours: `week_count` of `week` from here on
    uint16_t week_count = 0;  // 0: at any time of the week
  };

  std::vector<Key> keys;
  std::vector<WeekWindow> week;  // hours of all keys, one after the other
};

// As small as it can be, as there is one for each car of the cell.
struct HeldRing {
  uint64_t version = 0;
  std::array<char, 16> digest{};   // first half of SHA-256 over the signed KeyRing bytes
  std::array<char, 16> carried{};  // the same over the SignedKeyRing as it was verified
  std::unique_ptr<HeldKey[]> keys;
  size_t key_count = 0;
  std::unique_ptr<HeldTimes> times;  // nullptr: no key has any

  std::span<const HeldKey> Keys() const { return {keys.get(), key_count}; }

  // nullptr: not on the ring.
  const HeldKey* Find(std::string_view key) const;

  // `key` is one of Keys(). REASON_OUTSIDE_WINDOW: `now` is before not_before, at or after
  // not_after, or outside its hours.
  Verdict CheckWindow(const HeldKey& key, Timestamp now) const;
};

// What a ring that was accepted did.
struct Applied {
  CarRef ref;
  uint64_t version = 0;
  size_t keys = 0;
  bool changed = false;         // false: it is the ring already held
  std::vector<KeyId> fell_off;  // keys the ring before named and this one does not
};

// What the ring file keeps in the place of an erased car's ring, see Directory::Forget; no ring is
// so.
bool IsErasedMark(std::string_view content);

// Not thread-safe; used from the broker's thread.
class Directory {
 public:
  Directory() = default;
  Directory(const Directory&) = delete;  // rings point at fleets
  Directory& operator=(const Directory&) = delete;
  Directory(Directory&&) = default;
  Directory& operator=(Directory&&) = default;
  ~Directory() = default;

  // Takes a serialized SignedKeyRing over if it is genuine and not older than the one held.
  // `place`    the car whose topic it came on; nullopt: any car (the ring file). What the file
  //            holds was taken over before its certificate was revoked, and stays.
  // Validity in time of the car's certificate is not asked for: a ring outlives its certificate,
  // and a car whose own is over does not get in to write one. Errors: REASON_MALFORMED;
  // REASON_BAD_CERTIFICATE (also: fleet not of this cell, and for a ring that would change
  // something a certificate that is revoked); REASON_BAD_SIGNATURE; REASON_WRONG_CAR (not the car
  // of `place`, or certificate and ring differ); REASON_FULL; REASON_OLDER_VERSION (below the
  // version held, or equal with another content). Equal means the same KeyRing bytes; signature and
  // certificate may be renewed. The very bytes that were verified before are taken without a second
  // verification: that is what a car sends when it reconnects.
  Result<Applied> Apply(std::string_view signed_ring, const Trust& trust,
                        const std::optional<Place>& place);

  // The car is erased: nothing is known of it any more but, by a hash of its name, the version
  // below which no ring of it will be believed, so that whoever can have it erased cannot bring an
  // older ring back. The keys its ring named.
  std::vector<KeyId> Forget(Place place);
  // Of a car that was forgotten: for the ring file. It does not name the car.
  std::string ErasedMark(Place place) const;
  // Forgets as a mark in the file says. The name under which the file keeps the mark: the car's, so
  // that its ring goes, else the hash.
  std::string ForgetMarked(std::string_view mark);

  // nullptr: no ring of this car is known. Allocates nothing.
  const HeldRing* Find(Place place) const;

  // Is `signed_ring` the ring held of this car, judged by its KeyRing bytes? REASON_MALFORMED;
  // REASON_OLDER_VERSION: another is held. Allowed when none is held.
  Verdict CheckHeld(Place place, std::string_view signed_ring) const;

  size_t size() const { return rings_.size(); }

  const Blocks& blocks() const { return blocks_; }

  Blocks& blocks() { return blocks_; }

  void ForEachCar(const std::function<void(const CarRef&)>& visit) const;

 private:
  std::optional<Applied> FindVerified(std::string_view signed_ring, const Place& place) const;

  // A car of a ring that is held. Fleets are few: each name is kept once, in fleets_.
  struct Car {
    const FleetId* fleet;
    CarId car;

    Place place() const { return {fleet->str(), car.str()}; }

    CarRef ref() const { return {*fleet, car}; }
  };

  struct Hash {
    using is_transparent = void;
    size_t operator()(const Place& place) const;

    size_t operator()(const Car& car) const { return (*this)(car.place()); }
  };

  struct Equal {
    using is_transparent = void;
    bool operator()(const Place& a, const Place& b) const;

    bool operator()(const Car& a, const Car& b) const { return (*this)(a.place(), b.place()); }

    bool operator()(const Place& a, const Car& b) const { return (*this)(a, b.place()); }

    bool operator()(const Car& a, const Place& b) const { return (*this)(a.place(), b); }
  };

  std::set<FleetId> fleets_;
  absl::node_hash_map<Car, HeldRing, Hash, Equal> rings_;
  std::unordered_map<std::string, uint64_t> erased_;  // by SHA-256 of the name: the lowest version
  Blocks blocks_;
};

}  // namespace latchkey::auth
