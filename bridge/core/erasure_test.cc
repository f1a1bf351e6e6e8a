// Forgetting a car: which entries of the log name it, what the core forgets and says, and that the
// place of a car cannot be read unnoticed.
#include "bridge/core/erasure.h"

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/core/story.h"
#include "proto/log_chain.h"

namespace latchkey::bridge {

namespace {

constexpr const char* kKey = "NgGqe5PX3xHX4b6YhG4RFZ";

v1::LogEntry EntryOf(const std::string& fleet, const std::string& car, const std::string& key,
                     const std::string& note) {
  v1::LogEntry entry;
  entry.set_event("x");
  entry.set_fleet(fleet);
  entry.set_car(car);
  entry.set_key_id(key);
  entry.set_note(note);
  return entry;
}

Erasure OfCar() {
  return {1, RefOf("car1"), "alice"};
}

std::vector<std::string> Topics(const Effects& effects) {
  std::vector<std::string> topics;
  for (const Effect& effect : effects) {
    const auto* publish = std::get_if<Publish>(&effect);
    if (publish != nullptr && publish->payload.empty() && publish->retain == Retain::kYes) {
      topics.push_back(publish->topic);
    }
  }
  return topics;
}

size_t Journals(const Effects& effects) {
  return static_cast<size_t>(
      std::count_if(effects.begin(), effects.end(),
                    [](const Effect& effect) { return std::holds_alternative<Journal>(effect); }));
}

}  // namespace

TEST_CASE("erasure: an entry names a car or a key as a whole word, wherever it stands") {
  const Erasure car = OfCar();
  CHECK(Names(car, EntryOf("f", "car1", "", "")));
  CHECK(Names(car, EntryOf("", "", "", "topic lk/1/f/car1/state/body")));
  CHECK(Names(car, EntryOf("", "", "", "f/car1")));
  CHECK_FALSE(Names(car, EntryOf("f", "car11", "", "")));
  CHECK_FALSE(Names(car, EntryOf("g", "car1", "", "")));
  CHECK_FALSE(Names(car, EntryOf("f", "", "", "topic lk/1/f/car11/state, lk/1/ff/car1")));
  v1::LogEntry who = EntryOf("", "", "", "");
  who.set_who("f/car1");
  CHECK(Names(car, who));
  const Erasure key{2, KeyId::Parse(kKey).value(), "alice"};
  CHECK(Names(key, EntryOf("f", "car1", kKey, "")));
  CHECK(Names(key, EntryOf("f", "car1", "", "lane " + std::string(kKey) + ", no more")));
  CHECK_FALSE(Names(key, EntryOf("f", "car1", "", std::string(kKey) + "x")));
}

TEST_CASE("erasure: an entry names a car exactly when it is among those the store keeps it under") {
  constexpr std::array<const char*, 9> kPieces = {"f", "/", "car1", "g",    " ",
                                                  ",", "-", "x",    "/car1"};
  std::mt19937 random(1);
  int named = 0;
  for (int i = 0; i < 20'000; ++i) {
    const auto text = [&] {
      std::string made;
      for (auto pieces = random() % 6; pieces > 0; --pieces) {
        made += kPieces.at(random() % kPieces.size());
      }
      return made;
    };
    v1::LogEntry entry =
        EntryOf(random() % 2 == 0 ? "f" : "g", random() % 2 == 0 ? "car1" : "", "", text());
    entry.set_who(text());
    const std::vector<CarRef> cars = CarsNamed(entry);
    const bool kept = std::find(cars.begin(), cars.end(), RefOf("car1")) != cars.end();
    REQUIRE(Names(OfCar(), entry) == kept);
    named += kept ? 1 : 0;
  }
  CHECK(named > 1000);
  CHECK(named < 19'000);
}

TEST_CASE("erasure: what the log says of it afterwards does not name it") {
  const v1::LogEntry entry = ErasedEntry(OfCar(), 17, kStoryStart);
  CHECK(entry.event() == "erased");
  CHECK(entry.who() == "alice");
  CHECK(entry.note().find("17 entries") != std::string::npos);
  CHECK(entry.SerializeAsString().find("car1") == std::string::npos);
  CHECK_FALSE(Names(OfCar(), entry));
  const Erasure key{2, KeyId::Parse(kKey).value(), "alice"};
  CHECK(ErasedEntry(key, 1, kStoryStart).SerializeAsString().find(kKey) == std::string::npos);
}

TEST_CASE("erasure: the core forgets the car, ends what waits for it and empties its topics") {
  Keys& keys = SharedKeys();
  const CarRef ref = RefOf("car1");
  Bridge bridge({}, keys.Cas());
  Effects out;
  Now now{kStoryStart, Instant{5}};
  const auto arrives = [&](const std::string& topic, const std::string& payload, Retain retain) {
    bridge.Step(Message{Publish{topic, payload, 1, retain, 0}}, now, out);
  };
  bridge.Step(BrokerUp{}, now, out);
  for (const char* car : {"car1", "car2"}) {
    arrives(KeyRingTopic(RefOf(car)), keys.Ring(RefOf(car), 1, {"k1"}), Retain::kYes);
    arrives(StateTopic(RefOf(car), Group::kBody), StateBytes(Group::kBody, kStoryStart, 1),
            Retain::kYes);
  }
  CommandRequest request{
      ref, CommandId::Make(kStoryStart.ms, "0123456789"), kStoryStart, kStoryStart + 60s, {}};
  request.action.mutable_lock();
  arrives(CommandTopic(ref, keys.IdOf("k1")), SealCommand(request, keys.phones.at("k1")).value(),
          Retain::kNo);
  CHECK(bridge.gauges().cars == 2);
  CHECK(bridge.gauges().commands_held == 1);
  out.clear();
  bridge.Step(OfCar(), now, out);
  CHECK(bridge.gauges().cars == 1);
  CHECK(bridge.gauges().commands_open == 0);
  CHECK(Topics(out).size() == kGroupCount + 2);
  const auto erased = std::find_if(out.begin(), out.end(), [&](const Effect& effect) {
    const auto* write = std::get_if<Write>(&effect);
    return write != nullptr && write->change == storage::Change(storage::EraseCar{ref});
  });
  REQUIRE(erased != out.end());
  CHECK(std::get<Write>(*erased).durable);
  // After it nothing of the car is written, and who waited was told.
  CHECK(std::none_of(erased + 1, out.end(),
                     [](const Effect& effect) { return std::holds_alternative<Write>(effect); }));
  CHECK(std::any_of(out.begin(), out.end(), [&](const Effect& effect) {
    const auto* publish = std::get_if<Publish>(&effect);
    return publish != nullptr && publish->topic == ReceiptTopic(ref, keys.IdOf("k1"));
  }));
  bridge.CheckInvariants();
  // The broker says that its topics are empty: no refusal. The other car is as it was.
  const auto refused = bridge.counters().refused;
  arrives(StateTopic(ref, Group::kBody), "", Retain::kNo);
  arrives(KeyRingTopic(ref), "", Retain::kNo);
  CHECK(bridge.counters().refused == refused);
  out.clear();
  bridge.Step(BrokerDown{}, now, out);
  bridge.Step(BrokerUp{}, now, out);
  now.mono = now.mono + 10s;
  bridge.Step(Tick{}, now, out);
  for (const Effect& effect : out) {
    const auto* publish = std::get_if<Publish>(&effect);
    CHECK((publish == nullptr || publish->topic.find("car1") == std::string::npos));
  }
  bridge.CheckInvariants();
}

TEST_CASE("erasure: of a key its commands go, its cars stay") {
  Keys& keys = SharedKeys();
  const CarRef ref = RefOf("car1");
  Bridge bridge({}, keys.Cas());
  Effects out;
  const Now now{kStoryStart, Instant{5}};
  bridge.Step(BrokerUp{}, now, out);
  bridge.Step(
      Message{Publish{KeyRingTopic(ref), keys.Ring(ref, 1, {"k1", "k2"}), 1, Retain::kYes, 0}}, now,
      out);
  for (const char* phone : {"k1", "k2"}) {
    CommandRequest request{ref,
                           CommandId::Make(kStoryStart.ms, std::string(9, '1') + phone[1]),
                           kStoryStart,
                           kStoryStart + 60s,
                           {}};
    if (std::string(phone) == "k1") {
      request.action.mutable_lock();
    } else {
      request.action.mutable_flash_lights();
    }
    bridge.Step(
        Message{Publish{CommandTopic(ref, keys.IdOf(phone)),
                        SealCommand(request, keys.phones.at(phone)).value(), 1, Retain::kNo, 0}},
        now, out);
  }
  REQUIRE(bridge.gauges().commands_held == 2);
  out.clear();
  bridge.Step(Erasure{3, keys.IdOf("k2"), "alice"}, now, out);
  CHECK(bridge.gauges().commands_held == 1);
  CHECK(bridge.gauges().cars == 1);
  CHECK(Topics(out).empty());
  bridge.CheckInvariants();
}

TEST_CASE("erasure: who reads the place of a car is in the log, once a minute") {
  LocationReads reads;
  Effects out;
  Now now{kStoryStart, Instant{5}};
  reads.Arrived({RefOf("car1")}, now, out);
  reads.Arrived({RefOf("car1")}, now, out);
  reads.Arrived({RefOf("car2")}, now, out);
  CHECK(Journals(out) == 2);
  CHECK(std::get<Journal>(out.front()).entry.event() == "location_read");
  now.mono = now.mono + kLocationReadEvery;
  reads.Arrived({RefOf("car1")}, now, out);
  CHECK(Journals(out) == 3);
}

}  // namespace latchkey::bridge
