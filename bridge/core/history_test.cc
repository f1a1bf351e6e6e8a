// History of signals: what is sampled, what a crash leaves, that the bound holds, what is
// forgotten.
#include "bridge/core/history.h"

#include <map>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "storage/memory_store.h"

namespace latchkey::bridge {

namespace {

using namespace std::chrono_literals;

constexpr Timestamp kStart{1'760'000'000'000};

CarRef RefOf(const std::string& car) {
  return {FleetId::Parse("f").value(), CarId::Parse(car).value()};
}

Limits LimitsOf(std::optional<Duration> keep, uint64_t bytes) {
  Limits limits;
  limits.history_keep = keep;
  limits.history_bytes_per_car = bytes;
  return limits;
}

// History in front of a store, with virtual clocks.
struct Kept {
  explicit Kept(std::optional<Duration> keep = 24h * 7, uint64_t bytes = uint64_t{1} << 20)
      : limits(LimitsOf(keep, bytes)), history(std::make_unique<History>(limits, counters)) {}

  void Commit() {
    std::vector<storage::Change> changes;
    for (const Effect& effect : effects) {
      changes.push_back(std::get<Write>(effect).change);
    }
    effects.clear();
    REQUIRE(store.Commit(changes, storage::Durability::kSoon).has_value());
    history->CheckInvariants();
  }

  void Passes(Duration duration) {
    const Instant end = now.mono + duration;
    for (;;) {
      const std::optional<Instant> deadline = history->NextDeadline();
      if (!deadline || *deadline > end) {
        break;
      }
      Advance(std::max(*deadline, now.mono));
      history->Passes(now, effects);
      Commit();
    }
    Advance(end);
  }

  void Advance(Instant to) {
    now.wall = now.wall + (to - now.mono);
    now.mono = to;
  }

  void Says(Group group, const v1::StateGroup& state, const std::string& car = "car1") {
    history->Stored(RefOf(car), group, state.SerializeAsString(), now, effects);
    Commit();
  }

  void SaysSoc(float soc, Duration ago = 0ms) {
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>((now.wall - ago).ms));
    state.mutable_energy()->mutable_soc()->set_value(soc);
    Says(Group::kEnergy, state);
  }

  void SaysPlace(double latitude) {
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>(now.wall.ms));
    state.mutable_location();
    if (latitude != 0) {
      state.mutable_location()->mutable_latitude()->set_value(latitude);
    }
    Says(Group::kLocation, state);
  }

  // All that is in the store.
  std::vector<storage::HistoryRecord> Records() const {
    std::vector<storage::HistoryRecord> records;
    REQUIRE(store.Snapshot()->Scan(
        storage::Kind::kHistory, std::nullopt,
        [&](const storage::Record& record) {
          records.push_back(std::get<storage::HistoryRecord>(record));
        },
        [](std::string_view, const Error&) { FAIL("damaged"); }));
    return records;
  }

  // "50@0 51@10000 ...": value and when observed after the start, as the store says.
  std::string Samples(const std::string& signal) const {
    std::string text;
    for (const storage::HistoryRecord& record : Records()) {
      const auto chunk = ParseChunk(record.payload);
      REQUIRE(chunk.has_value());
      for (const v1::HistorySeries& series : chunk->series()) {
        for (const HistorySample& sample : SamplesOf(*chunk, series)) {
          if (series.signal() == signal) {
            text += (text.empty() ? "" : " ") +
                    std::to_string(static_cast<int>(std::get<double>(sample.value))) + "@" +
                    std::to_string((sample.observed_at - kStart).count() / 1000);
          }
        }
      }
    }
    return text;
  }

  size_t Bytes() const {
    size_t bytes = 0;
    for (const storage::HistoryRecord& record : Records()) {
      const storage::KeyValue raw = storage::Encode(record);
      bytes += raw.key.size() + raw.value.size();
    }
    return bytes;
  }

  // The process ends; the store stays.
  void Restart() {
    history = std::make_unique<History>(limits, counters);
    effects.clear();
    history->Load({RefOf("car1"), Group::kEnergy, now.wall, ""});
  }

