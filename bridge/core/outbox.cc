// Life of a command in the bridge; outbox.h has the drawing and the rules.
#include "bridge/core/outbox.h"

#include <algorithm>
#include <utility>

#include "bridge/core/journal.h"
#include "proto/topic.h"

namespace latchkey::bridge {

Outbox::Outbox(const Limits& limits, const Links& links, Rings& rings, Denials& denials,
               Counters& counters)
    : limits_(limits),
      links_(links),
      rings_(rings),
      denials_(denials),
      counters_(counters),
      delivery_(limits),
      waker_(limits, links, counters) {}

void Outbox::Load(const storage::CommandRecord& record) {
  LK_ASSERT(!clocks_started_);
  next_order_ = std::max(next_order_, record.order + 1);
  commands_.Add(EntryOf(record));
}

void Outbox::Load(const storage::WakeRecord& record) {
  waker_.Load(record);
}

// After Load, at the first moment that is known. A wall clock that was set back while the bridge
// was down cannot give a command more than it had when it arrived.
void Outbox::StartClocks(const Now& now) {
  clocks_started_ = true;
  waker_.StartClocks(now);
  for (const auto& known : commands_.all()) {
    Entry& entry = commands_.At(known.first);
    if (entry.phase == Phase::kClosed) {
      const Duration kept = kLifetimeMax + limits_.closed_kept;
      entry.act_at = now.mono + std::clamp(entry.changed_at + kept - now.wall, Duration(0), kept);
    } else if (entry.expires_at) {
      const Duration left =
          std::min(*entry.expires_at - now.wall, *entry.expires_at - entry.received_at);
      entry.expires_mono = now.mono + left;
    }
    commands_.Reschedule(entry);
    if (entry.phase == Phase::kHeld) {
      waker_.Held(entry, now);
    }
  }
  for (const auto& [ref, car] : commands_.cars()) {
    unchecked_.insert(ref);
  }
  for (const CarRef& ref : denials_.CarsOfOwners()) {
    unchecked_.insert(ref);
  }
}

void Outbox::Passes(const Now& now, Effects& out) {
  if (!clocks_started_) {
    StartClocks(now);
  }
  while (Entry* late = commands_.DueBy(now.wall)) {
    Ends(*late, now, out);
  }
  while (Entry* due = commands_.DueBy(now.mono)) {
    Act(*due, now, out);
  }
}

// Does what is due of one entry; afterwards it is due later, or not at all.
void Outbox::Act(Entry& entry, const Now& now, Effects& out) {
  const bool act = entry.act_at && *entry.act_at <= now.mono;
  if (entry.phase == Phase::kClosed) {
    LK_ASSERT(act);
    Forget(entry.order, out);
    return;
  }
  if (!act) {
    Ends(entry, now, out);
    return;
  }
  entry.act_at.reset();
  if (entry.phase == Phase::kLive) {
    Hold(entry, now, out);
    return;
  }
  KeepRemoval(entry, out);
  delivery_.Queue(entry.ref, entry.order, entry.payload.size(), now.mono);
  commands_.Reschedule(entry);
}

void Outbox::Settle(const Now& now, Effects& out) {
  CheckKeys(now, out);
  Deliver(now, out);
  WakeCars(now, out);
}

Verdict Outbox::Lawful(const Command& command, const Now& now) {
  const Verdict in_time = CheckTime(command, now.wall);
  if (!in_time.allowed()) {
    return in_time;
  }
  if (denials_.Denies(command.key_id, command.ref)) {
    return Verdict::Refuse(v1::REASON_BLOCKED);
  }
  const OpenedRing* opened = rings_.Find(command.ref);
  return opened ? CheckAuthority(command, opened->ring, now.wall)
                : Verdict::Refuse(v1::REASON_NOT_ON_RING);
}

// What takes keys away has room of its own: nobody keeps a key by filling the queue. So has what
// takes commands back.
bool Outbox::Full(const Command& command, size_t leaving, size_t leaving_of_key) const {
  const Commands::OfCar* car = commands_.OfCarOrNull(command.ref);
  if (car == nullptr) {
    return false;
  }
  const auto key = car->per_key.find(command.key_id);
  const size_t of_key = key == car->per_key.end() ? 0 : key->second;
  size_t room = 0;
  if (command.body.has_remove_key()) {
    room = limits_.commands_per_key_max + kRingKeysMax;
  } else if (command.body.has_cancel()) {
    room = limits_.commands_per_key_max;
  }
  return car->open.size() - leaving >= limits_.commands_per_car_max + room ||
         of_key - leaving_of_key >= limits_.commands_per_key_max + room;
}

void Outbox::Arrived(const Command& command, const Now& now, Effects& out) {
  ++counters_.commands_seen;
  if (Entry* known = commands_.Find(command.ref, command.id)) {
    Answer(*known, command.key_id, now, out);
    return;
  }
  const CommandKey key{command.ref, command.id};
  if (!links_.Online(command.ref)) {
    const auto refused = refused_.find(key);
    if (refused != refused_.end()) {
      out.emplace_back(
          Publish{ReceiptTopic(command.ref, command.key_id), refused->second, 1, Retain::kNo, 0});
      return;
    }
    ArrivedOffline(command, now, out);
    return;
  }
  if (store_fails_ || refused_.count(key) > 0) {
    return;
  }
  // The car answers for itself; the bridge only watches what it would hold if the car says nothing.
  Verdict verdict = Lawful(command, now);
  if (verdict.allowed() && Full(command, 0, 0)) {
    verdict = Verdict::Refuse(v1::REASON_FULL);
  }
  out.emplace_back(JournalOf(command, v1::RECEIPT_STATE_UNSPECIFIED, verdict.reason, now));
  if (!verdict.allowed()) {
    return;
  }
  Entry entry = EntryOf(command, next_order_++, now);
  entry.sent = true;
  entry.act_at = now.mono + limits_.receipt_wait;
  if (entry.cancels || TakenBack(command)) {
    unchecked_.insert(entry.ref);
  }
  commands_.Add(std::move(entry));
}

// It may be a resend of what the car got before it left, or before the bridge knew.
bool Outbox::MayHaveReached(const Command& command, const Now& now) const {
  // Issued ahead of the clock here: one of the two is wrong, and how old it is is not known.
  const Duration age = std::max(Duration(0), now.wall - command.issued_at);
  return links_.AwayFor(command.ref, now.mono) < age + kClockSkewMax;
}

void Outbox::ArrivedOffline(const Command& command, const Now& now, Effects& out) {
  const Verdict verdict = Lawful(command, now);
  // The broker let it pass, by a ring that it shows later, or that could not be stored.
  const bool lacks_ring = verdict.reason == v1::REASON_NOT_ON_RING;
  if (lacks_ring && rings_.MayLack(command.ref)) {
    return;  // its phone says it again
  }
  if (!verdict.allowed() && !(lacks_ring && store_fails_)) {
    Refuse(command, verdict.reason, now, out);
    return;
  }
  if (store_fails_) {
    Refuse(command, v1::REASON_STORE_UNAVAILABLE, now, out);
    return;
  }
  if (TakenBack(command)) {
    Refuse(command, v1::REASON_CANCELLED, now, out);
    return;
  }
  if (EndsCancel(command, now, out)) {
    return;
  }
  size_t leaving = 0;
  size_t leaving_of_key = 0;
  for (const uint64_t order : commands_.HeldInSlot(command.ref, command.action->slot)) {
    const Entry& held = commands_.At(order);
    if (held.issued_at <= command.issued_at) {
      ++leaving;
      leaving_of_key += held.lane == command.key_id ? 1 : 0;
    }
  }
  if (Full(command, leaving, leaving_of_key)) {
    Refuse(command, v1::REASON_FULL, now, out);
    return;
  }
  Entry entry = EntryOf(command, next_order_++, now);
  out.emplace_back(JournalOf(command, v1::RECEIPT_STATE_UNSPECIFIED, v1::REASON_UNSPECIFIED, now));
  entry.sent = MayHaveReached(command, now);
  Hold(commands_.Add(std::move(entry)), now, out);
}

// Live -> held, or at once superseded. A command that has expired stays as it is: its deadline ends
// it.
void Outbox::Hold(Entry& entry, const Now& now, Effects& out) {
  LK_ASSERT(entry.phase == Phase::kLive);
  entry.act_at.reset();
  if (entry.Expired(now)) {
    commands_.Reschedule(entry);
    return;
  }
  const std::set<uint64_t> rivals = commands_.HeldInSlot(entry.ref, entry.slot);
  for (const uint64_t order : rivals) {
    if (commands_.At(order).issued_at > entry.issued_at) {
      CloseByBridge(entry, v1::RECEIPT_STATE_SUPERSEDED, v1::REASON_SUPERSEDED, now, out);
      return;
    }
  }
  commands_.SetPhase(entry, Phase::kHeld);
  entry.on_disk = true;
  if (entry.removes || entry.cancels) {
    unchecked_.insert(entry.ref);
  }
  entry.state = v1::RECEIPT_STATE_HELD;
  entry.changed_at = now.wall;
  entry.receipt = SealBridgeReceipt(MakeOutcome(entry.ref, entry.id, entry.state, entry.reason,
                                                now.wall, v1::RECEIPT_SOURCE_BRIDGE));
  out.emplace_back(Write{RecordOf(entry), true});
  out.emplace_back(JournalOf(entry, v1::RECEIPT_SOURCE_BRIDGE, now));
  Say(entry, out);
  ++counters_.commands_held;
  out.emplace_back(LogEvent{
      LogEvent::Level::kInfo,
      "command_held",
      {{"car", entry.ref.ToText()}, {"key", entry.lane.str()}, {"command", entry.id.ToText()}}});
  if (links_.Online(entry.ref)) {
    Enqueue(entry, now, Duration(0));
  } else {
    waker_.Held(entry, now);
  }
  commands_.Reschedule(entry);
  for (const uint64_t order : rivals) {
    CloseByBridge(commands_.At(order), v1::RECEIPT_STATE_SUPERSEDED, v1::REASON_SUPERSEDED, now,
                  out);
  }
}

std::optional<Instant> Outbox::NextDeadline() const {
  if (!clocks_started_) {
    return commands_.all().empty() ? std::nullopt : std::optional<Instant>(Instant{0});
  }
  std::optional<Instant> next = commands_.NextDue();
  for (const std::optional<Instant>& due : {delivery_.NextDue(), waker_.NextDeadline()}) {
    if (due && (!next || *due < *next)) {
      next = due;
    }
  }
  return next;
}

void Outbox::CheckEntry(const Entry& entry) const {
  LK_ASSERT(entry.order < next_order_);
  LK_ASSERT((entry.phase == Phase::kClosed) == IsFinal(entry.state));
  LK_ASSERT(entry.phase == Phase::kClosed || !entry.payload.empty() || entry.loaded);
  LK_ASSERT(entry.phase != Phase::kHeld ||
            (entry.on_disk && entry.state == v1::RECEIPT_STATE_HELD));
  LK_ASSERT(entry.phase != Phase::kDelivered || entry.state == v1::RECEIPT_STATE_DELIVERED);
  LK_ASSERT(entry.phase != Phase::kClosed || entry.on_disk);
  if (!clocks_started_) {
    return;
  }
  // Only what never expires and is not being sent has no deadline.
  LK_ASSERT(entry.due || (!entry.expires_at && entry.phase != Phase::kClosed));
  // Nothing waits for the answer of a car that is away, and nothing is sent to one.
  LK_ASSERT(entry.phase == Phase::kClosed || !entry.act_at || links_.Online(entry.ref));
  LK_ASSERT(entry.phase == Phase::kClosed || !entry.act_at || !entry.Denied());
  LK_ASSERT(entry.phase == Phase::kClosed || entry.phase == Phase::kLive || !entry.act_at ||
            broker_up_);
  const bool in_delivery = delivery_.Knows(entry.ref, entry.order);
  LK_ASSERT(!in_delivery || (broker_up_ && !entry.Denied() && links_.Reachable(entry.ref)));
  LK_ASSERT(!in_delivery || entry.phase == Phase::kHeld || entry.phase == Phase::kDelivered);
  // What is queued waits for its turn, what is in flight for the car or its time.
  LK_ASSERT(!in_delivery || delivery_.Queued(entry.ref, entry.order) == !entry.act_at);
  // What is held for a car that is there goes to it. One that was sent may have expired since.
  LK_ASSERT(entry.phase != Phase::kHeld || entry.Denied() || !broker_up_ ||
            !links_.Reachable(entry.ref) || in_delivery || entry.sent);
}

void Outbox::CheckInvariants() const {
  commands_.CheckInvariants();
  delivery_.CheckInvariants();
  waker_.CheckInvariants();
  LK_ASSERT(refused_.size() <= kRefusedKept && refused_order_.size() == refused_.size());
  LK_ASSERT(unsaid_.empty() || !broker_up_);
  LK_ASSERT(unchecked_.empty() || !clocks_started_);
  std::set<std::pair<CarRef, v1::Slot>> slots;
  for (const auto& [order, entry] : commands_.all()) {
    CheckEntry(entry);
    // Of one slot only the last is held. A power cut can bring back one that the car had confirmed.
    if (entry.phase == Phase::kHeld && entry.slot != v1::SLOT_NONE && !entry.loaded) {
      LK_ASSERT(slots.insert({entry.ref, entry.slot}).second);
    }
  }
}

}  // namespace latchkey::bridge
