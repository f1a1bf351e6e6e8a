// What HTTP takes and shows of erasures. Whoever posts proves by the token of admin_token.h that he
// may:
//
//   POST /v1/erase     Authorization: Bearer {token}
//        {"fleet": F, "car": C, "who": "alice"} or {"key": K, "who": "alice"}
//        202 {"id": N}: the store has forgotten it, the log is being gone over; 401; 400; 503: the
//        broker is away, so that what it retains of the car could not be emptied
//   GET  /v1/erase?id=N   {"id", "done", "failed", "log_entries", "unreadable"}: log_entries of the
//        log lost their content; unreadable: so many records of the log are damaged; 404: not
//        known, or not any more
//   POST /v1/scrub     Authorization: Bearer {token}
//        200 {}: nothing that was erased is left in the files of the store; takes long
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "bridge/core/step.h"
#include "bridge/http_answer.h"
#include "bridge/runner.h"
#include "storage/store.h"

namespace latchkey::bridge {

inline constexpr size_t kErasePostBytesMax = 1024;

// Where erasures are asked for. From any thread.
struct EraseDoor {
  std::string token;  // secret
  // The id it got; nullopt: the bridge ends, or is stuck.
  std::function<std::optional<uint64_t>(std::variant<CarRef, KeyId> of, std::string who)> begin;
};

struct AdminPost {
  std::string authorization;
  std::string body;
};

HttpAnswer BeginErasure(const EraseDoor& door, const AdminPost& post, bool broker_connected);
HttpAnswer ErasurePage(const Parameter& parameter, const std::vector<ErasureProgress>& erasures);
HttpAnswer ScrubStore(const EraseDoor& door, const AdminPost& post, const storage::Store& store);

}  // namespace latchkey::bridge
