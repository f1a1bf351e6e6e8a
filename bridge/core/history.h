// Recent history of each signal of each car: what was stored as newest state, sampled into chunks
// of one group that are written to the store and forgotten there after a while.
//
// Bound: each car has an account. It gains `history_bytes_per_car` in `history_keep` and a day, up
// to what it gains in a day; each sample costs the bytes it takes in the store. A message is
// sampled at once when the last one of its group was a while ago, the longer the less there is on
// the account, from 5 s to 10 min; of messages in between the last one waits, and those that were
// in force for as long are sampled. So what a car keeps
// stays below its bound (a start of the bridge may add a quarter of a day's), a short drive is kept
// closely, and the last value of a drive is never lost.
//
// A sample is kept for `history_keep` and at most a day longer. Kept is what is newest when it
// arrives: a message older than one that was stored before it leaves no sample, as it leaves no
// state. A crash of the bridge loses what came in the last kHistoryFlush, or since the sample
// before where less than one in that time is kept. A location or an area without a signal is what a
// car says in privacy mode: its history is then erased whole.
//
// Memory: 150 bytes a car; of one that spoke within kHistorySpan, also an open chunk per group
// (history_chunk.h): near 4 KB when it is parked, at most 40 KB.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bridge/core/bridge.h"
#include "bridge/core/history_chunk.h"
#include "bridge/core/step.h"
#include "proto/types.h"

namespace latchkey::bridge {

// An open chunk is written again this long after the first sample that is not in the store.
inline constexpr Duration kHistoryFlush = std::chrono::seconds(60);
// A chunk is closed after this time, or when it is full.
inline constexpr Duration kHistorySpan = std::chrono::hours(1);
inline constexpr size_t kHistoryChunkFull = 4096;

// Not copyable; one thread. `limits` and `counters` outlive it. Does nothing at all when
// Limits::history_keep is not set.
class History {
 public:
  History(const Limits& limits, Counters& counters) : limits_(limits), counters_(counters) {}

  History(const History&) = delete;
  History& operator=(const History&) = delete;

  // A car that is known from before.
  void Load(const storage::StateRecord& record);
  // A message of state/{group} that was stored as the newest.
  void Stored(const CarRef& ref, Group group, const std::string& payload, const Now& now,
              Effects& out);
  // States of one group, observed one after the other within `history_keep`, that were imported and
  // taken as newest. They are kept in chunks of their own, which begin when the first was observed,
  // at an odd millisecond: others begin at even ones, so that none takes another's place.
  // true: all of them; false: the car's account is used up, and some were left out.
  bool Imported(const CarRef& ref, Group group, const std::vector<v1::StateGroup>& states,
                const Now& now, Effects& out);
  // Can a state of this time be in history?
  bool Reaches(Timestamp observed_at, Timestamp now) const;
  // First in every step.
  void Passes(const Now& now, Effects& out);
  // Writes everything that is only in memory: the process ends.
  void Close(const Now& now, Effects& out);
  // The car is erased from the store.
  void Forget(const CarRef& ref);
  std::optional<Instant> NextDeadline() const;

  // Cars with open chunks.
  size_t cars_open() const { return due_.size(); }

  void CheckInvariants() const;

 private:
  // One group of a car that spoke within kHistorySpan.
  struct Slot {
    std::optional<OpenChunk> chunk;
    Instant opened_at;  // of the chunk
    bool dirty = false;
    std::optional<Instant> taken_at;  // the last message that was sampled
    Timestamp begun_at{-2};           // begins_at of the last chunk: no other begins there
    std::string waits;                // message that is not sampled yet; empty: none
    Timestamp waits_since;
    Instant waits_from;    // the same, by the monotonic clock
    Duration left_out{0};  // messages that waited were replaced, in this interval; 0: none
  };

  struct Active {
    std::array<std::unique_ptr<Slot>, kGroupCount> slots;
    Instant spoke_at;
    Instant due;
  };

  struct Car {
    double account = 0;  // bytes
    Timestamp counted_at;
    Timestamp spoke_at;
    Timestamp pruned_at;  // old chunks were erased
    std::unique_ptr<Active> active;
  };

  using Cars = std::map<CarRef, Car>;

  bool keeps() const { return limits_.history_keep && limits_.history_keep->count() > 0; }

  double GainPerMs() const;
  double AccountMax() const;
  void Count(Car& car, Timestamp now) const;
  Duration IntervalOf(const Car& car) const;
  Slot& SlotOf(const CarRef& ref, Car& car, Group group, const Now& now);
  void Prune(const CarRef& ref, Car& car, const Now& now, Effects& out) const;
  void Hide(const CarRef& ref, Car& car, Group group, Effects& out);
  void Take(const CarRef& ref, Car& car, Group group, const Now& now, Effects& out);
  void Flush(const CarRef& ref, Group group, Slot& slot, Effects& out);
  void Work(const CarRef& ref, Car& car, const Now& now, Effects& out);
  void SetDue(const CarRef& ref, Active& active, Instant due);
  void Sweep(const Now& now, Effects& out);

  const Limits& limits_;
  Counters& counters_;
  Cars cars_;
  std::set<std::pair<Instant, CarRef>> due_;  // cars with open chunks, each once
  std::optional<CarRef> swept_;               // last car looked at; nullopt: none yet
  std::optional<Instant> sweep_at_;           // nullopt: there are no cars
};

}  // namespace latchkey::bridge
