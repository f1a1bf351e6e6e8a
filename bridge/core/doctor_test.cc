// The doctor against link histories whose cause is known: fleets of cars made from a seed, each
// with one cause and the noise that every car has. How often the verdict is right is printed and
// held above a floor for each cause.
#include "bridge/core/doctor.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace latchkey::bridge {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;

constexpr Timestamp kEnd{1'760'000'000'000};
constexpr Duration kWeek = std::chrono::hours(24 * 7);
const Window kWindow{kEnd + -kWeek, kEnd};

CarRef Ref(const std::string& car) {
  return {FleetId::Parse("f").value(), CarId::Parse(car).value()};
}

// One car's week. Every car moves among places that are its own habit: home, work and the roads
// between; some have two networks. Drops come at a rate that the cause decides for each moment.
class Life {
 public:
  struct Causes {
    double unit = 0;                // drops an hour online, wherever it is
    double at_bad_cells = 0;        // where the cell's name begins with 'b'
    double on_bad_network = 0;      // on "south"
    bool sleeps = false;            // rests whenever it is parked
    std::vector<Timestamp> server;  // the broker ends every session
    double noise_per_day = 1;       // anybody's drops
    Timestamp begins = kWindow.since;
  };

  Life(uint64_t seed, Causes causes) : random_(seed), causes_(std::move(causes)) {}

  // "south" alone, or roaming between networks.
  void Networks(std::vector<std::string> networks) { networks_ = std::move(networks); }

  // Cells of its roads; those that begin with 'b' are bad.
  void Roads(std::vector<std::string> roads) { roads_ = std::move(roads); }

  void Home(const std::string& cell) { home_ = cell; }

  LinkHistory Live(const CarRef& ref) {
    history_.ref = ref;
    Timestamp now = causes_.begins;
    Connect(now, home_);
    while (now < kWindow.until) {
      // Parked for some hours, then a drive of up to an hour and a half.
      const Duration parked = 2h + Upto(8h);
      now = Stay(now, std::min(now + parked, kWindow.until), home_);
      const std::string network = networks_[Pick(networks_.size())];
      network_ = network;
      const size_t legs = 2 + Pick(6);
      for (size_t leg = 0; leg < legs && now < kWindow.until; ++leg) {
        now =
            Be(now, std::min(now + 4min + Upto(12min), kWindow.until), roads_[Pick(roads_.size())]);
      }
    }
    if (online_) {
      history_.online_since = began_;
    }
    return history_;
  }

 private:
  size_t Pick(size_t count) { return static_cast<size_t>(random_() % count); }

  Duration Upto(Duration most) {
    return Duration(static_cast<int64_t>(random_() % static_cast<uint64_t>(most.count())));
  }

  // When the next drop comes, at so many an hour.
  Duration NextDrop(double per_hour) {
    const double unit = (static_cast<double>(random_() >> 11U) + 1) / 9007199254740993.0;
    return per_hour <= 0 ? kWeek * 10
                         : Duration(static_cast<int64_t>(-std::log(unit) / per_hour * 3'600'000));
  }

  double DropsPerHour(const std::string& cell) const {
    double rate = causes_.unit + causes_.noise_per_day / 24;
    rate += cell.front() == 'b' ? causes_.at_bad_cells : 0;
    rate += network_ == "south" ? causes_.on_bad_network : 0;
    return rate;
  }

  void Connect(Timestamp at, const std::string& cell) {
    online_ = true;
    began_ = at;
    began_in_ = cell;
  }

  void Disconnect(Timestamp at, const std::string& cell, v1::OfflineReason reason) {
    v1::Session session;
    session.set_began_at_ms(static_cast<uint64_t>(began_.ms));
    const bool known = reason != v1::OFFLINE_REASON_BROKER_RESTART;
    session.set_ended_at_ms(known ? static_cast<uint64_t>(at.ms) : 0);
    session.set_reason(reason);
    session.set_network(network_);
    session.set_area_at_begin(began_in_);
    session.set_area_at_end(cell);
    const int weak = cell.front() == 'b' ? 20 : 0;
    session.set_signal_dbm_min(-75 - weak - static_cast<int>(Pick(15)));
    for (const auto& [area, time] : stays_) {
      v1::AreaStay& stay = *session.add_stays();
      stay.set_area(area);
      stay.set_online_ms(static_cast<uint64_t>(time.count()));
    }
    stays_.clear();
    history_.sessions.push_back(std::move(session));
    online_ = false;
  }

  v1::OfflineReason HowLost() {
    const std::array<v1::OfflineReason, 3> ways = {v1::OFFLINE_REASON_TIMED_OUT,
                                                   v1::OFFLINE_REASON_TAKEN_OVER,
                                                   v1::OFFLINE_REASON_CONNECTION_ENDED};
    return ways[Pick(10) < 7 ? 0 : 1 + Pick(2)];
  }

