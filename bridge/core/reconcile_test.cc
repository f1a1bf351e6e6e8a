// The broker's retained messages and the store, kept equal over crashes of either: the real core, a
// store that loses what it has not synced, a broker that comes back with an older copy or with
// nothing, and a car that speaks whenever it likes. One seed decides each run.
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/core/last_known.h"
#include "bridge/core/story.h"

namespace latchkey::bridge {

namespace {

constexpr std::array<Group, 3> kSpoken = {Group::kBody, Group::kEnergy, Group::kClimate};
constexpr int kCars = 3;

std::string BytesOf(Group group, Timestamp observed_at, uint64_t sequence) {
  if (group != Group::kClimate) {
    return StateBytes(group, observed_at, sequence);
  }
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(observed_at.ms));
  state.set_sequence(sequence);
  state.mutable_climate()->mutable_is_active()->set_value(true);
  return state.SerializeAsString();
}

StateVersion VersionIn(const std::string& payload) {
  v1::StateGroup state;
  LK_ASSERT(state.ParseFromString(payload));
  return VersionOf(state);
}

using Payloads = std::map<std::string, std::string>;  // by topic

class World {
 public:
  enum class Clocks : uint8_t { kRight, kWrong };

  // kWrong: cars' clocks are ahead by up to four minutes, and corrected, again and again.
  explicit World(uint32_t seed, Clocks clocks = Clocks::kRight) : clocks_(clocks), random_(seed) {
    StartBridge();
    StartBroker();
  }

  void Step() {
    const uint64_t what = random_() % 100;
    if (what < 20) {
      CarSpeaks(random_() % kCars);
    } else if (what < 40) {
      BrokerTakesFromCar();
    } else if (what < 60) {
      BrokerTakesFromBridge();
    } else if (what < 84) {
      BridgeTakes();
    } else if (what < 92) {
      Passes(Duration(static_cast<int64_t>(random_() % 900)));
    } else if (what < 94) {
      synced_ = store_;
      saved_ = retained_;
    } else if (what < 96) {
      BridgeDies();
    } else if (what < 97) {
      BrokerDies();
    } else {
      Connects();
    }
  }

  // Nothing bad happens any more.
  void Drain() {
    Connects();
    for (int i = 0; i < 400; ++i) {
      while (!from_cars_.empty() || !from_bridge_.empty() || !to_bridge_.empty()) {
        BrokerTakesFromCar();
        BrokerTakesFromBridge();
        BridgeTakes();
      }
      Passes(1s);
    }
  }

  // All clocks are right from here on: what each car says next is what is held, at once.
  void CheckCorrected() {
    Connects();
    const auto deliver = [this] {
      while (!from_cars_.empty() || !from_bridge_.empty() || !to_bridge_.empty()) {
        BrokerTakesFromCar();
        BrokerTakesFromBridge();
        BridgeTakes();
      }
    };
    deliver();
    ahead_.clear();
    Passes(10ms);
    for (uint64_t car = 0; car < kCars; ++car) {
      for (const Group group : kSpoken) {
        Speaks(car, group);
      }
    }
    for (int i = 0; i < 20; ++i) {
      deliver();
      Passes(100ms);
    }
    for (const auto& [topic, payload] : said_) {
      CAPTURE(topic);
      CHECK(store_.at(topic) == payload);
      CHECK(retained_.at(topic) == payload);
    }
  }

  // Broker and store have the same, and nothing older than what survived the last crash.
  void Check() const {
    CHECK(store_.size() == retained_.size());
    for (const auto& [topic, payload] : store_) {
      CAPTURE(topic);
      const auto retained = retained_.find(topic);
      REQUIRE(retained != retained_.end());
      CHECK(VersionIn(retained->second) == VersionIn(payload));
    }
    for (const auto& [topic, version] : survived_) {
      CAPTURE(topic);
      REQUIRE(store_.count(topic) == 1);
      CHECK(VersionIn(store_.at(topic)) >= version);
    }
  }

  uint64_t crashes = 0;
  uint64_t given_back = 0;
  uint64_t crossed = 0;  // times that the broker took an older message after a newer one

 private:
  static CarRef RefOfCar(uint64_t car) { return RefOf("car" + std::to_string(car)); }

  void StartBridge() {
    bridge_ = std::make_unique<Bridge>(Limits{}, FleetCas{});
    for (const auto& [topic, payload] : store_) {
      const Topic parts = ParseTopic(topic).value();
      bridge_->Load(storage::StateRecord{RefOf(std::string(parts.car)), parts.group,
                                         came_.at(payload), payload});
    }
    mono_ = Instant{0};
    connected_ = false;
  }

  void StartBroker() {
    broker_up_ = true;
    // Cars that are awake connect and say all they know.
    for (uint64_t car = 0; car < kCars; ++car) {
      for (const Group group : kSpoken) {
        const auto said = said_.find(StateTopic(RefOfCar(car), group));
        if (said != said_.end() && random_() % 2 == 0) {
          from_cars_.push_back(Publish{said->first, said->second, 1, Retain::kYes, 0});
        }
      }
    }
  }

  void Connects() {
    if (!broker_up_) {
      StartBroker();
    }
    if (connected_) {
      return;
    }
    connected_ = true;
    Give(BrokerUp{});
    for (const auto& [topic, payload] : retained_) {
      to_bridge_.push_back(Publish{topic, payload, 1, Retain::kYes, 0});
    }
  }

