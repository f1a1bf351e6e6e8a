// Growth: what a pairing costs in memory and in time to look up, and what a change costs, with a
// thousand pairings and with a million.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/bench/cases.h"
#include "tools/bench/crowd.h"
#include "tools/bench/growth_broker.h"
#include "tools/bench/growth_rings.h"

namespace latchkey::bench {
namespace {

constexpr std::string_view kCase = "growth";
constexpr size_t kCars = 8;  // that connect and change their rings
constexpr size_t kRounds = 3;
constexpr size_t kPairingsMax = 1'000'000;
constexpr size_t kPairingsMaxQuick = 10'000;
// Dynamic-security writes all it knows with each change.
constexpr size_t kListedMax = 100'000;
constexpr Target kPairingBytes{Goal::kAtMost, 200};
constexpr Target kChangeUs{Goal::kAtMost, 50};
// Below it what is not of the pairings decides.
constexpr size_t kCountsFrom = 10'000;

std::optional<Target> From(size_t pairings, const Target& target) {
  return pairings >= kCountsFrom ? std::optional(target) : std::nullopt;
}

Spread Once(double value) {
  return SpreadOf({value});
}

double Per(double value, size_t count) {
  return count == 0 ? 0 : value / static_cast<double>(count);
}

// As many changes as fit into some seconds.
size_t ChangesFor(size_t clients) {
  return std::clamp<size_t>(200'000 / clients, 4, 40);
}

class Growth {
 public:
  Growth(const Place& place, const Crowd& crowd, Report& report)
      : place_(place), crowd_(crowd), report_(report) {}

  // A broker that holds only the rings of those who connect.
  Result<void> Begin() {
    least_ = crowd_.cars() * kKeysPerRing;
    LK_TRY(const std::filesystem::path folder, Rings(least_));
    // What a process keeps once it has verified anything is no ring's.
    LK_TRY(const DirectoryCost warm_up, MeasureDirectory(folder, place_, crowd_));
    LK_ASSERT(warm_up.pairings == least_);
    LK_TRY(const BrokerCost cost, MeasureRings(place_, crowd_, folder, least_));
    least_bytes_ = static_cast<double>(cost.private_bytes);
    least_calm_bytes_ = static_cast<double>(cost.calm_bytes);
    LK_TRY(const BrokerCost dynamic, MeasureDynamicSecurity(place_, crowd_, least_, 4));
    least_dynamic_bytes_ = static_cast<double>(dynamic.private_bytes);
    return {};
  }

  Result<void> At(size_t pairings, size_t rounds) {
    const std::string subject = "latchkey, " + std::to_string(pairings) + " pairings";
    LK_TRY(const std::filesystem::path folder, Rings(pairings));
    LK_CHECK(Directory(subject, folder, pairings));
    LK_CHECK(Store(subject, folder));
    std::vector<double> bytes;
    std::vector<double> calm_bytes;
    std::vector<double> cpu_us;
    std::vector<double> net_us;
    std::vector<double> start_s;
    for (size_t round = 0; round < rounds; ++round) {
      LK_TRY(const BrokerCost cost, MeasureRings(place_, crowd_, folder, pairings));
      bytes.push_back(
          Per(static_cast<double>(cost.private_bytes) - least_bytes_, pairings - least_));
      calm_bytes.push_back(
          Per(static_cast<double>(cost.calm_bytes) - least_calm_bytes_, pairings - least_));
      cpu_us.push_back(cost.change.cpu_us);
      net_us.push_back(cost.change.NetUs());
      start_s.push_back(cost.start_s);
    }
    report_.Figure(kCase, subject, "broker's memory per pairing", "B", SpreadOf(bytes),
                   From(pairings, kPairingBytes));
    report_.Figure(kCase, subject, "the same, with a retained presence of each car", "B",
                   SpreadOf(calm_bytes));
    report_.Figure(kCase, subject, "broker until it serves", "s", SpreadOf(start_s));
    report_.Figure(kCase, subject, "ring change, broker CPU beyond the message itself", "us",
                   SpreadOf(net_us), kChangeUs);
    report_.Figure(kCase, subject, "ring change, broker CPU in all", "us", SpreadOf(cpu_us));
    return pairings <= kListedMax ? Dynamic(pairings, rounds, cpu_us) : Result<void>();
  }

 private:
  Result<std::filesystem::path> Rings(size_t pairings) {
    LK_TRY(std::filesystem::path folder, place_.NewFolder("rings"));
    LK_CHECK(crowd_.WriteRingFile(folder / "rings.log", pairings));
    return folder;
  }

  Result<void> Directory(const std::string& subject, const std::filesystem::path& folder,
                         size_t pairings) {
    LK_TRY(const DirectoryCost cost, MeasureDirectory(folder, place_, crowd_));
    const auto figure = [&](std::string_view name, std::string_view unit, double value) {
      report_.Figure(kCase, subject, name, unit, Once(value));
    };
    report_.Figure(kCase, subject, "directory's heap per pairing", "B",
                   Once(Per(cost.bytes, cost.pairings)), From(pairings, kPairingBytes));
    figure("directory's heap per car", "B", Per(cost.bytes, cost.cars));
    figure("look-up of a pairing", "ns", cost.lookup_ns);
    figure("look-up of a stranger", "ns", cost.stranger_ns);
    figure("ring change in the directory", "us", cost.ring_change_us);
    figure("one signature checked", "us", cost.verify_us);
    figure("rings read and verified", "1/s", static_cast<double>(cost.cars) / cost.load_s);
    return {};
  }

  Result<void> Store(const std::string& subject, const std::filesystem::path& folder) {
    LK_TRY(const StoreCost cost, MeasureStore(folder, place_, crowd_));
    report_.Figure(kCase, subject, "store opens", "s", Once(cost.open_s));
    report_.Figure(kCase, subject, "store's rings are read", "s", Once(cost.read_s));
    report_.Figure(kCase, subject, "store on disk", "B",
                   Once(static_cast<double>(cost.disk_bytes)));
    return {};
  }

  Result<void> Dynamic(size_t clients, size_t rounds, const std::vector<double>& ring_us) {
    const std::string subject = "dynamic_security, " + std::to_string(clients) + " clients";
    std::vector<double> bytes;
    std::vector<double> cpu_us;
    std::vector<double> written;
    for (size_t round = 0; round < rounds; ++round) {
      LK_TRY(const BrokerCost cost,
             MeasureDynamicSecurity(place_, crowd_, clients, ChangesFor(clients)));
      bytes.push_back(
          Per(static_cast<double>(cost.private_bytes) - least_dynamic_bytes_, clients - least_));
      cpu_us.push_back(cost.change.cpu_us);
      written.push_back(cost.change.written_bytes);
    }
    report_.Figure(kCase, subject, "broker's memory per client", "B", SpreadOf(bytes));
    report_.Figure(kCase, subject, "change, broker CPU in all", "us", SpreadOf(cpu_us));
    report_.Figure(kCase, subject, "change, bytes to disk", "B", SpreadOf(written));
    report_.Ratio(kCase, "broker CPU of a change",
                  "latchkey, " + std::to_string(clients) + " pairings", subject,
                  RatiosOf(ring_us, cpu_us));
    return {};
  }

  const Place& place_;
  const Crowd& crowd_;
  Report& report_;
  size_t least_ = 0;  // pairings of those who connect
  double least_bytes_ = 0;
  double least_calm_bytes_ = 0;
  double least_dynamic_bytes_ = 0;
};

void SayAssumptions(Report& report) {
  const auto note = [&report](const char* text) {
    report.Note(kCase, text, Validity::kInformation);
  };
  note(
      "a ring has four keys; heap is what the directory has in use, the broker's memory what its "
      "private pages grow by beyond a broker that holds 32 pairings, when it begins to serve and "
      "when "
      "it has said of each car that it is away, which Mosquitto retains");
  note(
      "a ring change: a car publishes the next version of its ring with TLS and QoS 1, the broker "
      "verifies, applies, writes its ring file and retains; beyond the message itself: less what "
      "it takes to receive the very ring that it holds");
  note(
      "a next ring has two signatures, the car's and the CA's below the car's certificate: below "
      "the "
      "cost of checking one no ring change can be");
  note(
      "dynamic-security: createClient with a role that is there and deleteClient by turns; as many "
      "clients as pairings, a role each");
}

}  // namespace

Result<void> RunGrowth(const Wish& wish, Report& report) {
  LK_TRY(const std::unique_ptr<Place> place, Place::Make(wish.place));
  LK_TRY(const Crowd crowd, Crowd::Make(*place, kCars));
  const size_t most = wish.pairings != 0 ? wish.pairings
                      : wish.quick       ? kPairingsMaxQuick
                                         : kPairingsMax;
  Growth growth(*place, crowd, report);
  LK_CHECK(growth.Begin());
  for (size_t pairings = 1000; pairings <= most; pairings *= 10) {
    LK_CHECK(growth.At(pairings, wish.RoundsOr(kRounds, 1)));
  }
  SayAssumptions(report);
  return {};
}

}  // namespace latchkey::bench
