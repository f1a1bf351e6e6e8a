// The entries and their indexes.
#include "bridge/core/commands.h"

#include <algorithm>
#include <limits>

#include "proto/receipt.h"

namespace latchkey::bridge {

namespace {

std::optional<Instant> DueOf(const Entry& entry) {
  if (entry.phase == Phase::kClosed || !entry.expires_mono) {
    return entry.act_at;
  }
  Duration wait{0};
  if (entry.phase == Phase::kDelivered) {
    wait = kOutcomeWait;
  } else if (entry.sent) {
    wait = kAnswerGrace;
  }
  const Instant end = *entry.expires_mono + wait;
  return entry.act_at ? std::min(*entry.act_at, end) : end;
}

// A delivered command waits by the monotonic clock alone: a jump of the wall clock must not cut off
// the car's word.
std::optional<Timestamp> DueWallOf(const Entry& entry) {
  if (entry.phase == Phase::kClosed || entry.phase == Phase::kDelivered || !entry.expires_at) {
    return std::nullopt;
  }
  return *entry.expires_at + (entry.sent ? kAnswerGrace : Duration(0));
}

// Far enough for any lifetime, near enough that sums of it do not overflow.
constexpr Timestamp kEndOfTime{std::numeric_limits<int64_t>::max() / 4};

Timestamp Clamp(Timestamp t) {
  return std::clamp(t, Timestamp{0}, kEndOfTime);
}

std::optional<KeyId> RemovesOf(const Command& command) {
  return command.body.has_remove_key() ? KeyId::Parse(command.body.remove_key().key_id())
                                       : std::nullopt;
}

std::optional<CommandId> CancelsOf(const Command& command) {
  return command.body.has_cancel() ? CommandId::FromBytes(command.body.cancel().command_id())
                                   : std::nullopt;
}

}  // namespace

Entry EntryOf(const Command& command, uint64_t order, const Now& now) {
  Entry entry;
  entry.ref = command.ref;
  entry.lane = command.key_id;
  entry.id = command.id;
  entry.order = order;
  entry.slot = command.action->slot;
  entry.action = command.action;
  entry.removes = RemovesOf(command);
  entry.cancels = CancelsOf(command);
  entry.issued_at = command.issued_at;
  if (command.expires_at) {
    entry.expires_at = Clamp(*command.expires_at);
    entry.expires_mono = now.mono + (*entry.expires_at - now.wall);
  }
  entry.received_at = now.wall;
  entry.changed_at = now.wall;
  entry.payload = command.wire;
  return entry;
}

Entry EntryOf(const storage::CommandRecord& record) {
  Entry entry;
  entry.ref = record.ref;
  entry.lane = record.lane;
  entry.id = record.id;
  entry.order = record.order;
  entry.received_at = Clamp(record.received_at);
  entry.changed_at = Clamp(record.changed_at);
  entry.state = record.state;
  entry.reason = record.reason;
  entry.on_disk = true;
  entry.loaded = true;
  entry.sent = true;
  if (IsFinal(record.state)) {
    entry.phase = Phase::kClosed;
    return entry;
  }
  entry.phase = record.state == v1::RECEIPT_STATE_DELIVERED ? Phase::kDelivered : Phase::kHeld;
  entry.payload = record.payload;
  const Result<Command> command = ParseCommand(record.payload, record.ref, record.lane);
  if (!command) {
    // Held by software that knew more actions than this: it still ends, as expired.
    entry.expires_at = entry.received_at;
    return entry;
  }
  entry.slot = command->action->slot;
  entry.action = command->action;
  entry.removes = RemovesOf(*command);
  entry.cancels = CancelsOf(*command);
  entry.issued_at = command->issued_at;
  if (command->expires_at) {
    entry.expires_at = Clamp(*command->expires_at);
  }
  return entry;
}

storage::CommandRecord RecordOf(const Entry& entry) {
  return storage::CommandRecord{entry.ref,   entry.lane,        entry.id,
                                entry.order, entry.received_at, entry.changed_at,
                                entry.state, entry.reason,      entry.payload};
}

Entry& Commands::Add(Entry entry) {
  const uint64_t order = entry.order;
  if (entry.phase != Phase::kClosed) {
    OfCar& car = cars_[entry.ref];
    car.open.insert(order);
    ++car.per_key[entry.lane];
    ++open_count_;
  }
  held_count_ += entry.phase == Phase::kHeld ? 1 : 0;
  const bool new_id = orders_.try_emplace({entry.ref, entry.id}, order).second;
  const auto [at, new_order] = entries_.emplace(order, std::move(entry));
  LK_ASSERT(new_id && new_order);
  Reschedule(at->second);
  return at->second;
}

void Commands::Erase(uint64_t order) {
  const auto at = entries_.find(order);
  LK_ASSERT(at != entries_.end());
  Entry& entry = at->second;
  SetPhase(entry, Phase::kClosed);
  entry.act_at.reset();
  Reschedule(entry);
  orders_.erase({entry.ref, entry.id});
  entries_.erase(at);
}

Entry* Commands::Find(const CarRef& ref, const CommandId& id) {
  const auto order = orders_.find({ref, id});
  return order == orders_.end() ? nullptr : &entries_.at(order->second);
}

const Commands::OfCar* Commands::OfCarOrNull(const CarRef& ref) const {
  const auto car = cars_.find(ref);
  return car == cars_.end() ? nullptr : &car->second;
}

std::set<uint64_t> Commands::HeldInSlot(const CarRef& ref, v1::Slot slot) const {
  std::set<uint64_t> found;
  const OfCar* car = OfCarOrNull(ref);
  if (car == nullptr || slot == v1::SLOT_NONE) {
    return found;
  }
  for (const uint64_t order : car->open) {
    const Entry& entry = entries_.at(order);
    if (entry.phase == Phase::kHeld && entry.slot == slot) {
      found.insert(order);
    }
  }
  return found;
}

void Commands::Reschedule(Entry& entry) {
  if (entry.due) {
    due_.erase({*entry.due, entry.order});
  }
  if (entry.due_wall) {
    due_wall_.erase({*entry.due_wall, entry.order});
  }
  entry.due = DueOf(entry);
  entry.due_wall = DueWallOf(entry);
  if (entry.due) {
    due_.insert({*entry.due, entry.order});
  }
  if (entry.due_wall) {
    due_wall_.insert({*entry.due_wall, entry.order});
  }
}

void Commands::SetPhase(Entry& entry, Phase phase) {
  if (phase == Phase::kClosed && entry.phase != Phase::kClosed) {
    Leave(entry);
  }
  held_count_ -= entry.phase == Phase::kHeld ? 1 : 0;
  held_count_ += phase == Phase::kHeld ? 1 : 0;
  entry.phase = phase;
}

// Takes an entry that closes from its car.
void Commands::Leave(const Entry& entry) {
  const auto car = cars_.find(entry.ref);
  LK_ASSERT(car != cars_.end());
  car->second.open.erase(entry.order);
  const auto key = car->second.per_key.find(entry.lane);
  LK_ASSERT(key != car->second.per_key.end());
  if (--key->second == 0) {
    car->second.per_key.erase(key);
  }
  if (car->second.open.empty()) {
    cars_.erase(car);
  }
  --open_count_;
}

Entry* Commands::DueBy(Timestamp wall) {
  return due_wall_.empty() || due_wall_.begin()->first > wall
             ? nullptr
             : &entries_.at(due_wall_.begin()->second);
}

Entry* Commands::DueBy(Instant mono) {
  return due_.empty() || due_.begin()->first > mono ? nullptr : &entries_.at(due_.begin()->second);
}

std::optional<Instant> Commands::NextDue() const {
  return due_.empty() ? std::nullopt : std::optional<Instant>(due_.begin()->first);
}

void Commands::CheckEntry(const Entry& entry) const {
  const auto indexed = orders_.find({entry.ref, entry.id});
  LK_ASSERT(indexed != orders_.end() && indexed->second == entry.order);
  const auto car = cars_.find(entry.ref);
  const bool open = car != cars_.end() && car->second.open.count(entry.order) > 0;
  LK_ASSERT(open == (entry.phase != Phase::kClosed));
  LK_ASSERT(open || entry.payload.empty());
  LK_ASSERT(entry.due == DueOf(entry) && entry.due_wall == DueWallOf(entry));
  LK_ASSERT(!entry.due || due_.count({*entry.due, entry.order}) == 1);
  LK_ASSERT(!entry.due_wall || due_wall_.count({*entry.due_wall, entry.order}) == 1);
}

void Commands::CheckInvariants() const {
  size_t open = 0;
  size_t held = 0;
  size_t due = 0;
  size_t due_wall = 0;
  for (const auto& [order, entry] : entries_) {
    LK_ASSERT(entry.order == order);
    CheckEntry(entry);
    open += entry.phase != Phase::kClosed ? 1 : 0;
    held += entry.phase == Phase::kHeld ? 1 : 0;
    due += entry.due ? 1 : 0;
    due_wall += entry.due_wall ? 1 : 0;
  }
  LK_ASSERT(open == open_count_ && held == held_count_);
  LK_ASSERT(due == due_.size() && due_wall == due_wall_.size());
  LK_ASSERT(orders_.size() == entries_.size());
  for (const auto& [ref, car] : cars_) {
    std::map<KeyId, size_t> per_key;
    for (const uint64_t order : car.open) {
      LK_ASSERT(entries_.at(order).ref == ref);
      ++per_key[entries_.at(order).lane];
    }
    LK_ASSERT(!car.open.empty() && per_key == car.per_key);
  }
}

}  // namespace latchkey::bridge
