// The bridge's pure core: remembers last-known state, rings and presence, and holds commands for
// cars that are away. One thread. Never reads a clock, a socket or the store; everything it needs
// comes in through Load and Step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "bridge/core/step.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"
#include "storage/records.h"

namespace latchkey::bridge {

// Every bound of the core.
struct Limits {
  size_t cars_max = 1'000'000;
  size_t commands_per_car_max = 64;  // open commands; above: REFUSED with REASON_FULL
  size_t commands_per_key_max = 32;  // open commands of one key on one car
  Duration closed_kept =
      std::chrono::hours(24);  // outcome kept this long after expiry, for resends
  Duration receipt_wait = std::chrono::seconds(2);  // a live car that says nothing this long: hold
  Duration redeliver_first = std::chrono::milliseconds(500);
  Duration redeliver_max = std::chrono::seconds(30);
  Duration reconcile_after =
      std::chrono::seconds(2);  // after BrokerUp: publish what the broker lacks
};

// CA certificate (DER) per fleet: rings are verified against these.
using FleetCas = std::map<FleetId, std::string>;

// Monotonic since start. refused is by reason number.
struct Counters {
  uint64_t messages = 0;
  uint64_t state_stored = 0;
  uint64_t state_older = 0;
  uint64_t rings_stored = 0;
  uint64_t commands_seen = 0;
  uint64_t commands_held = 0;
  uint64_t commands_delivered = 0;  // publishes of held commands, repeats included
  uint64_t commands_closed = 0;
  uint64_t republished = 0;  // state and rings the broker had lost
  uint64_t conflicts = 0;    // a car's final receipt other than the outcome that stands
  std::map<int, uint64_t> refused;
  std::map<int, uint64_t> outcomes;  // by v1::ReceiptState, final ones
};

// For /metrics and /v1: gauges.
struct Gauges {
  size_t cars = 0;
  size_t cars_online = 0;
  size_t commands_open = 0;
  size_t commands_held = 0;
};

class Bridge {
 public:
  Bridge(const Limits& limits, FleetCas fleet_cas);
  ~Bridge();
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;

  // At start, once per record of the store, before the first Step.
  void Load(const storage::Record& record);
  void Step(const Input& input, const Now& now, Effects& out);
  // When to call Step(Tick{}) if nothing else happens. Monotonic.
  std::optional<Instant> NextDeadline() const;
  const Counters& counters() const;
  Gauges gauges() const;
  // Throws Fault when an invariant of DESIGN section 8 that the core alone can see is broken.
  void CheckInvariants() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace latchkey::bridge
