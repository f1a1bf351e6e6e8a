// Ingest: state messages per second that the bridge stores, against what the same broker delivers
// to a subscriber that has the bridge's subscriptions and throws all away.
//
// Cars publish in a closed loop: a bounded number of messages may be between them and whoever
// counts, so what is measured is what that end can take, and no queue grows.
#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/topic.h"
#include "tools/bench/background.h"
#include "tools/bench/bridge.h"
#include "tools/bench/brokers.h"
#include "tools/bench/cases.h"
#include "tools/bench/crowd.h"
#include "tools/bench/entrance.h"
#include "tools/bench/process.h"
#include "tools/latchkey/cell.h"
#include "tools/latchkey/show.h"

namespace latchkey::bench {

namespace {

constexpr std::string_view kCase = "ingest";
constexpr uint64_t kUncountedMax = 6000;   // on their way, of all cars together
constexpr size_t kUnacknowledgedMax = 50;  // of one car; the broker takes 200
constexpr double kLookSeconds = 0.1;       // between two looks at the bridge's metrics
constexpr Duration kPatience = std::chrono::minutes(1);
constexpr double kBusyEnough = 0.9;
constexpr Target kOfDiscarded{Goal::kAtLeast, 0.9};
constexpr const char* kStored = "latchkey_state_stored_total";

struct Sizes {
  size_t rounds;
  size_t cars;
  double warm_up_s;
  double measured_s;
};

Sizes SizesOf(const Wish& wish) {
  const size_t cars = wish.cars != 0 ? wish.cars : wish.quick ? 100 : 400;
  return {wish.RoundsOr(5, 2), cars, wish.quick ? 0.5 : 2.0, wish.quick ? 1.5 : 8.0};
}

// The cars of one broker, and who counts what comes through: the bridge, or a client of this swarm.
struct Side {
  std::unique_ptr<BenchBroker> broker;
  std::unique_ptr<BenchBridge> bridge;  // none: the subscriber counts
  std::unique_ptr<Swarm> swarm;         // cars first
  uint64_t sent = 0;
  uint64_t received = 0;  // by the subscriber
  uint64_t counted = 0;
  double looked_at = 0;
};

struct Window {
  double per_second = 0;
  double broker_busy = 0;
  double own_busy = 0;
  double bridge_busy = 0;
  double written_bytes = 0;  // for each message
  double per_commit = 0;     // messages
};

class Ingest {
 public:
  Ingest(const Wish& wish, Report& report) : sizes_(SizesOf(wish)), wish_(wish), report_(report) {}

  Result<void> Run() {
    LK_TRY(place_, Place::Make(wish_.place));
    LK_TRY(Crowd crowd, Crowd::Make(*place_, sizes_.cars));
    crowd_ = std::make_unique<Crowd>(std::move(crowd));
    LK_TRY(bridge_identity_, cli::LoadIssued(place_->folder().Bridge(), "bridge"));
    for (size_t i = 0; i < crowd_->cars(); ++i) {
      topics_.push_back(StateTopic(crowd_->car(i).ref, Group::kDrive));
    }
    std::array<Side, 2> sides;
    LK_CHECK(Begin(sides[0], false));
    LK_CHECK(Begin(sides[1], true));
    for (size_t round = 0; round < sizes_.rounds; ++round) {
      for (size_t i = 0; i < sides.size(); ++i) {
        const size_t which = (i + round) % sides.size();
        LK_TRY(const Window window, Turn(sides[which]));
        windows_[which].push_back(window);
      }
    }
    memory_ = sides[1].bridge->Used();
    Say();
    return {};
  }

