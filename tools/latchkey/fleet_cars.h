// Which cars of a fleet a command is about: "all", "@FILE" or "A,B,C".
#pragma once

#include <set>
#include <string>

#include "proto/result.h"
#include "proto/types.h"
#include "tools/latchkey/folder.h"

namespace latchkey::cli {

// "all": every car that the bridge or the data folder knows of the fleet. "@FILE": names in it, a
// line each; else names joined by ','; "demo/" before a name is fine when it is the fleet. Errors:
// REASON_MALFORMED (a name), REASON_NOT_ON_RING (none are known), REASON_FULL (too many),
// REASON_STORE_UNAVAILABLE (the file).
Result<std::set<CarRef>> ChooseCars(const Folder& folder, const Cell& cell, const FleetId& fleet,
                                    const std::string& text);

}  // namespace latchkey::cli
