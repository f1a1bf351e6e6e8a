// See history.h.
#include "bridge/core/history.h"

#include <algorithm>
#include <utility>

#include "proto/state.h"
#include "proto/wire.h"

namespace latchkey::bridge {

namespace {

constexpr double kDayMs = 24.0 * 3600 * 1000;
constexpr size_t kCarsPerStepMax = 100;    // that are written
constexpr size_t kSweptPerStepMax = 1000;  // cars looked at
constexpr size_t kForgottenPerStepMax = 50;
// Of a car that is silent what is too old is looked for so often.
constexpr Duration kPruneSilentEvery = std::chrono::hours(24);
constexpr Duration kSweepEvery = std::chrono::minutes(10);
constexpr Duration kSweepOn = std::chrono::milliseconds(10);  // other input gets its turn
constexpr double kRecordBytes = 96;  // key and checksum of a chunk, at most for usual names

// How long a message waits after the one before, by what is left of the account.
struct Rate {
  double account_min;  // of AccountMax
  Duration interval;
};

constexpr std::array<Rate, 4> kRates = {{{0.5, std::chrono::seconds(5)},
                                         {0.2, std::chrono::seconds(10)},
                                         {0.1, std::chrono::seconds(30)},
                                         {0.02, std::chrono::minutes(2)}}};
constexpr Duration kSlowest = std::chrono::minutes(10);

bool IsPlace(Group group) {
  return group == Group::kLocation || group == Group::kArea;
}

Timestamp Before(Timestamp now, Duration keep) {
  return {std::max<int64_t>((now - keep).ms, 0)};
}

constexpr Timestamp kEver{static_cast<int64_t>(kTimestampMsMax)};

}  // namespace

double History::GainPerMs() const {
  return static_cast<double>(limits_.history_bytes_per_car) /
         (static_cast<double>(limits_.history_keep->count()) + kDayMs);
}

double History::AccountMax() const {
  return GainPerMs() * kDayMs;
}

void History::Count(Car& car, Timestamp now) const {
  const auto passed = static_cast<double>(std::max<int64_t>((now - car.counted_at).count(), 0));
  car.account = std::min(car.account + passed * GainPerMs(), AccountMax());
  car.counted_at = now;
}

Duration History::IntervalOf(const Car& car) const {
  for (const Rate& rate : kRates) {
    if (car.account >= rate.account_min * AccountMax()) {
      return rate.interval;
    }
  }
  return kSlowest;
}

void History::Load(const storage::StateRecord& record) {
  if (!limits_.history_keep) {
    return;
  }
  Car& car = cars_[record.ref];
  car.spoke_at = std::max(car.spoke_at, record.received_at);
  car.counted_at = car.spoke_at;
  car.pruned_at = Before(car.spoke_at, kHistorySpan);  // looked at when it speaks
  car.account = keeps() ? AccountMax() / 4 : 0;
  sweep_at_ = sweep_at_.value_or(Instant{0});
}

History::Slot& History::SlotOf(const CarRef& ref, Car& car, Group group, const Now& now) {
  if (!car.active) {
    car.active = std::make_unique<Active>();
    car.active->due = now.mono + kHistoryFlush;
    due_.emplace(car.active->due, ref);
  }
  std::unique_ptr<Slot>& slot = car.active->slots[static_cast<size_t>(group)];
  if (!slot) {
    slot = std::make_unique<Slot>();
  }
  return *slot;
}

// Of every group: one of which nothing more is said has old chunks, too.
void History::Prune(const CarRef& ref, Car& car, const Now& now, Effects& out) const {
  car.pruned_at = now.wall;
  for (const Group group : kGroups) {
    out.emplace_back(
        Write{storage::EraseHistory{ref, group, Before(now.wall, *limits_.history_keep)}, false});
  }
}

void History::Stored(const CarRef& ref, Group group, const std::string& payload, const Now& now,
                     Effects& out) {
  if (!limits_.history_keep) {
    return;
  }
  const auto [at, added] = cars_.try_emplace(ref);
  Car& car = at->second;
  sweep_at_ = sweep_at_.value_or(now.mono);
  car.spoke_at = now.wall;
  if (!keeps()) {
    return;
  }
  if (added) {
    car.account = AccountMax();
    car.counted_at = now.wall;
  }
  Count(car, now.wall);
  if (now.wall < car.pruned_at || now.wall - car.pruned_at >= kHistorySpan) {
    Prune(ref, car, now, out);
  }
  if (IsPlace(group)) {
    const auto state = FromWire<v1::StateGroup>(payload, kStateBytesMax);
    if (!state || HidesPlace(group, *state)) {
      Hide(ref, car, group, out);
      return;
    }
  }
  Slot& slot = SlotOf(ref, car, group, now);
  car.active->spoke_at = now.mono;
  const Duration interval = IntervalOf(car);
  if (!slot.waits.empty() && now.mono >= slot.waits_from + interval) {
    // It was in force for that long.
    const Instant ripe = std::max(slot.taken_at.value_or(now.mono) + interval, slot.waits_from);
    Take(ref, car, group, now, out);
    slot.taken_at = slot.waits.empty() ? std::min(ripe, now.mono) : slot.taken_at;
  }
  if (!slot.waits.empty()) {
    slot.left_out = std::max(slot.left_out, interval);
    ++counters_.history_left_out;
  }
  slot.waits = payload;
  slot.waits_since = now.wall;
  slot.waits_from = now.mono;
  if (!slot.taken_at || now.mono >= *slot.taken_at + interval) {
    Take(ref, car, group, now, out);
  }
  SetDue(ref, *car.active, std::min(car.active->due, now.mono + kHistoryFlush));
}

void History::Hide(const CarRef& ref, Car& car, Group group, Effects& out) {
  if (car.active) {
    if (std::unique_ptr<Slot>& slot = car.active->slots[static_cast<size_t>(group)]) {
      slot->chunk.reset();
      slot->dirty = false;
      slot->waits.clear();
    }
  }
  out.emplace_back(Write{storage::EraseHistory{ref, group, kEver}, false});
}

// Samples the message that waits, if the account has anything.
void History::Take(const CarRef& ref, Car& car, Group group, const Now& now, Effects& out) {
  Slot& slot = *car.active->slots[static_cast<size_t>(group)];
  if (slot.chunk && now.mono >= slot.opened_at + kHistorySpan) {
    Flush(ref, group, slot, out);
    slot.chunk.reset();
  }
  if (car.account <= 0) {
    return;
  }
  const auto state = FromWire<v1::StateGroup>(slot.waits, kStateBytesMax);
  const Timestamp received_at = slot.waits_since;
  slot.waits.clear();
  slot.taken_at = now.mono;
  if (!state) {
    return;
  }
  double cost = 0;
  if (!slot.chunk) {
    // Two chunks that began at one time would be one in the store: these begin at even times,
    // imported ones at odd times.
    slot.begun_at =
        std::max(Timestamp{received_at.ms - received_at.ms % 2}, slot.begun_at + Duration(2));
    slot.chunk.emplace(group, slot.begun_at);
    slot.opened_at = now.mono;
    cost = kRecordBytes;
  }
  const size_t before = slot.chunk->bytes();
  const size_t added = slot.chunk->Add(*state, received_at);
  if (slot.chunk->empty()) {
    slot.chunk.reset();
    return;
  }
  if (slot.left_out.count() > 0) {
    slot.chunk->Thinned(slot.left_out);
    slot.left_out = Duration(0);
    slot.dirty = true;
  }
  counters_.history_samples += added;
  slot.dirty = slot.dirty || added > 0;
  car.account -= cost + static_cast<double>(slot.chunk->bytes() - before);
  if (slot.chunk->bytes() >= kHistoryChunkFull) {
    Flush(ref, group, slot, out);
    slot.chunk.reset();
  }
}

void History::Flush(const CarRef& ref, Group group, Slot& slot, Effects& out) {
  if (slot.chunk && slot.dirty) {
    out.emplace_back(Write{
        storage::HistoryRecord{ref, group, slot.chunk->begins_at(), slot.chunk->Pack()}, false});
    ++counters_.history_written;
  }
  slot.dirty = false;
}

void History::SetDue(const CarRef& ref, Active& active, Instant due) {
  if (due != active.due) {
    due_.erase({active.due, ref});
    active.due = due;
    due_.emplace(due, ref);
  }
}

// Writes what is not in the store, closes what is old, and says when to come again.
void History::Work(const CarRef& ref, Car& car, const Now& now, Effects& out) {
  Active& active = *car.active;
  Count(car, now.wall);
  const Duration interval = IntervalOf(car);
  std::optional<Instant> next;
  const auto by = [&next](Instant due) { next = next ? std::min(*next, due) : due; };
  for (const Group group : kGroups) {
    const std::unique_ptr<Slot>& slot = active.slots[static_cast<size_t>(group)];
    if (!slot) {
      continue;
    }
    if (!slot->waits.empty() && (!slot->taken_at || now.mono >= *slot->taken_at + interval)) {
      Take(ref, car, group, now, out);
    }
    Flush(ref, group, *slot, out);
    if (slot->chunk && now.mono >= slot->opened_at + kHistorySpan) {
      slot->chunk.reset();
    }
    if (!slot->waits.empty()) {
      // Not later than any other sample: a crash loses no more. With nothing on the account: later.
      const Instant ripe =
          std::max(slot->taken_at.value_or(now.mono) + interval, slot->waits_from + kHistoryFlush);
      by(ripe > now.mono ? ripe : now.mono + kHistoryFlush);
    } else if (slot->chunk) {
      by(slot->opened_at + kHistorySpan);
    }
  }
  if (!next && now.mono >= active.spoke_at + kHistorySpan) {
    due_.erase({active.due, ref});
    car.active.reset();
    return;
  }
  SetDue(ref, active, next.value_or(active.spoke_at + kHistorySpan));
}

// Cars that say nothing: what is too old of them is erased, and they are forgotten when nothing of
// it is left.
void History::Sweep(const Now& now, Effects& out) {
  const Duration keep = limits_.history_keep.value_or(Duration(0));
  auto at = swept_ ? cars_.upper_bound(*swept_) : cars_.begin();
  size_t forgotten = 0;
  for (size_t seen = 0; at != cars_.end() && seen < kSweptPerStepMax; ++seen) {
    Car& car = at->second;
    const bool over = !car.active && (!keeps() || now.wall - car.spoke_at > keep);
    swept_ = at->first;
    if (!over) {
      if (keeps() && now.wall - car.pruned_at >= kPruneSilentEvery) {
        Prune(at->first, car, now, out);
        ++forgotten;
      }
      ++at;
      if (forgotten == kForgottenPerStepMax) {
        break;
      }
      continue;
    }
    for (const Group group : kGroups) {
      out.emplace_back(
          Write{storage::EraseHistory{at->first, group, keeps() ? Before(now.wall, keep) : kEver},
                false});
    }
    at = cars_.erase(at);
    if (++forgotten == kForgottenPerStepMax) {
      break;
    }
  }
  if (at == cars_.end()) {
    swept_.reset();
  }
  const Duration pause = at == cars_.end() && forgotten == 0 ? kSweepEvery : kSweepOn;
  sweep_at_ = cars_.empty() ? std::nullopt : std::optional(now.mono + pause);
}

void History::Passes(const Now& now, Effects& out) {
  for (size_t i = 0; i < kCarsPerStepMax && !due_.empty() && due_.begin()->first <= now.mono; ++i) {
    const CarRef ref = due_.begin()->second;
    Work(ref, cars_.at(ref), now, out);
  }
  if (sweep_at_ && *sweep_at_ <= now.mono) {
    Sweep(now, out);
  }
}

void History::Close(const Now& now, Effects& out) {
  for (const auto& [due, ref] : std::set<std::pair<Instant, CarRef>>(due_)) {
    Car& car = cars_.at(ref);
    for (const Group group : kGroups) {
      if (const std::unique_ptr<Slot>& slot = car.active->slots[static_cast<size_t>(group)]) {
        if (!slot->waits.empty()) {
          Take(ref, car, group, now, out);
        }
        Flush(ref, group, *slot, out);
      }
    }
  }
}

bool History::Reaches(Timestamp observed_at, Timestamp now) const {
  return keeps() && now - observed_at <= *limits_.history_keep;
}

bool History::Imported(const CarRef& ref, Group group, const std::vector<v1::StateGroup>& states,
                       const Now& now, Effects& out) {
  const auto [at, added] = cars_.try_emplace(ref);
  Car& car = at->second;
  if (added) {
    car.account = AccountMax();
    car.counted_at = now.wall;
  }
  Count(car, now.wall);
  car.spoke_at = now.wall;
  sweep_at_ = sweep_at_.value_or(now.mono);
  std::optional<OpenChunk> chunk;
  Timestamp begun_at{-1};
  const auto write = [&] {
    if (chunk && !chunk->empty()) {
      car.account -= kRecordBytes + static_cast<double>(chunk->bytes());
      out.emplace_back(
          Write{storage::HistoryRecord{ref, group, chunk->begins_at(), chunk->Pack()}, true});
      ++counters_.history_written;
    }
    chunk.reset();
  };
  for (const v1::StateGroup& state : states) {
    if (HidesPlace(group, state)) {
      chunk.reset();
      Hide(ref, car, group, out);
      continue;
    }
    if (car.account <= 0) {
      ++counters_.history_left_out;
      return false;
    }
    if (!chunk) {
      const int64_t observed = VersionOf(state).observed_at_ms;
      begun_at = std::max(Timestamp{observed - (observed + 1) % 2}, begun_at + Duration(2));
      chunk.emplace(group, begun_at);
    }
    counters_.history_samples += chunk->Add(state, now.wall);
    if (chunk->bytes() >= kHistoryChunkFull) {
      write();
    }
  }
  write();
  return true;
}

void History::Forget(const CarRef& ref) {
  const auto at = cars_.find(ref);
  if (at == cars_.end()) {
    return;
  }
  if (at->second.active) {
    due_.erase({at->second.active->due, ref});
  }
  cars_.erase(at);
}

std::optional<Instant> History::NextDeadline() const {
  std::optional<Instant> next = sweep_at_;
  if (!due_.empty()) {
    next = next ? std::min(*next, due_.begin()->first) : due_.begin()->first;
  }
  return next;
}

void History::CheckInvariants() const {
  size_t active = 0;
  for (const auto& [ref, car] : cars_) {
    if (!car.active) {
      continue;
    }
    ++active;
    LK_ASSERT(due_.count({car.active->due, ref}) == 1);
    for (const std::unique_ptr<Slot>& slot : car.active->slots) {
      LK_ASSERT(!slot || !slot->chunk || !slot->chunk->empty());
      LK_ASSERT(!slot || slot->chunk || !slot->dirty);
    }
  }
  LK_ASSERT(active == due_.size());
  LK_ASSERT(cars_.empty() || sweep_at_.has_value());
}

}  // namespace latchkey::bridge
