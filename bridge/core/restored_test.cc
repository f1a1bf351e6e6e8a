// A core on a store that went back in time: what was held then.
#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/core/outbox.h"
#include "bridge/core/story.h"

namespace latchkey::bridge {

namespace {

// "REFUSED outcome_unknown", for each command that is written
std::vector<std::string> Written(const Effects& effects) {
  std::vector<std::string> written;
  for (const Effect& effect : effects) {
    const auto* write = std::get_if<Write>(&effect);
    const auto* command =
        write == nullptr ? nullptr : std::get_if<storage::CommandRecord>(&write->change);
    if (command != nullptr) {
      CHECK(write->durable);
      written.push_back(std::string(ToText(command->state)) + " " +
                        std::string(FactsOf(command->reason).word));
    }
  }
  return written;
}

std::vector<Outcome> Receipts(const Effects& effects, const CarRef& ref) {
  std::vector<Outcome> receipts;
  for (const Effect& effect : effects) {
    const auto* publish = std::get_if<Publish>(&effect);
    if (publish != nullptr && publish->topic.find("/receipt/") != std::string::npos) {
      receipts.push_back(OpenReceipt(publish->payload, ref, std::nullopt).value());
    }
  }
  return receipts;
}

// Four commands that are held for a car that is away.
struct Held : Story {
  Held() {
    Sends("k1", "c1", "lock", 10min);
    Sends("k1", "c2", "climate_on", 20min);
    Sends("k1", "c3", "remove_key", Duration(0));
    Sends("k1", "c4", "charge_start", 20min);
    Passes(1min);
    Said();
    store.LoadInto(core);
    core.Restored(Bridge::Held::kEnd, {wall, mono}, out);
  }

  Bridge core{Limits(), SharedKeys().Cas()};
  Effects out;
};

}  // namespace

TEST_CASE("restored: what makes safe or takes away stays held, the rest ends as not known, once") {
  Held s;
  CHECK(s.core.gauges().commands_held == 2);
  CHECK(Written(s.out) == std::vector<std::string>(2, "REFUSED outcome_unknown"));
  CHECK(Receipts(s.out, s.ref).empty());  // the broker is not there yet
  s.core.CheckInvariants();
  Effects after;
  s.core.Step(BrokerUp{}, {s.wall, s.mono}, after);
  const std::vector<Outcome> receipts = Receipts(after, s.ref);
  REQUIRE(receipts.size() == 2);
  for (const Outcome& receipt : receipts) {
    CHECK(receipt.state == v1::RECEIPT_STATE_REFUSED);
    CHECK(receipt.reason == v1::REASON_OUTCOME_UNKNOWN);
    CHECK(receipt.may_have_acted);
  }
  // The one word is the last.
  Effects later;
  s.core.Step(Tick{}, {s.wall + 30min, s.mono + 30min}, later);
  const std::vector<std::string> words = Written(later);
  CHECK(std::count(words.begin(), words.end(), "REFUSED outcome_unknown") == 0);
}

TEST_CASE("restored: after a move all that was held stays held") {
  Story s;
  s.Sends("k1", "c2", "climate_on", 20min);
  s.Said();
  Bridge core(Limits(), SharedKeys().Cas());
  s.store.LoadInto(core);
  Effects out;
  core.Restored(Bridge::Held::kDeliver, {s.wall, s.mono}, out);
  CHECK(Written(out).empty());
  CHECK(core.gauges().commands_held == 1);
}

TEST_CASE("restored: what has expired meanwhile ends as expired") {
  Story s;
  s.Sends("k1", "c2", "climate_on", 20min);
  s.Said();
  Bridge core(Limits(), SharedKeys().Cas());
  s.store.LoadInto(core);
  Effects out;
  core.Restored(Bridge::Held::kEnd, {s.wall + 30min, s.mono + 30min}, out);
  CHECK(Written(out) == std::vector<std::string>{"EXPIRED expired"});
}

TEST_CASE("told: what an administrator had done is an entry of the log, in one line") {
  Bridge core(Limits(), SharedKeys().Cas());
  Effects out;
  core.Step(Told{"backup", "alice", "backup 3\nis made"}, {kStoryStart, Instant{1000}}, out);
  REQUIRE(out.size() == 1);
  const v1::LogEntry& entry = std::get<Journal>(out[0]).entry;
  CHECK(entry.event() == "backup");
  CHECK(entry.who() == "alice");
  CHECK(entry.note() == "backup 3 is made");
}

}  // namespace latchkey::bridge
