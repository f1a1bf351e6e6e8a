// What HTTP gives of everything the store has of one car, or of one key, but for the log
// (http_log.h).
//
//   GET /v1/export?fleet=F&car=C   {"now_ms", "fleet", "car", "state": [{"group", "received_at_ms",
//       "observed_at_ms", "sequence", "source", "signals": [{"signal", "vss", "unit", "value",
//       "observed_at_ms"}]}], "ring", "presence", "commands", "blocks", "wakes", "history",
//       "sessions", "damaged"}; damaged: so many records could not be read. What was carried as a
//       message is that message in protobuf's JSON (numbers of 64 bits are texts there, bytes are
//       base64).
//   GET /v1/export?key=K           {"now_ms", "key_id", "rings": [{"fleet", "car", "version",
//       "key"}], "commands", "blocks", "damaged"}; looks at every ring of the cell
#pragma once

#include "bridge/http_answer.h"
#include "proto/time.h"
#include "proto/types.h"
#include "storage/store.h"

namespace latchkey::bridge {

// 503 when the store cannot be read, 404 when it has nothing.
HttpAnswer ExportCar(const storage::Reader& reader, const CarRef& ref, Timestamp now);
HttpAnswer ExportKey(const storage::Reader& reader, const KeyId& key, Timestamp now);

}  // namespace latchkey::bridge
