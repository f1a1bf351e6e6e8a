// Samples of the signals of one group of one car: packed while they are collected, as the store
// keeps them (latchkey/v1/history.proto), and read again.
//
// Memory: a chunk that is open costs about 150 bytes, 40 bytes a signal and what its samples are
// packed, 11 bytes for a number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "latchkey/v1/history.pb.h"
#include "latchkey/v1/state.pb.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::bridge {

// A signal whose value stays the same is sampled again after this time, so that a gap is told from
// a value that did not change.
inline constexpr Duration kHistoryAgain = std::chrono::minutes(15);
// No chunk is larger: one message more than History's bound, with every extra signal it may have.
inline constexpr size_t kHistoryChunkBytesMax = size_t{128} << 10;

// Not copyable. `begins_at`: the received time of its first sample.
class OpenChunk {
 public:
  OpenChunk(Group group, Timestamp begins_at) : group_(group), begins_at_(begins_at) {}

  OpenChunk(const OpenChunk&) = delete;
  OpenChunk& operator=(const OpenChunk&) = delete;
  OpenChunk(OpenChunk&&) = default;
  OpenChunk& operator=(OpenChunk&&) = default;

  // Adds a sample of each signal that is new here, has another value, or was observed kHistoryAgain
  // after its last sample. Gives how many.
  size_t Add(const v1::StateGroup& state, Timestamp received_at);
  // Messages were left out: at most one in this time was looked at.
  void Thinned(Duration interval);
  // v1.HistoryChunk.
  std::string Pack() const;

  // What Pack gives has at most so many.
  size_t bytes() const { return bytes_; }

  bool empty() const { return series_.empty(); }

  Timestamp begins_at() const { return begins_at_; }

 private:
  struct Series {
    uint32_t name = 0;  // of SignalNames(group); above: of names_
    bool is_text = false;
    int64_t observed_ms = 0;  // of the last sample
    uint64_t value = 0;       // likewise: the number's bits, or a hash of the text
  };

  Series& Find(const std::string& name, bool is_text, size_t hint, bool& fresh);
  const std::string& NameOf(const Series& series) const;

  Group group_;
  Timestamp begins_at_;
  uint64_t thinned_ms_ = 0;
  std::vector<Series> series_;
  std::vector<std::string> names_;  // of extra signals and apps
  std::string samples_;  // {series, observed after the one before, received after that, value}
  size_t bytes_ = 0;
};

struct HistorySample {
  Timestamp observed_at;
  Timestamp received_at;
  std::variant<double, std::string> value;
  bool operator==(const HistorySample&) const = default;
};

// nullopt: no chunk that Pack writes.
std::optional<v1::HistoryChunk> ParseChunk(std::string_view payload);
// Samples of one signal of a chunk that ParseChunk gave, in the order in which they were received.
std::vector<HistorySample> SamplesOf(const v1::HistoryChunk& chunk,
                                     const v1::HistorySeries& series);

}  // namespace latchkey::bridge
