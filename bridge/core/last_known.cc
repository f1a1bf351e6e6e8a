// Newest state per car and group: newer wins, older is counted, the broker is given what it lost.
#include "bridge/core/last_known.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "proto/topic.h"

namespace latchkey::bridge {

namespace {

// Cars looked at in one call: bounds a call even when nothing has to be published.
constexpr size_t kCarsPerCallMax = 20'000;
constexpr std::string_view kImportSource = "import:";
constexpr Duration kCountPause = std::chrono::milliseconds(10);  // other input gets its turn

size_t IndexOf(Group group) {
  return static_cast<size_t>(group);
}

}  // namespace

LastKnown::LastKnown(const Limits& limits, Counters& counters)
    : limits_(limits), counters_(counters), clocks_(counters) {}

void LastKnown::Load(const storage::StateRecord& record) {
  const Result<v1::StateGroup> state = ParseState(record.payload, record.group);
  if (!state) {
    ++counters_.refused[state.error().reason];
    return;
  }
  Car& car = cars_[record.ref];
  const StateVersion version = VersionOf(*state);
  car.groups[IndexOf(record.group)] = std::make_unique<Held>(
      Held{TakenAt(record.received_at, *state, nullptr), broker_session_, record.payload});
  car.motion.Take(record.group, *state);
  Effects untold;  // was told when it came
  clocks_.Heard(record.ref, car.clock, {version, std::nullopt, record.received_at, std::nullopt},
                untold);
  count_at_ = count_at_.value_or(Instant{0});
}

LastKnown::Car* LastKnown::FindOrMake(const CarRef& ref) {
  const auto car = cars_.find(ref);
  if (car != cars_.end()) {
    return &car->second;
  }
  if (cars_.size() >= limits_.cars_max) {
    return nullptr;
  }
  count_at_ = count_at_.value_or(Instant{0});
  return &cars_.try_emplace(ref).first->second;
}

StateTaken LastKnown::Arrived(const CarRef& ref, Group group, const Publish& publish,
                              const Now& now, Effects& out) {
  const Result<v1::StateGroup> state = ParseState(publish.payload, group);
  if (!state) {
    ++counters_.refused[state.error().reason];
    return StateTaken::kRefused;
  }
  Car* car = FindOrMake(ref);
  if (car == nullptr) {
    ++counters_.refused[v1::REASON_FULL];
    return StateTaken::kRefused;
  }
  const StateVersion version = VersionOf(*state);
  std::unique_ptr<Held>& held = car->groups[IndexOf(group)];
  const bool live = publish.retain == Retain::kNo;
  clocks_.Heard(ref, car->clock,
                {version, held ? std::optional(held->version) : std::nullopt, now.wall,
                 live ? std::optional(now.mono) : std::nullopt},
                out);
  if (Timestamp{version.observed_at_ms} > now.wall + kStateAheadMax) {
    ++counters_.refused[v1::REASON_CLOCK_AHEAD];
    return StateTaken::kRefused;
  }
  if (held && !Replaces(group, *state, *held)) {
    ++counters_.state_older;
    // What arrived is what the broker retains.
    held->shown = version == held->version ? broker_session_ : 0;
    if (version == held->version || version.sequence > held->version.sequence) {
      return StateTaken::kOlder;
    }
    if (reconciled_ && ref <= *reconciled_) {
      owed_.insert(ref);
    }
    return StateTaken::kBrokerOlder;
  }
  held = std::make_unique<Held>(
      Held{TakenAt(now.wall, *state, held.get()), broker_session_, publish.payload});
  car->motion.Take(group, *state);
  ++counters_.state_stored;
  out.emplace_back(Write{storage::StateRecord{ref, group, now.wall, publish.payload}, false});
  return StateTaken::kStored;
}

StateImported LastKnown::Imported(const ImportedState& state, const Now& now, Effects& out) {
  using Word = StateImported::Word;
  const auto refuse = [this](Reason reason) {
    ++counters_.refused[reason];
    return StateImported{Word::kRefused, reason};
  };
  const Result<v1::StateGroup> parsed = ParseState(state.payload, state.group);
  if (!parsed) {
    return refuse(parsed.error().reason);
  }
  if (parsed->source().rfind(kImportSource, 0) != 0 || parsed->sequence() != 0) {
    return refuse(v1::REASON_NOT_ALLOWED);
  }
  const StateVersion version = VersionOf(*parsed);
  if (Timestamp{version.observed_at_ms} > now.wall) {
    return refuse(v1::REASON_CLOCK_AHEAD);
  }
  Car* car = FindOrMake(state.ref);
  if (car == nullptr) {
    return refuse(v1::REASON_FULL);
  }
  std::unique_ptr<Held>& held = car->groups[IndexOf(state.group)];
  if (held && version <= held->version) {
    return {held->payload == state.payload ? Word::kHeld : Word::kOlder, v1::REASON_UNSPECIFIED};
  }
  held = std::make_unique<Held>(Held{TakenAt(now.wall, *parsed, nullptr), 0, state.payload});
  car->motion.Take(state.group, *parsed);
  ++counters_.state_stored;
  if (reconciled_ && state.ref <= *reconciled_) {
    owed_.insert(state.ref);
  }
  out.emplace_back(
      Write{storage::StateRecord{state.ref, state.group, now.wall, state.payload}, true});
  return {};
}

void LastKnown::BrokerUp() {
  ++broker_session_;
  reconciled_.reset();
  owed_.clear();
}

void LastKnown::PublishLacking(const CarRef& ref, Car& car, size_t& published, Effects& out) {
  for (const Group group : kGroups) {
    const std::unique_ptr<Held>& held = car.groups[IndexOf(group)];
    if (!held || held->shown == broker_session_) {
      continue;
    }
    held->shown = broker_session_;
    out.emplace_back(Publish{StateTopic(ref, group), held->payload, 1, Retain::kYes, 0});
    ++published;
    ++counters_.republished;
  }
}

bool LastKnown::Reconcile(size_t publishes_max, Effects& out) {
  size_t published = 0;
  size_t looked_at = 0;
  auto car = reconciled_ ? cars_.upper_bound(*reconciled_) : cars_.begin();
  for (; car != cars_.end(); ++car) {
    if (published + kGroupCount > publishes_max || looked_at == kCarsPerCallMax) {
      return false;
    }
    ++looked_at;
    PublishLacking(car->first, car->second, published, out);
    reconciled_ = car->first;
  }
  while (!owed_.empty()) {
    if (published + kGroupCount > publishes_max) {
      return false;
    }
    const auto owed = cars_.find(*owed_.begin());
    if (owed != cars_.end()) {
      PublishLacking(owed->first, owed->second, published, out);
    }
    owed_.erase(owed_.begin());
  }
  return true;
}

void LastKnown::Forget(const CarRef& ref) {
  const auto car = cars_.find(ref);
  if (car == cars_.end()) {
    return;
  }
  clocks_.Forget(ref, car->second.clock);
  owed_.erase(ref);
  cars_.erase(car);
}

std::optional<Freshness> LastKnown::BestOf(const Car& car, CarMode mode, Timestamp now) {
  std::optional<Freshness> best;
  for (const Group group : kGroups) {
    const std::unique_ptr<Held>& held = car.groups[IndexOf(group)];
    if (held) {
      const Observation observation{Timestamp{held->version.observed_at_ms}, held->received_at};
      const Freshness word = AgeAt(observation, group, mode, now).freshness;
      best = best ? std::min(*best, word) : word;
    }
  }
  return best;
}

void LastKnown::Passes(const Now& now, const Links& links) {
  if (!count_at_ || now.mono < *count_at_) {
    return;
  }
  auto car = counted_to_ ? cars_.upper_bound(*counted_to_) : cars_.begin();
  for (size_t i = 0; car != cars_.end(); ++car, ++i) {
    if (i == kCarsPerCallMax) {
      count_at_ = now.mono + kCountPause;
      return;
    }
    const CarMode mode = ModeOf(links.Online(car->first), car->second.motion);
    if (const std::optional<Freshness> word = BestOf(car->second, mode, now.wall)) {
      ++counting_[static_cast<size_t>(*word)];
    }
    counted_to_ = car->first;
  }
  counted_ = std::exchange(counting_, {});
  counted_to_.reset();
  count_at_ = cars_.empty() ? std::nullopt : std::optional(now.mono + kFreshnessCountEvery);
}

std::optional<Instant> LastKnown::NextDeadline() const {
  return count_at_;
}

void LastKnown::CheckInvariants() const {
  LK_ASSERT(cars_.size() <= limits_.cars_max);
  size_t ahead = 0;
  size_t behind = 0;
  for (const auto& [ref, car] : cars_) {
    ahead += car.clock.state().word == ClockWord::kAhead ? 1 : 0;
    behind += car.clock.state().word == ClockWord::kBehind ? 1 : 0;
    for (const Group group : kGroups) {
      const std::unique_ptr<Held>& held = car.groups[IndexOf(group)];
      if (!held) {
        continue;
      }
      LK_ASSERT(held->shown <= broker_session_);
      const Result<v1::StateGroup> state = ParseState(held->payload, group);
      LK_ASSERT(state && VersionOf(*state) == held->version);
    }
  }
  LK_ASSERT(ahead == clocks_.ahead() && behind == clocks_.behind());
}

}  // namespace latchkey::bridge
