// See doctor.h.
#include "bridge/core/doctor.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "proto/result.h"
#include "proto/state.h"

namespace latchkey::bridge {

namespace {

constexpr double kMsPerDay = 24.0 * 3600 * 1000;
constexpr int64_t kMsPerMinute = 60'000;
constexpr uint64_t kStayMsMax = uint64_t{1} << 42U;
constexpr size_t kMassEndCarsMin = 5;
constexpr size_t kMassEndPart = 5;  // a fifth of the fleet
constexpr uint64_t kDropsMin = 5;   // fewer in the window say nothing
constexpr uint64_t kServerEndsMin = 3;
constexpr uint64_t kRestsMin = 4;
constexpr double kRestedPart = 0.3;
constexpr double kDenser = 3;  // a place or network is bad above so many times what is usual
constexpr double kDropsAtPlacesPart = 0.6;
constexpr double kExpectedMin = 12;
// In a cell of which no time is known, each drop stands for this much.
constexpr Duration kDropTime = std::chrono::minutes(1);
constexpr double kOthersBad = 2 * kDropsPerDayFine;
constexpr Duration kOnlineAtPlaceMin = std::chrono::hours(3);
constexpr Duration kOnlineOnNetworkMin = std::chrono::hours(6);
constexpr size_t kPeersMin = 3;
constexpr size_t kOthersMin = 2;
constexpr int kWeakDbm = -110;
constexpr size_t kPlacesNamed = 3;

double PerDayOf(uint64_t drops, Duration online) {
  return online.count() <= 0
             ? 0
             : static_cast<double>(drops) * kMsPerDay / static_cast<double>(online.count());
}

double Part(double part, double whole) {
  return whole <= 0 ? 0 : part / whole;
}

double Part(Duration part, Duration whole) {
  return Part(static_cast<double>(part.count()), static_cast<double>(whole.count()));
}

template <class Number>
Number Median(std::vector<Number> numbers) {
  if (numbers.empty()) {
    return 0;
  }
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>((numbers.size() - 1) / 2);
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

std::string Percent(double part) {
  return std::to_string(std::lround(part * 100)) + " %";
}

std::string Rate(double per_day) {
  const long tenths = std::lround(per_day * 10);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " a day online";
}

std::vector<Share> Sorted(const std::map<std::string, Share>& shares) {
  std::vector<Share> sorted;
  for (const auto& [name, share] : shares) {
    sorted.push_back(share);
  }
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Share& a, const Share& b) { return a.drops > b.drops; });
  return sorted;
}

// "a, b, c and 2 more".
std::string Names(const std::vector<Share>& shares) {
  std::string text;
  for (size_t i = 0; i < std::min(shares.size(), kPlacesNamed); ++i) {
    text += (i == 0 ? "" : ", ") + shares[i].name;
  }
  if (shares.size() > kPlacesNamed) {
    text += " and " + std::to_string(shares.size() - kPlacesNamed) + " more";
  }
  return text;
}

Timestamp At(uint64_t ms) {
  return Timestamp{static_cast<int64_t>(ms)};
}

}  // namespace

std::string_view ToText(Diagnosis diagnosis) {
  switch (diagnosis) {
    case Diagnosis::kNotEnoughData:
      return "not_enough_data";
    case Diagnosis::kHealthy:
      return "healthy";
    case Diagnosis::kPowerSave:
      return "power_save";
    case Diagnosis::kServerSide:
      return "server_side";
    case Diagnosis::kBadNetwork:
      return "bad_network";
    case Diagnosis::kBadCoverage:
      return "bad_coverage";
    case Diagnosis::kBadUnit:
      return "bad_unit";
  }
  return "unknown";
}

double Share::PerDay() const {
  return PerDayOf(drops, online);
}

double LinkReport::DropsPerDay() const {
  return PerDayOf(drops, online);
}

