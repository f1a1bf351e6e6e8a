// Chunks of history as they come from a disk, and chunks that are made of what cars say. The first
// byte says which: 'c' a chunk; a group's number, '0' on: messages of that group, each behind a
// byte with its length.
#include <string>

#include "bridge/core/history_chunk.h"
#include "proto/state.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {

namespace {

void TryChunk(std::string_view bytes) {
  const auto chunk = bridge::ParseChunk(bytes);
  if (!chunk) {
    return;
  }
  for (const v1::HistorySeries& series : chunk->series()) {
    for (const bridge::HistorySample& sample : bridge::SamplesOf(*chunk, series)) {
      Require(sample.observed_at.ms >= 0 && sample.received_at.ms >= 0, "times are from 1970 on");
    }
  }
}

void TryMessages(Group group, std::string_view rest) {
  bridge::OpenChunk chunk(group, Timestamp{1'760'000'000'000});
  size_t added = 0;
  while (!rest.empty() && chunk.bytes() < 4096) {
    const size_t length = static_cast<uint8_t>(rest.front());
    const Result<v1::StateGroup> state = ParseState(rest.substr(1, length), group);
    rest.remove_prefix(std::min(rest.size(), length + 1));
    if (state) {
      added += chunk.Add(*state, Timestamp{1'760'000'000'000});
    }
  }
  const std::string packed = chunk.Pack();
  Require(packed.size() <= chunk.bytes() + 10, "a chunk knows its size");
  const auto read = bridge::ParseChunk(packed);
  Require(read.has_value(), "what is packed is read");
  size_t found = 0;
  for (const v1::HistorySeries& series : read->series()) {
    found += bridge::SamplesOf(*read, series).size();
  }
  Require(found == added, "no sample is lost");
}

}  // namespace

void Try(std::string_view input) {
  if (input.empty()) {
    return;
  }
  const int number = input[0] - '0';
  if (input[0] == 'c') {
    TryChunk(input.substr(1));
  } else if (number >= 0 && number < static_cast<int>(kGroupCount)) {
    TryMessages(static_cast<Group>(number), input.substr(1));
  }
}

}  // namespace latchkey::fuzz
