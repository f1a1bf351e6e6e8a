// Stories of the log: each step of each command, changes of rings, blocks, and what the broker
// tells.
#include "bridge/core/journal.h"

#include <doctest/doctest.h>

#include "bridge/core/story.h"

namespace latchkey::bridge {

namespace {

v1::LogEntry Refused() {
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(kStoryStart.ms));
  entry.set_event("sign_in_refused");
  entry.set_reason(v1::REASON_BLOCKED);
  entry.set_who("192.0.2.7");
  return entry;
}

}  // namespace

TEST_CASE("journal: a held command leaves each of its steps, and who said it") {
  Story s;
  s.Sends("k1", "c1", "lock", 10min);
  CHECK(s.Journaled() == "k1 c1 lock arrived | k1 c1 lock HELD bridge");
  s.Resends("c1");
  CHECK(s.Journaled() == "");
  s.CarConnects();
  s.Passes(1s);
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  CHECK(s.Journaled() == "k1 c1 lock DELIVERED car");
  s.CarSays("c1", v1::RECEIPT_STATE_DELIVERED);
  s.CarSays("c1", v1::RECEIPT_STATE_FAILED, v1::REASON_CAR_FAILED);
  CHECK(s.Journaled() == "k1 c1 lock FAILED car car_failed");
  s.CarSays("c1", v1::RECEIPT_STATE_FAILED, v1::REASON_CAR_FAILED);
  CHECK(s.Journaled() == "");
}

TEST_CASE("journal: what the bridge ends says whether the car may have acted") {
  Story s;
  s.Sends("k1", "c1", "lock", 60s);
  s.Sends("k1", "c2", "climate_on", 30min);
  s.Passes(2min);
  CHECK(s.Journaled() ==
        "k1 c1 lock arrived | k1 c1 lock HELD bridge | k1 c2 climate_on arrived | k1 c2 climate_on "
        "HELD bridge | k1 c1 lock EXPIRED bridge expired");
  s.CarConnects();
  s.Passes(1s);
  s.CarLeaves();
  s.Cancels("k1", "x", "c2");
  CHECK(s.Journaled() ==
        "k1 x cancel arrived | k1 x cancel HELD bridge | k1 c2 climate_on CANCELLED bridge "
        "cancelled: the car may have acted");
}

TEST_CASE("journal: a live command, and one that only the car judges") {
  Story s;
  s.CarConnects();
  s.Sends("k1", "c1", "lock", 10min);
  s.CarSays("c1", v1::RECEIPT_STATE_DONE);
  CHECK(s.Journaled() == "k1 c1 lock arrived | k1 c1 lock DONE car");
  s.Sends("k3", "c2", "unlock", 60s);
  CHECK(s.Journaled() == "k3 c2 unlock arrived not_on_ring");
  s.CarSays("c2", v1::RECEIPT_STATE_REFUSED, v1::REASON_NOT_ON_RING);
  CHECK(s.Journaled() == "k3 c2 ? REFUSED car not_on_ring: not known here");
}

TEST_CASE("journal: a refusal at the door is there once, and so is a word that comes too late") {
  Story s;
  s.Sends("k3", "c1", "lock", 60s);
  s.Resends("c1");
  CHECK(s.Journaled() == "k3 c1 lock REFUSED bridge not_on_ring");
  s.Sends("k1", "c2", "unlock", 5s);
  s.CarConnects();
  s.Passes(16s);
  s.Journaled();
  s.CarSays("c2", v1::RECEIPT_STATE_DONE);
  CHECK(s.Journaled() == "k1 c2 ? DONE car: too late: EXPIRED stands");
}

TEST_CASE("journal: a ring that changes tells whose standing changed") {
  Story s;
  s.RingArrives(2, {"k1", "k2", "k4"});
  CHECK(s.Journaled() == "ring 2 k4: added: owner");
  s.RingArrives(2, {"k1", "k2", "k4"});
  CHECK(s.Journaled() == "");
  s.Restarts(Story::Crash::kPower);  // what the last ring was is known from the store
  s.RingArrives(3, {"k4"});
  CHECK(s.Journaled() == "ring 3 k1: removed: owner | ring 3 k2: removed: driver");
  s.RingArrives(4, {"k4"});
  CHECK(s.Journaled() == "ring 4: 1 keys");
}

TEST_CASE("journal: a key whose rights change is told") {
  const CarRef ref = RefOf("car1");
  KeyRing before{ref, 1, kStoryStart, {SharedKeys().RingKeyOf("k1")}};
  KeyRing after = before;
  after.version = 2;
  after.keys[0].not_after = kStoryStart;
  Effects out;
  JournalRing(&before, after, kStoryStart, out);
  REQUIRE(out.size() == 1);
  CHECK(std::get<Journal>(out[0]).entry.note() == "changed: owner");
  JournalRing(nullptr, after, kStoryStart, out);
  REQUIRE(out.size() == 2);
  CHECK(std::get<Journal>(out[1]).entry.note() == "added: owner");
}