void FleetLinks::CountEnds(const LinkHistory& car) {
  ++cars_;
  std::set<int64_t> minutes;
  for (size_t i = 0; i < car.sessions.size(); ++i) {
    const v1::Session& session = car.sessions[i];
    const Timestamp next = i + 1 < car.sessions.size() ? At(car.sessions[i + 1].began_at_ms())
                                                       : car.online_since.value_or(window_.until);
    // A car that left by itself and stayed away has gone to sleep, be it at an hour when many do.
    const bool slept = session.reason() == v1::OFFLINE_REASON_CONNECTION_ENDED &&
                       next - At(session.ended_at_ms()) >= kRestAtLeast;
    if (!slept && At(session.ended_at_ms()) >= window_.since) {
      minutes.insert(At(session.ended_at_ms()).ms / kMsPerMinute);
    }
  }
  for (const int64_t minute : minutes) {
    ++ends_[minute];
  }
}

// The broker's restart, or one of many ends within two minutes.
bool FleetLinks::ServerEnded(const v1::Session& session) const {
  if (session.reason() == v1::OFFLINE_REASON_BROKER_RESTART ||
      session.reason() == v1::OFFLINE_REASON_KICKED) {
    return true;
  }
  const int64_t minute = At(session.ended_at_ms()).ms / kMsPerMinute;
  size_t most = 0;
  for (const int64_t first : {minute - 1, minute}) {
    size_t cars = 0;
    for (const int64_t each : {first, first + 1}) {
      const auto ends = ends_.find(each);
      cars += ends == ends_.end() ? 0 : ends->second;
    }
    most = std::max(most, cars);
  }
  return most >= std::max(kMassEndCarsMin, cars_ / kMassEndPart);
}

FleetLinks::End FleetLinks::EndOf(const v1::Session& session, Duration gap) const {
  if (ServerEnded(session)) {
    return End::kServer;
  }
  if (session.ended_at_ms() == 0) {
    return End::kUnknown;
  }
  const bool faded = session.reason() == v1::OFFLINE_REASON_TIMED_OUT &&
                     session.signal_dbm_min() != 0 && session.signal_dbm_min() <= kWeakDbm;
  return gap >= kRestAtLeast && !faded ? End::kRest : End::kDrop;
}

// A session that does not say how long it was where was half at its begin and half at its end.
void FleetLinks::AddPlaces(const v1::Session& session, Duration online, uint64_t drop, Sums& sums) {
  const auto add = [&sums](const std::string& area, Duration time, uint64_t drops) {
    if (!area.empty()) {
      Share& share = sums.areas[area];
      share.name = area;
      share.online += std::max(time, Duration(0));
      share.drops += drops;
    }
  };
  for (const v1::AreaStay& stay : session.stays()) {
    const uint64_t ms = std::min<uint64_t>(stay.online_ms(), kStayMsMax);
    add(stay.area(), std::min(online, Duration(static_cast<int64_t>(ms))), 0);
  }
  if (session.stays().empty()) {
    add(session.area_at_begin(), online / 2, 0);
    add(session.area_at_end(), online / 2, 0);
  }
  add(session.area_at_end(), Duration(0), drop);
}

// `next`: when the car was back, or now.
void FleetLinks::AddSession(const v1::Session& session, Timestamp next, Sums& sums) const {
  const Timestamp end =
      session.ended_at_ms() == 0 ? next : std::min(At(session.ended_at_ms()), window_.until);
  const Timestamp begin = std::max(At(session.began_at_ms()), window_.since);
  if (end < window_.since || end < begin) {
    return;
  }
  LinkReport& report = sums.report;
  ++report.sessions;
  const Duration online = end - begin;
  report.online += online;
  const Duration gap = std::max(Duration(0), next - end);
  const End how = EndOf(session, gap);
  report.rests += how == End::kRest ? 1 : 0;
  report.server_ends += how == End::kServer ? 1 : 0;
  sums.rested += how == End::kRest ? gap : Duration(0);
  const uint64_t drop = how == End::kDrop ? 1 : 0;
  report.drops += drop;
  report.timed_out += session.reason() == v1::OFFLINE_REASON_TIMED_OUT ? drop : 0;
  const int dbm = session.signal_dbm_min();
  sums.drops_with_signal += dbm != 0 ? drop : 0;
  sums.weak_drops += dbm != 0 && dbm <= kWeakDbm ? drop : 0;
  report.taken_over += session.reason() == v1::OFFLINE_REASON_TAKEN_OVER ? drop : 0;
  AddPlaces(session, online, drop, sums);
  if (!session.network().empty()) {
    Share& network = sums.networks[session.network()];
    network.name = session.network();
    network.online += online;
    network.drops += drop;
  }
}

