// The history of each car's MQTT sessions: begin, end, reason, what went by, the car's radio report
// and coarse places. Of each that ended a record is kept for Limits::sessions_kept; the doctor
// (doctor.h) reads them.
//
// What a session carried is counted by the broker's plugin and told in presence, of the last
// session that ended: after a restart of the broker, or of several that ended while the bridge was
// away, less is known. Memory: about 250 bytes a car.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "bridge/core/bridge.h"
#include "bridge/core/step.h"
#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/session.pb.h"
#include "latchkey/v1/state.pb.h"
#include "proto/types.h"

namespace latchkey::bridge {

// Cells of one session of which the time there is kept.
inline constexpr size_t kStaysMax = 16;

// Not copyable; one thread. `limits` and `counters` outlive it.
class CarSessions {
 public:
  CarSessions(const Limits& limits, Counters& counters) : limits_(limits), counters_(counters) {}

  CarSessions(const CarSessions&) = delete;
  CarSessions& operator=(const CarSessions&) = delete;

  // What was known when the bridge ended. A session that goes on is known with it.
  void Load(const storage::PresenceRecord& record);
  // A presence that is in force (Links). A session that it ends is kept.
  void Told(const CarRef& ref, const v1::Presence& presence, const Now& now, Effects& out);
  // State of groups link and area, which parses; others are of no use here.
  void Saw(const CarRef& ref, Group group, std::string_view payload, const Now& now);
  // First in every step: forgets what is too old, some cars in a minute, each once a day.
  void Passes(const Now& now, Effects& out);

  // Nothing is known of this car any more.
  void Forget(const CarRef& ref) { cars_.erase(ref); }

  void CheckInvariants() const;

 private:
  // A session that has not ended as far as is known.
  struct Visit {
    uint64_t began_at_ms = 0;  // 0: none
    v1::AddressKind address_kind = v1::ADDRESS_KIND_UNSPECIFIED;
    int signal_dbm_min = 0;  // 0: not known
    std::string area_at_begin;
    std::map<std::string, Duration> stays;  // at most kStaysMax
    Instant in_area_since;                  // of Car::area
  };

  struct Car {
    uint64_t broker_started_at_ms = 0;
    Visit visit;
    Visit before;                    // taken over by `visit`; its end is not told yet
    uint64_t ended_began_at_ms = 0;  // of the ended session that was told last
    uint64_t ended_at_ms = 0;
    std::string radio;
    std::string network;
    std::string area;  // empty: not known
    Timestamp day;     // begin of the 24 h that are counted
    uint32_t kept_in_day = 0;
  };

  void End(const CarRef& ref, Car& car, const v1::EndedSession& ended, const Now& now,
           Effects& out);
  void EndUntold(const CarRef& ref, Car& car, Visit& visit, v1::EndedSession ended, const Now& now,
                 Effects& out);
  void Keep(const CarRef& ref, Car& car, const v1::Session& session, const Now& now, Effects& out);
  static v1::Session SessionOf(const v1::EndedSession& ended, const Car& car, const Visit* visit);
  static void AddStay(Car& car, Instant now);
  static void SawLink(Car& car, const v1::Link& link);
  static void SawArea(Car& car, const v1::Area& area, Instant now);

  const Limits& limits_;
  Counters& counters_;
  std::map<CarRef, Car> cars_;
  std::optional<Instant> sweep_at_;
  std::optional<CarRef> swept_;  // the last car whose old sessions were forgotten
};

}  // namespace latchkey::bridge
