// Writes before words: what the runner lets out, and when, with a store that can fail.
#include "bridge/runner.h"

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/core/story.h"
#include "latchkey/v1/state.pb.h"
#include "proto/topic.h"
#include "storage/memory_store.h"

namespace latchkey::bridge {

namespace {

// Everything that happens outside of the runner, in the order in which it happens.
using Diary = std::vector<std::string>;

class FlakyStore final : public storage::Store {
 public:
  explicit FlakyStore(Diary& diary) : diary_(diary) {}

  Result<void> Commit(std::span<const storage::Change> changes,
                      storage::Durability durability) override {
    const bool durable = durability == storage::Durability::kDurable;
    const std::string what = std::to_string(changes.size()) + (durable ? " durable" : " soon");
    if (failing) {
      diary_.push_back("commit " + what + " fails");
      return Fail(v1::REASON_STORE_UNAVAILABLE, "no room");
    }
    diary_.push_back("commit " + what);
    return inner.Commit(changes, durability);
  }

  Result<void> Sync() override {
    diary_.emplace_back("sync");
    return inner.Sync();
  }

  std::unique_ptr<storage::Reader> Snapshot() const override { return inner.Snapshot(); }

  bool failing = false;
  storage::MemoryStore inner;

 private:
  Diary& diary_;
};

class DiaryPublisher final : public Publisher {
 public:
  explicit DiaryPublisher(Diary& diary) : diary_(diary) {}

  // What is asked of the broker's plugin is left out unless a test is about that.
  void Send(const Publish& publish) override {
    if (publish.topic != kControlTopic || tell_control) {
      diary_.push_back("publish " + publish.topic);
    }
  }

  size_t backlog() const override { return 0; }

  void Reconnect() override { diary_.emplace_back("reconnect"); }

  bool tell_control = false;

 private:
  Diary& diary_;
};

// A runner with everything around it, and a clock that moves when told to.
struct World {
  World() { REQUIRE(runner.Load().has_value()); }

  explicit World(FleetCas fleet_cas) : cas(std::move(fleet_cas)) {
    REQUIRE(runner.Load().has_value());
  }

  void Arrives(const std::string& topic, const std::string& payload, Retain retain = Retain::kNo) {
    Publish publish;
    publish.topic = topic;
    publish.payload = payload;
    publish.retain = retain;
    ticket = intake.Put(Message{publish}, Duration(0));
    REQUIRE(ticket.has_value());
  }

  void Passes(Duration time) {
    now.wall = now.wall + time;
    now.mono = now.mono + time;
  }

  void Turn() { runner.Turn(Duration(0)); }

  std::string Happened() {
    std::string text;
    for (const std::string& line : diary) {
      text += (text.empty() ? "" : " | ") + line;
    }
    diary.clear();
    return text;
  }

  // A signed ring with k1 as owner, and a command of k1.
  std::string Ring() {
    const auto& car = keys.CarOf(ref);
    KeyRing ring;
    ring.ref = ref;
    ring.version = 1;
    ring.written_at = kStoryStart;
    RingKey key;
    const PublicKey phone = keys.phones.at("k1").Public();
    key.id = phone.Id();
    key.public_key = phone.ToPoint();
    key.role = v1::ROLE_OWNER;
    key.permissions = PermissionsOf(v1::ROLE_OWNER);
    ring.keys = {key};
    return SealKeyRing(ring, car.key, car.certificate_der);
  }

  std::string Lock() {
    CommandRequest request;
    request.ref = ref;
    request.id = CommandId::Make(now.wall.ms, "0123456789");
    request.issued_at = now.wall;
    request.expires_at = now.wall + 1min;
    request.action.mutable_lock();
    return SealCommand(request, keys.phones.at("k1")).value();
  }

