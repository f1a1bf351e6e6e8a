// A small world around the real core of the bridge and its real runner: a
// broker that keeps, loses, repeats and reorders messages, with a plugin that
// holds blocks and may lose them, administrators, cars that come, go, flap,
// act, change their rings and crash, phones that ask, ask again and take back,
// owners among them that remove each other, an SMS gateway, a disk that fills
// up, fails to sync and loses power, and clocks that jump. The bridge can die
// wherever it waits for any of these. One seed decides everything but the bytes
// of signatures and salts, on which nothing depends.
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
#include "bridge/runner.h"
#include "bridge/sms.h"
#include "tests/sim/invariants.h"
#include "tests/sim/keys.h"
#include "tests/sim/store.h"

namespace latchkey::sim {

// What happened in a run, for reading and for knowing that it was much.
struct Totals {
  uint64_t steps = 0;
  uint64_t crashes = 0;
  uint64_t disk_failures = 0;
  uint64_t sms = 0;
  size_t made = 0;
  size_t held = 0;
  size_t ended = 0;
  size_t acted = 0;
  size_t cancelled = 0;
  size_t owners_blocks = 0;
  size_t denied = 0;
  size_t unavailable = 0;
  size_t log_entries = 0;
  size_t samples = 0;      // in history at the end
  uint64_t cut_overs = 0;  // of migrations of the store

  void Add(const Totals& other);
  // "steps 10000 crashes 31 disk_failures 5 ..."
  std::string ToText() const;
};

class World {
 public:
  // `trace` gets a line for everything that happens; null: nothing.
  explicit World(uint64_t seed, std::ostream* trace = nullptr);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // One thing happens. Throws Fault when an invariant breaks.
  void Step();
  // Nothing bad happens any more: everything is delivered and all time passes.
  void Drain();
  Totals totals() const;

 private:
  class Line;
  class Gateway;

  struct Car {
    const CarKeys* keys = nullptr;
    CarRef ref;
    bool online = false;
    uint64_t session = 0;
    uint64_t ring_version = 0;
    uint64_t sequence = 0;
    bool privacy = false;
    std::string ring;
    KeyRing opened;
    std::set<std::string> names;             // of the phones on the ring
    std::map<CommandId, std::string> known;  // last receipt of every id, lasting
    std::map<CommandId, v1::ReceiptState> states;
    std::map<CommandId, KeyId> lanes;
    std::map<v1::Slot, Timestamp> newest_in_slot;
    std::deque<CommandId> pending;  // delivered, not yet done
    std::deque<Publish> inbox;      // from the broker; lost with the connection
    std::deque<Publish> outbox;     // not yet sent
  };

  struct Asked {
    CarRef ref;
    KeyId lane;
    CommandId id;
    std::string bytes;
    Timestamp until;
    bool cancelled = false;  // the phone took it back: it is not sent again
    bool cancels = false;
  };

  // An SMS on its way.
  struct Sms {
    bridge::SendSms sms;
    bool sent = false;    // reported
    bool closed = false;  // nothing more is reported: it was delivered or
                          // failed, or the bridge died
  };

  struct Taken {
    uint64_t ticket = 0;
    Publish publish;  // no topic: the word that the broker is there
  };

  uint64_t Pick(uint64_t below) { return random_() % below; }

  bool Chance(uint64_t percent) { return Pick(100) < percent; }

  Now BridgeNow() const { return {wall_ + wall_off_, mono_}; }

  void Trace(const std::string& what);
  void Trace(const char* who, const Publish& publish);
  // ---- bridge and its disk (world_bridge.cc)
  void StartBridge();
  void Put(const bridge::Input& input);
  void Turn();
  void BridgeDies(bool power);
  enum class Stage : uint8_t { kTaken, kDealtWith };
  void Given(const Publish& publish, Stage stage);
  bool BehindOn(const CarRef& ref) const;
  bool BlocksAgree() const;
  void Says(const Publish& publish);
  void Sends(const bridge::SendSms& sms);
  void DiskChanges();
  void TimePasses(Duration by);
  Duration UntilDue() const;
  // ---- broker (world_broker.cc)
  Car& CarOf(const CarRef& ref);
  void WordsLeave(size_t most);
  void FromBridge(const Publish& publish);
  void ToBridge(const Publish& publish);
  void Again(const Publish& publish);
  void Retain(const Publish& publish);
  void PluginGets(const Publish& publish);
  bool PluginRefuses(const Publish& publish) const;
  void AdministratorActs();
  void BridgeConnects();
  void BridgeDrops();
  void BrokerRestarts();
  void BridgeTakes();
  void BridgeReceives();
  void SmsMoves();
  void SmsReported(Sms& sms, bridge::SmsReport::What what);
  // ---- cars (world_cars.cc)
  void CarConnects(Car& car);
  void CarDrops(Car& car);
  void CarFlaps(Car& car);
  void CarReceives(Car& car);
  void CarHears(Car& car, const KeyId& lane, const std::string& bytes);
  void CarGetsSms(Car& car, const std::string& bytes);
  void CarTakes(Car& car, const Command& command);
  void CarCancels(Car& car, const Command& command);
  bool CarMayChangeKeys(const Car& car, const Command& command) const;
  void CarChangesKeys(Car& car, const Command& command);
  void CarFinishes(Car& car);
  void CarSays(Car& car, const CommandId& id, v1::ReceiptState state, Reason reason);
  void CarRepeats(Car& car, const CommandId& id);
  void CarSends(Car& car, const Publish& publish);
  void CarPublishesState(Car& car);
  void CarWritesRing(Car& car, const std::set<std::string>& names);
  void CarPairs(Car& car);
  // ---- phones (world_cars.cc)
  void PhoneAsks();
  void PhoneCancels();
  void PhoneAsksAgain();
  void PhoneMakes(Asked asked, const CommandRequest& request);
  void PhoneSends(const Asked& asked);
  std::string Random10();
  // ---- what happens (world.cc)
  void SomethingHappens(uint64_t what);

  std::mt19937_64 random_;
  std::ostream* trace_;
  bool clock_jumps_;                            // in half of the seeds
  Timestamp wall_ = bridge::kStoryStart;        // true time; cars and phones know it
  Duration wall_off_{0};                        // error of the bridge's clock
  Instant mono_{0};                             // the bridge's
  Timestamp decided_at_ = bridge::kStoryStart;  // by the bridge's clock, when its turn began
  Awaits awaits_;
  SimStore store_{awaits_};
  Invariants invariants_;
  std::unique_ptr<Line> line_;
  std::unique_ptr<Gateway> gateway_;
  std::unique_ptr<bridge::Intake> intake_;  // of the bridge's process, as the runner
  std::unique_ptr<bridge::Runner> runner_;
  std::deque<Taken> taken_;    // in the intake, not known to be dealt with
  std::deque<Publish> words_;  // said by the bridge, not yet at the broker
  bool reconnect_wanted_ = false;
  std::vector<Car> cars_;
  std::vector<Asked> asked_;
  std::map<std::string, Publish> retained_;
  bridge::PluginModel plugin_;
  // Its session at the broker. A publish without topic: the end of what is retained.
  std::deque<Publish> to_bridge_;
  std::vector<Sms> sms_;
  bool bridge_connected_ = false;
  Timestamp broker_started_at_ = bridge::kStoryStart;
  uint64_t steps_ = 0;
  uint64_t crashes_ = 0;
  uint64_t sms_sent_ = 0;
  size_t samples_seen_ = 0;
  bool calm_ = false;
};

// nullopt: one about blocks.
std::optional<TopicKind> KindOf(const Publish& publish);

}  // namespace latchkey::sim
