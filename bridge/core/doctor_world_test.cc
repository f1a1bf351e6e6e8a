// The doctor against a small physical world, built otherwise than the lives of doctor_test.cc:
// nobody draws drops. Cars drive over a map of cells whose signal differs by operator, units crash,
// operators and brokers fail, units sleep when parked; what the broker would have told of it is
// what the doctor gets, with reports missing and a broker's clock that steps. The truth is counted:
// which cause ended most of a car's sessions.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/core/doctor.h"

namespace latchkey::bridge {
namespace {

constexpr Timestamp kEnd{1'760'000'000'000};
constexpr Duration kTick = std::chrono::seconds(15);
constexpr Duration kWeek = std::chrono::hours(24 * 7);
constexpr int64_t kTicks = kWeek / kTick;
constexpr int64_t kTicksPerDay = kTicks / 7;
constexpr int kSide = 12;  // cells of the map
constexpr int kCars = 40;
constexpr double kLostDbm = -113;  // below it nothing gets through
const Window kWindow{kEnd + -kWeek, kEnd};

Timestamp At(int64_t tick) {
  return kWindow.since + kTick * tick;
}

class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}

  double Unit() { return std::uniform_real_distribution<double>(0, 1)(random_); }

  double Between(double low, double high) { return low + (high - low) * Unit(); }

  int Pick(int count) { return static_cast<int>(Unit() * count); }

  bool Chance(double part) { return Unit() < part; }

  // Does something that comes so often an hour come in this tick?
  bool Comes(double per_hour) { return Chance(per_hour * 15 / 3600); }

  double Noise(double width) { return std::normal_distribution<double>(0, width)(random_); }

 private:
  std::mt19937_64 random_;
};

// What is common to a fleet.
struct Land {
  explicit Land(Dice& dice) {
    for (auto& cells : signal) {
      for (double& dbm : cells) {
        dbm = dice.Between(-98, -68);
      }
    }
    for (int holes = 4 + dice.Pick(6); holes > 0; --holes) {
      const auto cell = static_cast<size_t>(dice.Pick(kSide * kSide));
      const double depth = dice.Between(-119, -109);
      signal[0][cell] = depth;
      signal[1][cell] = dice.Chance(0.7) ? depth : signal[1][cell];
    }
    operator_fails[0] = dice.Chance(0.35) ? dice.Between(0.7, 3) : 0.01;
    operator_fails[1] = 0.01;
    const bool bad_server = dice.Chance(0.3);
    for (int restarts = bad_server ? 4 + dice.Pick(8) : dice.Pick(2); restarts > 0; --restarts) {
      broker_restarts.push_back(dice.Pick(static_cast<int>(kTicks)));
    }
    std::sort(broker_restarts.begin(), broker_restarts.end());
    clock_steps_at = dice.Pick(static_cast<int>(kTicks));
  }

  std::array<std::array<double, kSide * kSide>, 2> signal{};  // dBm, by operator and cell
  std::array<double, 2> operator_fails{};                     // an hour and car
  std::vector<int64_t> broker_restarts;
  int64_t clock_steps_at = 0;  // for an hour the broker's clock is half an hour ahead
};

enum Cause : size_t { kUnit, kCoverage, kOperator, kServer, kSleep, kNone, kCauses };

class Driver {
 public:
  Driver(Dice& dice, const Land& land)
      : dice_(dice), land_(land), home_(dice.Pick(kSide * kSide)), work_(dice.Pick(kSide * kSide)) {
    unit_fails_ = dice.Chance(0.15) ? dice.Between(0.5, 4) : dice.Between(0.005, 0.05);
    sleeps_ = dice.Chance(0.25);
    roams_ = dice.Chance(0.3);
    operator_ = dice.Pick(2);
    tells_radio_ = !dice.Chance(0.2);
    tells_area_ = !dice.Chance(0.15);
    begins_ =
        dice.Chance(0.06) ? kTicks - 100 - dice.Pick(static_cast<int>(kTicksPerDay) - 200) : 0;
    cell_ = home_;
  }

  void Live(const std::string& name) {
    history.ref = {FleetId::Parse("f").value(), CarId::Parse(name).value()};
    for (int64_t tick = begins_; tick < kTicks; ++tick) {
      Move(tick);
      Link(tick);
    }
    if (online_) {
      history.online_since = At(began_);
    }
  }

