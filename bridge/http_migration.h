// What HTTP takes and shows of the store's migration. Whoever posts proves by the token of
// admin_token.h that he may:
//
//   GET  /v1/migration
//        {"now_ms", "schema", "from", "to", "name", "phase": "none" | "backfill" | "filled" |
//        "verified" | "differs" | "cut over", "paused", "waits_for", "rows_done", "rows_expected",
//        "rows_per_second", "left_ms", "bytes_written", "damaged", "started_at_ms", "phase_at_ms",
//        "verified_at_ms", "compared", "differences", "mismatches": [{"key", "what"}],
//        "comparison": {"id", "running", "compared", "records_per_second", "error"},
//        "allowed": [orders that are allowed now]}
//        null is what is not known, or does not apply: rows_per_second and left_ms in the first
//        seconds and while it stands still, waits_for while nothing is in its way, comparison when
//        there was none since the bridge's start
//   GET  /v1/migration/plan
//        {"plan": {"from", "to", "name", "summary", "rows", "bytes"}} or {"plan": null}: the newest
//        schema is in force; 503
//   POST /v1/migration    Authorization: Bearer {token}
//        {"order": "start" | "pause" | "resume" | "verify" | "cutover" | "rollback" | "finish",
//        "who": "alice"}
//        200: it is carried out, and the answer is that of GET; 202 of verify: it runs, as
//        "comparison" says; 401; 400; 409 {"error"}: not now, and what to do instead; 503
//        {"error"}: the store cannot do it (what room it needs), or the bridge ends
//        {"order": "rehearse", "who": "alice"}
//        200 {"folder", "store_bytes"}: a copy of the store as it is now, to be migrated there and
//        removed; takes no room by itself; 409: there is one; 503: too little room
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "bridge/http_answer.h"
#include "bridge/http_erase.h"
#include "bridge/runner.h"
#include "storage/store.h"

namespace latchkey::bridge {

inline constexpr size_t kMigrationPostBytesMax = 1024;

// A copy of the store for a rehearsal.
struct RehearsalCopy {
  std::string folder;
  uint64_t store_bytes = 0;
};

// Where orders for a migration are given. From any thread.
struct MigrationOrders {
  std::string token;  // secret
  // nullopt: the bridge ends, or is stuck.
  std::function<std::optional<MigrationAnswer>(storage::MigrationOrder order, std::string who)>
      give;
  // Errors REASON_NOT_ALLOWED: there is one; REASON_STORE_UNAVAILABLE.
  std::function<Result<RehearsalCopy>(const std::string& who)> rehearse;
};

HttpAnswer MigrationPage(const Status& status, Timestamp now);
HttpAnswer MigrationPlanPage(const storage::Store& store);
// `status` is asked again when the order was carried out.
HttpAnswer OrderMigration(const MigrationOrders& orders, const AdminPost& post,
                          const std::function<Status()>& status, Timestamp now);

}  // namespace latchkey::bridge
