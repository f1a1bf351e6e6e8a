// What is imported goes by the rules of what cars say: newer wins, what was said later stays, the
// broker gets what it lacks, and history keeps what it can reach.
#include "bridge/core/imports.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/core/history_chunk.h"
#include "proto/state.h"
#include "proto/topic.h"

namespace latchkey::bridge {

namespace {

constexpr Timestamp kNow{1'760'000'000'000};

CarRef Ref(const std::string& fleet = "f") {
  return {*FleetId::Parse(fleet), *CarId::Parse("car1")};
}

std::string Soc(int64_t observed_at_ms, float soc, const std::string& source = "import:test",
                uint64_t sequence = 0) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(observed_at_ms));
  state.set_sequence(sequence);
  state.set_source(source);
  state.mutable_energy()->mutable_soc()->set_value(soc);
  return state.SerializeAsString();
}

// A core that has heard of nobody.
struct World {
  explicit World(std::optional<Duration> keep = std::chrono::hours(24 * 30))
      : core(LimitsOf(keep), {{*FleetId::Parse("f"), "ca"}}) {}

  static Limits LimitsOf(std::optional<Duration> keep) {
    Limits limits;
    limits.history_keep = keep;
    return limits;
  }

  // "write 5 durable publish taken held older refused:REASON_NOT_ALLOWED ".
  std::string Imports(const std::vector<ImportedState>& states) {
    return Does(Import{++last_id, states, std::nullopt});
  }

  std::string Does(const Input& input) {
    Effects out;
    core.Step(input, now, out);
    core.CheckInvariants();
    std::string text;
    for (const Effect& effect : out) {
      Tell(effect, text);
    }
    return text;
  }

  void Tell(const Effect& effect, std::string& text) {
    if (const auto* write = std::get_if<Write>(&effect)) {
      if (const auto* state = std::get_if<storage::StateRecord>(&write->change)) {
        text +=
            "write " +
            std::to_string(VersionOf(*ParseState(state->payload, state->group)).observed_at_ms) +
            (write->durable ? " durable " : " ");
      } else if (const auto* chunk = std::get_if<storage::HistoryRecord>(&write->change)) {
        chunks.push_back(*chunk);
      }
    } else if (const auto* publish = std::get_if<Publish>(&effect)) {
      text += publish->topic.find("/state/") != std::string::npos ? "publish " : "";
    } else if (const auto* journal = std::get_if<Journal>(&effect)) {
      text += journal->entry.event() + " " + journal->entry.who() + " " + journal->entry.note();
    } else if (const auto* answer = std::get_if<ImportAnswer>(&effect)) {
      last = *answer;
      for (const StateImported& state : answer->states) {
        static constexpr const char* kWords[] = {"taken", "held", "older", "refused"};
        text += std::string(kWords[static_cast<int>(state.word)]) +
                (state.reason == 0 ? " " : ":" + v1::Reason_Name(state.reason) + " ");
      }
    }
  }

  std::string Passes(Duration time) {
    now = {now.wall + time, now.mono + time};
    return Does(Tick{});
  }

  Bridge core;
  Now now{kNow, {1000}};
  uint64_t last_id = 0;
  ImportAnswer last;
  std::vector<storage::HistoryRecord> chunks;
};

ImportedState State(const std::string& payload, const std::string& fleet = "f") {
  return {Ref(fleet), Group::kEnergy, payload};
}

}  // namespace

TEST_CASE("imports: newer wins, the same is held, what was said later stays") {
  World world;
  CHECK(world.Imports({State(Soc(1000, 50)), State(Soc(2000, 60))}) ==
        "write 1000 durable write 2000 durable taken taken ");
  CHECK(world.Imports({State(Soc(1000, 50)), State(Soc(2000, 60)), State(Soc(2000, 61))}) ==
        "older held older ");
  // The car itself, later; and what it says of an earlier time does not undo an import.
  const auto car_says = [&](int64_t at) {
    return world.Does(
        Message{{StateTopic(Ref(), Group::kEnergy), Soc(at, 70, "", 5), 1, Retain::kNo, 0}});
  };
  CHECK(car_says(1500) == "");
  CHECK(car_says(3000) == "write 3000 ");
  CHECK(world.Imports({State(Soc(2500, 20)), State(Soc(3000, 20))}) == "older older ");
}