  // By what ended its sessions; nullopt: two causes that are about as strong.
  std::optional<Diagnosis> Truth() const {
    const double days = static_cast<double>(online_ticks_) / static_cast<double>(kTicksPerDay);
    const std::array<std::pair<size_t, Diagnosis>, 3> faults = {
        {{ends[kUnit], Diagnosis::kBadUnit},
         {ends[kCoverage], Diagnosis::kBadCoverage},
         {ends[kOperator], Diagnosis::kBadNetwork}}};
    const auto most = *std::max_element(faults.begin(), faults.end());
    size_t all = 0;
    for (const auto& [count, diagnosis] : faults) {
      all += count;
    }
    if (kTicks - begins_ < kTicksPerDay) {
      return Diagnosis::kNotEnoughData;
    }
    const double per_day = static_cast<double>(all) / std::max(days, 0.01);
    if (all >= 5 && per_day > kDropsPerDayFine) {
      const bool clear = most.first * 10 >= all * 7;
      return clear && per_day > kDropsPerDayFine * 1.3 ? std::optional(most.second) : std::nullopt;
    }
    // Few drops, but all in one hole: that it is fine is as true as that there is a hole.
    if (per_day > kDropsPerDayFine * 0.7 || (all >= 5 && ends[kCoverage] * 10 >= all * 6)) {
      return std::nullopt;
    }
    return ends[kServer] >= 3 ? Diagnosis::kServerSide
           : sleeps_          ? Diagnosis::kPowerSave
                              : Diagnosis::kHealthy;
  }

  LinkHistory history;
  std::array<size_t, kCauses> ends{};

 private:
  static std::string NameOf(int cell) { return "u2" + std::to_string(100 + cell); }

  // To work and back, and sometimes anywhere; one step over the map takes some minutes.
  void Move(int64_t tick) {
    const int64_t of_day = tick % kTicksPerDay;
    if (of_day == 0) {
      leaves_ = kTicksPerDay / 24 * 7 + dice_.Pick(240);
      returns_ = leaves_ + kTicksPerDay / 24 * (2 + dice_.Pick(8));
    }
    if (of_day == leaves_) {
      target_ = dice_.Chance(0.8) ? work_ : dice_.Pick(kSide * kSide);
    } else if (of_day == returns_) {
      target_ = home_;
    }
    if (!target_) {
      ++parked_;
      return;
    }
    parked_ = 0;
    if (tick < moves_at_) {
      return;
    }
    const int dx = *target_ % kSide - cell_ % kSide;
    const int dy = *target_ / kSide - cell_ / kSide;
    if (dx == 0 && dy == 0) {
      target_.reset();
      return;
    }
    const bool sideways = dx != 0 && (dy == 0 || dice_.Chance(0.5));
    cell_ += sideways ? (dx > 0 ? 1 : -1) : (dy > 0 ? kSide : -kSide);
    moves_at_ = tick + 12 + dice_.Pick(20);
    if (roams_ && dice_.Chance(0.1)) {
      wanted_ = dice_.Pick(2);
    }
  }

  void Link(int64_t tick) {
    const double dbm =
        land_.signal[static_cast<size_t>(operator_)][static_cast<size_t>(cell_)] + dice_.Noise(2.5);
    const bool asleep = sleeps_ && parked_ > 40 && parked_ % 1440 > 12;
    const bool restart =
        std::binary_search(land_.broker_restarts.begin(), land_.broker_restarts.end(), tick);
    if (!online_) {
      if (tick >= back_at_ && !asleep && dbm > kLostDbm + 1) {
        operator_ = wanted_.value_or(operator_);
        Connect(tick);
      }
      return;
    }
    ++online_ticks_;
    stays_[cell_] += kTick;
    signal_min_ = std::min(signal_min_, static_cast<int>(dbm));
    // The broker says so at once, or finds out by the keep alive, when the car is not back before.
    if (restart) {
      Disconnect(tick, kServer, v1::OFFLINE_REASON_BROKER_RESTART, 1 + dice_.Pick(4));
    } else if (asleep) {
      Disconnect(
          tick, kSleep,
          dice_.Chance(0.7) ? v1::OFFLINE_REASON_CONNECTION_ENDED : v1::OFFLINE_REASON_TIMED_OUT,
          4);
    } else if (dbm < kLostDbm) {
      Disconnect(tick, kCoverage, v1::OFFLINE_REASON_TIMED_OUT, 2 + dice_.Pick(8));
    } else if (dice_.Comes(unit_fails_)) {
      Disconnect(
          tick, kUnit,
          dice_.Chance(0.6) ? v1::OFFLINE_REASON_TIMED_OUT : v1::OFFLINE_REASON_CONNECTION_ENDED,
          2 + dice_.Pick(10));
    } else if (dice_.Comes(land_.operator_fails[static_cast<size_t>(operator_)])) {
      Disconnect(tick, kOperator, v1::OFFLINE_REASON_TIMED_OUT, 1 + dice_.Pick(12));
    } else if (dice_.Comes(0.02)) {
      Disconnect(tick, kNone, v1::OFFLINE_REASON_CONNECTION_ENDED, 1);
    }
  }

  void Connect(int64_t tick) {
    online_ = true;
    began_ = tick;
    began_in_ = cell_;
    signal_min_ = 0;
    stays_.clear();
  }