 private:
  Result<void> Begin(Side& side, bool bridged) {
    BrokerWish wish;
    wish.dressing = Dressing::kLatchkey;
    wish.place = place_.get();
    wish.crowd = crowd_.get();
    wish.listed_clients = sizes_.cars;
    LK_TRY(side.broker, BenchBroker::Start(wish));
    LK_TRY(const Entrance entrance, Entrance::To(*place_, *side.broker, true));
    side.swarm = std::make_unique<Swarm>(entrance.cars());
    for (size_t i = 0; i < crowd_->cars(); ++i) {
      LK_TRY(ClientWish car, entrance.Car(i));
      side.swarm->Add(std::move(car));
    }
    if (bridged) {
      LK_TRY(side.bridge, BenchBridge::Start(*place_, *side.broker));
    } else {
      LK_TRY(ClientWish wish_to_count,
             entrance.With({"bridge/" + std::string(cli::kBridgeName), "", "", &bridge_identity_}));
      side.swarm->on_message = [&side](size_t, const Arrived& arrived) {
        const bool state = arrived.topic.find("/state/") != std::string_view::npos;
        side.received += state ? 1 : 0;  // not presence
      };
      const size_t counts = side.swarm->Add(std::move(wish_to_count));
      for (const std::string& filter : BridgeFilters()) {
        side.swarm->Subscribe(counts, filter, 1);
      }
    }
    if (!side.swarm->Drive(kPatience) || side.swarm->connected() != side.swarm->size()) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "ingest: cars do not get in: " + side.swarm->first_trouble());
    }
    return {};
  }

  // What bridge/mqtt.cc asks a broker for.
  static std::vector<std::string> BridgeFilters() {
    std::vector<std::string> filters = {"lk/1/+/+/command/+", "lk/1/+/+/receipt/+",
                                        "lk/1/+/+/presence", "lk/1/+/+/keyring"};
    for (const Group group : kGroups) {
      filters.push_back("lk/1/+/+/state/" + std::string(ToText(group)));
    }
    return filters;
  }