  const Limits limits;
  Counters counters;
  std::unique_ptr<History> history;
  storage::MemoryStore store;
  Now now{kStart, {5000}};
  Effects effects;
};

// All numbers of a drive, each different in each message.
v1::StateGroup Driving(Timestamp at, int number) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(at.ms));
  v1::Drive& drive = *state.mutable_drive();
  const auto value = static_cast<float>(number % 97);
  drive.mutable_speed()->set_value(value);
  drive.mutable_odometer()->set_value(number);
  drive.mutable_gear()->set_value(number % 5);
  drive.mutable_throttle()->set_value(value + 1);
  drive.mutable_torque()->set_value(value - 3);
  drive.mutable_acceleration()->set_value(value / 7);
  return state;
}

}  // namespace

TEST_CASE("history: a value is sampled when it changes, and again after 15 minutes") {
  Kept kept;
  kept.SaysSoc(50);
  for (int i = 0; i < 5; ++i) {
    kept.Passes(10s);
    kept.SaysSoc(50);
  }
  kept.Passes(10s);
  kept.SaysSoc(51);
  kept.Passes(14min);
  kept.SaysSoc(51);
  kept.Passes(1min);
  kept.SaysSoc(51);
  kept.Passes(2min);
  CHECK(kept.Samples("energy.soc") == "50@0 51@60 51@960");
  CHECK(kept.counters.history_samples == 3);
}

TEST_CASE("history: both times of a sample are kept") {
  Kept kept;
  kept.SaysSoc(50, 700ms);
  kept.Passes(1min);
  const auto chunk = ParseChunk(kept.Records().at(0).payload);
  const HistorySample sample = SamplesOf(*chunk, chunk->series(0)).at(0);
  CHECK(sample.observed_at == kStart - Duration(700));
  CHECK(sample.received_at == kStart);
}

TEST_CASE(
    "history: of messages that follow fast the last is kept, and it says that it was thinned") {
  Kept kept;
  for (int i = 0; i < 8; ++i) {
    kept.SaysSoc(static_cast<float>(50 + i));
    kept.Passes(1s);
  }
  kept.Passes(1min);
  CHECK(kept.Samples("energy.soc") == "50@0 55@5 57@7");
  CHECK(ParseChunk(kept.Records().at(0).payload)->series(0).thinned_ms() == 5000);
  CHECK(kept.counters.history_left_out > 0);

  Kept slow;
  slow.SaysSoc(50);
  slow.Passes(5s);
  slow.SaysSoc(51);
  slow.Passes(1min);
  CHECK(slow.Samples("energy.soc") == "50@0 51@5");
  CHECK(ParseChunk(slow.Records().at(0).payload)->series(0).thinned_ms() == 0);
}

TEST_CASE("history: a crash loses no more than the last minute, an end nothing") {
  Kept kept;
  kept.SaysSoc(50);
  kept.Passes(60s);
  CHECK(kept.Samples("energy.soc") == "50@0");
  kept.SaysSoc(51);
  kept.Passes(30s);
  kept.Restart();
  kept.SaysSoc(52);
  kept.Passes(1s);
  kept.SaysSoc(53);
  kept.history->Close(kept.now, kept.effects);
  kept.Commit();
  CHECK(kept.Samples("energy.soc") == "50@0 52@90 53@91");
}

TEST_CASE("history: a full chunk is closed, and no sample is lost or there twice") {
  Kept kept(24h, uint64_t{64} << 20);
  std::string expected;
  for (int i = 0; i < 2000; ++i) {
    kept.SaysSoc(static_cast<float>(i % 100));
    expected += (i == 0 ? "" : " ") + std::to_string(i % 100) + "@" + std::to_string(i * 5);
    kept.Passes(5s);
  }
  kept.Passes(1min);
  CHECK(kept.Samples("energy.soc") == expected);
  CHECK(kept.Records().size() >= 5);
  for (const storage::HistoryRecord& record : kept.Records()) {
    CHECK(record.payload.size() <= kHistoryChunkFull + 64);
  }
}