  void Disconnect(int64_t tick, Cause cause, v1::OfflineReason reason, int back_after) {
    online_ = false;
    ++ends[cause];
    back_at_ = tick + back_after;
    v1::Session session;
    const bool stepped = tick >= land_.clock_steps_at && tick < land_.clock_steps_at + 240;
    const Duration off = stepped ? std::chrono::minutes(30) : Duration(0);
    session.set_began_at_ms(static_cast<uint64_t>((At(began_) + off).ms));
    const bool late = reason == v1::OFFLINE_REASON_TIMED_OUT;
    const bool taken_over = late && back_after < 5 && cause != kSleep && dice_.Chance(0.8);
    const Duration found = taken_over ? kTick * back_after : late ? kTick * 6 : Duration(0);
    session.set_reason(taken_over ? v1::OFFLINE_REASON_TAKEN_OVER : reason);
    session.set_ended_at_ms(reason == v1::OFFLINE_REASON_BROKER_RESTART
                                ? 0
                                : static_cast<uint64_t>((At(tick) + off + found).ms));
    if (tells_radio_ && !dice_.Chance(0.1)) {
      session.set_network(operator_ == 0 ? "north" : "south");
      session.set_signal_dbm_min(signal_min_);
    }
    if (tells_area_ && !dice_.Chance(0.05)) {
      session.set_area_at_begin(NameOf(began_in_));
      session.set_area_at_end(NameOf(cell_));
      for (const auto& [cell, time] : stays_) {
        v1::AreaStay& stay = *session.add_stays();
        stay.set_area(NameOf(cell));
        stay.set_online_ms(static_cast<uint64_t>(time.count()));
      }
    }
    history.sessions.push_back(std::move(session));
  }

  Dice& dice_;
  const Land& land_;
  int home_;
  int work_;
  double unit_fails_ = 0;  // an hour
  bool sleeps_ = false;
  bool roams_ = false;
  int operator_ = 0;
  std::optional<int> wanted_;
  bool tells_radio_ = true;
  bool tells_area_ = true;
  int64_t begins_ = 0;
  int cell_ = 0;
  std::optional<int> target_;
  int64_t moves_at_ = 0;
  int64_t leaves_ = 0;
  int64_t returns_ = 0;
  int64_t parked_ = 0;
  bool online_ = false;
  int64_t began_ = 0;
  int began_in_ = 0;
  int64_t back_at_ = 0;
  int64_t online_ticks_ = 0;
  int signal_min_ = 0;
  std::map<int, Duration> stays_;
};

using Table = std::array<std::array<int, kDiagnosisCount>, kDiagnosisCount>;

void OneFleet(uint64_t seed, Table& table, int& mixed, std::vector<std::string>& wrong) {
  Dice dice(seed);
  const Land land(dice);
  std::vector<Driver> drivers;
  FleetLinks links(kWindow);
  for (int i = 0; i < kCars; ++i) {
    drivers.emplace_back(dice, land);
    drivers.back().Live("c" + std::to_string(i));
    links.CountEnds(drivers.back().history);
  }
  for (const Driver& driver : drivers) {
    links.Weigh(driver.history);
  }
  for (const Driver& driver : drivers) {
    const LinkReport report = links.Examine(driver.history);
    const std::optional<Diagnosis> truth = driver.Truth();
    if (!truth) {
      ++mixed;
      continue;
    }
    ++table[static_cast<size_t>(*truth)][static_cast<size_t>(report.diagnosis)];
    if (*truth != report.diagnosis && wrong.size() < 25) {
      std::string causes;
      for (const size_t count : driver.ends) {
        causes += std::to_string(count) + " ";
      }
      wrong.push_back(std::to_string(seed) + " is " + std::string(ToText(*truth)) + " (" + causes +
                      "), said " + std::string(ToText(report.diagnosis)) + ": " + report.words);
    }
  }
}

}  // namespace

TEST_CASE("doctor: the verdict is right in a world where causes are physical") {
  Table table{};
  int mixed = 0;
  std::vector<std::string> wrong;
  for (uint64_t seed = 501; seed <= 530; ++seed) {
    OneFleet(seed, table, mixed, wrong);
  }
  std::printf("%-16s", "world \\ verdict");
  for (size_t said = 0; said < kDiagnosisCount; ++said) {
    std::printf(" %15s", std::string(ToText(static_cast<Diagnosis>(said))).c_str());
  }
  std::printf("    right\n");
  int all = 0;
  int right = 0;
  for (size_t truth = 0; truth < kDiagnosisCount; ++truth) {
    int of_truth = 0;
    std::printf("%-16s", std::string(ToText(static_cast<Diagnosis>(truth))).c_str());
    for (const int count : table[truth]) {
      std::printf(" %15d", count);
      of_truth += count;
    }
    std::printf("  %5.1f %%\n", of_truth == 0 ? 0 : 100.0 * table[truth][truth] / of_truth);
    all += of_truth;
    right += table[truth][truth];
  }
  std::printf("all: %.1f %% of %d right; %d more with two causes or at the edge of fine\n",
              100.0 * right / all, all, mixed);
  for (const std::string& line : wrong) {
    std::printf("  %s\n", line.c_str());
  }
  CHECK(all >= 900);
  CHECK(right * 100 >= all * 90);
}

}  // namespace latchkey::bridge
