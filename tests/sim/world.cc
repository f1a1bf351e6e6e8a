// What happens, and how often.
#include "tests/sim/world.h"

#include <algorithm>

namespace latchkey::sim {

namespace {

using std::chrono_literals::operator""h;

constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kHourMs = 3'600'000;

}  // namespace

std::optional<TopicKind> KindOf(const Publish& publish) {
  const std::optional<Topic> topic = ParseTopic(publish.topic);
  return topic ? std::optional<TopicKind>(topic->kind) : std::nullopt;
}

// ---- for reading

void Totals::Add(const Totals& other) {
  steps += other.steps;
  crashes += other.crashes;
  disk_failures += other.disk_failures;
  sms += other.sms;
  made += other.made;
  held += other.held;
  ended += other.ended;
  acted += other.acted;
  cancelled += other.cancelled;
  owners_blocks += other.owners_blocks;
  denied += other.denied;
  unavailable += other.unavailable;
  log_entries += other.log_entries;
  samples += other.samples;
  cut_overs += other.cut_overs;
}

std::string Totals::ToText() const {
  const auto one = [](const char* name, uint64_t count) {
    return std::string(" ") + name + " " + std::to_string(count);
  };
  return "steps " + std::to_string(steps) + one("crashes", crashes) +
         one("disk_failures", disk_failures) + one("commands", made) + one("held", held) +
         one("ended", ended) + one("acted", acted) + one("cancelled", cancelled) +
         one("denied", denied) + one("unavailable", unavailable) + one("blocks", owners_blocks) +
         one("sms", sms) + one("log_entries", log_entries) + one("samples", samples) +
         one("cut_overs", cut_overs);
}

Totals World::totals() const {
  Totals totals;
  totals.steps = steps_;
  totals.crashes = crashes_;
  totals.disk_failures = store_.failures;
  totals.sms = sms_sent_;
  totals.made = invariants_.made();
  totals.held = invariants_.promised();
  totals.ended = invariants_.ended();
  totals.acted = invariants_.acted();
  totals.cancelled = invariants_.cancelled();
  totals.owners_blocks = invariants_.owners_blocks();
  totals.denied = invariants_.denied();
  totals.unavailable = invariants_.unavailable();
  totals.log_entries = invariants_.log_entries();
  totals.samples = samples_seen_;
  totals.cut_overs = store_.cut_overs();
  return totals;
}

void World::Trace(const std::string& what) {
  if (trace_ != nullptr) {
    *trace_ << steps_ << " true " << (wall_ - bridge::kStoryStart).count() << " bridge "
            << (BridgeNow().wall - bridge::kStoryStart).count() << ": " << what << "\n";
  }
}

namespace {

std::string CommandText(const Publish& publish, const CarRef& ref, const KeyId& lane) {
  const Command command = ParseCommand(publish.payload, ref, lane).value();
  const int64_t expires =
      command.expires_at ? (*command.expires_at - bridge::kStoryStart).count() : -1;
  std::string text = NameOf(lane) + " " + std::string(command.action->name) + " ";
  if (command.body.has_remove_key()) {
    text += NameOf(KeyId::Parse(command.body.remove_key().key_id()).value()) + " ";
  } else if (command.body.has_cancel()) {
    text += CommandId::FromBytes(command.body.cancel().command_id())->ToText() + " ";
  }
  return text + command.id.ToText() + " until " + std::to_string(expires);
}

std::string ReceiptText(const Publish& publish, const CarRef& ref) {
  const Outcome outcome = OpenReceipt(publish.payload, ref, std::nullopt).value();
  return std::string(ToText(outcome.state)) + " " + v1::Reason_Name(outcome.reason) + " " +
         outcome.command_id.ToText() +
         (outcome.source == v1::RECEIPT_SOURCE_CAR ? " by car" : " by bridge") +
         (outcome.may_have_acted ? " maybe" : "");
}

std::string ControlText(const Publish& publish) {
  v1::Control control;
  std::string text;
  if (publish.topic == kControlTopic && control.ParseFromString(publish.payload)) {
    for (const v1::Block& block : control.merge_blocks().blocks()) {
      text += std::string(block.lifted() ? " lift " : " block ") +
              TextOf(BlockFromWire(block)->scope) +
              (block.cause() == v1::BLOCK_CAUSE_OWNER ? " by owner" : "");
    }
  }
  return text;
}

}  // namespace

void World::Trace(const char* who, const Publish& publish) {
  if (trace_ == nullptr) {
    return;
  }
  const std::optional<Topic> topic = ParseTopic(publish.topic);
  if (!topic) {
    Trace(std::string(who) + " " + publish.topic + ControlText(publish));
    return;
  }
  std::string text = std::string(who) + " " + std::string(topic->car) + " ";
  const CarRef ref = bridge::RefOf(std::string(topic->car));
  if (topic->kind == TopicKind::kCommand) {
    text += CommandText(publish, ref, KeyId::Parse(topic->lane).value());
  } else if (topic->kind == TopicKind::kReceipt) {
    text += ReceiptText(publish, ref);
  } else if (topic->kind == TopicKind::kPresence) {
    v1::Presence presence;
    LK_ASSERT(presence.ParseFromString(publish.payload));
    text += presence.online() ? "online" : "offline";
  } else {
    text += std::string(RuleOf(topic->kind).word);
  }
  Trace(text);
}

// ---- what happens

void World::SomethingHappens(uint64_t what) {
  Car& car = cars_[Pick(cars_.size())];
  if (what < 10) {
    car.online ? CarDrops(car) : CarConnects(car);
  } else if (what < 15) {
    CarPairs(car);
  } else if (what < 18) {
    AdministratorActs();
  } else if (what < 22) {
    bridge_connected_ ? BridgeDrops() : BridgeConnects();
  } else if (what < 23) {
    BrokerRestarts();
  } else if (what < 26) {
    BridgeDies(Chance(50));
  } else if (what < 28) {
    DiskChanges();
  } else if (what < 30) {
    if (clock_jumps_) {
      wall_off_ =
          Chance(50) ? Duration(0) : Duration(static_cast<int64_t>(Pick(2 * kHourMs)) - kHourMs);
    }
  } else if (what < 32) {
    TimePasses(Duration(static_cast<int64_t>(Pick(8 * kHourMs))));
  } else if (what < 38) {
    TimePasses(Duration(static_cast<int64_t>(Pick(2 * kMinuteMs))));
  } else if (what < 40) {
    CarFlaps(car);
  } else if (what < 46) {
    CarPublishesState(car);
  } else if (what < 70) {
    PhoneAsks();
  } else if (what < 84) {
    PhoneCancels();
  } else {
    PhoneAsksAgain();
  }
}

void World::Step() {
  ++steps_;
  if (store_.disk != Disk::kGood && Chance(1)) {
    Trace("disk heals");
    store_.disk = Disk::kGood;
  }
  const uint64_t what = Pick(100);
  Car& car = cars_[Pick(cars_.size())];
  if (what < 25) {
    SomethingHappens(Pick(100));
  } else if (what < 40) {
    TimePasses(Duration(static_cast<int64_t>(Pick(Chance(50) ? 50 : 3000))));
  } else if (what < 70) {
    for (uint64_t messages = 1 + Pick(3); messages > 0; --messages) {
      BridgeReceives();
    }
  } else if (what < 82) {
    CarReceives(car);
  } else if (what < 93) {
    CarFinishes(car);
  } else if (what < 97) {
    SmsMoves();
  } else {
    BridgeConnects();
    CarConnects(car);
  }
  if (Chance(80)) {
    WordsLeave(words_.size());
  } else {
    WordsLeave(Pick(2));
  }
  if (runner_) {
    runner_->core().CheckInvariants();
  }
}

// What is still under way when everything calms down must end.
void World::Drain() {
  calm_ = true;
  Trace("calm");
  store_.disk = Disk::kGood;
  const auto quiet = [this] {
    return to_bridge_.empty() && taken_.empty() && words_.empty() && sms_.empty() &&
           std::all_of(cars_.begin(), cars_.end(), [](const Car& car) {
             return car.inbox.empty() && car.pending.empty() && car.outbox.empty();
           });
  };
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 500; ++i) {
      BridgeConnects();
      for (Car& car : cars_) {
        CarConnects(car);
      }
      for (int busy = 0; busy < 200 && !quiet(); ++busy) {
        BridgeReceives();
        Turn();
        WordsLeave(words_.size());
        SmsMoves();
        for (Car& car : cars_) {
          while (!car.inbox.empty() || !car.pending.empty()) {
            CarReceives(car);
            CarFinishes(car);
          }
        }
      }
      const Duration due = UntilDue();
      if (due > 1h && i > 2) {
        break;
      }
      TimePasses(due);
    }
    TimePasses(12h);
  }
  runner_->core().CheckInvariants();
  invariants_.AllKept();
  samples_seen_ = invariants_.history().samples();
  if (runner_->core().gauges().commands_open != 0) {
    ThrowFault("I1: a command is open though everything had its time");
  }
  if (!BlocksAgree()) {
    ThrowFault("I8: plugin and bridge do not hold the same blocks");
  }
}

}  // namespace latchkey::sim
