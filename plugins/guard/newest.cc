// See newest.h.
#include "plugins/guard/newest.h"

#include "latchkey/v1/state.pb.h"
#include "proto/wire.h"

namespace latchkey::guard {

namespace {

constexpr size_t kTopicsMax = 4'000'000;

// FNV-1a, 64 bits. Two of a million topics meet with a chance of 3 in 100 million; then one of them
// may keep an older word of the peer until its car speaks.
uint64_t KeyOf(const Topic& topic) {
  uint64_t hash = 14695981039346656037U;
  const auto mix = [&hash](std::string_view text) {
    for (const char c : text) {
      hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211U;
    }
    hash = (hash ^ 0xffU) * 1099511628211U;
  };
  mix(topic.fleet);
  mix(topic.car);
  mix(ToText(topic.group));
  return hash;
}

}  // namespace

bool NewestStates::Take(const Topic& topic, std::string_view payload, bool from_peer,
                        Timestamp now) {
  if (!on_ || topic.kind != TopicKind::kState) {
    return true;
  }
  const uint64_t key = KeyOf(topic);
  if (payload.empty()) {
    newest_.erase(key);
    return true;
  }
  const auto state = FromWire<v1::StateGroup>(payload, kStateBytesMax);
  if (!state) {
    return true;  // not of this file to refuse
  }
  const StateVersion version = VersionOf(*state);
  const auto known = newest_.find(key);
  if (known == newest_.end()) {
    if (newest_.size() < kTopicsMax) {
      newest_.emplace(key, version);
    }
    return true;
  }
  const bool made_later = version.sequence > known->second.sequence;
  const bool yields = known->second.observed_at_ms > now.ms || HidesPlace(topic.group, *state);
  if (from_peer && version <= known->second && !(made_later && yields)) {
    return false;
  }
  known->second = version;
  return true;
}

}  // namespace latchkey::guard
