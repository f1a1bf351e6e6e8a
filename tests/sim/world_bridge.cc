// The bridge's process in the world: its runner, its disk and its clocks, and
// how it dies.
#include <algorithm>
#include <utility>

#include "tests/sim/world.h"

namespace latchkey::sim {

namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;

// So many runs are signed and judged by libcrypto alone; the others take what
// is quicker.
constexpr uint64_t kRealEvery = 16;
constexpr uint64_t kMigratesOnceIn = 3;  // runs
constexpr size_t kIntakeMax = 16;
constexpr size_t kBacklogMax = 30;
constexpr uint64_t kDiesOnceIn = 300;  // turns
constexpr Duration kLookEvery = 500ms;
constexpr Duration kHistoryKeep = 24h * 2;
constexpr uint64_t kTightOnceIn = 4;
constexpr uint64_t kTightBytes = 2048;

// In some runs so little that most of it is left out.
bridge::HistoryWatch::Bounds HistoryOf(uint64_t seed) {
  const bool tight = seed % kTightOnceIn == 3;
  return {kHistoryKeep, tight ? kTightBytes : uint64_t{1} << 20, seed % 2 == 1, !tight};
}

}  // namespace

// What the bridge says goes here, and waits for the network.
class World::Line final : public bridge::Publisher {
 public:
  explicit Line(World& world) : world_(world) {}

  void Send(const Publish& publish) override {
    world_.awaits_.Pass();
    world_.Says(publish);
  }

  size_t backlog() const override { return world_.words_.size(); }

  void Reconnect() override {
    world_.awaits_.Pass();
    world_.reconnect_wanted_ = true;
  }

 private:
  World& world_;
};

class World::Gateway final : public bridge::SmsSender {
 public:
  explicit Gateway(World& world) : world_(world) {}

  void Send(const bridge::SendSms& sms) override {
    world_.awaits_.Pass();
    world_.Sends(sms);
  }

 private:
  World& world_;
};

World::World(uint64_t seed, std::ostream* trace)
    : random_(seed),
      trace_(trace),
      clock_jumps_(seed % 2 == 0),
      invariants_(store_, HistoryOf(seed)),
      line_(std::make_unique<Line>(*this)),
      gateway_(std::make_unique<Gateway>(*this)) {
  UseSignatures(seed % kRealEvery == 0 ? Signatures::kReal : Signatures::kStandIn);
  if (seed % kMigratesOnceIn == 1) {
    store_.MigrateAtRandom(seed);
  }
  store_.watch = [this](std::span<const storage::Change> changes, bool durable) {
    invariants_.Committed(changes, durable, {decided_at_, mono_});
  };
  store_.recovered = [this] { invariants_.Restarted(); };
  store_.limbo_stays = [this] { return Chance(50); };
  for (const CarKeys& keys : AllKeys().cars) {
    Car car;
    car.keys = &keys;
    car.ref = keys.ref;
    cars_.push_back(std::move(car));
  }
  StartBridge();
  BridgeConnects();
  for (Car& car : cars_) {
    CarWritesRing(car, {"k1", "k2"});
    CarConnects(car);
  }
}

World::~World() = default;

void World::StartBridge() {
  if (runner_) {
    return;
  }
  if (!store_.Open()) {
    Trace("bridge cannot open its store");
    return;
  }
  invariants_.Restarted();
  bridge::Limits limits;
  limits.commands_per_car_max = 12;
  limits.commands_per_key_max = 8;
  limits.history_keep = invariants_.history().bounds().keep;
  limits.history_bytes_per_car = invariants_.history().bounds().bytes_per_car;
  bridge::RunnerLimits runner_limits;
  runner_limits.inputs_per_turn_max = 5;
  runner_limits.gathering = {};
  runner_limits.backlog_max = kBacklogMax;
  runner_limits.kept_max = 12;
  intake_ = std::make_unique<bridge::Intake>(kIntakeMax);
  const auto clock = [this] {
    awaits_.Pass();
    return BridgeNow();
  };
  const auto log = [this](const bridge::LogEvent& event) {
    if (trace_ != nullptr) {
      std::string text = "bridge logs " + event.event;
      for (const auto& [name, value] : event.fields) {
        text += " " + name + "=" + value;
      }
      Trace(text);
    }
  };
  runner_ = std::make_unique<bridge::Runner>(
      limits, AllKeys().cas, runner_limits,
      bridge::Runner::Parts{*intake_, store_, *line_, clock, log, gateway_.get()});
  if (!runner_->Load()) {
    Trace("bridge cannot read its store and ends");
    runner_.reset();
    return;
  }
  bridge::Contacts contacts;
  for (const Car& car : cars_) {
    if (car.ref != cars_.back().ref) {  // the last has no phone number
      contacts[car.ref] = {"+43660000000" + std::to_string(contacts.size()), car.keys->relay_key};
    }
  }
  Put(contacts);
}

void World::Put(const bridge::Input& input) {
  if (runner_) {
    intake_->PutAlways(input);
  }
}

// One turn of the runner. The bridge can die at every point where it waits for
// something.
void World::Turn() {
  if (!runner_) {
    return;
  }
  if (!calm_ && Pick(kDiesOnceIn) == 0) {
    awaits_.DieAt(Pick(Chance(70) ? 10 : 40));
  }
  decided_at_ = BridgeNow().wall;
  const uint64_t failures = store_.failures;
  try {
    runner_->Turn(Duration(0));
  } catch (const Died&) {
    BridgeDies(Chance(50));
    return;
  }
  awaits_.Never();
  if (failures != store_.failures || !runner_->status().store_error.empty()) {
    invariants_.history().Lost();
  } else {
    invariants_.history().Turned({decided_at_, mono_});
  }
  while (!taken_.empty() && intake_->WaitFinished(taken_.front().ticket, Duration(0))) {
    Given(taken_.front().publish, Stage::kDealtWith);
    taken_.pop_front();
  }
  if (reconnect_wanted_) {
    reconnect_wanted_ = false;
    BridgeDrops();
  }
}

