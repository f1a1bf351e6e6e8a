// The bridge is killed at a random moment of a drive: of history at most the last minute before
// that is missing, and nothing is there that was never said.
#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "latchkey/v1/state.pb.h"
#include "proto/topic.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;

constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kSampledMs = 5'000;  // one message in this time is sampled
constexpr int64_t kSlackMs = 3'000;    // this machine is busy

// Observed time -> value.
std::map<int64_t, double> RangesByHistory(const Cell& cell) {
  const json history = json::parse(
      HttpGet(cell.http_port(), "/v1/history?fleet=demo&car=car-1&signal=energy.range").body,
      nullptr, false);
  std::map<int64_t, double> samples;
  if (history.is_object() && history.contains("samples")) {
    for (const json& one : history["samples"]) {
      samples[one["observed_at_ms"]] = one["value"];
    }
  }
  return samples;
}

}  // namespace

TEST_CASE("a bridge that is killed during a drive has lost at most a minute of history") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  RawCar car(cell, "demo", "car-1");
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  std::map<int64_t, double> said;
  uint64_t sequence = 0;
  const auto drive_until = [&](int64_t end) {
    while (UnixMs() < end) {
      const int64_t now = UnixMs();
      v1::StateGroup state;
      state.set_observed_at_ms(static_cast<uint64_t>(now));
      state.set_sequence(++sequence);
      state.mutable_energy()->mutable_range()->set_value(static_cast<float>(sequence));
      said[now] = static_cast<double>(sequence);
      REQUIRE(car.client().Send({StateTopic(car.ref(), Group::kEnergy), state.SerializeAsString(),
                                 1, Retain::kYes, 0}) == 0);
      std::this_thread::sleep_until(std::chrono::system_clock::time_point(
          std::chrono::milliseconds(now + 200)));  // a car's pace
    }
  };
  const int64_t begin = UnixMs();
  drive_until(begin + 66'000 + static_cast<int64_t>(random() % 15'000));
  const int64_t killed_at = UnixMs();
  cell.bridge().Kill();
  cell.StartBridge();

  const std::map<int64_t, double> samples = RangesByHistory(cell);
  REQUIRE(!samples.empty());
  for (const auto& [observed_at, value] : samples) {
    REQUIRE(said.count(observed_at) == 1);
    CHECK(said.at(observed_at) == value);
  }
  // From the first message to a minute before the end there is no hole.
  int64_t last = begin;
  for (const auto& [observed_at, value] : samples) {
    if (observed_at <= killed_at) {
      CHECK(observed_at - last <= kSampledMs + kSlackMs);
      last = observed_at;
    }
  }
  MESSAGE("history up to " << (killed_at - last) / 1000 << " s before the kill");
  CHECK(killed_at - last <= kMinuteMs + kSampledMs + kSlackMs);

  // Killed again soon: what was there stays.
  drive_until(UnixMs() + 1'000 + static_cast<int64_t>(random() % 4'000));
  cell.bridge().Kill();
  cell.StartBridge();
  const std::map<int64_t, double> later = RangesByHistory(cell);
  for (const auto& [observed_at, value] : samples) {
    CHECK(later.count(observed_at) == 1);
  }
}

}  // namespace latchkey::testing