FleetLinks::Sums FleetLinks::Add(const LinkHistory& car) const {
  Sums sums;
  sums.report.ref = car.ref;
  std::vector<int> signals;
  Timestamp first = car.online_since.value_or(window_.until);
  for (size_t i = 0; i < car.sessions.size(); ++i) {
    const v1::Session& session = car.sessions[i];
    first = std::min(first, At(session.began_at_ms()));
    const bool last = i + 1 == car.sessions.size();
    const Timestamp next =
        !last ? At(car.sessions[i + 1].began_at_ms()) : car.online_since.value_or(window_.until);
    AddSession(session, next, sums);
    if (session.signal_dbm_min() != 0) {
      signals.push_back(session.signal_dbm_min());
    }
  }
  if (car.online_since) {
    sums.report.online += window_.until - std::max(*car.online_since, window_.since);
  }
  sums.report.observed = std::max(Duration(0), window_.until - std::max(first, window_.since));
  sums.report.online = std::clamp(sums.report.online, Duration(0), sums.report.observed);
  sums.report.signal_dbm_min = Median(std::move(signals));
  sums.report.areas = Sorted(sums.areas);
  sums.report.networks = Sorted(sums.networks);
  return sums;
}

void FleetLinks::Weigh(const LinkHistory& car) {
  const Sums sums = Add(car);
  if (sums.report.online >= kOnlineOnNetworkMin) {
    drops_per_day_.push_back(sums.report.DropsPerDay());
  }
  for (const auto& [name, share] : sums.areas) {
    // A car that drops everywhere says nothing of a place.
    const Share rest{"", sums.report.drops - share.drops, sums.report.online - share.online};
    if (share.online >= kOnlineAtPlaceMin && rest.PerDay() <= kDropsPerDayFine) {
      places_[name].push_back(share.PerDay());
    }
  }
  for (const auto& [name, share] : sums.networks) {
    if (share.online >= kOnlineOnNetworkMin) {
      networks_[name].push_back(share.PerDay());
    }
  }
}

// Do the drops keep to some of its places, and is the link fine elsewhere?
bool FleetLinks::AtPlaces(const Sums& sums, std::string& why) {
  Share all;
  std::vector<Share> cells;
  for (const auto& [name, share] : sums.areas) {
    all.drops += share.drops;
    all.online += share.online;
    if (share.drops >= 2) {
      cells.push_back(share);
      cells.back().online = std::max(share.online, kDropTime * static_cast<int64_t>(share.drops));
    }
  }
  std::stable_sort(cells.begin(), cells.end(),
                   [](const Share& a, const Share& b) { return a.PerDay() > b.PerDay(); });
  Share bad;
  size_t count = 0;
  for (const Share& cell : cells) {
    if (count > 0 && cell.PerDay() * kDenser < bad.PerDay()) {
      break;
    }
    bad.drops += cell.drops;
    bad.online += cell.online;
    ++count;
  }
  cells.resize(count);
  const Share rest{"", all.drops - bad.drops, all.online - std::min(all.online, bad.online)};
  const double part = Part(static_cast<double>(bad.drops), static_cast<double>(all.drops));
  // Drops elsewhere, if it were there as it is in these cells.
  const double expected = bad.PerDay() * static_cast<double>(rest.online.count()) / kMsPerDay;
  if (bad.drops < kDropsMin || all.drops * 2 < sums.report.drops || part < kDropsAtPlacesPart ||
      bad.PerDay() < kOthersBad || expected < kExpectedMin ||
      static_cast<double>(rest.drops) * kDenser > expected) {
    return false;
  }
  std::stable_sort(cells.begin(), cells.end(),
                   [](const Share& a, const Share& b) { return a.drops > b.drops; });
  why = Percent(part) + " of the drops are in " + std::to_string(cells.size()) +
        (cells.size() == 1 ? " cell (" : " cells (") + Names(cells) + ") where it is " +
        Percent(Part(bad.online, all.online)) + " of the time and drops " + Rate(bad.PerDay()) +
        ", elsewhere " + Rate(rest.PerDay()) + ": suspect the coverage there, not the unit";
  return true;
}

