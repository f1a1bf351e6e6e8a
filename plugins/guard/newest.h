// The newest state of each topic that has come by, so that an older one which the broker this one
// is joined with still retains does not take its place when the two show each other what they have.
// Mosquitto 2.0 shows a plugin no retained messages, so it is kept from the first time that a peer
// is met: about 60 bytes a topic. What came by before that is not known and gives way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include "proto/state.h"
#include "proto/time.h"
#include "proto/topic.h"

namespace latchkey::guard {

// Not thread-safe; used from the broker's thread.
class NewestStates {
 public:
  // From here on it is kept.
  void Begin() { on_ = true; }

  bool on() const { return on_; }

  // A state message that may pass otherwise; empty: the topic is emptied. False: it is a peer's and
  // not newer than what is known. Words of cars and bridges always stand; a time that lies in the
  // future by the broker's clock holds nothing back, and nothing holds back the later word that a
  // place is hidden.
  bool Take(const Topic& topic, std::string_view payload, bool from_peer, Timestamp now);

  size_t size() const { return newest_.size(); }

 private:
  bool on_ = false;
  std::unordered_map<uint64_t, StateVersion> newest_;  // by a hash of fleet, car and group
};

}  // namespace latchkey::guard