  // Parked: a car that sleeps leaves after some minutes and is back when it drives off, with a look
  // around now and then.
  Timestamp Stay(Timestamp now, Timestamp until, const std::string& cell) {
    if (!causes_.sleeps || until - now < 1h) {
      return Be(now, until, cell);
    }
    now = Be(now, now + 5min + Upto(5min), cell);
    if (online_) {
      Disconnect(now, cell,
                 Pick(2) == 0 ? v1::OFFLINE_REASON_TIMED_OUT : v1::OFFLINE_REASON_CONNECTION_ENDED);
    }
    Connect(until, cell);
    return until;
  }

  Timestamp Be(Timestamp now, Timestamp until, const std::string& cell) {
    while (now < until) {
      Timestamp next = std::min(until, now + NextDrop(DropsPerHour(cell)));
      const auto server = std::find_if(causes_.server.begin(), causes_.server.end(),
                                       [&](Timestamp at) { return at > now && at <= next; });
      const bool by_server = server != causes_.server.end();
      if (by_server) {
        next = *server;
      }
      if (online_) {
        stays_[cell] += next - now;
      }
      if (!by_server && next >= until) {
        return until;
      }
      if (online_) {
        // A crash of the broker, or its machine cut off for a moment.
        const bool crash = by_server && server->ms % 2 == 0;
        Disconnect(next, cell,
                   crash       ? v1::OFFLINE_REASON_BROKER_RESTART
                   : by_server ? v1::OFFLINE_REASON_CONNECTION_ENDED
                               : HowLost());
      }
      // Back within seconds; from a hole in the coverage it takes minutes.
      now = next + 1s + Upto(cell.front() == 'b' ? Duration(4min) : Duration(40s));
      Connect(now, cell);
    }
    return std::max(now, until);
  }

  std::mt19937_64 random_;
  Causes causes_;
  std::vector<std::string> networks_ = {"north"};
  std::vector<std::string> roads_ = {"u2ed1", "u2ed2", "u2ed3"};
  std::string home_ = "u2edk";
  LinkHistory history_;
  bool online_ = false;
  Timestamp began_;
  std::string began_in_;
  std::map<std::string, Duration> stays_;
  std::string network_ = "north";
};

struct Case {
  Diagnosis truth = Diagnosis::kHealthy;
  LinkHistory history;
};

// A fleet of 60 cars: most are healthy, some have a cause of their own, and what is the matter with
// its server or operator is the matter with all it concerns.
class FleetMaker {
 public:
  explicit FleetMaker(uint64_t seed) : random_(seed) {}

  std::vector<Case> Make() {
    std::vector<Case> cases;
    const bool bad_operator = random_() % 2 == 0;
    const bool bad_server = random_() % 3 == 0;
    std::vector<Timestamp> restarts;
    const size_t count = bad_server ? 4 + random_() % 6 : random_() % 2;
    for (size_t i = 0; i < count; ++i) {
      restarts.push_back(kWindow.since + Duration(static_cast<int64_t>(
                                             random_() % static_cast<uint64_t>(kWeek.count()))));
    }
    std::sort(restarts.begin(), restarts.end());
    for (int i = 0; i < 60; ++i) {
      cases.push_back(OneCar(i, restarts, bad_server, bad_operator));
    }
    return cases;
  }

 private:
  double Between(double low, double high) {
    return low + (high - low) * static_cast<double>(random_() % 1000) / 1000;
  }

  Case OneCar(int number, const std::vector<Timestamp>& restarts, bool bad_server,
              bool bad_operator) {
    Life::Causes causes;
    causes.server = restarts;
    causes.noise_per_day = Between(0.2, 3);
    std::vector<std::string> networks = {random_() % 2 == 0 ? "north" : "west"};
    std::vector<std::string> roads;
    for (int i = 0; i < 6; ++i) {
      roads.push_back("u2e" + std::to_string(random_() % 40));
    }
    std::string home = "u2h" + std::to_string(random_() % 20);
    Diagnosis truth = bad_server ? Diagnosis::kServerSide : Diagnosis::kHealthy;
    const uint64_t dice = random_() % 100;
    if (dice < 12) {
      truth = Diagnosis::kBadUnit;
      causes.unit = Between(0.6, 6);
    } else if (dice < 24) {
      truth = Diagnosis::kBadCoverage;
      causes.at_bad_cells = Between(4, 20);
      roads[0] = "b" + std::to_string(random_() % 6);
      roads[1] = "b" + std::to_string(random_() % 6);
    } else if (dice < 30) {
      truth = Diagnosis::kBadCoverage;  // where it stands at night
      causes.at_bad_cells = Between(0.8, 4);
      home = "bh" + std::to_string(random_() % 2);
    } else if (dice < 42 && bad_operator) {
      truth = Diagnosis::kBadNetwork;
      networks = {"south"};
    } else if (dice < 48) {
      truth = Diagnosis::kBadNetwork;  // alone: its card roams badly on one of two
      networks = {"north", "south"};
      causes.on_bad_network = Between(1.5, 6);
    } else if (dice < 60 && !bad_server) {
      truth = Diagnosis::kPowerSave;
      causes.sleeps = true;
    } else if (dice < 66) {
      truth = Diagnosis::kNotEnoughData;
      causes.begins = kWindow.until + -Duration(static_cast<int64_t>(Between(1, 23) * 3'600'000));
    }
    if (truth == Diagnosis::kBadNetwork && networks.size() == 1) {
      causes.on_bad_network = Between(1.5, 5);
    }
    Life life(random_(), causes);
    life.Networks(networks);
    life.Roads(roads);
    life.Home(home);
    return {truth, life.Live(Ref("c" + std::to_string(number)))};
  }

