// What must always hold of history (history.h), watched from outside the bridge: on what is said to
// it and what it commits. For stories and the simulation; a breach throws Fault.
//
//   H1 no sample that was never sent
//   H2 samples of a chunk are in the order in which they came, and a chunk that is written again
//      keeps what it had
//   H3 nothing is erased before its time but a place that a car hides, and nothing is kept a day
//      longer than that time
//   H4 a car keeps no more bytes than it may
//   H5 what was stored as state is in history a minute later, unless another message followed soon
//   H6 where the stored place is hidden, there is no earlier one in history
//   H7 of an erased car there is nothing
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "bridge/core/history.h"
#include "bridge/core/history_chunk.h"
#include "proto/result.h"
#include "proto/state.h"
#include "storage/records.h"

namespace latchkey::bridge {

class HistoryWatch {
 public:
  struct Bounds {
    Duration keep{0};
    uint64_t bytes_per_car = 0;
    bool clocks_agree = true;  // the bridge's clock is right, so times it writes can be held to
    bool roomy = true;         // the bound is so wide that nothing is thinned by more than kSoon
  };

  explicit HistoryWatch(const Bounds& bounds) : bounds_(bounds) {}

  // A message of state/{group} that somebody gave to the bridge or the broker.
  void Sent(const CarRef& ref, Group group, const std::string& payload) {
    const Result<v1::StateGroup> state = ParseState(payload, group);
    if (state) {
      for (const SignalRow& row : SignalsOf(*state)) {
        sent_.insert(KeyOf(ref, row.name, row.observed_at, ValueOf(row)));
      }
    }
  }

  // In one commit, by the bridge's clocks when it decided.
  void Committed(std::span<const storage::Change> changes, const Now& now) {
    for (const storage::Change& change : changes) {  // states first: they say what may be erased
      if (const auto* state = std::get_if<storage::StateRecord>(&change)) {
        Took(*state, now);
      }
    }
    for (const storage::Change& change : changes) {
      if (const auto* chunk = std::get_if<storage::HistoryRecord>(&change)) {
        Wrote(*chunk);
      } else if (const auto* erase = std::get_if<storage::EraseHistory>(&change)) {
        Erased(*erase, now);
      } else if (const auto* car = std::get_if<storage::EraseCar>(&change)) {
        Forgot(car->ref);
      }
    }
    for (const auto& [place, hidden_at] : hidden_) {
      CheckHidden(place, hidden_at);
    }
  }

  // A turn of the bridge is over and nothing failed in it.
  void Turned(const Now& now) {
    for (auto& [place, waiting] : waiting_) {
      while (!waiting.empty() && waiting.front().at + kHistoryFlush < now.mono) {
        const bool followed = waiting.size() > 1 && waiting[1].at - waiting[0].at <= kSoon;
        Expect(!bounds_.roomy || followed || Has(place, waiting.front().observed_at),
               "H5: what was stored a minute ago is not in history", place.first);
        waiting.pop_front();
      }
    }
    for (const auto& [place, chunks] : chunks_) {
      const bool old = !chunks.empty() && chunks.begin()->first < now.wall - bounds_.keep - kLate;
      Expect(!old || !bounds_.clocks_agree, "H3: kept longer than is told", place.first);
    }
  }

  // The bridge lost what it had not written: it ended, or its store failed it.
  void Lost() { waiting_.clear(); }

  // The bridge begins anew; `store` holds what it finds there, in any order.
  void Restarted(const std::vector<storage::Record>& store) {
    Lost();
    ++starts_;
    chunks_.clear();
    hidden_.clear();
    for (const storage::Record& record : store) {
      if (const auto* state = std::get_if<storage::StateRecord>(&record)) {
        Hides(*state);
      } else if (const auto* chunk = std::get_if<storage::HistoryRecord>(&record)) {
        Wrote(*chunk);
      }
    }
    for (const auto& [place, hidden_at] : hidden_) {
      CheckHidden(place, hidden_at);
    }
  }

  const Bounds& bounds() const { return bounds_; }

  size_t samples() const {
    size_t count = 0;
    for (const auto& [place, chunks] : chunks_) {
      for (const auto& [begins_at, chunk] : chunks) {
        for (const auto& [name, series] : chunk.series) {
          count += series.size();
        }
      }
    }
    return count;
  }

  bool Knows(const CarRef& ref) const {
    return std::any_of(chunks_.begin(), chunks_.end(), [&](const auto& one) {
      return one.first.first == ref && !one.second.empty();
    });
  }

 private:
  using Place = std::pair<CarRef, Group>;

  // A message that is followed by another within this time may have been left out.
  static constexpr Duration kSoon = std::chrono::seconds(11);
  // Silent cars are looked through once a day; a bridge that was away looks through them a day
  // after it came.
  static constexpr Duration kLate = std::chrono::hours(24 + 3);

  struct Chunk {
    std::map<std::string, std::vector<HistorySample>> series;
    uint64_t bytes = 0;
  };

  struct Waiting {
    Instant at;
    Timestamp observed_at;
  };

  [[noreturn]] static void Break(const char* what, const CarRef& ref) {
    ThrowFault((std::string(what) + ": " + ref.ToText()).c_str());
  }

  static void Expect(bool holds, const char* what, const CarRef& ref) {
    if (!holds) {
      Break(what, ref);
    }
  }

  static std::variant<double, std::string> ValueOf(const SignalRow& row) {
    if (const auto* flag = std::get_if<bool>(&row.value)) {
      return *flag ? 1.0 : 0.0;
    }
    if (const auto* number = std::get_if<double>(&row.value)) {
      return *number;
    }
    if (const auto* whole = std::get_if<int64_t>(&row.value)) {
      return static_cast<double>(*whole);
    }
    return std::get<std::string>(row.value);
  }

