// See history_chunk.h.
#include "bridge/core/history_chunk.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <utility>

#include "proto/result.h"
#include "proto/state.h"
#include "proto/wire.h"

namespace latchkey::bridge {

namespace {

constexpr size_t kNumberBytes = 8;
constexpr size_t kChunkBytes = 10;   // begins_at_ms
constexpr size_t kSeriesBytes = 28;  // tags and lengths of a series
constexpr size_t kTextBytes = 3;     // tag and length of a text

// As protobuf writes them, so that the size of a packed chunk is known.
void PutVarint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void PutSigned(std::string& out, int64_t value) {
  PutVarint(out, (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
}

// Reads what PutVarint and PutSigned wrote; the bytes are our own.
class Taker {
 public:
  explicit Taker(std::string_view bytes) : rest_(bytes) {}

  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(Bytes(1).front());
      value |= static_cast<uint64_t>(byte & 0x7fU) << shift;
      if ((byte & 0x80U) == 0) {
        break;
      }
    }
    return value;
  }

  int64_t Signed() {
    const uint64_t value = Varint();
    return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
  }

  double Number() {
    uint64_t bits = 0;
    for (const char byte : Bytes(kNumberBytes)) {
      bits = bits << 8 | static_cast<uint8_t>(byte);
    }
    return std::bit_cast<double>(bits);
  }

  std::string_view Bytes(size_t count) {
    LK_ASSERT(count <= rest_.size());
    const std::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return bytes;
  }

  bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

const std::vector<std::string>& NamesOf(Group group) {
  static const auto names = [] {
    std::array<std::vector<std::string>, kGroupCount> all;
    for (const Group one : kGroups) {
      all[static_cast<size_t>(one)] = SignalNames(one);
    }
    return all;
  }();
  return names[static_cast<size_t>(group)];
}

// A number, yes as 1 and no as 0; nullopt: a text.
std::optional<double> NumberOf(const SignalRow& row) {
  if (const auto* flag = std::get_if<bool>(&row.value)) {
    return *flag ? 1 : 0;
  }
  if (const auto* number = std::get_if<double>(&row.value)) {
    return *number;
  }
  if (const auto* whole = std::get_if<int64_t>(&row.value)) {
    return static_cast<double>(*whole);
  }
  return std::nullopt;
}

// Sums of bytes that somebody may have spoilt: they wrap, and are brought back into the times there
// are.
Timestamp Bounded(uint64_t ms) {
  const auto wrapped = static_cast<int64_t>(ms);
  return {std::clamp<int64_t>(wrapped, 0, static_cast<int64_t>(kTimestampMsMax))};
}

}  // namespace

const std::string& OpenChunk::NameOf(const Series& series) const {
  const std::vector<std::string>& known = NamesOf(group_);
  return series.name < known.size() ? known[series.name] : names_[series.name - known.size()];
}

// Signals of a message come in the same order as in the one before: the search begins at `hint`.
OpenChunk::Series& OpenChunk::Find(const std::string& name, bool is_text, size_t hint,
                                   bool& fresh) {
  fresh = false;
  for (size_t i = 0; i < series_.size(); ++i) {
    Series& series = series_[(hint + i) % series_.size()];
    if (series.is_text == is_text && NameOf(series) == name) {
      return series;
    }
  }
  fresh = true;
  const std::vector<std::string>& known = NamesOf(group_);
  const auto found = std::find(known.begin(), known.end(), name);
  if (found == known.end()) {
    names_.push_back(name);
  }
  const size_t index = found == known.end() ? known.size() + names_.size() - 1
                                            : static_cast<size_t>(found - known.begin());
  bytes_ += kSeriesBytes + name.size() + (series_.empty() ? kChunkBytes : 0);
  return series_.emplace_back(Series{static_cast<uint32_t>(index), is_text, begins_at_.ms, 0});
}

size_t OpenChunk::Add(const v1::StateGroup& state, Timestamp received_at) {
  size_t added = 0;
  size_t hint = 0;
  for (const SignalRow& row : SignalsOf(state)) {
    const std::optional<double> number = NumberOf(row);
    const std::string* text = number ? nullptr : &std::get<std::string>(row.value);
    const uint64_t value =
        number ? std::bit_cast<uint64_t>(*number) : std::hash<std::string>{}(*text);
    bool fresh = false;
    Series& series = Find(row.name, text != nullptr, hint, fresh);
    const auto index = static_cast<size_t>(&series - series_.data());
    hint = index + 1;
    if (!fresh && value == series.value &&
        row.observed_at.ms < series.observed_ms + kHistoryAgain.count()) {
      continue;
    }
    PutVarint(samples_, index);
    const size_t before = samples_.size();
    PutSigned(samples_, row.observed_at.ms - series.observed_ms);
    PutSigned(samples_, received_at.ms - row.observed_at.ms);
    if (text != nullptr) {
      PutVarint(samples_, text->size());
      samples_ += *text;
      bytes_ += kTextBytes - 1;
    } else {
      for (int shift = 56; shift >= 0; shift -= 8) {
        samples_.push_back(static_cast<char>(value >> static_cast<unsigned>(shift)));
      }
    }
    bytes_ += samples_.size() - before;
    series.observed_ms = row.observed_at.ms;
    series.value = value;
    ++added;
  }
  return added;
}

void OpenChunk::Thinned(Duration interval) {
  thinned_ms_ =
      std::max(thinned_ms_, static_cast<uint64_t>(std::max<int64_t>(interval.count(), 0)));
}

std::string OpenChunk::Pack() const {
  v1::HistoryChunk chunk;
  chunk.set_begins_at_ms(static_cast<uint64_t>(begins_at_.ms));
  for (const Series& one : series_) {
    v1::HistorySeries& series = *chunk.add_series();
    series.set_signal(NameOf(one));
    series.set_thinned_ms(thinned_ms_);
  }
  for (Taker taker(samples_); !taker.empty();) {
    const auto index = static_cast<int>(taker.Varint());
    v1::HistorySeries& series = *chunk.mutable_series(index);
    series.add_times(taker.Signed());
    series.add_received(taker.Signed());
    if (series_[static_cast<size_t>(index)].is_text) {
      series.add_texts(std::string(taker.Bytes(taker.Varint())));
    } else {
      series.add_numbers(taker.Number());
    }
  }
  return chunk.SerializeAsString();
}

std::optional<v1::HistoryChunk> ParseChunk(std::string_view payload) {
  std::optional<v1::HistoryChunk> chunk =
      FromWire<v1::HistoryChunk>(payload, kHistoryChunkBytesMax);
  if (!chunk || chunk->begins_at_ms() > kTimestampMsMax) {
    return std::nullopt;
  }
  for (const v1::HistorySeries& series : chunk->series()) {
    const int values = std::max(series.numbers_size(), series.texts_size());
    const bool one_kind = series.numbers_size() == 0 || series.texts_size() == 0;
    if (!one_kind || series.times_size() != values || series.received_size() != values ||
        series.signal().empty()) {
      return std::nullopt;
    }
  }
  return chunk;
}

std::vector<HistorySample> SamplesOf(const v1::HistoryChunk& chunk,
                                     const v1::HistorySeries& series) {
  std::vector<HistorySample> samples;
  uint64_t observed = chunk.begins_at_ms();
  for (int i = 0; i < series.times_size(); ++i) {
    observed += static_cast<uint64_t>(series.times(i));
    HistorySample sample;
    sample.observed_at = Bounded(observed);
    sample.received_at = Bounded(observed + static_cast<uint64_t>(series.received(i)));
    if (i < series.numbers_size()) {
      sample.value = series.numbers(i);
    } else {
      sample.value = series.texts(i);
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace latchkey::bridge
