// What an administrator brings from another system: each state goes through the same rules as what
// a car says, in one step with what history keeps of it.
#pragma once

#include "bridge/core/bridge.h"
#include "bridge/core/history.h"
#include "bridge/core/last_known.h"
#include "bridge/core/step.h"

namespace latchkey::bridge {

// More states in one step would keep others waiting.
inline constexpr size_t kImportStatesMax = 256;

struct ImportParts {
  LastKnown& last_known;
  History& history;
  const FleetCas& fleets;
};

// Takes the states in their order and says what became of each (ImportAnswer, after the writes);
// an end goes into the log. A state of a fleet that the bridge does not know is refused with
// REASON_NOT_ALLOWED, those above kImportStatesMax with REASON_TOO_LARGE. True: something was
// taken, and the broker is owed it.
bool TakeImport(const ImportParts& parts, const Import& import, const Now& now, Effects& out);

}  // namespace latchkey::bridge
