// Held commands: phones send to cars that are away, and the bridge says HELD when a command is on
// the disk. At saturation: how many a second, and for each sync of the disk; one at a time: how
// long it takes, in syncs of the same disk, measured in the same folder and round.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "latchkey/v1/command.pb.h"
#include "proto/command.h"
#include "proto/receipt.h"
#include "proto/topic.h"
#include "tools/bench/bridge.h"
#include "tools/bench/brokers.h"
#include "tools/bench/cases.h"
#include "tools/bench/crowd.h"
#include "tools/bench/disk.h"
#include "tools/bench/entrance.h"
#include "tools/bench/process.h"
#include "tools/latchkey/show.h"

namespace latchkey::bench {

namespace {

constexpr std::string_view kCase = "held";
constexpr std::string_view kBridge = "bridge";
constexpr Duration kPatience = std::chrono::minutes(1);
constexpr Duration kLifetime = std::chrono::minutes(9);
constexpr size_t kWaitingMax = 2000;  // commands without an answer, of all phones together
constexpr size_t kActions = 6;
constexpr Target kPerSync{Goal::kAtLeast, 100};
constexpr Target kCalmSyncs{Goal::kAtMost, 3};
constexpr const char* kCommits = "latchkey_store_commits_total";

struct Sizes {
  size_t rounds;
  size_t cars;       // each with a phone that sends kActions commands at saturation
  size_t calm;       // commands one at a time, of other cars
  Duration rest;     // between two of those
  Duration syncing;  // the disk's own rate is taken for that long, twice
};

Sizes SizesOf(const Wish& wish) {
  const size_t cars = wish.cars != 0 ? wish.cars : wish.quick ? 200 : 2500;
  return {wish.RoundsOr(5, 1), cars, wish.quick ? size_t{60} : size_t{600}, Duration(10),
          Duration(wish.quick ? 300 : 1500)};
}

// Each in a slot of its own, so that none takes another's place.
v1::Command ActionOf(size_t number) {
  v1::Command action;
  switch (number % kActions) {
    case 0:
      action.mutable_lock();
      break;
    case 1:
      action.mutable_windows_up();
      break;
    case 2:
      action.mutable_climate_on();
      break;
    case 3:
      action.mutable_charge_start();
      break;
    case 4:
      action.mutable_refresh();
      break;
    default:
      action.mutable_restart_telematics();
      break;
  }
  return action;
}

// A command that is ready to go.
struct Ready {
  size_t phone = 0;
  CommandId id;
  std::string bytes;
  Moment sent_at{};
};

// One round: a broker and a bridge of its own, cars that were there once, phones that are there.
class Round {
 public:
  Round(const Place& place, const Crowd& crowd, const Sizes& sizes)
      : place_(place), crowd_(crowd), sizes_(sizes) {}

  Result<void> Begin() {
    BrokerWish wish;
    wish.dressing = Dressing::kLatchkey;
    wish.place = &place_;
    wish.crowd = &crowd_;
    wish.listed_clients = crowd_.cars();
    LK_TRY(broker_, BenchBroker::Start(wish));
    LK_TRY(Entrance entrance, Entrance::To(place_, *broker_, true));
    LK_CHECK(ShowRings(entrance));
    LK_TRY(bridge_, BenchBridge::Start(place_, *broker_));
    LK_CHECK(AwaitCars());
    phones_ = std::make_unique<Swarm>(entrance.phones());
    for (size_t i = 0; i < crowd_.cars(); ++i) {
      LK_TRY(ClientWish phone, entrance.Phone(i));
      const size_t index = phones_->Add(std::move(phone));
      phones_->Subscribe(index, ReceiptTopic(crowd_.car(i).ref, crowd_.phone(i).id), 1);
    }
    phones_->on_message = [this](size_t phone, const Arrived& arrived) { Take(phone, arrived); };
    const bool in = phones_->Drive(kPatience) && phones_->connected() == phones_->size();
    return in ? Result<void>() : Gone("phones do not get in");
  }

  // One at a time, by cars `first` and on. Seconds until HELD of each.
  Result<std::vector<double>> Calm(size_t first) {
    seconds_.clear();
    for (size_t i = 0; i < sizes_.calm; ++i) {
      Ready ready = Make(first + i / kActions, i);
      Send(std::move(ready));
      if (!phones_->DriveUntil(kPatience, [this] { return waiting_.empty(); })) {
        return tl::unexpected<Error>(Gone("a command is not held").error());
      }
      LK_CHECK(Trouble());
      phones_->Drive(Duration(1));
      Pause(sizes_.rest);
    }
    return seconds_;
  }

  struct Rush {
    double per_second = 0;
    double per_sync = 0;
    Tail latency_s;
    double bridge_busy = 0;
    double written_bytes = 0;  // for each command
  };

