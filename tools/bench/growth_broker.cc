// See growth_broker.h.
#include "tools/bench/growth_broker.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/topic.h"
#include "tools/bench/brokers.h"
#include "tools/bench/entrance.h"
#include "tools/bench/process.h"
#include "tools/bench/swarm.h"

namespace latchkey::bench {
namespace {

constexpr size_t kRingChangesPerCar = 25;
constexpr Duration kPatience = std::chrono::seconds(60);
constexpr Duration kLongPatience = std::chrono::minutes(5);
constexpr std::string_view kControl = "$CONTROL/dynamic-security/v1";
constexpr uint8_t kFirstRefusal = 0x80;

// What a broker used for `count` things that `body` does one after the other.
struct Used {
  double cpu_us = 0;
  double wall_us = 0;
  double written_bytes = 0;
};

Result<Used> UsedBy(const BenchBroker& broker, size_t count,
                    const std::function<Result<void>()>& body) {
  const Usage before = broker.Used();
  const double began = MonotonicSeconds();
  LK_CHECK(body());
  const double took_s = MonotonicSeconds() - began;
  const Usage after = broker.Used();
  const auto each = static_cast<double>(count);
  return Used{(after.cpu_s - before.cpu_s) / each * 1e6, took_s / each * 1e6,
              static_cast<double>(after.written_bytes - before.written_bytes) / each};
}

// What a broker says of its cars when it starts, it says while it serves, some at a time: until it
// takes no more memory for it.
Result<void> AwaitCalm(const BenchBroker& broker) {
  constexpr Duration kLook = std::chrono::seconds(1);
  constexpr int kLooksMax = 900;
  constexpr int kCalmLooks = 3;
  uint64_t bytes = 0;
  int calm = 0;
  for (int look = 0; look < kLooksMax; ++look) {
    const uint64_t held = broker.Used().private_bytes;
    calm = held == bytes ? calm + 1 : 0;
    if (calm == kCalmLooks) {
      return {};
    }
    bytes = held;
    Pause(kLook);
  }
  return Fail(v1::REASON_STORE_UNAVAILABLE, "the broker still grows 15 minutes after its start");
}

// Cars that publish, one message after the other.
class Publishers {
 public:
  Publishers(const Crowd& crowd, const Entrance& entrance)
      : crowd_(crowd), entrance_(entrance), swarm_(entrance.cars()) {
    swarm_.on_acknowledged = [this](size_t, const Acknowledged& answer) {
      refused_ += answer.reason >= kFirstRefusal ? 1 : 0;
    };
  }

  Result<void> Enter() {
    for (size_t i = 0; i < crowd_.cars(); ++i) {
      LK_TRY(ClientWish wish, entrance_.Car(i));
      swarm_.Add(std::move(wish));
    }
    swarm_.Drive(kPatience);
    if (swarm_.connected() != crowd_.cars()) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "the broker let in " + std::to_string(swarm_.connected()) + " of " +
                      std::to_string(crowd_.cars()) + " cars: " + swarm_.first_trouble());
    }
    return {};
  }

  // Each car says `times` things, each when the one before is acknowledged.
  Result<void> Say(size_t times, const std::function<Message(size_t car, size_t time)>& what) {
    for (size_t time = 0; time < times; ++time) {
      for (size_t car = 0; car < crowd_.cars(); ++car) {
        swarm_.Publish(car, what(car, time));
        if (!swarm_.Drive(kPatience)) {
          return Fail(v1::REASON_STORE_UNAVAILABLE, "the broker does not answer a publish");
        }
      }
    }
    if (refused_ != 0) {
      return Fail(v1::REASON_STORE_UNAVAILABLE, "the broker refused " + std::to_string(refused_) +
                                                    " publishes of " +
                                                    std::to_string(times * crowd_.cars()));
    }
    return {};
  }

 private:
  const Crowd& crowd_;
  const Entrance& entrance_;
  Swarm swarm_;
  size_t refused_ = 0;
};

}  // namespace

