// What is kept of sessions, as stories of presence.
#include "bridge/core/sessions.h"

#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/core/story.h"
#include "proto/area.h"

namespace latchkey::bridge {
namespace {

struct Desk {
  explicit Desk(const Limits& given = {}) : limits(given) {}

  // The broker's plugin says: online since `since`, or offline.
  void Says(bool online, uint64_t since, const v1::EndedSession& ended = {}) {
    v1::Presence presence;
    presence.set_online(online);
    presence.set_since_ms(since);
    presence.set_broker_started_at_ms(broker);
    if (ended.began_at_ms() != 0) {
      *presence.mutable_ended() = ended;
    }
    Told(presence);
  }

  void Told(const v1::Presence& presence) {
    last = presence;
    Effects out;
    sessions.Told(ref, presence, now, out);
    sessions.CheckInvariants();
    Take(out);
  }

  void Take(const Effects& out) {
    for (const Effect& effect : out) {
      const auto& change = std::get<Write>(effect).change;
      if (const auto* record = std::get_if<storage::SessionRecord>(&change)) {
        v1::Session session;
        REQUIRE(session.ParseFromString(record->payload));
        CHECK(record->began_at.ms == static_cast<int64_t>(session.began_at_ms()));
        kept.push_back(session);
      } else {
        erased.push_back(std::get<storage::EraseSessions>(change));
      }
    }
  }

  static v1::EndedSession Ended(uint64_t began, uint64_t ended, v1::OfflineReason reason) {
    v1::EndedSession session;
    session.set_session(1);
    session.set_began_at_ms(began);
    session.set_ended_at_ms(ended);
    session.set_reason(reason);
    session.set_messages_from_car(12);
    session.set_silence_at_end_ms(77);
    return session;
  }

  void Link(const std::string& radio, const std::string& network, float dbm) {
    v1::StateGroup state;
    state.set_observed_at_ms(kStart);
    state.mutable_link()->mutable_radio()->set_value(radio);
    state.mutable_link()->mutable_network()->set_value(network);
    state.mutable_link()->mutable_signal()->set_value(dbm);
    sessions.Saw(ref, Group::kLink, state.SerializeAsString(), now);
  }

  void Area(const std::string& cell) {
    v1::StateGroup state;
    state.set_observed_at_ms(kStart);
    state.mutable_area();
    if (!cell.empty()) {
      state.mutable_area()->mutable_cell()->set_value(cell);
    }
    sessions.Saw(ref, Group::kArea, state.SerializeAsString(), now);
  }

  static constexpr uint64_t kStart = static_cast<uint64_t>(kStoryStart.ms);

