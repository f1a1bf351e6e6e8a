// latchkey ca serve: a fleet's registrar on the broker.
#pragma once

#include <optional>

#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"
#include "tools/latchkey/commands.h"

namespace latchkey::cli {

struct ServeWish {
  FleetId fleet;
  int days = 0;                    // that a certificate granted lives
  std::optional<Duration> length;  // nullopt: until SIGINT or SIGTERM
};

// Answers cars' requests until the end of its time. Keeps its own certificate and the fleet's and
// the cell's revocation lists young. Errors: those of LoadCa and LoadCell; REASON_FULL (another
// process serves this fleet from this folder).
Result<void> ServeRegistrar(Context& context, const ServeWish& wish);

}  // namespace latchkey::cli
