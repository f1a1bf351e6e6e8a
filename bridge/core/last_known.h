// The newest state of every group of every car, and what the broker lacks of it.
//
// The broker lacks something after it came back, and when it took an older message after a newer
// one: what the bridge gives it back may cross what the car says at that moment. The bridge hears
// its own messages too, in the order in which the broker took them, so what it heard last is what
// the broker retains; if that is older than what is held, the broker is given the newer one again.
// A message that a car made later (by its sequence) but observed earlier is not fought over: that
// car's clock was set back, or it tells something late. When what is held was observed ahead of its
// arrival, the clock was ahead, and the later message is taken.
//
// Memory: payloads are kept, because after a broker restart without its retained messages they are
// what is published. A car costs about 350 bytes plus its payloads (9 groups of 60 to 200 bytes
// each): near 1.5 KB a car, 1.5 GB for a million. Keeping versions only would need a read of the
// store while deciding.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "bridge/core/bridge.h"
#include "bridge/core/car_clock.h"
#include "bridge/core/links.h"
#include "bridge/core/step.h"
#include "proto/freshness.h"
#include "proto/state.h"
#include "proto/types.h"

namespace latchkey::bridge {

// Cars are counted by freshness this often, as long as there are any.
inline constexpr Duration kFreshnessCountEvery = std::chrono::seconds(30);

// What became of a message of state.
enum class StateTaken : uint8_t {
  kRefused,
  kOlder,        // not newer than what is held
  kBrokerOlder,  // likewise, and the broker retains it: Reconcile is to be called
  kStored,
};

// Not copyable; one thread. `limits` and `counters` outlive it.
class LastKnown {
 public:
  LastKnown(const Limits& limits, Counters& counters);

  void Load(const storage::StateRecord& record);
  // A message of state/{group}, retained or live alike. Stores it when it is newer; refuses
  // REASON_CLOCK_AHEAD when it was observed more than kStateAheadMax after `now`, and what does not
  // parse. Counts what its times say of the car's clock.
  StateTaken Arrived(const CarRef& ref, Group group, const Publish& publish, const Now& now,
                     Effects& out);
  // A state that another system kept: newer wins as ever, and of equal times what is held stays.
  // Refuses REASON_NOT_ALLOWED what does not say that it is imported or has a sequence as cars
  // count them, and all that Arrived refuses; says nothing of the car's clock. What is taken is
  // owed to the broker: Reconcile is to be called.
  StateImported Imported(const ImportedState& state, const Now& now, Effects& out);
  // From here on a group counts as shown by the broker only when it arrives.
  void BrokerUp();
  // Publishes what the broker has not shown as new as it is held, at most `publishes_max` messages;
  // goes on where the last call ended. True: all done.
  bool Reconcile(size_t publishes_max, Effects& out);
  // Nothing of this car is known any more.
  void Forget(const CarRef& ref);
  // First in every step: counts some more cars by freshness when that is due.
  void Passes(const Now& now, const Links& links);
  std::optional<Instant> NextDeadline() const;

  size_t cars() const { return cars_.size(); }

  const std::array<size_t, kFreshnessCount>& cars_by_freshness() const { return counted_; }

  const CarClocks& clocks() const { return clocks_; }

  void CheckInvariants() const;

 private:
  // `void_until_ms` is not stored: after a start of the bridge the broker's copy may be one of
  // those messages once more.
  struct Held : HeldState {
    uint64_t shown = 0;  // the broker session in which the broker showed this version; 0: none
    std::string payload;
  };

  struct Car {
    std::array<std::unique_ptr<Held>, kGroupCount> groups;
    ClockCheck clock;
    Motion motion;
  };

  // The best word for any group; nullopt: there is no group.
  static std::optional<Freshness> BestOf(const Car& car, CarMode mode, Timestamp now);
  Car* FindOrMake(const CarRef& ref);
  void PublishLacking(const CarRef& ref, Car& car, size_t& published, Effects& out);

  const Limits& limits_;
  Counters& counters_;
  CarClocks clocks_;
  std::map<CarRef, Car> cars_;
  uint64_t broker_session_ = 1;  // what is loaded was shown in the first: before BrokerUp, or kept
  std::optional<CarRef> reconciled_;  // last car done; nullopt: none yet
  std::set<CarRef> owed_;             // done before, and the broker has shown something older since

  std::array<size_t, kFreshnessCount> counted_{};
  std::array<size_t, kFreshnessCount> counting_{};
  std::optional<CarRef> counted_to_;  // last car counted; nullopt: none yet
  std::optional<Instant> count_at_;   // nullopt: there are no cars
};

}  // namespace latchkey::bridge
