// Writes before words: what the runner lets out, and when, with a store that can fail.
#include "bridge/runner.h"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/core/history.h"
#include "bridge/core/story.h"
#include "bridge/sms.h"
#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/state.pb.h"
#include "proto/log_chain.h"
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
    if (failing || (failing_with_changes && !changes.empty())) {
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
  bool failing_with_changes = false;
  storage::MemoryStore inner;

 private:
  Diary& diary_;
};

class DiaryPublisher final : public Publisher {
 public:
  explicit DiaryPublisher(Diary& diary) : diary_(diary) {}

  // What is asked of the broker's plugin is left out unless a test is about that.
  void Send(const Publish& publish) override {
    if (publish.topic == kControlTopic && !tell_control) {
      return;
    }
    std::string line = "publish " + publish.topic;
    if (const auto topic = ParseTopic(publish.topic); topic && topic->kind == TopicKind::kReceipt) {
      v1::Receipt receipt;
      v1::Outcome outcome;
      REQUIRE(receipt.ParseFromString(publish.payload));
      REQUIRE(outcome.ParseFromString(receipt.outcome()));
      line = "receipt " + std::string(ToText(outcome.state()));
      if (outcome.state() == v1::RECEIPT_STATE_REFUSED) {
        line += " " + std::string(FactsOf(outcome.reason()).word);
      }
    }
    diary_.push_back(line);
  }

  size_t backlog() const override { return waiting; }

  void Reconnect() override { diary_.emplace_back("reconnect"); }

  bool tell_control = false;
  size_t waiting = 0;  // words that the network has not taken

 private:
  Diary& diary_;
};

class DiarySms final : public SmsSender {
 public:
  explicit DiarySms(Diary& diary) : diary_(diary) {}

  void Send(const SendSms& sms) override { diary_.push_back("sms " + sms.number); }

 private:
  Diary& diary_;
};

// A runner with everything around it, and a clock that moves when told to.
struct World {
  World() { REQUIRE(runner.Load().has_value()); }

  explicit World(FleetCas fleet_cas) : cas(std::move(fleet_cas)) {
    REQUIRE(runner.Load().has_value());
  }

  // The log's bounds are these.
  explicit World(const LogBounds& bounds) : limits{.migration = {}, .log = bounds} {
    REQUIRE(runner.Load().has_value());
  }

  // What comes this fast is gathered so.
  World(size_t busy_inputs, const Gathering& gathering)
      : limits{.busy_inputs = busy_inputs, .gathering = gathering, .migration = {}, .log = {}} {
    REQUIRE(runner.Load().has_value());
  }

  // The core's limits are these.
  explicit World(const Limits& core) : core_limits(core) { REQUIRE(runner.Load().has_value()); }

  // The broker is up, the car's ring is known and the car is away.
  void Begins() {
    intake.PutAlways(BrokerUp{});
    Arrives(KeyRingTopic(ref), Ring(), Retain::kYes);
    Turn();
    Happened();
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

  std::string Lock(const std::string& random10 = "0123456789") {
    CommandRequest request;
    request.ref = ref;
    request.id = CommandId::Make(now.wall.ms, random10);
    request.issued_at = now.wall;
    request.expires_at = now.wall + 1min;
    request.action.mutable_lock();
    return SealCommand(request, keys.phones.at("k1")).value();
  }

  void Commands(const std::string& payload) { Arrives(CommandTopic(ref, lane), payload); }

  void Presence(bool online) {
    Arrives(PresenceTopic(ref), PresenceBytes(online, now.wall, ++session, kStoryStart));
  }

  // The log as it is in the store, an entry as "event state", and whether it is one chain.
  std::string LogText() {
    std::string text;
    LogHead head;
    const auto reader = store.inner.Snapshot();
    REQUIRE(reader
                ->ScanLog(
                    0,
                    [&](const storage::LogRecord& record) {
                      const Result<LogLink> link = OpenLogRecord(record.payload);
                      REQUIRE(link.has_value());
                      if (text.empty()) {
                        head = link->before;
                      }
                      CHECK(CheckFollows(head, *link).has_value());
                      head = link->head;
                      text += (text.empty() ? "" : " | ") + link->entry->event();
                      if (link->entry->state() != v1::RECEIPT_STATE_UNSPECIFIED) {
                        text += " " + std::string(ToText(link->entry->state()));
                      }
                      return true;
                    },
                    [&](std::string_view, const Error&) { text += " | DAMAGED"; })
                .has_value());
    CHECK(runner.status().log.head == head);
    return text;
  }

  Keys keys;
  Diary diary;
  FlakyStore store{diary};
  DiaryPublisher publisher{diary};
  DiarySms sms{diary};
  uint64_t session = 1;
  Limits core_limits;
  RunnerLimits limits;
  Intake intake{100};
  Now now{kStoryStart, {1000}};
  std::vector<std::string> log;
  std::optional<uint64_t> ticket;
  CarRef ref = RefOf("car1");
  KeyId lane = keys.IdOf("k1");
  FleetCas cas = keys.Cas();
  Runner runner{core_limits,
                cas,
                limits,
                {intake, store, publisher, [this] { return now; },
                 [this](const LogEvent& event) { log.push_back(event.event); }, &sms}};
};

std::string StateOf(Group group, Timestamp observed_at) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(observed_at.ms));
  state.set_sequence(1);
  if (group == Group::kEnergy) {
    state.mutable_energy()->mutable_is_plugged()->set_value(true);
  } else {
    state.mutable_body()->mutable_is_locked()->set_value(true);
  }
  return state.SerializeAsString();
}