Result<BrokerCost> MeasureRings(const Place& place, const Crowd& crowd,
                                const std::filesystem::path& folder, size_t pairings) {
  BrokerWish wish;
  wish.dressing = Dressing::kLatchkey;
  wish.place = &place;
  wish.crowd = &crowd;
  wish.listed_clients = pairings;
  wish.rings_from = folder;
  LK_TRY(const std::unique_ptr<BenchBroker> broker, BenchBroker::Start(wish));
  BrokerCost cost;
  cost.start_s = static_cast<double>(broker->took_to_serve().count()) / 1000;
  cost.private_bytes = broker->Used().private_bytes;
  LK_CHECK(AwaitCalm(*broker));
  cost.calm_bytes = broker->Used().private_bytes;
  LK_TRY(const Entrance entrance, Entrance::To(place, *broker, true));
  Publishers cars(crowd, entrance);
  LK_CHECK(cars.Enter());
  // Signed before, so that the broker is never waited for a signature.
  std::vector<std::vector<std::string>> rings(kRingChangesPerCar + 1);
  for (size_t time = 0; time < rings.size(); ++time) {
    for (size_t car = 0; car < crowd.cars(); ++car) {
      rings[time].push_back(crowd.SignedRing(car, 2 + time));
    }
  }
  std::vector<std::string> topics;
  for (size_t car = 0; car < crowd.cars(); ++car) {
    topics.push_back(KeyRingTopic(crowd.car(car).ref));
  }
  const auto ring = [&](size_t car, size_t time) {
    return Message{topics[car], rings[time][car], 1, true, 0};
  };
  LK_CHECK(cars.Say(1, ring));  // warms up
  // The very bytes that are held: taken without a verification, and nothing changes.
  const auto again = [&](size_t car, size_t) { return ring(car, 0); };
  const size_t count = kRingChangesPerCar * crowd.cars();
  LK_TRY(const Used plain,
         UsedBy(*broker, count, [&] { return cars.Say(kRingChangesPerCar, again); }));
  const auto next = [&](size_t car, size_t time) { return ring(car, time + 1); };
  LK_TRY(const Used changed,
         UsedBy(*broker, count, [&] { return cars.Say(kRingChangesPerCar, next); }));
  cost.change = {count, changed.cpu_us, plain.cpu_us, changed.wall_us, changed.written_bytes};
  return cost;
}

Result<BrokerCost> MeasureDynamicSecurity(const Place& place, const Crowd& crowd, size_t clients,
                                          size_t changes) {
  BrokerWish wish;
  wish.dressing = Dressing::kDynamicSecurity;
  wish.place = &place;
  wish.crowd = &crowd;
  wish.listed_clients = clients;
  LK_TRY(const std::unique_ptr<BenchBroker> broker, BenchBroker::Start(wish));
  BrokerCost cost;
  cost.start_s = static_cast<double>(broker->took_to_serve().count()) / 1000;
  cost.private_bytes = broker->Used().private_bytes;
  LK_TRY(const Entrance entrance, Entrance::To(place, *broker, true));
  Swarm swarm(entrance.cars());
  LK_TRY(ClientWish administrator, entrance.With(broker->AdministratorSignIn()));
  const size_t client = swarm.Add(std::move(administrator));
  std::string answer;
  swarm.on_message = [&answer](size_t, const Arrived& message) { answer = message.payload; };
  swarm.Subscribe(client, std::string(kControl) + "/response", 1);
  swarm.Drive(kPatience);
  if (!swarm.IsConnected(client)) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "the broker does not let its administrator in: " + swarm.first_trouble());
  }
  const std::string role = "role-" + crowd.car(0).ref.ToText();
  const auto order = [&](const std::string& command) -> Result<void> {
    answer.clear();
    swarm.Publish(client, {kControl, command, 1, false, 0});
    const bool came = swarm.DriveUntil(kLongPatience, [&answer] { return !answer.empty(); });
    if (!came || answer.find("\"error\"") != std::string::npos) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "dynamic-security answers " + (came ? answer : "nothing") + " to " + command);
    }
    return {};
  };
  const auto change = [&](size_t index) {
    const std::string guest = "guest-" + std::to_string(index / 2);
    return order(
        index % 2 == 0
            ? R"({"commands":[{"command":"createClient","username":")" + guest +
                  R"(","password":"a guest's password","roles":[{"rolename":")" + role + R"("}]}]})"
            : R"({"commands":[{"command":"deleteClient","username":")" + guest + R"("}]})");
  };
  LK_TRY(const Used plain, UsedBy(*broker, changes, [&]() -> Result<void> {
           for (size_t i = 0; i < changes; ++i) {
             LK_CHECK(order(R"({"commands":[{"command":"getDefaultACLAccess"}]})"));
           }
           return {};
         }));
  LK_TRY(const Used changed, UsedBy(*broker, changes, [&]() -> Result<void> {
           for (size_t i = 0; i < changes; ++i) {
             LK_CHECK(change(i));
           }
           return {};
         }));
  cost.change = {changes, changed.cpu_us, plain.cpu_us, changed.wall_us, changed.written_bytes};
  return cost;
}

}  // namespace latchkey::bench
