// Which held commands go to a car now: in their order, and few at a time, so that a car on a thin
// line is not drowned. It keeps queues and decides whether there is room; outbox.h decides the
// rest.
//
//   queued ──room, and not before the car's time──► in flight ──answered, ended──► gone
//      ▲                                               │
//      └──────────────── silent too long ──────────────┘         the car leaves: all gone
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "bridge/core/bridge.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::bridge {

// Not copyable; one thread. `limits` outlives it.
class Delivery {
 public:
  explicit Delivery(const Limits& limits) : limits_(limits) {}

  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;

  // To be sent in its turn, and nothing to this car before `not_before`. One that is in flight is
  // so no more.
  void Queue(const CarRef& ref, uint64_t order, size_t bytes, Instant not_before);
  // It was sent and is not answered.
  void InFlight(const CarRef& ref, uint64_t order, size_t bytes);
  // It is neither to be sent nor waited for.
  void Drop(const CarRef& ref, uint64_t order);
  // The car is away; or all are.
  void DropCar(const CarRef& ref);
  void DropAll();
  // The next to be sent at `now`, in flight from here on. nullopt: nothing, or no room.
  std::optional<uint64_t> Take(Instant now);
  // When Take gives something, unless something else changes.
  std::optional<Instant> NextDue() const;
  bool Queued(const CarRef& ref, uint64_t order) const;
  bool Knows(const CarRef& ref, uint64_t order) const;

  // Throws Fault when the index is not what the queues say.
  void CheckInvariants() const;

 private:
  struct Car {
    std::map<uint64_t, size_t> queued;  // order -> bytes
    std::map<uint64_t, size_t> in_flight;
    size_t bytes = 0;  // of those in flight
    Instant not_before;
    std::optional<Instant> due;  // as in due_
  };

  std::optional<Instant> DueOf(const Car& car) const;
  // To be called after any change; forgets a car of which nothing is known any more.
  void Reschedule(const CarRef& ref);

  const Limits& limits_;
  std::map<CarRef, Car> cars_;
  std::set<std::pair<Instant, CarRef>> due_;
};

}  // namespace latchkey::bridge