TEST_CASE("history: a clock set back does not put one chunk in the place of another") {
  Kept kept(24h, uint64_t{64} << 20);
  for (int i = 0; i < 600; ++i) {
    kept.SaysSoc(static_cast<float>(i % 100));
    kept.Passes(5s);
    kept.now.wall = kStart;
  }
  kept.Passes(2h);
  size_t samples = 0;
  for (const storage::HistoryRecord& record : kept.Records()) {
    samples += static_cast<size_t>(ParseChunk(record.payload)->series(0).times_size());
  }
  CHECK(samples == 600);
}

TEST_CASE("history: a car that drives all the time stays below its bound, restarts included") {
  constexpr uint64_t kBytes = 131072;
  Kept kept(24h * 2, kBytes);
  size_t most = 0;
  for (int minute = 0; minute < 60 * 24 * 4; ++minute) {
    for (int second = 0; second < 60; second += 4) {
      kept.Says(Group::kDrive, Driving(kept.now.wall, minute * 60 + second));
      kept.Passes(4s);
    }
    if (minute % 60 == 0) {
      most = std::max(most, kept.Bytes());
    }
  }
  MESSAGE("bytes kept of a bound of " << kBytes << ": " << most);
  CHECK(most < kBytes);
  CHECK(most > kBytes / 3);
  kept.Restart();
  kept.Passes(1h);
  for (int i = 0; i < 1000; ++i) {
    kept.Says(Group::kDrive, Driving(kept.now.wall, i));
    kept.Passes(5s);
  }
  CHECK(kept.Bytes() < kBytes + kBytes / 12);
}

TEST_CASE("history: what a sample costs in the store") {
  Kept kept(24h, uint64_t{64} << 20);
  for (int i = 0; i < 3000; ++i) {
    kept.Says(Group::kDrive, Driving(kept.now.wall, i));
    kept.Passes(5s);
  }
  kept.Passes(1min);
  const double each =
      static_cast<double>(kept.Bytes()) / static_cast<double>(kept.counters.history_samples);
  MESSAGE("bytes per sample of a number, before compression: " << each);
  CHECK(each < 16);
}

TEST_CASE("history: what is older than its time is forgotten, also of a car that is silent") {
  Kept kept(24h);
  kept.SaysSoc(50);
  kept.Passes(20h);
  kept.SaysSoc(51);
  kept.Passes(6h);
  kept.SaysSoc(52);
  kept.Passes(2min);
  CHECK(kept.Samples("energy.soc") == "51@72000 52@93600");
  kept.Passes(25h);
  CHECK(kept.Records().empty());
  CHECK_FALSE(kept.history->NextDeadline().has_value());

  kept.SaysSoc(53);
  kept.Passes(2min);
  kept.Restart();
  kept.Passes(25h);
  CHECK(kept.Records().empty());
}

TEST_CASE("history: chunks of cars that are silent for an hour are not in memory") {
  Kept kept;
  kept.SaysSoc(50);
  CHECK(kept.history->cars_open() == 1);
  kept.Passes(59min);
  CHECK(kept.history->cars_open() == 1);
  kept.Passes(62min);
  CHECK(kept.history->cars_open() == 0);
  CHECK(kept.Samples("energy.soc") == "50@0");
}

TEST_CASE("history: privacy mode erases where a car was, in memory and in the store") {
  Kept kept;
  kept.SaysPlace(48);
  kept.SaysSoc(50);
  kept.Passes(2min);
  CHECK(kept.Samples("location.latitude") == "48@0");
  kept.SaysPlace(49);
  kept.Passes(1s);
  kept.SaysPlace(50);
  kept.SaysPlace(0);
  kept.Passes(2h);
  CHECK(kept.Samples("location.latitude").empty());
  CHECK(kept.Samples("energy.soc") == "50@0");
  kept.SaysPlace(47);
  kept.Passes(2min);
  CHECK(kept.Samples("location.latitude") == "47@7321");
}

