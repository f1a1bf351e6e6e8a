// See delivery.h.
#include "bridge/core/delivery.h"

#include <algorithm>

#include "proto/result.h"

namespace latchkey::bridge {

// One that is too large for the bound by itself goes alone.
std::optional<Instant> Delivery::DueOf(const Car& car) const {
  if (car.queued.empty()) {
    return std::nullopt;
  }
  const bool room = car.in_flight.empty() ||
                    (car.in_flight.size() < limits_.in_flight_max &&
                     car.bytes + car.queued.begin()->second <= limits_.in_flight_bytes_max);
  return room ? std::optional<Instant>(car.not_before) : std::nullopt;
}

void Delivery::Reschedule(const CarRef& ref) {
  const auto at = cars_.find(ref);
  if (at == cars_.end()) {
    return;
  }
  Car& car = at->second;
  if (car.due) {
    due_.erase({*car.due, ref});
  }
  car.due = DueOf(car);
  if (car.due) {
    due_.insert({*car.due, ref});
  }
  if (car.queued.empty() && car.in_flight.empty()) {
    cars_.erase(at);
  }
}

void Delivery::Queue(const CarRef& ref, uint64_t order, size_t bytes, Instant not_before) {
  Car& car = cars_[ref];
  if (car.in_flight.erase(order) > 0) {
    car.bytes -= bytes;
  }
  car.queued[order] = bytes;
  car.not_before = std::max(car.not_before, not_before);
  Reschedule(ref);
}

void Delivery::InFlight(const CarRef& ref, uint64_t order, size_t bytes) {
  Car& car = cars_[ref];
  car.queued.erase(order);
  car.bytes += car.in_flight.try_emplace(order, bytes).second ? bytes : 0;
  Reschedule(ref);
}

void Delivery::Drop(const CarRef& ref, uint64_t order) {
  const auto car = cars_.find(ref);
  if (car == cars_.end()) {
    return;
  }
  car->second.queued.erase(order);
  const auto sent = car->second.in_flight.find(order);
  if (sent != car->second.in_flight.end()) {
    car->second.bytes -= sent->second;
    car->second.in_flight.erase(sent);
  }
  Reschedule(ref);
}

void Delivery::DropCar(const CarRef& ref) {
  const auto car = cars_.find(ref);
  if (car == cars_.end()) {
    return;
  }
  car->second.queued.clear();
  car->second.in_flight.clear();
  Reschedule(ref);
}

void Delivery::DropAll() {
  cars_.clear();
  due_.clear();
}

std::optional<uint64_t> Delivery::Take(Instant now) {
  if (due_.empty() || due_.begin()->first > now) {
    return std::nullopt;
  }
  const CarRef ref = due_.begin()->second;
  const auto [order, bytes] = *cars_.at(ref).queued.begin();
  InFlight(ref, order, bytes);
  return order;
}

std::optional<Instant> Delivery::NextDue() const {
  return due_.empty() ? std::nullopt : std::optional<Instant>(due_.begin()->first);
}

bool Delivery::Queued(const CarRef& ref, uint64_t order) const {
  const auto car = cars_.find(ref);
  return car != cars_.end() && car->second.queued.count(order) > 0;
}

bool Delivery::Knows(const CarRef& ref, uint64_t order) const {
  const auto car = cars_.find(ref);
  return car != cars_.end() &&
         (car->second.queued.count(order) > 0 || car->second.in_flight.count(order) > 0);
}

void Delivery::CheckInvariants() const {
  size_t due = 0;
  for (const auto& [ref, car] : cars_) {
    LK_ASSERT(!car.queued.empty() || !car.in_flight.empty());
    LK_ASSERT(car.due == DueOf(car));
    LK_ASSERT(!car.due || due_.count({*car.due, ref}) == 1);
    due += car.due ? 1 : 0;
    size_t bytes = 0;
    for (const auto& [order, size] : car.in_flight) {
      LK_ASSERT(car.queued.count(order) == 0);
      bytes += size;
    }
    LK_ASSERT(bytes == car.bytes);
    LK_ASSERT(car.in_flight.size() <= limits_.in_flight_max);
    LK_ASSERT(bytes <= limits_.in_flight_bytes_max || car.in_flight.size() == 1);
  }
  LK_ASSERT(due == due_.size());
}

}  // namespace latchkey::bridge