void World::BridgeDies(bool power) {
  awaits_.Never();
  Trace(power ? "power cut" : "bridge dies");
  ++crashes_;
  runner_.reset();
  WordsLeave(Pick(words_.size() + 1));
  words_.clear();
  // Commands are acknowledged when they are dealt with, everything else when it
  // was taken.
  while (!taken_.empty()) {
    const Publish& publish = taken_.back().publish;
    const bool is_word = !publish.topic.empty();
    if (is_word && (KindOf(publish) == TopicKind::kCommand || Chance(20))) {
      Again(taken_.back().publish);
    }
    taken_.pop_back();
  }
  for (Sms& sms : sms_) {
    sms.closed = true;
  }
  reconnect_wanted_ = false;
  bridge_connected_ = false;
  store_.Restart(power ? std::optional<size_t>(Pick(store_.unsynced() + 2)) : std::nullopt,
                 Chance(50));
  if (power) {
    mono_ = Instant{static_cast<int64_t>(Pick(1'000'000))};
  }
  if (Chance(70)) {
    StartBridge();
  }
}

void World::DiskChanges() {
  if (calm_ || store_.disk != Disk::kGood) {
    Trace("disk heals");
    store_.disk = Disk::kGood;
    return;
  }
  const uint64_t what = Pick(5);
  store_.disk = what < 2 ? Disk::kFull : what < 4 ? Disk::kNoSync : Disk::kUnreadable;
  Trace(what < 2 ? "disk is full" : what < 4 ? "disk does not sync" : "disk cannot be read");
}

// What is taken is stepped at once or later: what it changes counts from when it is taken, and once
// more when its turn is over.
void World::Given(const Publish& publish, Stage stage) {
  if (publish.topic.empty()) {
    invariants_.MayVisit(std::nullopt);
    return;
  }
  const std::optional<Topic> topic = ParseTopic(publish.topic);
  if (topic && topic->kind == TopicKind::kPresence) {
    invariants_.MayVisit(bridge::RefOf(std::string(topic->car)));
  } else if (topic && topic->kind == TopicKind::kReceipt) {
    const CarRef ref = bridge::RefOf(std::string(topic->car));
    stage == Stage::kTaken ? invariants_.Answers(publish.payload, ref)
                           : invariants_.Answered(publish.payload, ref);
  }
}

// Does the broker know something of the car that the bridge has not been given,
// or not stepped?
bool World::BehindOn(const CarRef& ref) const {
  const auto about = [&](const Publish& publish) {
    const std::optional<Topic> topic = ParseTopic(publish.topic);
    return topic && topic->car == ref.car.str();
  };
  return std::any_of(to_bridge_.begin(), to_bridge_.end(), about) ||
         std::any_of(taken_.begin(), taken_.end(), [&](const Taken& taken) {
           return about(taken.publish) && !intake_->WaitFinished(taken.ticket, Duration(0));
         });
}

bool World::BlocksAgree() const {
  const SimStore::Records& blocks = store_.Of(storage::Kind::kBlock);
  const bridge::Gauges gauges = runner_->core().gauges();
  return blocks.size() == plugin_.blocks.size() && gauges.blocks == blocks.size() &&
         gauges.blocks_agreed && std::all_of(blocks.begin(), blocks.end(), [this](const auto& one) {
           const Block& block = std::get<storage::BlockRecord>(one.second).block;
           const Block* held = plugin_.blocks.Find(block.scope);
           return held != nullptr && *held == block;
         });
}

void World::Says(const Publish& publish) {
  Trace("bridge says", publish);
  if (KindOf(publish)) {
    const CarRef ref = bridge::RefOf(std::string(ParseTopic(publish.topic)->car));
    invariants_.Published(publish, {decided_at_, wall_, mono_, BehindOn(ref), !clock_jumps_});
  } else {
    invariants_.Told(publish);
  }
  if (bridge_connected_) {
    words_.push_back(publish);
  }
}

void World::Sends(const bridge::SendSms& sms) {
  ++sms_sent_;
  if (trace_ != nullptr) {
    Trace("bridge sends SMS " + std::to_string(sms.id) + " to " + sms.ref.ToText() + " of " +
          std::to_string(sms.bytes.size()) + " bytes");
  }
  invariants_.Sent(sms, {decided_at_, wall_, mono_, false, !clock_jumps_});
  sms_.push_back({sms});
}

// ---- time

// Until the bridge would look up by itself.
Duration World::UntilDue() const {
  if (!runner_) {
    return 12h;
  }
  Duration until = 12h;
  if (const std::optional<Instant> due = runner_->core().NextDeadline()) {
    until = std::clamp(*due - mono_, Duration(0), until);
  }
  const bool looks = store_.unsynced() > 0 || !runner_->status().store_error.empty();
  return looks ? std::min(until, kLookEvery) : until;
}

void World::TimePasses(Duration by) {
  const auto advance = [&](Duration step) {
    wall_ = wall_ + step;
    mono_ = mono_ + step;
    by -= step;
  };
  for (int turns = 0; turns < 20 && by.count() > 0; ++turns) {
    if (!calm_ && Chance(10)) {
      break;  // the runner is late
    }
    const uint64_t crashes = crashes_;
    advance(std::min(by, UntilDue()));
    Turn();
    if (crashes != crashes_) {
      break;
    }
  }
  advance(std::max(by, Duration(0)));
  Turn();
}

}  // namespace latchkey::sim