  Limits limits;
  Counters counters;
  CarSessions sessions{limits, counters};
  CarRef ref = RefOf("car1");
  Now now{kStoryStart + 1h, Instant{1000}};
  uint64_t broker = kStart;
  v1::Presence last;
  std::vector<v1::Session> kept;
  std::vector<storage::EraseSessions> erased;
};

constexpr uint64_t kT = Desk::kStart;
const std::string kMunich = AreaOf(48.1374, 11.5755);
const std::string kBerlin = AreaOf(52.52, 13.405);

TEST_CASE("sessions: a session is kept at its end with what the plugin counted and the car said") {
  Desk s;
  s.Says(true, kT + 1000);
  s.Link("LTE", "north", -90);
  s.Area(kMunich);
  s.Link("UMTS", "north", -101);
  s.Link("LTE", "north", -80);
  s.now = {s.now.wall + 3s, s.now.mono + 3s};
  s.Area(kBerlin);
  s.now = {s.now.wall + 5s, s.now.mono + 5s};
  CHECK(s.kept.empty());
  s.Says(false, kT + 9000, Desk::Ended(kT + 1000, kT + 9000, v1::OFFLINE_REASON_TIMED_OUT));
  REQUIRE(s.kept.size() == 1);
  const v1::Session& kept = s.kept[0];
  CHECK(kept.ended_at_ms() == kT + 9000);
  CHECK(kept.reason() == v1::OFFLINE_REASON_TIMED_OUT);
  CHECK(kept.messages_from_car() == 12);
  CHECK(kept.silence_at_end_ms() == 77);
  CHECK(kept.radio() == "LTE");
  CHECK(kept.network() == "north");
  CHECK(kept.signal_dbm_min() == -101);
  CHECK(kept.area_at_begin() == kMunich);
  CHECK(kept.area_at_end() == kBerlin);
  REQUIRE(kept.stays_size() == 2);
  CHECK(kept.stays(0).area() == kMunich);
  CHECK(kept.stays(0).online_ms() == 3000);
  CHECK(kept.stays(1).area() == kBerlin);
  CHECK(kept.stays(1).online_ms() == 5000);
  CHECK(s.counters.sessions_kept == 1);
}

TEST_CASE("sessions: each end is kept once, however often the broker shows it") {
  Desk s;
  s.Says(true, kT + 1000);
  const auto ended = Desk::Ended(kT + 1000, kT + 9000, v1::OFFLINE_REASON_CONNECTION_ENDED);
  s.Says(false, kT + 9000, ended);
  s.Says(false, kT + 9000, ended);
  s.Says(true, kT + 20000, ended);
  CHECK(s.kept.size() == 1);
  // And not again after a restart of the bridge, which has kept the presence.
  CarSessions after(s.limits, s.counters);
  after.Load({s.ref, s.now.wall, s.last.SerializeAsString()});
  Effects out;
  after.Told(s.ref, s.last, s.now, out);
  CHECK(out.empty());
}

TEST_CASE("sessions: on a take-over the old session keeps what the car said in it") {
  Desk s;
  s.Says(true, kT + 1000);
  s.Link("LTE", "north", -95);
  s.Says(true, kT + 5000);
  CHECK(s.kept.empty());
  s.Says(true, kT + 5000, Desk::Ended(kT + 1000, kT + 5001, v1::OFFLINE_REASON_TAKEN_OVER));
  REQUIRE(s.kept.size() == 1);
  CHECK(s.kept[0].began_at_ms() == kT + 1000);
  CHECK(s.kept[0].signal_dbm_min() == -95);
  s.Says(false, kT + 8000, Desk::Ended(kT + 5000, kT + 8000, v1::OFFLINE_REASON_KICKED));
  REQUIRE(s.kept.size() == 2);
  CHECK(s.kept[1].signal_dbm_min() == 0);
}

TEST_CASE("sessions: a restart of the broker ends what is known, the end is not") {
  Desk s;
  s.Says(true, kT + 1000);
  s.Link("LTE", "north", -95);
  s.broker += 60000;
  s.Says(true, kT + 70000);
  REQUIRE(s.kept.size() == 1);
  CHECK(s.kept[0].reason() == v1::OFFLINE_REASON_BROKER_RESTART);
  CHECK(s.kept[0].ended_at_ms() == 0);
  CHECK(s.kept[0].network() == "north");
}

TEST_CASE("sessions: what ended while the bridge was away is kept as far as it is told") {
  Desk s;
  s.Says(true, kT + 1000);
  // Away: the car left, came, left and came.
  s.Says(true, kT + 9000, Desk::Ended(kT + 5000, kT + 8000, v1::OFFLINE_REASON_TIMED_OUT));
  REQUIRE(s.kept.size() == 1);
  CHECK(s.kept[0].began_at_ms() == kT + 5000);
  s.Says(false, kT + 12000, Desk::Ended(kT + 9000, kT + 12000, v1::OFFLINE_REASON_TIMED_OUT));
  REQUIRE(s.kept.size() == 3);
  CHECK(s.kept[1].began_at_ms() == kT + 9000);
  CHECK(s.kept[2].began_at_ms() == kT + 1000);
  CHECK(s.kept[2].ended_at_ms() == 0);
  CHECK(s.kept[2].reason() == v1::OFFLINE_REASON_UNSPECIFIED);
}

TEST_CASE("sessions: an end that comes without its session's numbers is kept without them") {
  Desk s;
  s.Says(true, kT + 1000);
  s.Says(false, kT + 5000);
  REQUIRE(s.kept.size() == 1);
  CHECK(s.kept[0].ended_at_ms() == kT + 5000);
}

TEST_CASE("sessions: a car that keeps its place to itself leaves none in its session") {
  Desk s;
  s.Says(true, kT + 1000);
  s.Area(kMunich);
  s.Area("");
  s.Says(false, kT + 9000, Desk::Ended(kT + 1000, kT + 9000, v1::OFFLINE_REASON_TIMED_OUT));
  REQUIRE(s.kept.size() == 1);
  CHECK(s.kept[0].area_at_begin().empty());
  CHECK(s.kept[0].area_at_end().empty());
  CHECK(s.kept[0].stays().empty());
}

TEST_CASE("sessions: a car that comes and goes all the time fills nothing") {
  Limits limits;
  limits.sessions_per_car_and_day = 10;
  Desk s(limits);
  const auto flap = [&s](int times) {
    for (int i = 0; i < times; ++i) {
      const auto at = static_cast<uint64_t>(s.now.wall.ms);
      s.Says(true, at);
      s.Says(false, at + 1, Desk::Ended(at, at + 1, v1::OFFLINE_REASON_CONNECTION_ENDED));
      s.now = {s.now.wall + 1s, s.now.mono + 1s};
    }
  };
  flap(50);
  CHECK(s.kept.size() == 10);
  CHECK(s.counters.sessions_left_out == 40);
  s.now = {s.now.wall + 24h, s.now.mono + 24h};
  flap(3);
  CHECK(s.kept.size() == 13);
}

TEST_CASE(
    "sessions: old ones of every car are forgotten within a day, none are kept when told so") {
  Desk s;
  for (int i = 0; i < 3000; ++i) {
    s.ref = RefOf("car" + std::to_string(i));
    s.Says(true, kT + 1000);
  }
  std::set<CarRef> cars;
  for (int minute = 0; minute < 1440; ++minute) {
    s.now = {s.now.wall + 1min, s.now.mono + 1min};
    Effects out;
    s.sessions.Passes(s.now, out);
    CHECK(out.size() <= 3);
    s.Take(out);
  }
  for (const storage::EraseSessions& each : s.erased) {
    CHECK(each.before < s.now.wall - 24h * 29);
    cars.insert(each.ref);
  }
  CHECK(cars.size() == 3000);

  Limits none;
  none.sessions_kept = Duration(0);
  Desk off(none);
  off.Says(true, kT + 1000);
  off.Says(false, kT + 5000);
  CHECK(off.kept.empty());
}

TEST_CASE("sessions: the bridge keeps them with the presence they end") {
  Story s;
  s.CarConnects();
  s.Passes(5s);
  s.CarLeaves();
  REQUIRE(s.store.sessions.size() == 1);
  v1::Session session;
  REQUIRE(session.ParseFromString(s.store.sessions[0].payload));
  CHECK(session.ended_at_ms() - session.began_at_ms() == 5000);
}

}  // namespace
}  // namespace latchkey::bridge
