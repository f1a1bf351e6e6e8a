// Newest state per car and group: newer wins, older is counted, the broker is given what it lost.
#include "bridge/core/last_known.h"

#include <utility>

#include "proto/topic.h"

namespace latchkey::bridge {

namespace {

// Cars looked at in one call: bounds a call even when nothing has to be published.
constexpr size_t kCarsPerCallMax = 20'000;

size_t IndexOf(Group group) {
  return static_cast<size_t>(group);
}

}  // namespace

LastKnown::LastKnown(const Limits& limits, Counters& counters)
    : limits_(limits), counters_(counters) {}

void LastKnown::Load(const storage::StateRecord& record) {
  const Result<v1::StateGroup> state = ParseState(record.payload, record.group);
  if (!state) {
    ++counters_.refused[state.error().reason];
    return;
  }
  auto& held = cars_[record.ref][IndexOf(record.group)];
  held = std::make_unique<Held>(Held{VersionOf(*state), 0, record.payload});
}

void LastKnown::Arrived(const CarRef& ref, Group group, const std::string& payload, Timestamp now,
                        Effects& out) {
  const Result<v1::StateGroup> state = ParseState(payload, group);
  if (!state) {
    ++counters_.refused[state.error().reason];
    return;
  }
  const StateVersion version = VersionOf(*state);
  if (Timestamp{version.observed_at_ms} > now + kStateAheadMax) {
    ++counters_.refused[v1::REASON_CLOCK_AHEAD];
    return;
  }
  auto car = cars_.find(ref);
  if (car == cars_.end()) {
    if (cars_.size() >= limits_.cars_max) {
      ++counters_.refused[v1::REASON_FULL];
      return;
    }
    car = cars_.try_emplace(ref).first;
  }
  std::unique_ptr<Held>& held = car->second[IndexOf(group)];
  if (held && version <= held->version) {
    ++counters_.state_older;
    // What arrived is what the broker retains.
    held->shown = version == held->version ? broker_session_ : 0;
    return;
  }
  held = std::make_unique<Held>(Held{version, broker_session_, payload});
  ++counters_.state_stored;
  out.emplace_back(Write{storage::StateRecord{ref, group, now, payload}, false});
}

void LastKnown::BrokerUp() {
  ++broker_session_;
  reconciled_.reset();
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
    for (const Group group : kGroups) {
      const std::unique_ptr<Held>& held = car->second[IndexOf(group)];
      if (!held || held->shown == broker_session_) {
        continue;
      }
      held->shown = broker_session_;
      out.emplace_back(Publish{StateTopic(car->first, group), held->payload, 1, Retain::kYes, 0});
      ++published;
      ++counters_.republished;
    }
    reconciled_ = car->first;
  }
  return true;
}

void LastKnown::CheckInvariants() const {
  LK_ASSERT(cars_.size() <= limits_.cars_max);
  for (const auto& [ref, groups] : cars_) {
    for (const Group group : kGroups) {
      const std::unique_ptr<Held>& held = groups[IndexOf(group)];
      if (!held) {
        continue;
      }
      LK_ASSERT(held->shown <= broker_session_);
      const Result<v1::StateGroup> state = ParseState(held->payload, group);
      LK_ASSERT(state && VersionOf(*state) == held->version);
    }
  }
}

}  // namespace latchkey::bridge