TEST_CASE("history: kept for no time, what is there is erased; not set, it is left alone") {
  Kept kept;
  kept.SaysSoc(50);
  kept.Passes(2min);
  const std::vector<storage::Change> there = {kept.Records().at(0)};

  Kept none(Duration(0));
  REQUIRE(none.store.Commit(there, storage::Durability::kSoon));
  none.SaysSoc(51);
  none.Passes(1min);
  CHECK(none.Records().empty());
  CHECK(none.history->cars_open() == 0);

  Kept unset(std::nullopt);
  REQUIRE(unset.store.Commit(there, storage::Durability::kSoon));
  unset.SaysSoc(51);
  CHECK_FALSE(unset.history->NextDeadline().has_value());
  CHECK(unset.Samples("energy.soc") == "50@0");
}

TEST_CASE("history: a car that is erased is not written again") {
  Kept kept;
  kept.SaysSoc(50);
  kept.history->Forget(RefOf("car1"));
  kept.history->Forget(RefOf("car2"));
  kept.Passes(2h);
  CHECK(kept.Records().empty());
  CHECK_FALSE(kept.history->NextDeadline().has_value());
}

TEST_CASE("history: many cars are written and forgotten some at a time") {
  Kept kept(24h);
  for (int i = 0; i < 700; ++i) {
    v1::StateGroup state = Driving(kept.now.wall, i);
    kept.Says(Group::kDrive, state, "c" + std::to_string(i));
  }
  CHECK(kept.history->cars_open() == 700);
  kept.Advance(kept.now.mono + 61s);
  kept.history->Passes(kept.now, kept.effects);
  CHECK(kept.effects.size() == 100);
  kept.Commit();
  kept.Passes(1s);
  CHECK(kept.Records().size() == 700);
  kept.Passes(26h);
  CHECK(kept.Records().empty());
}

TEST_CASE("history chunk: what is added is what is read, for any values and times") {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    OpenChunk chunk(Group::kLink, kStart);
    std::map<std::string, std::vector<HistorySample>> added;
    for (int i = 0; i < 30; ++i) {
      const auto observed =
          static_cast<uint64_t>(static_cast<int64_t>(random() % 4'000'000'000'000) + 1);
      const Timestamp received{static_cast<int64_t>(random() % 4'000'000'000'000)};
      v1::StateGroup state;
      state.set_observed_at_ms(observed);
      const auto queue = static_cast<int64_t>(random() % 1'000'000);
      state.mutable_link()->mutable_queue()->set_value(queue);
      const std::string word(random() % 200, static_cast<char>('a' + random() % 26));
      state.mutable_link()->mutable_radio()->set_value(word + std::to_string(i));
      v1::ExtraSignal& extra = *state.add_extra();
      extra.set_path("Vehicle.Own." + std::to_string(random() % 3));
      extra.set_number(static_cast<double>(random()) / 3);
      chunk.Add(state, received);
      const Timestamp at{static_cast<int64_t>(observed)};
      added["link.queue"].push_back({at, received, static_cast<double>(queue)});
      added["link.radio"].push_back({at, received, word + std::to_string(i)});
      added[extra.path()].push_back({at, received, extra.number()});
    }
    const std::string packed = chunk.Pack();
    CHECK(packed.size() <= chunk.bytes());
    const auto read = ParseChunk(packed);
    REQUIRE(read.has_value());
    CHECK(read->series_size() == static_cast<int>(added.size()));
    for (const v1::HistorySeries& series : read->series()) {
      CHECK(SamplesOf(*read, series) == added[series.signal()]);
    }
  }
}

TEST_CASE("history chunk: what Pack does not write is refused, wild times stay times") {
  v1::HistoryChunk chunk;
  CHECK(ParseChunk("").has_value());
  v1::HistorySeries& series = *chunk.add_series();
  series.set_signal("energy.soc");
  series.add_times(INT64_MIN);
  series.add_received(INT64_MAX);
  series.add_numbers(1);
  const auto good = ParseChunk(chunk.SerializeAsString());
  REQUIRE(good.has_value());
  CHECK(SamplesOf(*good, good->series(0)).at(0).observed_at.ms >= 0);
  series.add_times(1);
  CHECK_FALSE(ParseChunk(chunk.SerializeAsString()).has_value());
  series.add_received(1);
  series.add_texts("x");
  CHECK_FALSE(ParseChunk(chunk.SerializeAsString()).has_value());
  CHECK_FALSE(ParseChunk("\xff\xff").has_value());
}

}  // namespace latchkey::bridge
