// Keys that lose their place while commands wait, by a block or by a ring without them; and the
// owner's RemoveKey, which denies its key at the car until the car has answered.
#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "bridge/core/outbox.h"

namespace latchkey::bridge {

void Outbox::RingChanged(const CarRef& ref) {
  unchecked_.insert(ref);
}

void Outbox::BlocksChanged(const std::vector<BlockScope>& scopes) {
  bool beyond_one_car = false;
  for (const BlockScope& scope : scopes) {
    if (scope.car.empty()) {
      beyond_one_car = true;
    } else {
      unchecked_.insert(CarRef{scope.fleet, scope.car});
    }
  }
  if (!beyond_one_car) {
    return;
  }
  for (const auto& [ref, car] : commands_.cars()) {
    const CarRef& at = ref;
    if (std::any_of(car.per_key.begin(), car.per_key.end(),
                    [&](const auto& key) { return denials_.Denies(key.first, at); })) {
      unchecked_.insert(ref);
    }
  }
}

void Outbox::CheckKeys(const Now& now, Effects& out) {
  Effects told;  // after the receipts: whom the plugin denies hears nothing any more
  while (!unchecked_.empty()) {
    const CarRef ref = *unchecked_.begin();
    // Denying a key can end its own RemoveKey and so lift another's block. Each round but the last
    // denies or takes back a command or settles a block, and none of these comes back.
    bool again = true;
    while (again) {
      const bool denied = DenyCommands(ref, now, out);
      const bool taken_back = TakeBack(ref, now, out);
      const bool settled = SettleBlocks(ref, now, told);
      again = denied || taken_back || settled;
    }
    unchecked_.erase(ref);
  }
  out.insert(out.end(), std::make_move_iterator(told.begin()), std::make_move_iterator(told.end()));
}

// Never sent again: it ends at once; when the car may be about to answer for itself, after
// kAnswerGrace.
void Outbox::Stop(Entry& entry, Reason why, const Now& now, Effects& out) {
  entry.denied = why;
  NotSent(entry);
  waker_.Over(entry);
  if (entry.phase == Phase::kDelivered || (entry.sent && links_.Online(entry.ref))) {
    entry.expires_mono = std::min(entry.expires_mono.value_or(now.mono), now.mono);
    if (entry.removes) {
      unchecked_.insert(entry.ref);
    }
    commands_.Reschedule(entry);
    return;
  }
  const v1::ReceiptState state =
      why == v1::REASON_CANCELLED ? v1::RECEIPT_STATE_CANCELLED : v1::RECEIPT_STATE_REFUSED;
  CloseByBridge(entry, state, why, now, out);
}

// What waits of a key that is denied here, or is not on the ring any more.
bool Outbox::DenyCommands(const CarRef& ref, const Now& now, Effects& out) {
  const Commands::OfCar* car = commands_.OfCarOrNull(ref);
  if (car == nullptr) {
    return false;
  }
  bool any = false;
  const std::set<uint64_t> open = car->open;
  for (const uint64_t order : open) {
    Entry& entry = commands_.At(order);
    if (entry.Denied()) {
      continue;
    }
    const OpenedRing* opened = rings_.Find(ref);
    if (denials_.Denies(entry.lane, ref)) {
      Stop(entry, v1::REASON_BLOCKED, now, out);
    } else if (opened != nullptr && opened->ring.Find(entry.lane) == nullptr) {
      Stop(entry, v1::REASON_NOT_ON_RING, now, out);
    } else {
      continue;
    }
    any = true;
  }
  return any;
}

// A removal that a live car has confirmed, and not ended before it left or was asked again:
// from here on it is kept, and denies its key, as one that was held.
void Outbox::KeepRemoval(Entry& entry, Effects& out) {
  if (entry.removes && entry.phase == Phase::kDelivered && !entry.on_disk) {
    entry.on_disk = true;
    out.emplace_back(Write{RecordOf(entry), true});
    unchecked_.insert(entry.ref);
  }
}

// A key stays denied at a car while a RemoveKey of it is kept and open and the ring names it. A car
// that is online answers sooner than a block is told, and it tells the key so itself. A block whose
// command is not known here any more (the store was lost) waits for the ring or the receipt. One
// that somebody has lifted is not set again for the same command.
bool Outbox::SettleBlocks(const CarRef& ref, const Now& now, Effects& out) {
  const OpenedRing* opened = rings_.Find(ref);
  std::map<KeyId, CommandId> wanted;
  const Commands::OfCar* car = commands_.OfCarOrNull(ref);
  if (car != nullptr && opened != nullptr) {
    for (const uint64_t order : car->open) {
      const Entry& entry = commands_.At(order);
      // Who takes the own key away needs no protection, and must stay able to do it.
      if (entry.removes && entry.on_disk && !entry.Denied() && *entry.removes != entry.lane &&
          opened->ring.Find(*entry.removes) != nullptr) {
        wanted.try_emplace(*entry.removes, entry.id);
      }
    }
  }
  bool any = false;
  for (const KeyId& key : denials_.OwnersAt(ref)) {
    const Block* held = denials_.Find({key, ref.fleet, ref.car});
    const Entry* cause = held->command ? commands_.Find(ref, *held->command) : nullptr;
    const bool answered = cause != nullptr && (cause->phase == Phase::kClosed || cause->Denied());
    const bool off_ring = opened != nullptr && opened->ring.Find(key) == nullptr;
    if (off_ring || (answered && wanted.count(key) == 0)) {
      denials_.Lift(key, ref, now, out);
      any = true;
    }
  }
  for (const auto& [key, command] : wanted) {
    const Block* held = denials_.Find({key, ref.fleet, ref.car});
    const bool settled = held != nullptr && (!held->lifted || held->command == command);
    any = (!settled && denials_.Deny(key, ref, command, now, out)) || any;
  }
  return any;
}

// The car has answered a command that is not known here.
void Outbox::LiftBlockOf(const CarRef& ref, const CommandId& command, const Now& now,
                         Effects& out) {
  for (const KeyId& key : denials_.OwnersAt(ref)) {
    if (denials_.Find({key, ref.fleet, ref.car})->command == command) {
      denials_.Lift(key, ref, now, out);
    }
  }
}

}  // namespace latchkey::bridge