  // All of cars 0 to `cars`, as fast as they are held.
  Result<Rush> Saturate(size_t cars) {
    std::vector<Ready> ready;
    for (size_t i = 0; i < cars * kActions; ++i) {
      ready.push_back(Make(i % cars, i / cars));
    }
    seconds_.clear();
    LK_TRY(const double syncs, bridge_->Metric(kCommits));
    const Usage used = bridge_->Used();
    const double began = MonotonicSeconds();
    size_t next = 0;
    const bool held = phones_->DriveUntil(kPatience, [&] {
      while (next < ready.size() && waiting_.size() < kWaitingMax) {
        Send(std::move(ready[next++]));
      }
      return waiting_.empty() || !Trouble();
    });
    const double wall = MonotonicSeconds() - began;
    LK_CHECK(Trouble());
    if (!held) {
      return tl::unexpected<Error>(Gone("not all commands are held").error());
    }
    const Usage after = bridge_->Used();
    LK_TRY(const double syncs_after, bridge_->Metric(kCommits));
    const auto commands = static_cast<double>(ready.size());
    return Rush{commands / wall, commands / std::max(syncs_after - syncs, 1.0), TailOf(seconds_),
                (after.cpu_s - used.cpu_s) / wall,
                static_cast<double>(after.written_bytes - used.written_bytes) / commands};
  }

  const BenchBridge& bridge() const { return *bridge_; }

 private:
  // Each car comes, publishes its ring, and goes.
  Result<void> ShowRings(const Entrance& entrance) {
    Swarm cars(entrance.cars());
    for (size_t i = 0; i < crowd_.cars(); ++i) {
      LK_TRY(ClientWish car, entrance.Car(i));
      cars.Add(std::move(car));
    }
    bool shown = cars.Drive(kPatience) && cars.connected() == cars.size();
    for (size_t i = 0; shown && i < crowd_.cars(); ++i) {
      const std::string ring = crowd_.SignedRing(i, 2);  // 1 is in the ring file
      shown = cars.Publish(i, {KeyRingTopic(crowd_.car(i).ref), ring, 1, true, 0}).has_value();
    }
    shown = shown && cars.Drive(kPatience) && cars.counters().refused == 0;
    for (size_t i = 0; i < crowd_.cars(); ++i) {
      cars.Leave(i);
    }
    cars.Drive(std::chrono::seconds(5));
    return shown ? Result<void>()
                 : Fail(v1::REASON_STORE_UNAVAILABLE,
                        "held: cars cannot show their rings: " + cars.first_trouble());
  }

  // Until the bridge knows all of them, and that they are away.
  Result<void> AwaitCars() const {
    const double until = MonotonicSeconds() + static_cast<double>(kPatience.count()) / 1000;
    for (;;) {
      LK_TRY(const double rings, bridge_->Metric("latchkey_rings_stored_total"));
      LK_TRY(const double online, bridge_->Metric("latchkey_cars_online"));
      if (rings >= static_cast<double>(crowd_.cars()) && online < 0.5) {
        return {};
      }
      if (MonotonicSeconds() > until) {
        return Fail(v1::REASON_STORE_UNAVAILABLE, "held: the bridge knows " + NumberText(rings) +
                                                      " rings of " + std::to_string(crowd_.cars()));
      }
      Pause(Duration(50));
    }
  }

  Ready Make(size_t phone, size_t action) const {
    const Timestamp now = cli::ReadClocks().wall;
    Ready ready;
    ready.phone = phone;
    ready.id = CommandId::Make(now.ms, RandomBytes(10));
    ready.bytes =
        SealCommand({crowd_.car(phone).ref, ready.id, now, now + kLifetime, ActionOf(action)},
                    crowd_.phone(phone).key)
            .value();
    return ready;
  }

  void Send(Ready ready) {
    const std::string topic =
        CommandTopic(crowd_.car(ready.phone).ref, crowd_.phone(ready.phone).id);
    ready.sent_at = std::chrono::steady_clock::now();
    static_cast<void>(phones_->Publish(ready.phone, {topic, ready.bytes, 1, false, 0}));
    ready.bytes.clear();
    const CommandId id = ready.id;
    waiting_.emplace(id, std::move(ready));
  }

  void Take(size_t phone, const Arrived& arrived) {
    const Result<Outcome> outcome =
        OpenReceipt(arrived.payload, crowd_.car(phone).ref, std::nullopt);
    const auto found = outcome ? waiting_.find(outcome->command_id) : waiting_.end();
    if (found == waiting_.end()) {
      return;
    }
    if (outcome->state != v1::RECEIPT_STATE_HELD) {
      wrong_ =
          "a command ends " + std::string(latchkey::ToText(outcome->state)) + ": " + outcome->text;
    }
    seconds_.push_back(std::chrono::duration<double>(arrived.at - found->second.sent_at).count());
    waiting_.erase(found);
  }

  Result<void> Trouble() const {
    const Counters& counters = phones_->counters();
    const bool none = counters.refused == 0 && counters.lost == 0 &&
                      counters.refused_subscriptions == 0 && wrong_.empty();
    return none ? Result<void>() : Gone("something is refused");
  }

  Result<void> Gone(const std::string& what) const {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "held: " + what + ": " + (wrong_.empty() ? phones_->first_trouble() : wrong_));
  }