  static std::string KeyOf(const CarRef& ref, const std::string& name, Timestamp observed_at,
                           const std::variant<double, std::string>& value) {
    const auto* number = std::get_if<double>(&value);
    return ref.ToText() + " " + name + " " + std::to_string(observed_at.ms) + " " +
           (number != nullptr ? std::to_string(*number) : std::get<std::string>(value));
  }

  void Took(const storage::StateRecord& state, const Now& now) {
    const StateVersion version = VersionOf(ParseState(state.payload, state.group).value());
    const Place place{state.ref, state.group};
    if (Hides(state)) {
      waiting_.erase(place);
    } else {
      waiting_[place].push_back({now.mono, Timestamp{version.observed_at_ms}});
    }
  }

  bool Hides(const storage::StateRecord& state) {
    const v1::StateGroup parsed = ParseState(state.payload, state.group).value();
    if (!HidesPlace(state.group, parsed)) {
      return false;
    }
    hidden_[{state.ref, state.group}] = Timestamp{VersionOf(parsed).observed_at_ms};
    return true;
  }

  void Wrote(const storage::HistoryRecord& record) {
    const auto parsed = ParseChunk(record.payload);
    Expect(
        parsed.has_value() && parsed->begins_at_ms() == static_cast<uint64_t>(record.begins_at.ms),
        "H1: a chunk that cannot be read", record.ref);
    Chunk chunk;
    const storage::KeyValue bytes = storage::Encode(record);
    chunk.bytes = bytes.key.size() + bytes.value.size();
    for (const v1::HistorySeries& series : parsed->series()) {
      std::vector<HistorySample> samples = SamplesOf(*parsed, series);
      // Chunks begin at even times, each another than the last: up to 2 ms after their first
      // sample.
      Timestamp last = record.begins_at - Duration(1);
      for (const HistorySample& sample : samples) {
        Expect(
            sent_.count(KeyOf(record.ref, series.signal(), sample.observed_at, sample.value)) > 0,
            "H1: a sample that was never sent", record.ref);
        Expect(!bounds_.clocks_agree || last <= sample.received_at + Duration(1),
               "H2: samples are not in the order in which they came", record.ref);
        last = sample.received_at;
      }
      chunk.series[series.signal()] = std::move(samples);
    }
    Chunk& held = chunks_[{record.ref, record.group}][record.begins_at];
    for (const auto& [name, samples] : held.series) {
      const std::vector<HistorySample>& now = chunk.series[name];
      Expect(
          now.size() >= samples.size() && std::equal(samples.begin(), samples.end(), now.begin()),
          "H2: a chunk that was written again lacks a sample", record.ref);
    }
    held = std::move(chunk);
    Expect(BytesOf(record.ref) <= BytesMax(), "H4: more bytes than a car may keep", record.ref);
  }

  // A start of the bridge may add a quarter of what is gained in a day.
  uint64_t BytesMax() const {
    constexpr double kDayMs = 24.0 * 3600 * 1000;
    const double day = static_cast<double>(bounds_.bytes_per_car) * kDayMs /
                       (static_cast<double>(bounds_.keep.count()) + kDayMs);
    return bounds_.bytes_per_car + static_cast<uint64_t>(day / 4 * starts_) + kHistoryChunkFull;
  }

  uint64_t BytesOf(const CarRef& ref) const {
    uint64_t bytes = 0;
    for (const Group group : kGroups) {
      const auto chunks = chunks_.find({ref, group});
      if (chunks != chunks_.end()) {
        for (const auto& [begins_at, chunk] : chunks->second) {
          bytes += chunk.bytes;
        }
      }
    }
    return bytes;
  }

  void Erased(const storage::EraseHistory& erase, const Now& now) {
    const Place place{erase.ref, erase.group};
    const bool hides = hidden_.count(place) > 0;
    Expect(hides || erase.before <= now.wall - bounds_.keep, "H3: erased before its time",
           erase.ref);
    auto& chunks = chunks_[place];
    chunks.erase(chunks.begin(), chunks.lower_bound(erase.before));
  }

  void Forgot(const CarRef& ref) {
    const auto of_car = [&ref](const auto& one) { return one.first.first == ref; };
    std::erase_if(chunks_, of_car);
    std::erase_if(waiting_, of_car);
    std::erase_if(hidden_, of_car);
  }

  void CheckHidden(const Place& place, Timestamp hidden_at) const {
    const auto chunks = chunks_.find(place);
    if (chunks == chunks_.end()) {
      return;
    }
    for (const auto& [begins_at, chunk] : chunks->second) {
      for (const auto& [name, samples] : chunk.series) {
        for (const HistorySample& sample : samples) {
          Expect(sample.observed_at >= hidden_at, "H6: a place from before it was hidden",
                 place.first);
        }
      }
    }
  }

  bool Has(const Place& place, Timestamp observed_at) const {
    const auto chunks = chunks_.find(place);
    if (chunks == chunks_.end()) {
      return false;
    }
    for (const auto& [begins_at, chunk] : chunks->second) {
      for (const auto& [name, samples] : chunk.series) {
        if (std::any_of(samples.begin(), samples.end(), [&](const HistorySample& sample) {
              return sample.observed_at == observed_at;
            })) {
          return true;
        }
      }
    }
    return false;
  }

  Bounds bounds_;
  std::set<std::string> sent_;
  std::map<Place, std::map<Timestamp, Chunk>> chunks_;  // as the store has them
  std::map<Place, std::deque<Waiting>> waiting_;        // stored as state, to be in history soon
  std::map<Place, Timestamp> hidden_;                   // the last message that hid a place
  double starts_ = 0;
};

}  // namespace latchkey::bridge