// A car that is always in the same few places: do others drop there, too, or is the signal weak?
bool FleetLinks::AtSharedPlaces(const Sums& sums, std::string& why) const {
  uint64_t drops = 0;
  uint64_t elsewhere = 0;  // where others are fine
  size_t others = 0;
  std::vector<Share> cells;
  for (const Share& share : sums.report.areas) {
    const auto place = places_.find(share.name);
    std::vector<double> rates = place == places_.end() ? std::vector<double>() : place->second;
    if (share.online >= kOnlineAtPlaceMin) {
      const auto own = std::find(rates.begin(), rates.end(), share.PerDay());
      rates.erase(own, own == rates.end() ? own : own + 1);
    }
    if (rates.size() < kOthersMin) {
      continue;
    }
    const size_t cars = rates.size();
    const double usual = Median(std::move(rates));
    if (usual >= kOthersBad && share.drops >= 2) {
      drops += share.drops;
      others = std::max(others, cars);
      cells.push_back(share);
    } else if (usual <= kDropsPerDayFine) {
      elsewhere += share.drops;
    }
  }
  if (drops * 2 > sums.report.drops && elsewhere * 10 < sums.report.drops) {
    why = "most drops are in " + Names(cells) + ", where most of " + std::to_string(others) +
          " other cars drop, too: suspect the coverage there";
    return true;
  }
  if (sums.report.signal_dbm_min != 0 && sums.report.signal_dbm_min <= kWeakDbm) {
    why = "the signal is weak wherever it is (" + std::to_string(sums.report.signal_dbm_min) +
          " dBm): suspect the coverage" +
          (sums.report.areas.empty() ? std::string() : " at " + Names(sums.report.areas)) +
          ", or the antenna";
    return true;
  }
  return false;
}

// Median drops a day of the cars on a network, or of those on all others. 0 without any.
double FleetLinks::MedianOn(const std::string& network, bool others, size_t& cars) const {
  std::vector<double> rates;
  for (const auto& [name, each] : networks_) {
    if ((name == network) != others) {
      rates.insert(rates.end(), each.begin(), each.end());
    }
  }
  cars = rates.size();
  return Median(std::move(rates));
}

// A car that does not report its network, and drops as those on a bad one do.
bool FleetLinks::AsOnBadNetwork(const Sums& sums, std::string& why) const {
  for (const auto& [name, rates] : networks_) {
    size_t peers = 0;
    size_t strangers = 0;
    const double on = MedianOn(name, false, peers);
    const double off = MedianOn(name, true, strangers);
    const double own = sums.report.DropsPerDay();
    if (peers > kPeersMin && strangers >= kPeersMin && on >= kOthersBad &&
        off <= kDropsPerDayFine && own <= 2 * on && own * 2 >= on) {
      why = "it does not report its network, but drops as the " + std::to_string(peers) +
            " cars on " + name + " do (" + Rate(on) + "): suspect the operator, then the unit";
      return true;
    }
  }
  return false;
}

// Where the signal was nearly gone before most drops, the unit and the operator's core are not to
// blame.
bool FleetLinks::AtWeakSignal(const Sums& sums, std::string& why) {
  if (sums.weak_drops < kDropsMin || sums.drops_with_signal * 2 < sums.report.drops ||
      static_cast<double>(sums.weak_drops) <
          kDropsAtPlacesPart * static_cast<double>(sums.drops_with_signal)) {
    return false;
  }
  why = "before " + std::to_string(sums.weak_drops) + " of " +
        std::to_string(sums.drops_with_signal) + " drops the signal was at " +
        std::to_string(kWeakDbm) + " dBm or below: suspect the coverage" +
        (sums.report.areas.empty() ? std::string() : " at " + Names(sums.report.areas)) +
        ", or the antenna";
  return true;
}