  Result<void> Count(Side& side) {
    const double now = MonotonicSeconds();
    if (!side.bridge) {
      side.counted = side.received;
      side.looked_at = now;
    } else if (now - side.looked_at > kLookSeconds) {
      LK_TRY(const double stored, side.bridge->Metric(kStored));
      side.counted = static_cast<uint64_t>(stored);
      side.looked_at = MonotonicSeconds();
    }
    const Counters& counters = side.swarm->counters();
    if (counters.refused > 0 || counters.lost > 0 || counters.refused_subscriptions > 0) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "ingest: something is refused: " + side.swarm->first_trouble());
    }
    return {};
  }

  void Publish(Side& side) {
    const Timestamp now = cli::ReadClocks().wall;
    uint64_t room = kUncountedMax - std::min(kUncountedMax, side.sent - side.counted);
    for (size_t tried = 0; room > 0 && tried < topics_.size(); ++tried) {
      const size_t car = next_car_++ % topics_.size();
      if (side.swarm->Unacknowledged(car) >= kUnacknowledgedMax) {
        continue;
      }
      const std::string state = NumberedState(++sequence_, now);
      if (side.swarm->Publish(car, {topics_[car], state, 1, true, 0})) {
        ++side.sent;
        --room;
      }
    }
  }

  // Until `seconds` are over and somebody has just counted.
  Result<void> Work(Side& side, double seconds) {
    const double until = MonotonicSeconds() + seconds;
    for (double looked = 0; MonotonicSeconds() < until || side.looked_at == looked;) {
      looked = side.looked_at;
      Publish(side);
      side.swarm->DriveUntil(Duration(1), [] { return false; });
      LK_CHECK(Count(side));
    }
    return {};
  }

  Result<Window> Turn(Side& side) {
    LK_CHECK(Work(side, sizes_.warm_up_s));
    const Usage broker = side.broker->Used();
    const Usage bridge = side.bridge ? side.bridge->Used() : Usage{};
    LK_TRY(const double commits, Commits(side));
    const double own = ThreadCpuSeconds();
    const double began = side.looked_at;
    const uint64_t counted = side.counted;
    LK_CHECK(Work(side, sizes_.measured_s));
    const double wall = side.looked_at - began;
    const auto messages = static_cast<double>(side.counted - counted);
    Window window;
    window.per_second = messages / wall;
    window.broker_busy = (side.broker->Used().cpu_s - broker.cpu_s) / wall;
    window.own_busy = (ThreadCpuSeconds() - own) / wall;
    if (side.bridge) {
      const Usage after = side.bridge->Used();
      LK_TRY(const double more, Commits(side));
      window.bridge_busy = (after.cpu_s - bridge.cpu_s) / wall;
      window.written_bytes =
          static_cast<double>(after.written_bytes - bridge.written_bytes) / std::max(messages, 1.0);
      window.per_commit = messages / std::max(more - commits, 1.0);
    }
    LK_CHECK(Drain(side));
    return window;
  }

  static Result<double> Commits(const Side& side) {
    return side.bridge ? side.bridge->Metric("latchkey_store_commits_total") : 0.0;
  }

  // All that was said has been counted, so that the other side has the machine to itself.
  Result<void> Drain(Side& side) {
    const double until = MonotonicSeconds() + static_cast<double>(kPatience.count()) / 1000;
    while (side.counted < side.sent) {
      if (MonotonicSeconds() > until) {
        return Fail(v1::REASON_STORE_UNAVAILABLE,
                    "ingest: " + std::to_string(side.sent - side.counted) + " of " +
                        std::to_string(side.sent) + " messages never came through");
      }
      side.swarm->DriveUntil(Duration(10), [] { return false; });
      LK_CHECK(Count(side));
    }
    return {};
  }

  std::vector<double> Of(size_t side, double Window::* field) const {
    std::vector<double> all;
    for (const Window& window : windows_[side]) {
      all.push_back(window.*field);
    }
    return all;
  }

  void Say() {
    constexpr std::string_view kDiscards = "subscriber that discards";
    constexpr std::string_view kBridge = "bridge";
    const auto figure = [&](std::string_view subject, size_t side, const char* name,
                            const char* unit, double Window::* field) {
      report_.Figure(kCase, subject, name, unit, SpreadOf(Of(side, field)));
    };
    figure(kDiscards, 0, "messages", "1/s", &Window::per_second);
    figure(kBridge, 1, "messages stored", "1/s", &Window::per_second);
    figure(kDiscards, 0, "broker busy", "", &Window::broker_busy);
    figure(kBridge, 1, "broker busy", "", &Window::broker_busy);
    figure(kDiscards, 0, "generator busy", "", &Window::own_busy);
    figure(kBridge, 1, "generator busy", "", &Window::own_busy);
    figure(kBridge, 1, "bridge busy", "", &Window::bridge_busy);
    figure(kBridge, 1, "messages a commit", "", &Window::per_commit);
    figure(kBridge, 1, "written for a message", "bytes", &Window::written_bytes);
    report_.Figure(kCase, kBridge, "memory (Pss)", "bytes",
                   SpreadOf({static_cast<double>(memory_.proportional_bytes)}));
    report_.Ratio(kCase, "messages a second", kBridge, kDiscards,
                  RatiosOf(Of(1, &Window::per_second), Of(0, &Window::per_second)), kOfDiscarded);
    report_.Note(kCase,
                 "busy is in processors: broker, generator and bridge share " +
                     std::to_string(ProcessorCount()) +
                     "; a state is stored when its commit is "
                     "done, and the log of the store is synced once a second",
                 Validity::kInformation);
    if (const double busy = SpreadOf(Of(0, &Window::broker_busy)).median; busy < kBusyEnough) {
      report_.Note(kCase,
                   "the broker was busy for only " + NumberText(busy) +
                       " of the time towards the subscriber that discards: the generator, or "
                       "others on this machine, were the bottleneck",
                   Validity::kInvalid);
    }
  }

  const Sizes sizes_;
  const Wish& wish_;
  Report& report_;
  std::unique_ptr<Place> place_;
  std::unique_ptr<Crowd> crowd_;
  tools::Issued bridge_identity_;
  std::vector<std::string> topics_;
  std::array<std::vector<Window>, 2> windows_;
  Usage memory_;
  size_t next_car_ = 0;
  uint64_t sequence_ = 0;
};

}  // namespace

Result<void> RunIngest(const Wish& wish, Report& report) {
  return Ingest(wish, report).Run();
}

}  // namespace latchkey::bench
