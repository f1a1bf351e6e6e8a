// See sessions.h.
#include "bridge/core/sessions.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "proto/state.h"
#include "proto/wire.h"

namespace latchkey::bridge {

namespace {

constexpr Duration kDay = std::chrono::hours(24);
constexpr Duration kSweepEvery = std::chrono::minutes(1);
constexpr size_t kMinutesPerDay = 1440;

}  // namespace

void CarSessions::Load(const storage::PresenceRecord& record) {
  v1::Presence presence;
  if (!presence.ParseFromString(record.payload)) {
    return;  // Links counts it
  }
  Car& car = cars_[record.ref];
  car.visit = Visit();
  car.broker_started_at_ms = presence.broker_started_at_ms();
  car.ended_began_at_ms = presence.ended().began_at_ms();
  car.ended_at_ms = presence.ended().ended_at_ms();
  if (presence.online()) {
    car.visit.began_at_ms = presence.since_ms();
    car.visit.address_kind = presence.address_kind();
  }
}

v1::Session CarSessions::SessionOf(const v1::EndedSession& ended, const Car& car,
                                   const Visit* visit) {
  v1::Session session;
  session.set_began_at_ms(ended.began_at_ms());
  session.set_ended_at_ms(ended.ended_at_ms());
  session.set_reason(ended.reason());
  session.set_address_kind(ended.address_kind());
  session.set_messages_from_car(ended.messages_from_car());
  session.set_bytes_from_car(ended.bytes_from_car());
  session.set_messages_to_car(ended.messages_to_car());
  session.set_bytes_to_car(ended.bytes_to_car());
  session.set_longest_silence_ms(ended.longest_silence_ms());
  session.set_silence_at_end_ms(ended.silence_at_end_ms());
  session.set_keep_alive_s(ended.keep_alive_s());
  if (visit != nullptr) {
    session.set_radio(car.radio);
    session.set_network(car.network);
    session.set_signal_dbm_min(visit->signal_dbm_min);
    session.set_area_at_begin(visit->area_at_begin);
    session.set_area_at_end(car.area);
    for (const auto& [area, time] : visit->stays) {
      v1::AreaStay& stay = *session.add_stays();
      stay.set_area(area);
      stay.set_online_ms(static_cast<uint64_t>(time.count()));
    }
  }
  return session;
}

void CarSessions::Keep(const CarRef& ref, Car& car, const v1::Session& session, const Now& now,
                       Effects& out) {
  const std::optional<Timestamp> began = TimeFromWire(session.began_at_ms());
  if (limits_.sessions_kept <= Duration(0) || !began || *began < now.wall - limits_.sessions_kept) {
    return;
  }
  if (now.wall - car.day >= kDay || now.wall < car.day) {
    car.day = now.wall;
    car.kept_in_day = 0;
  }
  if (car.kept_in_day >= limits_.sessions_per_car_and_day) {
    ++counters_.sessions_left_out;
    return;
  }
  ++car.kept_in_day;
  ++counters_.sessions_kept;
  out.emplace_back(Write{storage::SessionRecord{ref, *began, session.SerializeAsString()}, false});
}

// A session of which the plugin has told the end.
void CarSessions::End(const CarRef& ref, Car& car, const v1::EndedSession& ended, const Now& now,
                      Effects& out) {
  if (ended.began_at_ms() == 0 ||
      (ended.began_at_ms() == car.ended_began_at_ms && ended.ended_at_ms() == car.ended_at_ms)) {
    return;
  }
  car.ended_began_at_ms = ended.began_at_ms();
  car.ended_at_ms = ended.ended_at_ms();
  Visit* visit = nullptr;
  for (Visit* each : {&car.visit, &car.before}) {
    if (each->began_at_ms == ended.began_at_ms()) {
      visit = each;
    }
  }
  Keep(ref, car, SessionOf(ended, car, visit), now, out);
  if (visit != nullptr) {
    *visit = Visit{};
  }
}

// A session that is over; nobody told how it went.
void CarSessions::EndUntold(const CarRef& ref, Car& car, Visit& visit, v1::EndedSession ended,
                            const Now& now, Effects& out) {
  if (visit.began_at_ms != 0) {
    ended.set_began_at_ms(visit.began_at_ms);
    ended.set_address_kind(visit.address_kind);
    Keep(ref, car, SessionOf(ended, car, &visit), now, out);
    visit = Visit{};
  }
}

void CarSessions::Told(const CarRef& ref, const v1::Presence& presence, const Now& now,
                       Effects& out) {
  Car& car = cars_[ref];
  AddStay(car, now.mono);
  v1::EndedSession untold;
  if (car.broker_started_at_ms != presence.broker_started_at_ms()) {
    car.broker_started_at_ms = presence.broker_started_at_ms();
    untold.set_reason(v1::OFFLINE_REASON_BROKER_RESTART);
    EndUntold(ref, car, car.before, untold, now, out);
    EndUntold(ref, car, car.visit, untold, now, out);
  }
  if (presence.has_ended()) {
    End(ref, car, presence.ended(), now, out);
  }
  untold.set_reason(v1::OFFLINE_REASON_UNSPECIFIED);
  if (!presence.online()) {
    EndUntold(ref, car, car.before, untold, now, out);
    untold.set_reason(presence.reason());
    untold.set_ended_at_ms(presence.since_ms());
    EndUntold(ref, car, car.visit, untold, now, out);
    return;
  }
  if (presence.since_ms() == car.visit.began_at_ms) {
    return;
  }
  EndUntold(ref, car, car.before, untold, now, out);
  car.before = std::exchange(
      car.visit, Visit{presence.since_ms(), presence.address_kind(), 0, car.area, {}, now.mono});
}

void CarSessions::SawLink(Car& car, const v1::Link& link) {
  car.radio = link.radio().value();
  car.network = link.network().value();
  if (car.visit.began_at_ms != 0 && link.has_signal()) {
    const int dbm = static_cast<int>(std::lround(link.signal().value()));
    car.visit.signal_dbm_min =
        car.visit.signal_dbm_min == 0 ? dbm : std::min(car.visit.signal_dbm_min, dbm);
  }
}

// Time since the last call was spent in car.area.
void CarSessions::AddStay(Car& car, Instant now) {
  Visit& visit = car.visit;
  const Duration time = std::max(Duration(0), now - visit.in_area_since);
  visit.in_area_since = now;
  if (visit.began_at_ms != 0 && !car.area.empty() &&
      (visit.stays.size() < kStaysMax || visit.stays.contains(car.area))) {
    visit.stays[car.area] += time;
  }
}

// A car that keeps its place to itself says none: what was known of this session is forgotten.
void CarSessions::SawArea(Car& car, const v1::Area& area, Instant now) {
  AddStay(car, now);
  car.area = area.cell().value();
  if (car.area.empty() || car.visit.area_at_begin.empty()) {
    car.visit.area_at_begin = car.area;
  }
  if (car.area.empty()) {
    car.visit.stays.clear();
    car.before.stays.clear();
    car.before.area_at_begin.clear();
  }
}

void CarSessions::Saw(const CarRef& ref, Group group, std::string_view payload, const Now& now) {
  if (group != Group::kLink && group != Group::kArea) {
    return;
  }
  const auto car = cars_.find(ref);
  const Result<v1::StateGroup> state =
      car == cars_.end() ? Fail(v1::REASON_MALFORMED, "") : ParseState(payload, group);
  if (!state) {
    return;
  }
  if (group == Group::kLink) {
    SawLink(car->second, state->link());
  } else {
    SawArea(car->second, state->area(), now.mono);
  }
}

void CarSessions::Passes(const Now& now, Effects& out) {
  if (!sweep_at_) {
    sweep_at_ = now.mono + kSweepEvery;
  }
  if (now.mono < *sweep_at_) {
    return;
  }
  sweep_at_ = now.mono + kSweepEvery;
  auto car = swept_ ? cars_.upper_bound(*swept_) : cars_.begin();
  const size_t most = cars_.size() / kMinutesPerDay + 1;
  for (size_t i = 0; i < most && car != cars_.end(); ++i, ++car) {
    const Timestamp before = now.wall - limits_.sessions_kept;
    if (before > Timestamp{0}) {
      out.emplace_back(Write{storage::EraseSessions{car->first, before}, false});
    }
    swept_ = car->first;
  }
  if (car == cars_.end()) {
    swept_.reset();
  }
}

void CarSessions::CheckInvariants() const {
  LK_ASSERT(cars_.size() <= limits_.cars_max);
  for (const auto& [ref, car] : cars_) {
    LK_ASSERT(car.kept_in_day <= limits_.sessions_per_car_and_day);
  }
}

}  // namespace latchkey::bridge