std::string BodyState(Timestamp observed_at) {
  return StateOf(Group::kBody, observed_at);
}

}  // namespace

TEST_CASE("runner: a command is committed durably before its HELD leaves, and then its turn ends") {
  World w;
  w.intake.PutAlways(BrokerUp{});
  w.Arrives(KeyRingTopic(w.ref), w.Ring(), Retain::kYes);
  w.Turn();
  CHECK(w.Happened() == "commit 2 durable");
  w.Arrives(CommandTopic(w.ref, w.lane), w.Lock());
  CHECK_FALSE(w.intake.WaitFinished(*w.ticket, Duration(0)));
  w.Turn();
  CHECK(w.Happened() == "commit 3 durable | receipt HELD");
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

TEST_CASE("runner: inputs that come fast are waited for, and share a commit; others are not") {
  World w(2, {2, std::chrono::seconds(60)});
  const auto says = [&w](Group group) {
    w.Arrives(StateTopic(w.ref, group), StateOf(group, w.now.wall), Retain::kYes);
  };
  says(Group::kBody);
  w.Turn();
  CHECK_MESSAGE(w.Happened() == "commit 1 soon", "one alone");
  w.Passes(10ms);
  says(Group::kBody);
  says(Group::kEnergy);
  w.Turn();
  CHECK(w.Happened() == "commit 2 soon");
  w.Passes(1ms);
  says(Group::kBody);
  std::thread later([&] { says(Group::kEnergy); });
  w.Turn();
  later.join();
  CHECK_MESSAGE(w.Happened() == "commit 2 soon", "the second was waited for");
  w.Passes(100ms);
  w.Turn();
  says(Group::kBody);
  w.Turn();
  CHECK_MESSAGE(w.Happened() == "commit 1 soon", "nothing came for long");
}

TEST_CASE("runner: while the store fails commands are refused, and they stay refused afterwards") {
  World w;
  w.Begins();
  w.store.failing = true;
  const std::string command = w.Lock();
  w.Commands(command);
  w.Turn();
  CHECK(w.Happened() == "commit 3 durable fails | receipt REFUSED store_unavailable");
  CHECK(w.runner.status().store_error == "no room");
  CHECK(w.intake.WaitFinished(*w.ticket, Duration(0)));  // nobody brings it again
  w.Commands(command);
  w.Commands(w.Lock("another id"));
  w.Turn();
  CHECK(w.Happened() == "receipt REFUSED store_unavailable | receipt REFUSED store_unavailable");
  w.Passes(500ms);
  w.Turn();
  CHECK(w.Happened() == "commit 0 durable fails");
  w.store.failing = false;
  w.Passes(1s);
  w.Turn();
  CHECK(w.Happened() == "commit 0 durable | commit 1 soon | reconnect");
  CHECK(w.runner.status().store_error.empty());
  CHECK(w.runner.status().gauges.commands_open == 0);
  // Neither a copy nor the car's coming makes the bridge act for it.
  w.Commands(command);
  w.Turn();
  CHECK(w.Happened() == "receipt REFUSED store_unavailable");
  w.Presence(true);
  w.Turn();
  w.Passes(10s);
  w.Turn();
  CHECK(w.Happened().find("command") == std::string::npos);
  // One that comes after it is held.
  w.Presence(false);
  w.Turn();
  w.Happened();
  w.Commands(w.Lock("one more id"));
  w.Turn();
  CHECK(w.Happened() == "commit 3 durable | receipt HELD");
  CHECK(w.LogText().find("store | ") != std::string::npos);
}

TEST_CASE("runner: who is on a ring that could not be stored is not told to be on none") {
  World w;
  w.intake.PutAlways(BrokerUp{});
  w.Turn();
  w.Happened();
  w.store.failing = true;
  w.Arrives(StateTopic(w.ref, Group::kBody), BodyState(w.now.wall));
  w.Turn();
  w.Happened();
  w.Commands(w.Lock());
  w.Turn();
  CHECK(w.Happened() == "receipt REFUSED store_unavailable");
  w.store.failing = false;
  w.Passes(1s);
  w.Turn();
  CHECK(w.Happened().find("reconnect") != std::string::npos);
  // The ring is on its way, with all else that the broker retains.
  const std::string command = w.Lock("another id");
  w.Commands(command);
  w.Turn();
  CHECK(w.Happened().find("receipt") == std::string::npos);
  w.Arrives(KeyRingTopic(w.ref), w.Ring(), Retain::kYes);
  w.Commands(command);
  w.Turn();
  CHECK(w.Happened().find("receipt HELD") != std::string::npos);
}

TEST_CASE("runner: while the store fails what it knows is answered, and nothing else is said") {
  World w;
  w.Begins();
  const std::string held = w.Lock();
  w.Commands(held);
  w.Turn();
  CHECK(w.Happened() == "commit 3 durable | receipt HELD");
  w.store.failing = true;
  w.Arrives(StateTopic(w.ref, Group::kBody), BodyState(w.now.wall));
  w.Turn();
  CHECK(w.Happened() == "commit 1 soon fails");
  w.Commands(held);
  w.Turn();
  CHECK(w.Happened() == "receipt HELD");
  // The car comes and is given nothing, as what it says could not be kept; its command goes on.
  w.Presence(true);
  w.Commands(w.Lock("to the car"));
  w.Turn();
  CHECK(w.Happened() == "");
  // It expires, and that cannot be kept: what was the last word is not said any more either.
  w.Passes(400ms);
  w.now.wall = w.now.wall + 2min;
  w.Commands(held);
  w.Turn();
  CHECK(w.Happened() == "");
  w.store.failing = false;
  w.Passes(100ms);
  w.Turn();
  const std::string said = w.Happened();
  CHECK(said.find("receipt EXPIRED") != std::string::npos);
  CHECK(said.find("REFUSED") == std::string::npos);
}

TEST_CASE("runner: while the store fails the rest is kept up to a bound and stepped afterwards") {
  World w;
  w.limits.kept_max = 2;
  Runner runner(Limits{}, w.cas, w.limits,
                {w.intake, w.store, w.publisher, [&] { return w.now; },
                 [&](const LogEvent& event) { w.log.push_back(event.event); }});
  REQUIRE(runner.Load().has_value());
  w.store.failing = true;
  for (const Group group : {Group::kBody, Group::kEnergy, Group::kLink}) {
    w.Arrives(StateTopic(w.ref, group), BodyState(w.now.wall));
    runner.Turn(Duration(0));
  }
  CHECK(w.intake.size() == 0);
  w.store.failing = false;
  w.Passes(500ms);
  runner.Turn(Duration(0));
  CHECK(runner.status().store_error.empty());
  size_t groups = 0;
  REQUIRE(w.store.inner.Snapshot()
              ->Scan(
                  storage::Kind::kState, std::nullopt, [&](const auto&) { ++groups; },
                  [](auto, const auto&) {})
              .has_value());
  CHECK(groups <= 2);
}

TEST_CASE("runner: whose ring was not even kept is not told to be on none") {
  World w;
  w.limits.kept_max = 2;
  Runner runner(Limits{}, w.cas, w.limits,
                {w.intake, w.store, w.publisher, [&] { return w.now; }, [](const LogEvent&) {}});
  REQUIRE(runner.Load().has_value());
  const auto turns = [&] {
    runner.Turn(Duration(0));
    return w.Happened();
  };
  w.intake.PutAlways(BrokerUp{});
  w.intake.PutAlways(BrokerShows{});
  turns();
  w.store.failing = true;
  w.Arrives(StateTopic(w.ref, Group::kBody), BodyState(w.now.wall));
  turns();
  w.intake.PutAlways(BrokerShown{});
  turns();
  w.Arrives(KeyRingTopic(w.ref), w.Ring());  // one too many
  turns();
  w.store.failing = false;
  w.Passes(500ms);
  CHECK(turns().find("reconnect") != std::string::npos);
  const std::string command = w.Lock();
  w.Commands(command);
  CHECK(turns().find("receipt") == std::string::npos);
  w.intake.PutAlways(BrokerDown{});
  w.intake.PutAlways(BrokerUp{});
  w.intake.PutAlways(BrokerShows{});
  w.Arrives(KeyRingTopic(w.ref), w.Ring(), Retain::kYes);
  w.Commands(command);
  CHECK(turns().find("receipt HELD") != std::string::npos);
}

TEST_CASE("runner: a commit that fails again keeps what was kept, and the wait grows") {
  World w;
  w.Begins();
  w.store.failing = true;
  w.Arrives(StateTopic(w.ref, Group::kBody), BodyState(w.now.wall));
  w.Turn();
  w.store.failing_with_changes = true;  // the question is answered with yes, the writes fail
  w.store.failing = false;
  w.Passes(500ms);
  w.Turn();
  CHECK_FALSE(w.runner.status().store_error.empty());
  w.Passes(999ms);
  w.Happened();
  w.Turn();
  CHECK(w.Happened() == "");
  w.store.failing_with_changes = false;
  w.Passes(1ms);
  w.Turn();
  CHECK(w.runner.status().store_error.empty());
  CHECK(w.LogText() == "ring | store");
}

TEST_CASE("runner: commands that come together share one commit, and no HELD leaves before it") {
  World w;
  w.Begins();
  constexpr size_t kCommands = 30;  // to as many cars
  for (size_t i = 0; i < kCommands; ++i) {
    w.ref = RefOf("car" + std::to_string(i));
    w.Arrives(KeyRingTopic(w.ref), w.Ring(), Retain::kYes);
  }
  w.Turn();
  w.Happened();
  for (size_t i = 0; i < kCommands; ++i) {
    w.ref = RefOf("car" + std::to_string(i));
    w.Commands(w.Lock());
  }
  const uint64_t before = w.runner.status().commits;
  w.Turn();
  std::string expected = "commit 90 durable";
  for (size_t i = 0; i < kCommands; ++i) {
    expected += " | receipt HELD";
  }
  CHECK(w.Happened() == expected);
  CHECK(w.runner.status().commits == before + 1);
  CHECK(w.runner.status().gauges.commands_held == kCommands);
}

TEST_CASE("runner: an SMS leaves after the commit that counts it") {
  World w;
  w.Begins();
  w.intake.PutAlways(Contacts{{w.ref, {"+4366012345678", std::string(32, 'k')}}});
  w.Turn();
  w.Presence(false);
  w.Turn();
  w.Happened();
  w.Commands(w.Lock());
  w.Turn();
  CHECK(w.Happened() == "commit 3 durable | receipt HELD");
  w.Passes(30s);
  w.Turn();
  const std::string said = w.Happened();
  CHECK(said.rfind("commit ", 0) == 0);
  CHECK(said.find(" durable | sms +4366012345678") != std::string::npos);
  CHECK(w.runner.status().counters.sms_sent == 1);
}

TEST_CASE("runner: what is done is in the log, one chain over failures and restarts") {
  World w;
  w.Begins();
  CHECK(w.LogText() == "ring");
  w.Commands(w.Lock());
  w.Turn();
  CHECK(w.LogText() == "ring | command | command HELD");
  w.store.failing = true;
  w.Arrives(KeyRingTopic(w.ref), w.keys.Ring(w.ref, 2, {"k1", "k2"}), Retain::kYes);
  w.Turn();
  CHECK(w.LogText() == "ring | command | command HELD");
  w.store.failing = false;
  w.Passes(500ms);
  w.Turn();
  CHECK(w.LogText() == "ring | command | command HELD | store | ring | ring");
  w.store.inner.Crash();
  CHECK(w.runner.Load().has_value());
  w.Arrives(KeyRingTopic(w.ref), w.keys.Ring(w.ref, 3, {"k1"}), Retain::kYes);
  w.Turn();
  CHECK(w.LogText() == "ring | command | command HELD | store | ring | ring | ring");
}

TEST_CASE("runner: damaged records at the end of the log are named in their place") {
  World w;
  w.Begins();
  w.Commands(w.Lock());
  w.Turn();
  auto flip = [&](uint64_t sequence, bool checksum_fits) {
    storage::KeyValue raw;
    REQUIRE(w.store.inner.Snapshot()
                ->ScanLog(
                    sequence,
                    [&](storage::LogRecord record) {
                      record.payload.back() = static_cast<char>(record.payload.back() ^ 1);
                      raw = storage::Encode(record);
                      return false;
                    },
                    [](auto, const auto&) {})
                .has_value());
    if (!checksum_fits) {
      raw.value.back() = static_cast<char>(raw.value.back() ^ 1);
    }
    w.store.inner.PutRaw(raw);
  };
  flip(2, true);
  flip(3, false);
  CHECK(w.runner.Load().has_value());
  CHECK(w.runner.status().records_damaged == 2);
  CHECK(w.runner.status().log.head.sequence == 1);
  w.Turn();
  CHECK(w.LogText() == "ring | log | log");
  CHECK(w.runner.Load().has_value());
  CHECK(w.runner.status().records_damaged == 0);
}

TEST_CASE("runner: a log above its bytes loses its oldest, and says from where it begins") {
  LogBounds bounds;
  bounds.keep_bytes = 20000;
  World w(bounds);
  for (uint64_t version = 1; version <= 200; ++version) {
    w.Arrives(KeyRingTopic(w.ref), w.keys.Ring(w.ref, version, {"k1"}), Retain::kYes);
    w.Turn();
    CHECK(w.runner.status().log.bytes <= 20000);
  }
  const std::string text = w.LogText();
  CHECK(text.find("log") != std::string::npos);
  const LogFigures log = w.runner.status().log;
  CHECK(log.head.sequence > 200);
  CHECK(log.entries < 190);
  // The entry names the hash that the record after what was erased was written after.
  std::optional<LogHead> named;
  std::optional<LogHead> begin;
  REQUIRE(w.store.inner.Snapshot()
              ->ScanLog(
                  0,
                  [&](const storage::LogRecord& record) {
                    const Result<LogLink> link = OpenLogRecord(record.payload);
                    if (!begin) {
                      begin = link->before;
                    }
                    if (const auto erased = ErasedThrough(*link->entry)) {
                      named = erased;
                    }
                    return true;
                  },
                  [](auto, const auto&) {})
              .has_value());
  CHECK(named == begin);
}

TEST_CASE("runner: entries that are too old are erased at the next look, but for the last") {
  LogBounds bounds;
  bounds.keep = std::chrono::hours(24);
  World w(bounds);
  w.Begins();
  w.Commands(w.Lock());
  w.Turn();
  w.Passes(std::chrono::hours(23));
  w.Turn();
  CHECK(w.LogText() == "ring | command | command HELD | command EXPIRED");
  w.Passes(std::chrono::hours(2));
  w.Turn();
  CHECK(w.LogText() == "command EXPIRED | log");
  w.Passes(std::chrono::hours(100));
  w.Turn();
  CHECK(w.LogText().rfind("log", 0) == 0);
}

TEST_CASE("runner: after a failing commit the core knows only what the store has") {
  World w;
  w.Arrives(StateTopic(w.ref, Group::kBody), BodyState(w.now.wall));
  w.store.failing = true;
  w.Turn();
  w.store.failing = false;
  w.Passes(500ms);
  w.Turn();
  CHECK(w.Happened() == "commit 1 soon fails | commit 0 durable | commit 2 soon | reconnect");
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
  CHECK(w.Happened() == "commit 5 durable | receipt HELD | publish $CONTROL/latchkey/v1");
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
  CHECK(w.Happened() == "commit 2 durable");
  CHECK(w.runner.Load().has_value());
  const CarRef other = RefOf("car2");
  w.Arrives(KeyRingTopic(other), w.keys.Ring(other, 1, {"k1"}), Retain::kYes);
  w.Turn();
  CHECK(w.Happened() == "commit 2 durable");
}

TEST_CASE("runner: history is written while the broker takes nothing, and nothing else is done") {
  Limits limits;
  limits.history_keep = std::chrono::hours(24);
  World w(limits);
  w.Begins();
  w.Arrives(StateTopic(w.ref, Group::kBody), BodyState(w.now.wall));
  w.Turn();
  w.publisher.waiting = w.limits.backlog_max + 1;
  const auto chunks = [&w] {
    size_t count = 0;
    REQUIRE(w.store.Snapshot()
                ->Scan(
                    storage::Kind::kHistory, w.ref, [&](const storage::Record&) { ++count; },
                    [](std::string_view, const Error&) { FAIL("damaged"); })
                .has_value());
    return count;
  };
  CHECK(chunks() == 0);
  w.Happened();
  w.Passes(kHistoryFlush + 1s);
  w.Turn();
  CHECK(chunks() == 1);
  CHECK(w.Happened().find("publish") == std::string::npos);
}

}  // namespace latchkey::bridge
