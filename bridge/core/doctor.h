// What is the matter with a car's link? From the sessions of the car and of its fleet to a verdict,
// in words, with the numbers behind it.
//
// Every end of a session is one of: a drop (the car was back soon, or the signal was gone), a rest
// (it stayed away: it sleeps), the server's doing (the broker restarted, or much of the fleet ended
// in one minute). A car that drops often is then looked at from four sides: do the drops keep to
// places (cells of about 5 km) that are a small part of where it is online, or where others drop,
// too? Do they keep to a mobile network on which others drop, too, or on which the car itself does
// better elsewhere? Was the signal nearly gone before them? If nothing of it, the unit is left, or
// its SIM card.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "latchkey/v1/session.pb.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::bridge {

enum class Diagnosis : uint8_t {
  kNotEnoughData,
  kHealthy,
  kPowerSave,
  kServerSide,
  kBadNetwork,
  kBadCoverage,
  kBadUnit,
};

inline constexpr size_t kDiagnosisCount = 7;

// "not_enough_data", "healthy", "power_save", "server_side", "bad_network", "bad_coverage",
// "bad_unit".
std::string_view ToText(Diagnosis diagnosis);

// A gap in which a car is said to rest, not to have dropped.
inline constexpr Duration kRestAtLeast = std::chrono::minutes(15);
// Up to so many drops in 24 h online, a link is fine.
inline constexpr double kDropsPerDayFine = 6;
// Nothing is said from less.
inline constexpr Duration kObservedAtLeast = std::chrono::hours(24);
inline constexpr Duration kOnlineAtLeast = std::chrono::hours(2);

// What is kept of one car's sessions, in order of their begin.
struct LinkHistory {
  CarRef ref;
  std::vector<v1::Session> sessions;
  std::optional<Timestamp> online_since;  // of the session that has not ended
};

// From when to when is looked at: since < until.
struct Window {
  Timestamp since;
  Timestamp until;
};

// Drops and time online, by place or network.
struct Share {
  std::string name;
  uint64_t drops = 0;
  Duration online{0};

  // Drops in 24 h online; 0 when never online.
  double PerDay() const;
};

struct LinkReport {
  CarRef ref;
  Diagnosis diagnosis = Diagnosis::kNotEnoughData;
  std::string words;
  Duration observed{0};  // since the first session in the window
  Duration online{0};
  uint64_t sessions = 0;
  uint64_t drops = 0;
  uint64_t timed_out = 0;   // of the drops
  uint64_t taken_over = 0;  // of the drops
  uint64_t rests = 0;
  uint64_t server_ends = 0;
  double fleet_drops_per_day = 0;  // the median car of the fleet; 0: none is known
  int signal_dbm_min = 0;          // median of the sessions' lowest; 0: not known
  std::vector<Share> areas;        // most drops first
  std::vector<Share> networks;     // most drops first

  double DropsPerDay() const;
};

// What is common to a fleet. Every car is shown to CountEnds, then every car to Weigh; then any car
// can be examined. Memory: by minutes in which sessions ended, cells and networks, and three
// numbers a car.
class FleetLinks {
 public:
  explicit FleetLinks(const Window& window) : window_(window) {}

  void CountEnds(const LinkHistory& car);
  void Weigh(const LinkHistory& car);
  LinkReport Examine(const LinkHistory& car) const;

 private:
  // What one car's sessions come to.
  struct Sums {
    LinkReport report;
    std::map<std::string, Share> areas;
    std::map<std::string, Share> networks;
    Duration rested{0};
    uint64_t drops_with_signal = 0;  // of which the lowest signal before is known
    uint64_t weak_drops = 0;         // of these: it was nearly gone
  };

  enum class End : uint8_t { kDrop, kRest, kServer, kUnknown };

  bool ServerEnded(const v1::Session& session) const;
  End EndOf(const v1::Session& session, Duration gap) const;
  Sums Add(const LinkHistory& car) const;
  void AddSession(const v1::Session& session, Timestamp next, Sums& sums) const;
  static void AddPlaces(const v1::Session& session, Duration online, uint64_t drop, Sums& sums);
  static bool AtPlaces(const Sums& sums, std::string& why);
  bool AtSharedPlaces(const Sums& sums, std::string& why) const;
  static bool AtWeakSignal(const Sums& sums, std::string& why);
  bool AsOnBadNetwork(const Sums& sums, std::string& why) const;
  bool AtNetwork(const Sums& sums, std::string& why) const;
  void Judge(Sums& sums) const;
  double MedianOn(const std::string& network, bool others, size_t& cars) const;

  Window window_;
  std::map<int64_t, size_t> ends_;  // minute -> cars of which a session ended then
  size_t cars_ = 0;
  std::map<std::string, std::vector<double>> places_;    // drops a day of each car there
  std::map<std::string, std::vector<double>> networks_;  // drops a day of each car on it
  std::vector<double> drops_per_day_;
};

}  // namespace latchkey::bridge
