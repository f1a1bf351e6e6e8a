// The newest key ring of every car: it never goes back, and the broker is given what it lost.
//
// A ring that arrives is opened with the CA of its fleet. A ring from the store was opened once and
// is opened again only when it is first needed: opening a million at start would take minutes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "bridge/core/bridge.h"
#include "bridge/core/step.h"
#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/types.h"

namespace latchkey::bridge {

// A ring as opened, with the key of the car that signed it.
struct OpenedRing {
  KeyRing ring;
  PublicKey car_key;
};

// Not copyable; one thread. `limits`, `fleet_cas` and `counters` outlive it.
class Rings {
 public:
  Rings(const Limits& limits, const FleetCas& fleet_cas, Counters& counters);

  void Load(const storage::RingRecord& record);
  // A message of keyring. Higher version: durable Write. Lower: counted REASON_OLDER_VERSION, and
  // when the broker retains it (`retain` kYes), the held ring is published over it. Refusals:
  // REASON_BAD_CERTIFICATE (also: no CA of that fleet), and those of OpenKeyRing.
  void Arrived(const CarRef& ref, const Publish& publish, Timestamp now, Effects& out);
  // nullptr: no ring of that car, or the held one does not open with the CA. Valid until the next
  // call that changes something.
  const OpenedRing* Find(const CarRef& ref);
  void BrokerUp();
  // As LastKnown::Reconcile.
  bool Reconcile(size_t publishes_max, Effects& out);

  size_t cars() const { return cars_.size(); }

  void CheckInvariants() const;

 private:
  struct Held {
    uint64_t version = 0;
    uint64_t shown = 0;  // the broker session in which the broker showed it; 0: none
    std::string payload;
    std::unique_ptr<OpenedRing> opened;  // null until needed
    bool refused = false;                // was tried and does not open
  };

  Result<OpenedRing> Open(const CarRef& ref, const std::string& payload) const;

  const Limits& limits_;
  const FleetCas& fleet_cas_;
  Counters& counters_;
  std::map<CarRef, Held> cars_;
  uint64_t broker_session_ = 0;
  std::optional<CarRef> reconciled_;
};

}  // namespace latchkey::bridge