  const Place& place_;
  const Crowd& crowd_;
  const Sizes& sizes_;
  std::unique_ptr<BenchBroker> broker_;
  std::unique_ptr<BenchBridge> bridge_;
  std::unique_ptr<Swarm> phones_;
  std::unordered_map<CommandId, Ready> waiting_;
  std::vector<double> seconds_;
  std::string wrong_;
};

// A figure a round.
struct Found {
  std::vector<double> per_second;
  std::vector<double> per_sync;
  std::vector<double> rush_p50_ms;
  std::vector<double> rush_p99_ms;
  std::vector<double> busy;
  std::vector<double> written_bytes;
  std::vector<double> calm_p50_ms;
  std::vector<double> calm_p99_ms;
  std::vector<double> sync_ms;
  std::vector<double> sync_p99_ms;
  std::vector<double> syncs_per_second;
};

void Say(const Found& found, Report& report) {
  const auto figure = [&](std::string_view subject, const char* name, const char* unit,
                          const std::vector<double>& samples) {
    report.Figure(kCase, subject, name, unit, SpreadOf(samples));
  };
  figure("disk", "append and fdatasync of 4 KiB, median", "ms", found.sync_ms);
  figure("disk", "append and fdatasync of 4 KiB, p99", "ms", found.sync_p99_ms);
  figure("disk", "append and fdatasync of 4 KiB", "1/s", found.syncs_per_second);
  figure(kBridge, "HELD at saturation", "1/s", found.per_second);
  report.Figure(kCase, kBridge, "HELD for each commit at saturation", "", SpreadOf(found.per_sync),
                kPerSync);
  figure(kBridge, "HELD at saturation, p50", "ms", found.rush_p50_ms);
  figure(kBridge, "HELD at saturation, p99", "ms", found.rush_p99_ms);
  figure(kBridge, "busy at saturation", "", found.busy);
  figure(kBridge, "written for a command", "bytes", found.written_bytes);
  figure(kBridge, "HELD one at a time, p50", "ms", found.calm_p50_ms);
  figure(kBridge, "HELD one at a time, p99", "ms", found.calm_p99_ms);
  report.Ratio(kCase, "HELD a second, by syncs a second", kBridge, "disk",
               RatiosOf(found.per_second, found.syncs_per_second));
  report.Ratio(kCase, "p50 one at a time, by one sync", kBridge, "disk",
               RatiosOf(found.calm_p50_ms, found.sync_ms));
  report.Ratio(kCase, "p99 one at a time, by one sync", kBridge, "disk",
               RatiosOf(found.calm_p99_ms, found.sync_ms), kCalmSyncs);
  report.Ratio(kCase, "p99 one at a time, by the p99 of a sync", kBridge, "disk",
               RatiosOf(found.calm_p99_ms, found.sync_p99_ms));
  report.Note(kCase,
              "each commit that holds a command is one fdatasync; up to " +
                  std::to_string(kWaitingMax) + " commands wait at once at saturation",
              Validity::kInformation);
}

}  // namespace

Result<void> RunHeld(const Wish& wish, Report& report) {
  const Sizes sizes = SizesOf(wish);
  LK_TRY(const std::unique_ptr<Place> place, Place::Make(wish.place));
  const size_t calm_cars = (sizes.calm + kActions - 1) / kActions;
  LK_TRY(const Crowd crowd, Crowd::Make(*place, sizes.cars + calm_cars));
  Found found;
  for (size_t i = 0; i < sizes.rounds; ++i) {
    Round round(*place, crowd, sizes);
    LK_CHECK(round.Begin());
    // The disk's own syncs before and after, as it has other work by turns.
    LK_TRY(std::vector<double> syncs, SyncSeconds(round.bridge().folder(), sizes.syncing));
    LK_TRY(std::vector<double> calm, round.Calm(sizes.cars));
    LK_TRY(const std::vector<double> after, SyncSeconds(round.bridge().folder(), sizes.syncing));
    syncs.insert(syncs.end(), after.begin(), after.end());
    LK_TRY(const Round::Rush rush, round.Saturate(sizes.cars));
    double all = 0;
    for (const double seconds : syncs) {
      all += seconds;
    }
    found.syncs_per_second.push_back(static_cast<double>(syncs.size()) / all);
    found.sync_p99_ms.push_back(Percentile(syncs, 0.99) * 1000);
    found.sync_ms.push_back(SpreadOf(std::move(syncs)).median * 1000);
    const Tail tail = TailOf(std::move(calm));
    found.calm_p50_ms.push_back(tail.p50 * 1000);
    found.calm_p99_ms.push_back(tail.p99 * 1000);
    found.per_second.push_back(rush.per_second);
    found.per_sync.push_back(rush.per_sync);
    found.rush_p50_ms.push_back(rush.latency_s.p50 * 1000);
    found.rush_p99_ms.push_back(rush.latency_s.p99 * 1000);
    found.busy.push_back(rush.bridge_busy);
    found.written_bytes.push_back(rush.written_bytes);
  }
  Say(found, report);
  return {};
}

}  // namespace latchkey::bench
