// A small world around the real core of the bridge: a broker that keeps, loses, repeats and
// reorders messages, with a plugin that holds blocks and may lose them, administrators, cars that
// come, go, act, change their rings and crash, phones that ask and ask again, owners among them
// that remove each other, a store whose power can be cut, and clocks that jump. One seed decides
// everything but signatures' randomness.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "bridge/core/story.h"
#include "tests/sim/invariants.h"

namespace latchkey::sim {

class World {
 public:
  // `trace` gets a line for everything that happens; null: nothing.
  explicit World(uint64_t seed, std::ostream* trace = nullptr);
  // One thing happens. Throws Fault when an invariant breaks.
  void Step();
  // Nothing bad happens any more: everything is delivered and all time passes.
  void Drain();
  // "steps 10000 held 213 ended 205 acted 480 crashes 31"
  std::string Summary() const;

 private:
  struct Car {
    CarRef ref;
    bool online = false;
    uint64_t session = 0;
    uint64_t ring_version = 0;
    uint64_t sequence = 0;
    std::string ring;
    std::set<std::string> names;             // of the phones on the ring
    std::map<CommandId, std::string> known;  // last receipt of every id, lasting
    std::map<CommandId, KeyId> lanes;
    std::map<v1::Slot, Timestamp> newest_in_slot;
    std::deque<CommandId> pending;  // delivered, not yet done
    std::deque<Publish> inbox;      // from the broker; lost with the connection
    std::deque<Publish> outbox;     // not yet sent
  };

  struct Asked {
    CarRef ref;
    KeyId lane;
    std::string bytes;
    Timestamp until;
  };

  uint64_t Pick(uint64_t below) { return random_() % below; }

  bool Chance(uint64_t percent) { return Pick(100) < percent; }

  Now BridgeNow() const { return {wall_ + wall_off_, mono_}; }

  // ---- bridge and its runner
  void Trace(const std::string& who, const Publish& publish);
  void Trace(const std::string& what);
  void StartBridge();
  void Run(const bridge::Input& input);
  void CrashBridge(bool power);
  void TickIfDue();
  bool BehindOn(const CarRef& ref) const;
  bool BlocksAgree() const;
  // ---- broker
  void FromBridge(const Publish& publish);
  void ToBridge(const Publish& publish);
  void Retain(const Publish& publish);
  void PluginGets(const Publish& publish);
  bool PluginRefuses(const Publish& publish) const;
  void AdministratorActs();
  void BridgeConnects();
  void BridgeDrops();
  void BrokerRestarts();
  void BridgeReceives();
  // ---- cars
  void CarConnects(Car& car);
  void CarDrops(Car& car);
  void CarReceives(Car& car);
  void CarTakes(Car& car, const Command& command);
  bool CarMayChangeKeys(const Car& car, const Command& command) const;
  void CarChangesKeys(Car& car, const Command& command);
  void CarFinishes(Car& car);
  void CarSays(Car& car, const CommandId& id, v1::ReceiptState state, Reason reason);
  void CarSends(Car& car, const Publish& publish);
  void CarPublishesState(Car& car);
  void CarWritesRing(Car& car, const std::set<std::string>& names);
  void CarPairs(Car& car);
  // ---- phones
  static void SetAction(const std::string& action, const std::string& whom, v1::Command& command);
  void PhoneAsks();
  void PhoneAsksAgain();
  void PhoneSends(const Asked& asked);
  // ---- time
  void TimePasses(Duration by);
  void SomethingHappens(uint64_t what);

  std::mt19937_64 random_;
  std::ostream* trace_;
  bool clock_jumps_;                      // in half of the seeds
  Timestamp wall_ = bridge::kStoryStart;  // true time; cars and phones know it
  Duration wall_off_{0};                  // error of the bridge's clock
  Instant mono_{0};                       // the bridge's
  bridge::StoryStore store_;
  std::unique_ptr<bridge::Bridge> bridge_;
  Invariants invariants_;
  std::vector<Car> cars_;
  std::vector<Asked> asked_;
  std::map<std::string, Publish> retained_;
  bridge::PluginModel plugin_;
  std::deque<Publish> to_bridge_;
  bool bridge_connected_ = false;
  Timestamp broker_started_at_ = bridge::kStoryStart;
  uint64_t steps_ = 0;
  uint64_t crashes_ = 0;
  bool calm_ = false;
};

}  // namespace latchkey::sim
