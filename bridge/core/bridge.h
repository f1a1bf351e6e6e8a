// The bridge's pure core: remembers last-known state, rings and presence, and holds commands for
// cars that are away. One thread. Never reads a clock, a socket or the store; everything it needs
// comes in through Load and Step.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "bridge/core/step.h"
#include "proto/clock_check.h"
#include "proto/freshness.h"
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
  Duration deliver_after = std::chrono::milliseconds(500);  // a car came: first held command
  Duration redeliver_first = std::chrono::seconds(30);      // it is online and silent: sent again;
  Duration redeliver_max = std::chrono::minutes(5);  // twice as long after each time, to this
  size_t in_flight_max = 4;  // held commands that a car has been sent and has not answered
  size_t in_flight_bytes_max = 8192;
  uint32_t sms_per_car_and_day = 10;  // a wake drains the 12 V battery
  // A car that was online before the broker restarted is said to be offline after this.
  Duration presence_grace = std::chrono::seconds(30);
  Duration sessions_kept = std::chrono::hours(24 * 30);  // of each car; 0: none are
  uint32_t sessions_per_car_and_day = 500;               // above: left out, counted
  Duration reconcile_after =
      std::chrono::seconds(2);  // after BrokerUp: publish what the broker lacks
  // How long each signal's history is kept. 0: it is erased. Not set: history is left alone.
  std::optional<Duration> history_keep;
  uint64_t history_bytes_per_car = uint64_t{1} << 20;  // in all of history_keep
};

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
  uint64_t republished = 0;    // state and rings the broker had lost
  uint64_t conflicts = 0;      // a car's final receipt other than the outcome that stands
  uint64_t blocks_set = 0;     // of keys on their way off a ring, by an owner's RemoveKey
  uint64_t blocks_lifted = 0;  // of those, when the car had answered
  uint64_t blocks_taken = 0;   // set or lifted by others, as the broker's plugin told
  uint64_t block_requests_unanswered = 0;  // given up: the plugin said nothing to any try
  uint64_t sms_sent = 0;                   // handed to the gateway
  uint64_t sms_delivered = 0;              // as it reports
  uint64_t sms_failed = 0;
  uint64_t wakes_skipped = 0;          // commands that woke no car: it had its SMS of the day
  uint64_t events_left_out = 0;        // of the broker's entries for the log: too many at once
  uint64_t clocks_jumped_forward = 0;  // times that a car's clock was seen to
  uint64_t clocks_jumped_back = 0;
  uint64_t history_samples = 0;    // of a signal each
  uint64_t history_left_out = 0;   // messages of state that no sample was taken of
  uint64_t history_written = 0;    // chunks, each as often as it was written
  uint64_t sessions_kept = 0;      // records of sessions of cars that ended
  uint64_t sessions_left_out = 0;  // not kept: too many of one car in a day
  std::map<int, uint64_t> refused;
  std::map<int, uint64_t> outcomes;  // by v1::ReceiptState, final ones
};

// A car's clock that is wrong, as the times in its messages say.
struct WrongClock {
  ClockState state;
  Timestamp since;  // found, by the bridge's clock
  bool operator==(const WrongClock&) const = default;
};

using WrongClocks = std::map<CarRef, WrongClock>;

// For /metrics and /v1: gauges.
struct Gauges {
  size_t cars = 0;
  size_t cars_online = 0;
  size_t cars_awaited = 0;  // were online before the broker restarted and are not back yet
  size_t commands_open = 0;
  size_t commands_held = 0;
  size_t blocks = 0;           // scopes of which something is known
  size_t blocks_standing = 0;  // of these, denied now
  size_t history_cars = 0;     // that spoke within the hour: their newest history is in memory
  bool blocks_agreed = false;  // the broker's plugin has taken and told all since BrokerUp
  // The broker has been given all that it lacked, or had been when it went.
  bool broker_has_all = false;
  // Of cars whose ring is held, as far as they are known: all a while after start.
  size_t certificates_expiring_30d = 0;     // run out within 30 days, or have
  int64_t certificate_first_expiry_ms = 0;  // the first to run out, since 1970; 0: none known
  // Cars of which state is held, by the best word for any of their groups (Freshness), as they were
  // counted last; kNever stays 0.
  std::array<size_t, kFreshnessCount> cars_by_freshness{};
  size_t clocks_ahead = 0;  // cars
  size_t clocks_behind = 0;
  // By name, at most kWrongClocksMax of these. Shared because it is large and seldom changes; never
  // null from gauges().
  std::shared_ptr<const WrongClocks> wrong_clocks;
};

class Bridge {
 public:
  Bridge(const Limits& limits, FleetCas fleet_cas);
  ~Bridge();
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;

  // At start, once per record of the store, before the first Step. Of one key again: the later one
  // counts.
  void Load(const storage::Record& record);
  // After the last Load: what `before` has refused stays refused.
  void TakeRefused(const Bridge& before);
  // After the last Load: the store cannot write, so this core keeps nothing and is thrown away
  // later. It sees the cars and the broker as `before` did, and refuses commands that it would hold
  // with REASON_STORE_UNAVAILABLE. What else it says rests on nothing. `out`: what it does at once.
  void StoreFails(const Bridge& before, const Now& now, Effects& out);
  // After the last Load, of a store that was restored from a backup: what became of the commands
  // that were held then is not known. Those that only make safe or take away (class close, a
  // removed key, a cancel) stay held, all with Held::kDeliver; the others end REFUSED with
  // REASON_OUTCOME_UNKNOWN, may have acted: one may have been taken back since, and its sender told
  // so.
  enum class Held : uint8_t { kEnd, kDeliver };
  void Restored(Held held, const Now& now, Effects& out);
  void Step(const Input& input, const Now& now, Effects& out);
  // Of what is due only the writing of history: it waits for no broker that takes nothing. Gives
  // Writes alone.
  void WriteHistory(const Now& now, Effects& out);
  // Before the process ends: writes what is only in memory and need not be lost.
  void Close(const Now& now, Effects& out);
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
