// Presence: newest broker's word wins, word for word repeats change nothing.
#include "bridge/core/links.h"

#include <algorithm>

#include "proto/topic.h"

namespace latchkey::bridge {

namespace {

// A broker start later than this after our now says that one of the clocks was or is wrong. Such a
// word is still believed (refusing it would take every car offline until the clocks agree), but it
// does not make later, lower ones stale.
constexpr Duration kBrokerAheadMax = std::chrono::minutes(5);
// Cars that did not come back, said in one step: other input gets its turn.
constexpr size_t kGivenUpPerStepMax = 500;

}  // namespace

Links::Links(const Limits& limits, Counters& counters) : limits_(limits), counters_(counters) {}

void Links::Load(const storage::PresenceRecord& record) {
  v1::Presence presence;
  if (!presence.ParseFromString(record.payload)) {
    ++counters_.refused[v1::REASON_MALFORMED];
    return;
  }
  cars_[record.ref] = Link{presence.online(),
                           presence.session(),
                           presence.broker_started_at_ms(),
                           presence.since_ms(),
                           {},
                           0,
                           ++last_visit_,
                           presence.ended().ended_at_ms()};
  if (presence.online()) {
    online_.insert(record.ref);
  } else {
    online_.erase(record.ref);
  }
  Newest(presence.broker()) = std::max(Newest(presence.broker()), presence.broker_started_at_ms());
}

// Bounded: of so many brokers none is known, and none of their words are stale.
uint64_t& Links::Newest(const std::string& broker) {
  constexpr size_t kBrokersMax = 16;
  if (newest_started_at_ms_.size() >= kBrokersMax && !newest_started_at_ms_.contains(broker)) {
    newest_started_at_ms_.clear();
  }
  return newest_started_at_ms_[broker];
}

LinkChange Links::Arrived(const CarRef& ref, const std::string& payload, const Now& now,
                          Effects& out, v1::Presence* in_force) {
  v1::Presence presence;
  if (payload.size() > RuleOf(TopicKind::kPresence).payload_bytes_max ||
      !presence.ParseFromString(payload) || presence.broker_started_at_ms() == 0) {
    ++counters_.refused[v1::REASON_MALFORMED];
    return LinkChange::kNone;
  }
  const uint64_t started = presence.broker_started_at_ms();
  const auto latest_possible =
      static_cast<uint64_t>(std::max<int64_t>(0, (now.wall + kBrokerAheadMax).ms));
  uint64_t& newest = Newest(presence.broker());
  if (started < newest && newest <= latest_possible) {
    ++counters_.refused[v1::REASON_OLDER_VERSION];
    return LinkChange::kNone;
  }
  newest = started;
  auto car = cars_.find(ref);
  if (car == cars_.end()) {
    if (cars_.size() >= limits_.cars_max) {
      ++counters_.refused[v1::REASON_FULL];
      return LinkChange::kNone;
    }
    car = cars_.try_emplace(ref).first;
  }
  Link& link = car->second;
  const Link before = link;
  link = Link{presence.online(), presence.session(), started,      presence.since_ms(),
              before.changed_at, broker_session_,    before.visit, presence.ended().ended_at_ms()};
  if (in_force != nullptr) {
    *in_force = presence;
  }
  const bool same_visit = before.session == link.session &&
                          before.broker_started_at_ms == started &&
                          before.since_ms == link.since_ms;
  if (before.seen == 0) {
    link.changed_at = now.mono;  // read from the store: what this clock knows of it begins here
  }
  if (before.online == link.online && same_visit) {
    if (before.ended_at_ms != link.ended_at_ms) {
      // An older connection of the car has ended meanwhile: what is kept of it is kept once.
      out.emplace_back(Write{storage::PresenceRecord{ref, now.wall, payload}, false});
    }
    return link.online && before.seen != broker_session_ ? LinkChange::kShown : LinkChange::kNone;
  }
  if (!same_visit) {
    link.visit = ++last_visit_;
  }
  link.changed_at = now.mono;
  if (!link.online && presence.reason() == v1::OFFLINE_REASON_BROKER_RESTART && before.visit != 0) {
    // Nothing new of a car that was away before the broker's restart.
    if (before.online || awaited_.contains(ref)) {
      Await(ref, payload, now);
    }
    online_.erase(ref);
    return before.online ? LinkChange::kOffline : LinkChange::kNone;
  }
  AwaitNoMore(ref);
  out.emplace_back(Write{storage::PresenceRecord{ref, now.wall, payload}, false});
  if (link.online) {
    online_.insert(ref);
    return before.online ? LinkChange::kReconnected : LinkChange::kOnline;
  }
  online_.erase(ref);
  return before.online ? LinkChange::kOffline : LinkChange::kNone;
}

bool Links::Reachable(const CarRef& ref) const {
  const auto car = cars_.find(ref);
  return car != cars_.end() && car->second.online && car->second.seen == broker_session_;
}

Duration Links::AwayFor(const CarRef& ref, Instant now) const {
  const auto car = cars_.find(ref);
  if (car == cars_.end() || car->second.online || car->second.seen != broker_session_ ||
      broker_session_ == 0 || newest_started_at_ms_.size() > 1) {
    return Duration(0);
  }
  return now - car->second.changed_at;
}

uint64_t Links::VisitOf(const CarRef& ref) const {
  const auto car = cars_.find(ref);
  return car == cars_.end() ? 0 : car->second.visit;
}

void Links::See(const Links& other) {
  cars_ = other.cars_;
  online_ = other.online_;
  newest_started_at_ms_ = other.newest_started_at_ms_;
  broker_session_ = other.broker_session_;
  last_visit_ = other.last_visit_;
}

void Links::BrokerUp() {
  ++broker_session_;
}

void Links::BrokerKept(const Now& now) {
  ++broker_session_;
  for (auto& [ref, link] : cars_) {
    link.seen = broker_session_;
    link.changed_at = now.mono;
  }
}

void Links::Await(const CarRef& ref, std::string offline, const Now& now) {
  const auto [car, added] =
      awaited_.try_emplace(ref, Awaited{now.mono + limits_.presence_grace, {}});
  car->second.offline = std::move(offline);
  if (added) {
    awaited_until_.insert({car->second.until, ref});
  }
}

void Links::AwaitNoMore(const CarRef& ref) {
  const auto car = awaited_.find(ref);
  if (car != awaited_.end()) {
    awaited_until_.erase({car->second.until, ref});
    awaited_.erase(car);
  }
}

void Links::Forget(const CarRef& ref) {
  AwaitNoMore(ref);
  online_.erase(ref);
  cars_.erase(ref);
}

void Links::Passes(const Now& now, Effects& out) {
  for (size_t i = 0; i < kGivenUpPerStepMax && !awaited_until_.empty() &&
                     awaited_until_.begin()->first <= now.mono;
       ++i) {
    const CarRef ref = awaited_until_.begin()->second;
    out.emplace_back(
        Write{storage::PresenceRecord{ref, now.wall, awaited_.at(ref).offline}, false});
    AwaitNoMore(ref);
  }
}

std::optional<Instant> Links::NextDeadline() const {
  return awaited_until_.empty() ? std::nullopt
                                : std::optional<Instant>(awaited_until_.begin()->first);
}

std::vector<CarRef> Links::DropUnseen(const Now& now) {
  std::vector<CarRef> dropped;
  for (const CarRef& ref : online_) {
    Link& link = cars_.at(ref);
    if (link.seen != broker_session_) {
      // The same word said later counts as online again: it differs in `online`.
      link.online = false;
      dropped.push_back(ref);
      v1::Presence offline;
      offline.set_since_ms(static_cast<uint64_t>(std::max<int64_t>(0, now.wall.ms)));
      offline.set_reason(v1::OFFLINE_REASON_BROKER_RESTART);
      offline.set_session(link.session);
      offline.set_broker_started_at_ms(link.broker_started_at_ms);
      Await(ref, offline.SerializeAsString(), now);
    }
  }
  for (const CarRef& ref : dropped) {
    online_.erase(ref);
  }
  return dropped;
}

void Links::CheckInvariants() const {
  LK_ASSERT(cars_.size() <= limits_.cars_max);
  size_t online = 0;
  for (const auto& [ref, link] : cars_) {
    LK_ASSERT(link.online == Online(ref));
    LK_ASSERT(link.seen <= broker_session_);
    online += link.online ? 1 : 0;
  }
  LK_ASSERT(online == online_.size());
  LK_ASSERT(awaited_.size() == awaited_until_.size());
  for (const auto& [ref, awaited] : awaited_) {
    LK_ASSERT(!Online(ref));
  }
}

}  // namespace latchkey::bridge
