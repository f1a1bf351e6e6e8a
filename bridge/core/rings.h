// The newest key ring of every car: it never goes back, and the broker is given what it lost.
//
// A ring that arrives is opened with the CA of its fleet. A ring from the store was opened once and
// is opened again only when it is first needed: opening a million at start would take minutes. When
// its car's certificate runs out is looked up little by little after the start. Of the opened only
// the last kOpenedRingsMax are kept: a ring of four keys takes 1 KB as it came and 4 KB when
// opened. A ring of a fleet whose CA is not known waits for it, the last kUnknownFleetRingsMax of
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bridge/core/bridge.h"
#include "bridge/core/step.h"
#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/types.h"

namespace latchkey::bridge {

inline constexpr size_t kUnknownFleetRingsMax = 1024;
inline constexpr size_t kOpenedRingsMax = 2000;
inline constexpr Duration kExpirySoon = std::chrono::hours(30 * 24);

// A ring as opened, with the key of the car that signed it.
struct OpenedRing {
  KeyRing ring;
  PublicKey car_key;
  Timestamp expires_at;  // of the car's certificate
};

// Not copyable; one thread. `limits`, `fleet_cas` and `counters` outlive it.
class Rings {
 public:
  // At most `opened_max` stay opened.
  Rings(const Limits& limits, const FleetCas& fleet_cas, Counters& counters,
        size_t opened_max = kOpenedRingsMax);

  void Load(const storage::RingRecord& record);
  // A message of keyring. Higher version: durable Write. Lower: counted REASON_OLDER_VERSION, and
  // when the broker retains it (`retain` kYes), the held ring is published over it. Refusals:
  // REASON_BAD_CERTIFICATE (also: no CA of that fleet), and those of OpenKeyRing. True: it is the
  // ring held from here on.
  bool Arrived(const CarRef& ref, const Publish& publish, Timestamp now, Effects& out);
  // nullptr: no ring of that car, or the held one does not open with the CA. Valid until the next
  // call that changes something.
  const OpenedRing* Find(const CarRef& ref);
  // Nothing of this car is known any more.
  void Forget(const CarRef& ref);
  // The CAs are others: what could not be opened without them is tried again. Cars whose ring is
  // another, or can be read now.
  std::vector<CarRef> CasChanged(Timestamp now, Effects& out);
  // First in every step: what runs out soon is counted by this wall clock, and some more
  // certificates are looked at.
  void Passes(const Now& now);
  std::optional<Instant> NextDeadline() const;
  void BrokerUp();

  // Whether the broker shows what it retains and has not shown all.
  void Showing(bool showing) { showing_ = showing; }

  // The broker may have a newer ring of this car that it has not shown yet.
  bool MayLack(const CarRef& ref) const;
  // As LastKnown::Reconcile.
  bool Reconcile(size_t publishes_max, Effects& out);

  size_t cars() const { return cars_.size(); }

  size_t opened() const { return opened_.size(); }

  // Certificates that run out within kExpirySoon, or have.
  size_t expiring_soon() const { return soon_; }

  // nullopt: none is known.
  std::optional<Timestamp> first_expiry() const {
    return expiries_.empty() ? std::nullopt : std::optional<Timestamp>(expiries_.begin()->first);
  }

  void CheckInvariants() const;

 private:
  struct Held {
    uint64_t version = 0;
    uint64_t shown = 0;  // the broker session in which the broker showed it; 0: none
    std::string payload;
    std::unique_ptr<OpenedRing> opened;   // null until needed, and after others were needed since
    uint64_t opened_as = 0;               // its number in opened_
    bool refused = false;                 // was tried and does not open
    std::optional<Timestamp> expires_at;  // of the car's certificate; nullopt: not looked at yet
  };

  // A ring that came while its fleet's CA was not known.
  struct Waiting {
    CarRef ref;
    Publish publish;
  };

  Result<OpenedRing> Open(const CarRef& ref, const std::string& payload) const;

  void Wait(const CarRef& ref, const Publish& publish);
  void SetExpiry(Held& held, Timestamp expires_at);
  void DropExpiry(const Held& held);
  void Keep(const CarRef& ref, Held& held, OpenedRing opened);
  void Close(Held& held);
  void CountSoon(Timestamp until);
  void LookAtSome(const Now& now);

  const Limits& limits_;
  const FleetCas& fleet_cas_;
  Counters& counters_;
  const size_t opened_max_;
  std::map<CarRef, Held> cars_;
  bool showing_ = false;
  uint64_t broker_session_ = 1;  // as LastKnown's
  std::optional<CarRef> reconciled_;
  std::deque<Waiting> waiting_;
  std::map<uint64_t, CarRef> opened_;  // those that are opened, the oldest first
  uint64_t opened_last_ = 0;
  std::map<Timestamp, size_t> expiries_;  // how many certificates run out at an instant
  size_t soon_ = 0;                       // of these, up to soon_until_
  Timestamp soon_until_;
  std::optional<Instant> look_at_;  // when to go on looking at certificates; nullopt: all seen
  std::optional<CarRef> looked_;    // the last car looked at
};

}  // namespace latchkey::bridge