  Keys keys;
  Diary diary;
  FlakyStore store{diary};
  DiaryPublisher publisher{diary};
  Intake intake{100};
  Now now{kStoryStart, {1000}};
  std::vector<std::string> log;
  std::optional<uint64_t> ticket;
  CarRef ref = RefOf("car1");
  KeyId lane = keys.IdOf("k1");
  FleetCas cas = keys.Cas();
  Runner runner{Limits{},
                cas,
                RunnerLimits{},
                {intake, store, publisher, [this] { return now; },
                 [this](const LogEvent& event) { log.push_back(event.event); }}};
};

std::string BodyState(Timestamp observed_at) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(observed_at.ms));
  state.set_sequence(1);
  state.mutable_body()->mutable_is_locked()->set_value(true);
  return state.SerializeAsString();
}

}  // namespace

TEST_CASE("runner: a command is committed durably before its HELD leaves, and then its turn ends") {
  World w;
  w.intake.PutAlways(BrokerUp{});
  w.Arrives(KeyRingTopic(w.ref), w.Ring(), Retain::kYes);
  w.Turn();
  CHECK(w.Happened() == "commit 1 durable");
  w.Arrives(CommandTopic(w.ref, w.lane), w.Lock());
  CHECK_FALSE(w.intake.WaitFinished(*w.ticket, Duration(0)));
  w.Turn();
  CHECK(w.Happened() == "commit 1 durable | publish " + ReceiptTopic(w.ref, w.lane));
  CHECK(w.intake.WaitFinished(*w.ticket, Duration(0)));
  CHECK(w.runner.status().gauges.commands_held == 1);
  CHECK(w.runner.status().commits == 2);
}

TEST_CASE("runner: state is committed without a sync and synced within a second") {
  World w;
  w.Arrives(StateTopic(w.ref, Group::kBody), BodyState(w.now.wall));
  w.Turn();
  CHECK(w.Happened() == "commit 1 soon");
  w.Passes(499ms);
  w.Turn();
  CHECK(w.Happened() == "");
  w.Passes(1ms);
  w.Turn();
  CHECK(w.Happened() == "sync");
  w.Passes(10s);
  w.Turn();
  CHECK(w.Happened() == "");
}

TEST_CASE("runner: a failing commit says nothing, is not ready, and says it all once it works") {
  World w;
  w.intake.PutAlways(BrokerUp{});
  w.Arrives(KeyRingTopic(w.ref), w.Ring(), Retain::kYes);
  w.Turn();
  w.Happened();
  w.store.failing = true;
  w.Arrives(CommandTopic(w.ref, w.lane), w.Lock());
  w.Turn();
  CHECK(w.Happened() == "commit 1 durable fails");
  CHECK(w.runner.status().store_error == "no room");
  CHECK_FALSE(w.intake.WaitFinished(*w.ticket, Duration(0)));
  w.Turn();  // the back-off is not over
  CHECK(w.Happened() == "");
  w.Passes(500ms);
  w.Turn();
  CHECK(w.Happened() == "commit 0 durable fails");
  w.store.failing = false;
  w.Passes(1s);
  w.Turn();
  CHECK(w.Happened() == "commit 0 durable | commit 1 durable | publish " +
                            ReceiptTopic(w.ref, w.lane) + " | reconnect");
  CHECK(w.runner.status().store_error.empty());
  CHECK(w.intake.WaitFinished(*w.ticket, Duration(0)));
  CHECK(w.runner.status().gauges.commands_held == 1);
  CHECK(w.runner.status().commits_failed == 2);
}

TEST_CASE("runner: after a failing commit the core knows only what the store has") {
  World w;
  w.Arrives(StateTopic(w.ref, Group::kBody), BodyState(w.now.wall));
  w.store.failing = true;
  w.Turn();
  w.store.failing = false;
  w.Passes(500ms);
  w.Turn();
  CHECK(w.Happened() == "commit 1 soon fails | commit 0 durable | commit 1 soon | reconnect");
  // Had the core kept what it could not write, the same state would have been found not newer.
  CHECK(w.runner.status().counters.state_stored == 2);
  CHECK(w.runner.status().gauges.cars == 1);
}

