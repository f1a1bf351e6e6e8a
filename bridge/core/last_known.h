// The newest state of every group of every car, and what the broker lacks of it after it came back.
//
// Memory: payloads are kept, because after a broker restart without its retained messages they are
// what is published. A car costs about 250 bytes plus its payloads (8 groups of 60 to 200 bytes
// each): near 1.5 KB a car, 1.5 GB for a million. Keeping versions only would need a read of the
// store while deciding.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "bridge/core/bridge.h"
#include "bridge/core/step.h"
#include "proto/state.h"
#include "proto/types.h"

namespace latchkey::bridge {

// Not copyable; one thread. `limits` and `counters` outlive it.
class LastKnown {
 public:
  LastKnown(const Limits& limits, Counters& counters);

  void Load(const storage::StateRecord& record);
  // A message of state/{group}, retained or live alike. Stores it when it is newer; refuses
  // REASON_CLOCK_AHEAD when it was observed more than kStateAheadMax after `now`.
  void Arrived(const CarRef& ref, Group group, const std::string& payload, Timestamp now,
               Effects& out);
  // From here on a group counts as shown by the broker only when it arrives.
  void BrokerUp();
  // Publishes what the broker has not shown as new as it is held, at most `publishes_max` messages;
  // goes on where the last call ended. True: all done.
  bool Reconcile(size_t publishes_max, Effects& out);

  size_t cars() const { return cars_.size(); }

  void CheckInvariants() const;

 private:
  struct Held {
    StateVersion version;
    uint64_t shown = 0;  // the broker session in which the broker showed this version; 0: none
    std::string payload;
  };

  using Groups = std::array<std::unique_ptr<Held>, kGroupCount>;

  const Limits& limits_;
  Counters& counters_;
  std::map<CarRef, Groups> cars_;
  uint64_t broker_session_ = 0;
  std::optional<CarRef> reconciled_;  // last car done; nullopt: none yet
};

}  // namespace latchkey::bridge