  void CarSpeaks(uint64_t car) {
    if (clocks_ == Clocks::kWrong && random_() % 4 == 0) {
      ahead_[car] = Duration(random_() % 2 == 0 ? 0 : static_cast<int64_t>(random_() % 240'000));
    }
    Speaks(car, kSpoken.at(random_() % kSpoken.size()));
  }

  void Speaks(uint64_t car, Group group) {
    const std::string topic = StateTopic(RefOfCar(car), group);
    const std::string payload = BytesOf(group, wall_ + ahead_[car], ++sequence_);
    said_[topic] = payload;
    if (broker_up_) {
      from_cars_.push_back(Publish{topic, payload, 1, Retain::kYes, 0});
    }
  }

  void BrokerTakesFromCar() {
    if (broker_up_ && !from_cars_.empty()) {
      BrokerTakes(from_cars_.front());
      from_cars_.pop_front();
    }
  }

  void BrokerTakesFromBridge() {
    if (broker_up_ && !from_bridge_.empty()) {
      BrokerTakes(from_bridge_.front());
      from_bridge_.pop_front();
    }
  }

  // Who is connected hears everything in the order in which it is retained, the bridge its own too.
  void BrokerTakes(const Publish& publish) {
    const auto retained = retained_.find(publish.topic);
    if (retained != retained_.end() && VersionIn(publish.payload) < VersionIn(retained->second)) {
      ++crossed;
    }
    retained_[publish.topic] = publish.payload;
    if (connected_) {
      to_bridge_.push_back(Publish{publish.topic, publish.payload, 1, Retain::kNo, 0});
    }
  }

  void BridgeTakes() {
    if (!to_bridge_.empty()) {
      const Publish publish = to_bridge_.front();
      to_bridge_.pop_front();
      Give(Message{publish});
    }
  }

  void Passes(Duration duration) {
    wall_ = wall_ + duration;
    mono_ = mono_ + duration;
    if (bridge_->NextDeadline().value_or(mono_ + 1s) <= mono_) {
      Give(Tick{});
    }
  }

  void Give(const Input& input) {
    Effects effects;
    bridge_->Step(input, {wall_, mono_}, effects);
    for (const Effect& effect : effects) {
      if (const auto* write = std::get_if<Write>(&effect)) {
        const auto& state = std::get<storage::StateRecord>(write->change);
        const std::string topic = StateTopic(state.ref, state.group);
        const auto held = store_.find(topic);
        if (held != store_.end()) {
          const StateVersion before = VersionIn(held->second);
          const StateVersion after = VersionIn(state.payload);
          CHECK(
              (before < after || (clocks_ == Clocks::kWrong && before.sequence < after.sequence)));
        }
        came_[state.payload] = state.received_at;
        store_[topic] = state.payload;
      } else if (const auto* publish = std::get_if<Publish>(&effect)) {
        if (connected_ && ParseTopic(publish->topic)) {  // not what it asks the plugin
          from_bridge_.push_back(*publish);
          ++given_back;
        }
      }
    }
    bridge_->CheckInvariants();
  }

  // By kill, or with the power: then what was not synced is lost.
  void BridgeDies() {
    ++crashes;
    from_bridge_.resize(random_() % (from_bridge_.size() + 1));
    to_bridge_.clear();
    if (random_() % 2 == 0) {
      store_ = synced_;
    }
    StartBridge();
    Survived();
  }

  // It comes back as it was, with its last copy, or with nothing.
  void BrokerDies() {
    ++crashes;
    broker_up_ = false;
    from_cars_.clear();
    from_bridge_.clear();
    to_bridge_.clear();
    const uint64_t how = random_() % 3;
    if (how > 0) {
      retained_ = how == 1 ? saved_ : Payloads{};
      saved_ = retained_;
    }
    if (connected_) {
      connected_ = false;
      Give(BrokerDown{});
    }
    Survived();
    if (random_() % 2 == 0) {
      Connects();
    }
  }

  void Survived() {
    survived_.clear();
    for (const Payloads* where : {&store_, &retained_}) {
      for (const auto& [topic, payload] : *where) {
        StateVersion& version = survived_[topic];
        version = std::max(version, VersionIn(payload));
      }
    }
  }

  Clocks clocks_;
  std::mt19937 random_;
  std::map<uint64_t, Duration> ahead_;     // of cars' clocks
  std::map<std::string, Timestamp> came_;  // when a payload that was stored did
  Timestamp wall_ = kStoryStart;
  Instant mono_;
  std::unique_ptr<Bridge> bridge_;
  bool broker_up_ = false;
  bool connected_ = false;
  uint64_t sequence_ = 0;
  Payloads said_;  // by the cars, the newest
  Payloads retained_;
  Payloads saved_;
  Payloads store_;
  Payloads synced_;
  std::map<std::string, StateVersion> survived_;
  std::deque<Publish> from_cars_;
  std::deque<Publish> from_bridge_;
  std::deque<Publish> to_bridge_;
};

}  // namespace

TEST_CASE("reconcile: after any crashes of broker and bridge both hold the newest that survived") {
  uint64_t crashes = 0;
  uint64_t given_back = 0;
  uint64_t crossed = 0;
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    World world(seed);
    for (int i = 0; i < 600; ++i) {
      world.Step();
    }
    world.Drain();
    world.Check();
    crashes += world.crashes;
    given_back += world.given_back;
    crossed += world.crossed;
  }
  MESSAGE(crashes << " crashes, " << given_back << " messages given back, " << crossed
                  << " crossed a newer one");
  CHECK(crashes > 3000);
  CHECK(given_back > 500);
  CHECK(crossed > 10);
}

TEST_CASE("reconcile: clocks that were ahead freeze nothing once they are right, over crashes") {
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    World world(seed, World::Clocks::kWrong);
    for (int i = 0; i < 600; ++i) {
      world.Step();
    }
    world.CheckCorrected();
  }
}

}  // namespace latchkey::bridge
