// Commands that their sender takes back.
#include <set>
#include <utility>

#include "bridge/core/journal.h"
#include "bridge/core/outbox.h"
#include "proto/topic.h"

namespace latchkey::bridge {

// A cancel for a car that is away. True: it has its outcome and is not held.
bool Outbox::EndsCancel(const Command& command, const Now& now, Effects& out) {
  if (!command.body.has_cancel()) {
    return false;
  }
  const auto id = CommandId::FromBytes(command.body.cancel().command_id());
  LK_ASSERT(id);
  Entry* target = commands_.Find(command.ref, *id);
  if (target == nullptr) {
    const auto refused = refused_.find({command.ref, *id});
    if (refused == refused_.end()) {
      return false;  // the car may know it
    }
    Refuse(command, v1::REASON_ENDED, now, out);
    out.emplace_back(
        Publish{ReceiptTopic(command.ref, command.key_id), refused->second, 1, Retain::kNo, 0});
    return true;
  }
  if (target->lane != command.key_id) {
    return false;  // not this key's: the car says no
  }
  if (target->phase == Phase::kClosed) {
    Refuse(command, v1::REASON_ENDED, now, out);
    Answer(*target, command.key_id, now, out);
    return true;
  }
  if (target->phase != Phase::kHeld || target->sent || target->Denied()) {
    return false;
  }
  // Nobody but the bridge has it: there is nothing left to do for the car.
  out.emplace_back(JournalOf(command, v1::RECEIPT_STATE_UNSPECIFIED, v1::REASON_UNSPECIFIED, now));
  Stop(*target, v1::REASON_CANCELLED, now, out);
  Entry entry = EntryOf(command, next_order_++, now);
  entry.sent = MayHaveReached(command, now);
  CloseByBridge(commands_.Add(std::move(entry)), v1::RECEIPT_STATE_CANCELLED, v1::REASON_CANCELLED,
                now, out);
  return true;
}

// Did a cancel that is on its way come before the command it takes back?
bool Outbox::TakenBack(const Command& command) const {
  const Commands::OfCar* car = commands_.OfCarOrNull(command.ref);
  if (car == nullptr) {
    return false;
  }
  for (const uint64_t order : car->open) {
    const Entry& entry = commands_.all().at(order);
    if (entry.cancels == command.id && entry.lane == command.key_id && !entry.Denied()) {
      return true;
    }
  }
  return false;
}

// What the open cancels of a car name is not sent any more. What the car has confirmed is the
// car's.
bool Outbox::TakeBack(const CarRef& ref, const Now& now, Effects& out) {
  const Commands::OfCar* car = commands_.OfCarOrNull(ref);
  if (car == nullptr) {
    return false;
  }
  bool any = false;
  const std::set<uint64_t> open = car->open;
  for (const uint64_t order : open) {
    const Entry& cancel = commands_.At(order);
    if (!cancel.cancels || cancel.Denied() || cancel.phase == Phase::kClosed) {
      continue;
    }
    Entry* target = commands_.Find(ref, *cancel.cancels);
    const bool waits = target != nullptr && target->lane == cancel.lane && !target->Denied() &&
                       (target->phase == Phase::kLive || target->phase == Phase::kHeld);
    if (waits) {
      Stop(*target, v1::REASON_CANCELLED, now, out);
      any = true;
    }
  }
  return any;
}

}  // namespace latchkey::bridge
