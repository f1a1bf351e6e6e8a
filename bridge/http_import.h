// What HTTP takes of imports. Whoever posts proves by the token of admin_token.h that he may:
//
//   POST /v1/import    Authorization: Bearer {token}
//        {"states": [{"fleet": F, "car": C, "group": "energy", "state": base64url of
//        v1.StateGroup}]} at most kImportStatesMax of them, in order of their time; or, when all
//        are in,
//        {"end": {"source", "who", "taken", "changed", "unchanged", "refused"}}; and before the
//        first {"begin": {"source", "who", "records"}}: both are entries of the log
//        200 {"states": [{"word": "taken" | "held" | "older" | "refused", "why": W}],
//             "history_kept": N, "history_old": N}: all of it is on the disk; 401; 400; 413; 503:
//             it
//        could not be kept, or not in time: nothing is known, and the same can be posted again
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "bridge/core/step.h"
#include "bridge/http_answer.h"
#include "bridge/http_erase.h"

namespace latchkey::bridge {

inline constexpr size_t kImportPostBytesMax = size_t{8} << 20;

// Where imports are asked for. From any thread.
struct ImportDoor {
  std::string token;  // secret
  // What became of it; nullopt: the bridge ends, or is stuck.
  std::function<std::optional<ImportAnswer>(Import import)> run;
};

// `store_error`: why the store cannot write; empty: it can.
HttpAnswer TakeImportPost(const ImportDoor& door, const AdminPost& post,
                          const std::string& store_error);

}  // namespace latchkey::bridge