  std::mt19937_64 random_;
};

LinkReport ExamineAlone(const LinkHistory& car) {
  FleetLinks links(kWindow);
  links.CountEnds(car);
  links.Weigh(car);
  return links.Examine(car);
}

TEST_CASE("doctor: the verdict is right about causes that are known") {
  std::array<std::array<int, kDiagnosisCount>, kDiagnosisCount> table{};
  std::vector<std::string> wrong;
  for (uint64_t seed = 1001; seed <= 1060; ++seed) {
    const std::vector<Case> cases = FleetMaker(seed).Make();
    FleetLinks links(kWindow);
    for (const Case& each : cases) {
      links.CountEnds(each.history);
    }
    for (const Case& each : cases) {
      links.Weigh(each.history);
    }
    for (const Case& each : cases) {
      const LinkReport report = links.Examine(each.history);
      ++table[static_cast<size_t>(each.truth)][static_cast<size_t>(report.diagnosis)];
      if (report.diagnosis != each.truth && wrong.size() < 12) {
        wrong.push_back(std::to_string(seed) + " " + each.history.ref.car.str() + " is " +
                        std::string(ToText(each.truth)) + ", said " +
                        std::string(ToText(report.diagnosis)) + ": " + report.words);
      }
    }
  }
  std::printf("%-16s", "truth \\ verdict");
  for (size_t said = 0; said < kDiagnosisCount; ++said) {
    std::printf(" %15s", std::string(ToText(static_cast<Diagnosis>(said))).c_str());
  }
  std::printf("    right\n");
  for (size_t truth = 0; truth < kDiagnosisCount; ++truth) {
    int all = 0;
    const std::string name(ToText(static_cast<Diagnosis>(truth)));
    std::printf("%-16s", name.c_str());
    for (const int count : table[truth]) {
      std::printf(" %15d", count);
      all += count;
    }
    const double right = all == 0 ? 0 : 100.0 * table[truth][truth] / all;
    std::printf("  %5.1f %%\n", right);
    CAPTURE(name);
    CHECK(all >= 100);
    CHECK(right >= 90);
  }
  for (const std::string& line : wrong) {
    std::printf("  %s\n", line.c_str());
  }
}

TEST_CASE("doctor: says in words what it rests on") {
  Life::Causes causes;
  causes.unit = 1;
  causes.noise_per_day = 0;
  const LinkReport report = ExamineAlone(Life(7, causes).Live(Ref("c1")));
  CHECK(report.diagnosis == Diagnosis::kBadUnit);
  CHECK(report.words.rfind("online ", 0) == 0);
  CHECK(report.words.find(std::to_string(report.drops) + " drops (") != std::string::npos);
  CHECK(report.words.find("% keep-alive time-outs") != std::string::npos);
  CHECK(report.words.find("suspect the unit or its SIM card, not the coverage") !=
        std::string::npos);
  CHECK(report.drops == report.sessions - report.rests - report.server_ends);
}

TEST_CASE("doctor: names the cells where a car drops") {
  Life::Causes causes;
  causes.at_bad_cells = 12;
  causes.noise_per_day = 0;
  Life life(3, causes);
  life.Roads({"b1", "u2ed2", "u2ed3", "u2ed4"});
  const LinkReport report = ExamineAlone(life.Live(Ref("c1")));
  CHECK(report.diagnosis == Diagnosis::kBadCoverage);
  CHECK(report.words.find("(b1)") != std::string::npos);
  REQUIRE_FALSE(report.areas.empty());
  CHECK(report.areas[0].name == "b1");
}

TEST_CASE("doctor: a car that has been online all the time is healthy, a new one is not judged") {
  CHECK(ExamineAlone({Ref("c1"), {}, kEnd + -30h}).diagnosis == Diagnosis::kHealthy);
  CHECK(ExamineAlone({Ref("c1"), {}, kEnd + -3h}).diagnosis == Diagnosis::kNotEnoughData);
  CHECK(ExamineAlone({Ref("c1"), {}, std::nullopt}).diagnosis == Diagnosis::kNotEnoughData);
}

TEST_CASE("doctor: times that cannot be do no harm") {
  LinkHistory car{Ref("c1"), {}, kEnd + 5h};
  for (const uint64_t began : {uint64_t{0}, uint64_t{1}, static_cast<uint64_t>(kEnd.ms) + 9}) {
    v1::Session session;
    session.set_began_at_ms(began);
    session.set_ended_at_ms(began / 2);
    session.set_signal_dbm_min(-2'000'000'000);
    car.sessions.push_back(session);
  }
  const LinkReport report = ExamineAlone(car);
  CHECK(report.online >= Duration(0));
  CHECK(report.online <= report.observed);
}

}  // namespace
}  // namespace latchkey::bridge
