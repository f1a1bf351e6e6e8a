// Life of a command in the bridge; outbox.h has the drawing and the rules.
#include "bridge/core/outbox.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "proto/reason.h"
#include "proto/topic.h"

namespace latchkey::bridge {

namespace {

bool Passed(const std::optional<Timestamp>& expires_at, const std::optional<Instant>& expires_mono,
            const Now& now) {
  return (expires_at && *expires_at <= now.wall) || (expires_mono && *expires_mono <= now.mono);
}

}  // namespace

Outbox::Outbox(const Limits& limits, const Links& links, Rings& rings, Denials& denials,
               Counters& counters)
    : limits_(limits), links_(links), rings_(rings), denials_(denials), counters_(counters) {}

void Outbox::Load(const storage::CommandRecord& record) {
  LK_ASSERT(!clocks_started_);
  next_order_ = std::max(next_order_, record.order + 1);
  commands_.Add(EntryOf(record));
}

// After Load, at the first moment that is known. A wall clock that was set back while the bridge
// was down cannot give a command more than it had when it arrived.
void Outbox::StartClocks(const Now& now) {
  clocks_started_ = true;
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
  std::vector<uint64_t> to_send;
  while (Entry* due = commands_.DueBy(now.mono)) {
    if (!Act(*due, now, out)) {
      to_send.push_back(due->order);
    }
  }
  if (to_send.empty()) {
    return;
  }
  // What was held in this very moment may deny keys whose commands are due to be sent.
  CheckKeys(now, out);
  for (const uint64_t order : to_send) {
    Entry& entry = commands_.At(order);
    if (entry.phase != Phase::kClosed && !entry.Denied()) {
      Send(entry, now, out);
      commands_.Reschedule(entry);
    }
  }
}

// Does what is due of one entry; afterwards it is due later, or not at all. False: it is due to be
// sent.
bool Outbox::Act(Entry& entry, const Now& now, Effects& out) {
  const bool act = entry.act_at && *entry.act_at <= now.mono;
  if (entry.phase == Phase::kClosed) {
    LK_ASSERT(act);
    Forget(entry.order, out);
    return true;
  }
  if (!act) {
    Ends(entry, now, out);
    return true;
  }
  entry.act_at.reset();
  const bool live = entry.phase == Phase::kLive;
  if (live) {
    Hold(entry, now, out);
  } else {
    KeepRemoval(entry, out);
  }
  if (entry.phase != Phase::kClosed) {
    commands_.Reschedule(entry);
  }
  return live;
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

// What takes keys away has room of its own: nobody keeps a key by filling the queue.
bool Outbox::Full(const Command& command, size_t leaving, size_t leaving_of_key) const {
  const Commands::OfCar* car = commands_.OfCarOrNull(command.ref);
  if (car == nullptr) {
    return false;
  }
  const auto key = car->per_key.find(command.key_id);
  const size_t of_key = key == car->per_key.end() ? 0 : key->second;
  const size_t room = command.body.has_remove_key() ? kRingKeysMax : 0;
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
  // The car answers for itself; the bridge only watches what it would hold if the car says nothing.
  if (refused_.count(key) > 0 || !Lawful(command, now).allowed() || Full(command, 0, 0)) {
    return;
  }
  Entry entry = EntryOf(command, next_order_++, now);
  entry.sent = true;
  entry.act_at = now.mono + limits_.receipt_wait;
  commands_.Add(std::move(entry));
}

void Outbox::ArrivedOffline(const Command& command, const Now& now, Effects& out) {
  const Verdict verdict = Lawful(command, now);
  if (!verdict.allowed()) {
    Refuse(command, verdict.reason, now, out);
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
  // It may be a resend of what the car got before it left, or before the bridge knew.
  entry.sent = links_.AwayFor(command.ref, now.mono) < now.wall - command.issued_at + kClockSkewMax;
  Hold(commands_.Add(std::move(entry)), now, out);
}

// Live -> held, or at once superseded. A command that has expired stays as it is: its deadline ends
// it.
void Outbox::Hold(Entry& entry, const Now& now, Effects& out) {
  LK_ASSERT(entry.phase == Phase::kLive);
  entry.act_at.reset();
  if (Passed(entry.expires_at, entry.expires_mono, now)) {
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
  if (entry.removes) {
    unchecked_.insert(entry.ref);
  }
  entry.state = v1::RECEIPT_STATE_HELD;
  entry.changed_at = now.wall;
  entry.receipt = SealBridgeReceipt(MakeOutcome(entry.ref, entry.id, entry.state, entry.reason,
                                                now.wall, v1::RECEIPT_SOURCE_BRIDGE));
  out.emplace_back(Write{RecordOf(entry), true});
  Say(entry, out);
  ++counters_.commands_held;
  out.emplace_back(LogEvent{
      LogEvent::Level::kInfo,
      "command_held",
      {{"car", entry.ref.ToText()}, {"key", entry.lane.str()}, {"command", entry.id.ToText()}}});
  if (broker_up_ && links_.Online(entry.ref)) {
    RetryLater(entry, now, limits_.redeliver_first);
  }
  commands_.Reschedule(entry);
  for (const uint64_t order : rivals) {
    CloseByBridge(commands_.At(order), v1::RECEIPT_STATE_SUPERSEDED, v1::REASON_SUPERSEDED, now,
                  out);
  }
}

void Outbox::RetryLater(Entry& entry, const Now& now, Duration first) {
  entry.back_off = first;
  entry.act_at = now.mono + first;
}

// Publishes the phone's own bytes on the phone's own lane, unless it is too late.
void Outbox::Send(Entry& entry, const Now& now, Effects& out) {
  if (Passed(entry.expires_at, entry.expires_mono, now)) {
    return;
  }
  uint32_t expiry_s = 0;
  if (entry.expires_at) {
    const Duration left = std::min(*entry.expires_at - now.wall, *entry.expires_mono - now.mono);
    expiry_s = static_cast<uint32_t>(
        std::clamp<int64_t>(left.count() / 1000, 1, std::numeric_limits<int32_t>::max()));
  }
  entry.sent = true;
  entry.back_off = std::min(entry.back_off * 2, limits_.redeliver_max);
  entry.act_at = now.mono + entry.back_off;
  ++counters_.commands_delivered;
  out.emplace_back(
      Publish{CommandTopic(entry.ref, entry.lane), entry.payload, 1, Retain::kNo, expiry_s});
}

void Outbox::CarOnline(const CarRef& ref, const Now& now) {
  const Commands::OfCar* car = commands_.OfCarOrNull(ref);
  if (car == nullptr || !broker_up_) {
    return;
  }
  for (const uint64_t order : car->open) {
    Entry& entry = commands_.At(order);
    if (entry.phase != Phase::kLive && !entry.Denied()) {
      RetryLater(entry, now, limits_.redeliver_first);
      commands_.Reschedule(entry);
    }
  }
}

void Outbox::CarOffline(const CarRef& ref, const Now& now, Effects& out) {
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
  }
}

void Outbox::BrokerUp(const Now& now, Effects& out) {
  broker_up_ = true;
  for (const uint64_t order : unsaid_) {
    Say(commands_.At(order), out);
  }
  unsaid_.clear();
  for (const auto& [ref, car] : commands_.cars()) {
    if (links_.Online(ref)) {
      CarOnline(ref, now);
    }
  }
}

void Outbox::BrokerDown() {
  broker_up_ = false;
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

std::optional<Instant> Outbox::NextDeadline() const {
  if (!clocks_started_) {
    return commands_.all().empty() ? std::nullopt : std::optional<Instant>(Instant{0});
  }
  return commands_.NextDue();
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
}

void Outbox::CheckInvariants() const {
  commands_.CheckInvariants();
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