TEST_CASE("runner: what is in the queue at the end is dealt with and synced") {
  World w;
  w.Arrives(StateTopic(w.ref, Group::kBody), BodyState(w.now.wall));
  w.Arrives(StateTopic(w.ref, Group::kBody), BodyState(w.now.wall + 1s));
  CHECK(w.runner.Finish());
  CHECK(w.Happened() == "commit 2 soon | sync");
  w.store.inner.Crash();
  CHECK(w.runner.Load().has_value());
  CHECK(w.runner.status().gauges.cars == 1);
}

TEST_CASE("runner: damaged records are counted and logged, the others are loaded") {
  World w;
  auto raw = storage::Encode(storage::StateRecord{RefOf("car2"), Group::kBody, {1}, "x"});
  raw.value.back() = static_cast<char>(raw.value.back() ^ 1);
  w.store.inner.PutRaw(raw);
  w.Arrives(StateTopic(w.ref, Group::kBody), BodyState(w.now.wall));
  w.Turn();
  CHECK(w.runner.Load().has_value());
  CHECK(w.runner.status().records_damaged == 1);
  CHECK(w.runner.status().gauges.cars == 1);
  CHECK(std::count(w.log.begin(), w.log.end(), "record_damaged") == 1);
}

TEST_CASE("runner: bytes that are no message are counted by reason and do no harm") {
  World w;
  w.Arrives(StateTopic(w.ref, Group::kBody), "\xff\xff");
  w.Arrives("lk/1/nonsense", "x");
  w.Turn();
  CHECK(w.Happened() == "");
  CHECK(w.runner.status().counters.refused.at(v1::REASON_MALFORMED) == 1);
  CHECK(w.runner.status().counters.refused.at(v1::REASON_UNKNOWN_TOPIC) == 1);
}

TEST_CASE("runner: a block is committed durably before the broker's plugin is told of it") {
  World w;
  const KeyId guest = w.keys.IdOf("k2");
  w.publisher.tell_control = true;
  w.intake.PutAlways(BrokerUp{});
  w.Arrives(KeyRingTopic(w.ref), w.keys.Ring(w.ref, 1, {"k1", "k2"}), Retain::kYes);
  w.Turn();
  w.Happened();
  CommandRequest request;
  request.ref = w.ref;
  request.id = CommandId::Make(w.now.wall.ms, "0123456789");
  request.issued_at = w.now.wall;
  request.action.mutable_remove_key()->set_key_id(guest.str());
  w.Arrives(CommandTopic(w.ref, w.lane), SealCommand(request, w.keys.phones.at("k1")).value());
  w.Turn();
  CHECK(w.Happened() == "commit 2 durable | publish " + ReceiptTopic(w.ref, w.lane) +
                            " | publish $CONTROL/latchkey/v1");
  CHECK(w.runner.status().gauges.blocks_standing == 1);
  CHECK(w.runner.status().counters.blocks_set == 1);
  // It is there for the next start, and for a core that is built anew after the store failed.
  w.store.inner.Crash();
  CHECK(w.runner.Load().has_value());
  CHECK(w.runner.status().gauges.blocks_standing == 1);
}

TEST_CASE("runner: a fleet's CA that comes later is kept over the rebuilding of the core") {
  World w(FleetCas{});
  w.Arrives(KeyRingTopic(w.ref), w.Ring(), Retain::kYes);
  w.Turn();
  CHECK(w.Happened() == "");
  w.intake.PutAlways(FleetCas{{w.ref.fleet, PemToDer(w.keys.ca.certificate_pem).value()}});
  w.Turn();
  CHECK(w.Happened() == "commit 1 durable");
  CHECK(w.runner.Load().has_value());
  const CarRef other = RefOf("car2");
  w.Arrives(KeyRingTopic(other), w.keys.Ring(other, 1, {"k1"}), Retain::kYes);
  w.Turn();
  CHECK(w.Happened() == "commit 1 durable");
}

}  // namespace latchkey::bridge
