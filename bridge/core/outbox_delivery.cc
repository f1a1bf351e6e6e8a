// When a command goes to its car: as the car comes and goes, in order, and by SMS to wake it.
#include <algorithm>
#include <limits>
#include <set>

#include "bridge/core/outbox.h"
#include "proto/topic.h"

namespace latchkey::bridge {

// Held or confirmed, and the car is there: sent after `wait` and as soon as there is room; what was
// sent in this visit of the car already, when it has been silent.
void Outbox::Enqueue(Entry& entry, const Now& now, Duration wait) {
  if (!broker_up_ || entry.Denied() || !links_.Reachable(entry.ref)) {
    return;
  }
  const bool silent =
      entry.phase == Phase::kHeld && entry.sent_at + entry.back_off <= now.mono + wait;
  if (entry.sent_visit != links_.VisitOf(entry.ref) || silent) {
    delivery_.Queue(entry.ref, entry.order, entry.payload.size(), now.mono + wait);
  } else {
    if (entry.phase == Phase::kHeld) {
      delivery_.InFlight(entry.ref, entry.order, entry.payload.size());
    }
    entry.act_at = std::max(now.mono + wait, entry.sent_at + entry.back_off);
  }
  commands_.Reschedule(entry);
}

// It is answered, ended, or its car is away.
void Outbox::NotSent(Entry& entry) {
  entry.act_at.reset();
  delivery_.Drop(entry.ref, entry.order);
}

// A confirmed command of which the outcome is wanted: sent again after `wait`, unless the car had
// it from here a moment ago.
void Outbox::AskAgain(Entry& entry, const Now& now, Duration wait) {
  if (!broker_up_ || entry.Denied() || !links_.Reachable(entry.ref) ||
      delivery_.Knows(entry.ref, entry.order)) {
    return;
  }
  entry.act_at = now.mono + wait;
  if (entry.sent_visit == links_.VisitOf(entry.ref)) {
    entry.act_at = std::max(*entry.act_at, entry.sent_at + entry.back_off);
  }
  commands_.Reschedule(entry);
}

// Publishes the phone's own bytes on the phone's own lane, unless it is too late.
void Outbox::Send(Entry& entry, const Now& now, Effects& out) {
  if (entry.Expired(now)) {
    NotSent(entry);
    commands_.Reschedule(entry);
    return;
  }
  uint32_t expiry_s = 0;
  if (entry.expires_at) {
    const Duration left = std::min(*entry.expires_at - now.wall, *entry.expires_mono - now.mono);
    expiry_s = static_cast<uint32_t>(
        std::clamp<int64_t>(left.count() / 1000, 1, std::numeric_limits<int32_t>::max()));
  }
  const uint64_t visit = links_.VisitOf(entry.ref);
  entry.back_off = entry.sent_visit == visit ? std::min(entry.back_off * 2, limits_.redeliver_max)
                                             : limits_.redeliver_first;
  entry.sent = true;
  entry.sent_visit = visit;
  entry.sent_at = now.mono;
  entry.act_at = now.mono + entry.back_off;
  ++counters_.commands_delivered;
  commands_.Reschedule(entry);
  out.emplace_back(
      Publish{CommandTopic(entry.ref, entry.lane), entry.payload, 1, Retain::kNo, expiry_s});
}

void Outbox::Deliver(const Now& now, Effects& out) {
  while (const std::optional<uint64_t> order = delivery_.Take(now.mono)) {
    Send(commands_.At(*order), now, out);
  }
}

void Outbox::WakeCars(const Now& now, Effects& out) {
  while (const std::optional<uint64_t> order = waker_.DueBy(now.mono)) {
    Entry& entry = commands_.At(*order);
    if (entry.Expired(now)) {
      waker_.Over(entry);
    } else if (waker_.Wake(entry, now, out)) {
      entry.sent = true;
      commands_.Reschedule(entry);
    }
  }
}

void Outbox::ContactsAre(const Contacts& contacts) {
  waker_.ContactsAre(contacts);
}

void Outbox::Reported(const SmsReport& report, const Now& now, Effects& out) {
  waker_.Reported(report, now, out);
}

void Outbox::CarOnline(const CarRef& ref, const Now& now) {
  waker_.CarOnline(ref);
  const Commands::OfCar* car = commands_.OfCarOrNull(ref);
  if (car == nullptr) {
    return;
  }
  for (const uint64_t order : car->open) {
    Entry& entry = commands_.At(order);
    if (entry.phase != Phase::kLive) {
      Enqueue(entry, now, limits_.deliver_after);
    }
  }
}

void Outbox::CarOffline(const CarRef& ref, const Now& now, Effects& out) {
  delivery_.DropCar(ref);
  const Commands::OfCar* car = commands_.OfCarOrNull(ref);
  if (car == nullptr) {
    return;
  }
  const std::set<uint64_t> open = car->open;  // Hold may close some and the car with them
  for (const uint64_t order : open) {
    Entry& entry = commands_.At(order);
    if (entry.phase == Phase::kLive) {
      Hold(entry, now, out);
    }
    if (entry.phase == Phase::kHeld || entry.phase == Phase::kDelivered) {
      KeepRemoval(entry, out);
      entry.act_at.reset();
      commands_.Reschedule(entry);
    }
    if (entry.phase == Phase::kHeld) {
      waker_.Held(entry, now);
    }
  }
}

// What waits for cars that are online is sent when the broker has shown them.
void Outbox::BrokerUp(const Now& now, Effects& out) {
  broker_up_ = true;
  waker_.BrokerUp(now);
  for (const uint64_t order : unsaid_) {
    Say(commands_.At(order), out);
  }
  unsaid_.clear();
}

void Outbox::BrokerDown() {
  broker_up_ = false;
  waker_.BrokerDown();
  delivery_.DropAll();
  for (const auto& [ref, car] : commands_.cars()) {
    for (const uint64_t order : car.open) {
      Entry& entry = commands_.At(order);
      // What reaches the car from here on is not seen.
      entry.sent = true;
      if (entry.phase != Phase::kLive) {
        entry.act_at.reset();
      }
      commands_.Reschedule(entry);
    }
  }
}

}  // namespace latchkey::bridge