TEST_CASE("journal: blocks tell who set them, and for what command") {
  Story s;
  s.Sends("k1", "c1", "remove_key", 0s);
  CHECK(s.Journaled() ==
        "k1 c1 remove_key arrived | k1 c1 remove_key HELD bridge | block k2 c1: set by owner");
  s.RingArrives(2, {"k1"});
  CHECK(s.Journaled() == "ring 2 k2: removed: driver | block k2 c1: lifted by owner");
  s.AdministratorBlocks("k1", "f");
  CHECK(s.Journaled() ==
        "block k1: set by administrator | k1 c1 remove_key REFUSED bridge blocked");
  s.AdministratorLifts("k1", "f");
  CHECK(s.LastEntry().fleet() == "f");
  CHECK(s.LastEntry().car() == "");
  CHECK(s.Journaled() == "block k1: lifted by administrator");
}

TEST_CASE("journal: entries of the broker's plugin are taken over, checked and cut") {
  Story s;
  v1::LogEntry entry = Refused();
  entry.set_key_id(SharedKeys().IdOf("k3").str());
  entry.set_note("too\nlate");
  entry.set_salt("chosen by the sender");
  entry.set_ring_version(9);
  entry.set_state(v1::RECEIPT_STATE_DONE);
  s.PluginTells(entry);
  const v1::LogEntry& taken = s.LastEntry();
  CHECK(taken.who() == "192.0.2.7");
  CHECK(taken.reason() == v1::REASON_BLOCKED);
  CHECK(taken.state() == v1::RECEIPT_STATE_UNSPECIFIED);
  CHECK(s.Journaled() == "sign_in_refused k3: too late");
  entry = Refused();
  entry.set_who(std::string(100, 'w') + "ää" + std::string(100, 'w'));
  entry.set_note(std::string(300, 'n'));
  entry.set_at_ms(~uint64_t{0});
  s.PluginTells(entry);
  CHECK(s.LastEntry().who().size() == kLogWhoBytesMax);
  CHECK(s.LastEntry().note().size() == kLogNoteBytesMax);
  CHECK(s.LastEntry().at_ms() == static_cast<uint64_t>(s.wall.ms));
}

TEST_CASE("journal: what is no entry of the plugin's is counted and nothing else") {
  Story s;
  const std::vector<void (*)(v1::LogEntry&)> rows = {
      [](v1::LogEntry& entry) { entry.set_event("command"); },
      [](v1::LogEntry& entry) { entry.set_event(""); },
      [](v1::LogEntry& entry) { entry.set_fleet("No Fleet"); },
      [](v1::LogEntry& entry) { entry.set_car("car1"); },
      [](v1::LogEntry& entry) { entry.set_key_id("k"); },
      [](v1::LogEntry& entry) { entry.set_command_id("short"); },
      [](v1::LogEntry& entry) { entry.set_note(std::string(2000, 'n')); },
  };
  for (const auto& spoil : rows) {
    v1::LogEntry entry = Refused();
    spoil(entry);
    s.PluginTells(entry);
  }
  s.Arrives(std::string(kEventTopic), "\xff\xff");
  CHECK(s.Journaled() == "");
  CHECK(s.Refused(v1::REASON_MALFORMED) == rows.size() + 1);
}

TEST_CASE("journal: above so many a second they are counted, and the log says how many") {
  Story s;
  for (size_t i = 0; i < kEventsPerSecondMax; ++i) {
    s.PluginTells(Refused());
  }
  CHECK(s.Journaled().size() > 0);
  s.PluginTells(Refused());
  s.PluginTells(Refused());
  CHECK(s.Journaled() == "");
  CHECK(s.bridge->counters().events_left_out == 2);
  s.Passes(1s);
  CHECK(s.Journaled() == "log: 2 entries of the broker left out: too many at once");
  s.PluginTells(Refused());
  CHECK(s.Journaled() == "sign_in_refused");
}

TEST_CASE("journal: a line is cut between characters, and has no numbers of phones in it") {
  CHECK(LineOf("a\tb\r\nc\x7f", 10) == "a b  c ");
  CHECK(LineOf("aä", 2) == "a");
  CHECK(LineOf("aä", 3) == "aä");
  CHECK(LineOf("\xf0\x9f\x98\x80", 3) == "");
  CHECK(WithoutNumbers("no route to +436641234567, error 500") == "no route to +#, error 500");
  CHECK(WithoutNumbers("") == "");
  CHECK(WithoutNumbers(std::string(1000, 'a')).size() == kLogNoteBytesMax / 2);
}

}  // namespace latchkey::bridge
