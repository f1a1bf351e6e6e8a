// What each action does to the car: its own signals, ring, apps and settings. Absolute effects, so
// that doing one again changes nothing.
#pragma once

#include <string>
#include <vector>

#include "proto/command.h"
#include "proto/result.h"
#include "proto/time.h"
#include "tools/car/memory.h"
#include "tools/car/signals.h"

namespace latchkey::car {

// What else the car must do after an action.
struct ActionResult {
  // REASON_UNSPECIFIED: done. REASON_CAR_FAILED: tried and could not.
  Reason reason = v1::REASON_UNSPECIFIED;
  bool ring_changed = false;
  std::vector<KeyId> keys_changed;  // whose place on the ring somebody else changed
  bool publish_location = false;
  bool hide_location = false;  // what was said of the place before is to be taken back
  bool publish_all = false;
  bool restart = false;  // drop the connection and make a new one
  std::string text;      // arguments for people: "flash_lights", "lock"
};

// Can the car do it at all? Asked before it is begun. REASON_FULL (ring, apps), REASON_NOT_ALLOWED
// (the last key that may add keys would go).
Verdict CheckAction(const Command& command, const Memory& memory, Timestamp now);

// Does it. `memory` and `board` change; the caller persists.
ActionResult Perform(const Command& command, Memory& memory, SignalBoard& board, Timestamp now);

}  // namespace latchkey::car
