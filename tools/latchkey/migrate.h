// What the subcommands of `latchkey migrate` share: the bridge as they ask it, following it until
// something is reached, and the rehearsal.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "proto/result.h"
#include "proto/time.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/folder.h"

namespace latchkey::cli {

inline constexpr int kMigrateFailed = 1;    // refused, failed, or the shapes differ
inline constexpr int kMigrateTimedOut = 3;  // it goes on; nobody waited any longer

// The bridge's door for migrations (bridge/http_migration.h).
class MigrationBridge {
 public:
  // Errors: no cell; admin.token cannot be read.
  static Result<MigrationBridge> Open(const Folder& folder);

  // GET /v1/migration. Error REASON_STORE_UNAVAILABLE: the bridge does not answer.
  Result<nlohmann::ordered_json> Status() const;
  Result<nlohmann::ordered_json> Plan() const;
  // Errors: REASON_NOT_ALLOWED with what to do instead; REASON_STORE_UNAVAILABLE.
  Result<nlohmann::ordered_json> Order(const std::string& order) const;

 private:
  MigrationBridge(int port, std::string token) : port_(port), token_(std::move(token)) {}

  int port_;
  std::string token_;
};

// "split-commands, schema 1 to 2: backfill"
std::string MigrationTitle(const nlohmann::ordered_json& status);
// The bar, rate and what is left while it sweeps or compares; else the figures of what was done.
std::string MigrationBar(const nlohmann::ordered_json& status);
// All that people want to know, over several lines, with what may be done next.
std::string MigrationText(const nlohmann::ordered_json& status);

// What following came to; nullopt: go on.
using Reached = std::function<std::optional<Result<void>>(const nlohmann::ordered_json& status)>;

struct Follow {
  Duration patience;   // in all
  bool show = false;   // a bar in place on a terminal
  bool lines = false;  // a line of JSON each second
};

// Looks at the bridge until `reached` says so; a bridge that restarts is waited for. The last
// status. Errors: those of `reached`; REASON_EXPIRED: not within the patience, or the bridge stays
// away.
Result<nlohmann::ordered_json> FollowMigration(const MigrationBridge& bridge, const Follow& follow,
                                               const Reached& reached);

// `latchkey migrate rehearse`: the whole on a copy of the live store, which is removed in the end.
void Rehearse(Context& context);

}  // namespace latchkey::cli