bool FleetLinks::AtNetwork(const Sums& sums, std::string& why) const {
  if (sums.report.networks.empty()) {
    return AsOnBadNetwork(sums, why);
  }
  const Share& worst = sums.report.networks.front();
  if (worst.drops * 2 < sums.report.drops) {
    return false;
  }
  Share other;
  for (const Share& share : sums.report.networks) {
    if (share.name != worst.name) {
      other.drops += share.drops;
      other.online += share.online;
    }
  }
  if (worst.PerDay() > kDropsPerDayFine && other.online >= kOnlineOnNetworkMin &&
      other.PerDay() <= kDropsPerDayFine &&
      worst.PerDay() >= kDenser * std::max(other.PerDay(), 1.0)) {
    why = "on network " + worst.name + " it drops " + Rate(worst.PerDay()) + ", on others " +
          Rate(other.PerDay()) + ": suspect the operator, or how the SIM card roams";
    return true;
  }
  size_t peers = 0;
  size_t strangers = 0;
  const double on = MedianOn(worst.name, false, peers);
  const double off = MedianOn(worst.name, true, strangers);
  if (peers > kPeersMin && strangers >= kPeersMin && on >= kOthersBad && off <= kDropsPerDayFine) {
    why = "the " + std::to_string(peers) + " cars on network " + worst.name + " drop " + Rate(on) +
          ", those on others " + Rate(off) + ": suspect the operator";
    return true;
  }
  return false;
}

void FleetLinks::Judge(Sums& sums) const {
  LinkReport& report = sums.report;
  const bool fine = report.drops < kDropsMin || report.DropsPerDay() <= kDropsPerDayFine;
  std::string why;
  if (report.observed < kObservedAtLeast ||
      (report.online < kOnlineAtLeast && report.rests < kRestsMin)) {
    report.diagnosis = Diagnosis::kNotEnoughData;
    why = "too little is known to judge: come back after a day";
  } else if (!fine && AtWeakSignal(sums, why)) {
    report.diagnosis = Diagnosis::kBadCoverage;
  } else if (report.drops >= kDropsMin && AtNetwork(sums, why)) {
    report.diagnosis = Diagnosis::kBadNetwork;
  } else if (report.drops >= kDropsMin && AtPlaces(sums, why)) {
    report.diagnosis = Diagnosis::kBadCoverage;
  } else if (fine && report.server_ends >= kServerEndsMin) {
    report.diagnosis = Diagnosis::kServerSide;
    why = std::to_string(report.server_ends) +
          " sessions were ended by the server or together with much of the fleet: look at the "
          "broker, not at the car";
  } else if (fine && report.rests >= kRestsMin &&
             Part(sums.rested, report.observed) >= kRestedPart) {
    report.diagnosis = Diagnosis::kPowerSave;
    why = "it rested " + std::to_string(report.rests) + " times, " +
          AgeText(sums.rested / static_cast<int64_t>(report.rests)) +
          " each: it saves power; a command reaches it when it wakes, or by SMS";
  } else if (fine) {
    report.diagnosis = Diagnosis::kHealthy;
    why = "the link is fine";
  } else if (AtSharedPlaces(sums, why)) {
    report.diagnosis = Diagnosis::kBadCoverage;
  } else {
    report.diagnosis = Diagnosis::kBadUnit;
    why =
        std::string(report.areas.empty() ? "its places are not known, and no network explains them"
                                         : "neither places nor networks explain them") +
        ", the median car of the fleet drops " + Rate(report.fleet_drops_per_day) +
        ": suspect the unit or its SIM card, not the coverage";
  }
  report.words = "online " + Percent(Part(report.online, report.observed)) + " of " +
                 AgeText(report.observed) + ", " + std::to_string(report.drops) + " drops";
  if (report.drops > 0) {
    const double whole = static_cast<double>(report.drops);
    report.words += " (" + Rate(report.DropsPerDay()) + "), " +
                    Percent(Part(static_cast<double>(report.timed_out), whole)) +
                    " keep-alive time-outs, " +
                    Percent(Part(static_cast<double>(report.taken_over), whole)) +
                    " found lost by the car first";
  }
  report.words += "; " + why;
}

LinkReport FleetLinks::Examine(const LinkHistory& car) const {
  Sums sums = Add(car);
  sums.report.fleet_drops_per_day = Median(drops_per_day_);
  Judge(sums);
  return std::move(sums.report);
}

}  // namespace latchkey::bridge
