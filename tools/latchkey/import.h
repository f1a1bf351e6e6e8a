// `latchkey import`: bringing a legacy system in. What the readers gave (tools/import/) is handed
// to the bridge, and cars that are new get an identity and an invitation for their owner.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"
#include "tools/import/plan.h"
#include "tools/import/report.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/folder.h"

namespace latchkey::cli {

// What the bridge made of a plan.
struct HandedOver {
  std::vector<legacy::GroupOutcome> outcomes;  // as many as the plan has groups
  uint64_t history_kept = 0;
  uint64_t history_old = 0;
};

// Gives the groups of the plan to the bridge, in order and in parts, each of which is on its disk
// before the next one goes. Errors REASON_STORE_UNAVAILABLE (it does not answer, or cannot write),
// REASON_NOT_ALLOWED (admin.token is another bridge's): what went before is kept, and an import
// that is run again goes on.
Result<HandedOver> HandOver(const Folder& folder, const legacy::Plan& plan);
// The import begins, with so many records, or is over: the bridge's log gets an entry. One that was
// killed has a begin without an end there. Errors as of HandOver.
Result<void> TellBegin(const Folder& folder, const std::string& source, uint64_t records);
Result<void> TellEnd(const Folder& folder, const std::string& source, const legacy::Totals& totals);

struct Provisioning {
  std::filesystem::path folder;  // of invitations, 0700
  Duration life = std::chrono::hours(24 * 90);
};

struct Provisioned {
  std::vector<std::string> made;   // cars that are new and have an invitation
  std::vector<std::string> there;  // cars that were there: nothing is changed
};

// Makes an identity for each car of the plan that has none, and an invitation for its owner: a
// pairing code that the car's unit holds and that works once, in {folder}/{fleet}-{car}.svg, .txt
// and .html (0600). A car that was made and whose files were not written gets them when this is run
// again. Errors as of AddCarFiles.
Result<Provisioned> Provision(const Folder& folder, const legacy::Plan& plan, const FleetId& fleet,
                              const Provisioning& provisioning);

}  // namespace latchkey::cli