TEST_CASE("imports: what does not say that it is imported, and what cannot be, is refused") {
  World world;
  CHECK(
      world.Imports({State(Soc(1000, 50, "")), State(Soc(1000, 50, "replay:x")),
                     State(Soc(1000, 50, "import:test", 7)), State(Soc(1000, 101)),
                     State(Soc(kNow.ms + 1, 50)), State(Soc(1000, 50), "other"), State("\xff")}) ==
      "refused:REASON_NOT_ALLOWED refused:REASON_NOT_ALLOWED refused:REASON_NOT_ALLOWED "
      "refused:REASON_IMPOSSIBLE_VALUE refused:REASON_CLOCK_AHEAD refused:REASON_NOT_ALLOWED "
      "refused:REASON_MALFORMED ");
  CHECK(world.core.gauges().cars == 0);
}

TEST_CASE("imports: the broker is given what was imported, once, when it is there") {
  World world;
  CHECK(world.Imports({State(Soc(1000, 50))}) == "write 1000 durable taken ");
  CHECK(world.Passes(std::chrono::seconds(5)) == "");
  world.Does(BrokerUp{});
  CHECK(world.Passes(std::chrono::seconds(5)) == "publish ");
  CHECK(world.Passes(std::chrono::seconds(5)) == "");
  // And while it is there.
  CHECK(world.Imports({State(Soc(2000, 60))}) == "write 2000 durable taken ");
  CHECK(world.Passes(std::chrono::seconds(1)) == "publish ");
  // The bridge hears its own word: neither the car's clock nor anything else is judged by it.
  CHECK(world.Does(
            Message{{StateTopic(Ref(), Group::kEnergy), Soc(2000, 60), 1, Retain::kNo, 0}}) == "");
  CHECK(world.core.gauges().clocks_behind == 0);
}

TEST_CASE("imports: history keeps every sample it can reach, and says how many it cannot") {
  World world;
  const int64_t day = 86'400'000;
  std::vector<ImportedState> states = {State(Soc(kNow.ms - 40 * day, 1))};
  for (int i = 1; i <= 100; ++i) {
    states.push_back(State(Soc(kNow.ms - day + i * 60'000, static_cast<float>(i % 90))));
  }
  world.Imports(states);
  CHECK(world.last.history_old == 1);
  CHECK(world.last.history_kept == 100);
  REQUIRE(world.chunks.size() == 1);
  CHECK(world.chunks[0].begins_at == Timestamp{kNow.ms - day + 59'999});  // odd, see History
  const auto chunk = ParseChunk(world.chunks[0].payload);
  REQUIRE(chunk);
  CHECK(SamplesOf(*chunk, chunk->series(0)).size() == 100);
  // Again: nothing is kept twice.
  world.Imports(states);
  CHECK(world.chunks.size() == 1);
  CHECK(world.last.history_kept == 0);
}

TEST_CASE("imports: without history, all that is taken is counted as older than it goes back") {
  World world(std::nullopt);
  world.Imports({State(Soc(kNow.ms - 1000, 5))});
  CHECK(world.last.history_old == 1);
  CHECK(world.chunks.empty());
}

TEST_CASE("imports: an end goes into the log with its counts, and too many at once are refused") {
  World world;
  CHECK(world.Does(Import{1, {}, ImportEnd{"import:teslafi", "alice", 1, 2, 3, 4}}) ==
        "imported alice import:teslafi: 1 taken, 2 taken changed, 3 unchanged, 4 refused");
  std::vector<ImportedState> many(kImportStatesMax + 1, State(Soc(1000, 50)));
  world.Imports(many);
  CHECK(world.last.states.size() == many.size());
  CHECK(world.last.states.back() ==
        StateImported{StateImported::Word::kRefused, v1::REASON_TOO_LARGE});
}

}  // namespace latchkey::bridge
