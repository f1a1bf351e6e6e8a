// What HTTP serves of the log: a page of entries for people, a page of raw records for who keeps or
// verifies the chain. Bounded: at most kLogScannedMax records are looked at for one page; when
// fleet and car are asked for and the store knows which records name a car (schema 3), only those.
//
//   GET /v1/log?from=SEQ&last=N&limit=N&fleet=F&car=C&key=K&command=ID&event=E&since=MS&until=MS
//       {"now_ms", "head": "SEQ:HASH", "first", "next", "end", "damaged": [SEQ],
//       "entries": [{"sequence", "at_ms", "event", "fleet", "car", "key_id", "command_id",
//       "action", "state", "source", "reason", "ring_version", "who", "note"}]}; newest last. An
//       entry has only what it says; "state" of an entry "command" is ARRIVED when it only came;
//       {"sequence", "erased": true} when its body was erased. HASH is 64 of hex, "first" the
//       oldest sequence that is kept. `last`: the newest N that fit among the newest kLogScannedMax
//       records, instead of `from` and `limit`. The next page is from=next; "end": there is none
//       yet. since <= at_ms < until.
//   GET /v1/log/raw?from=SEQ&limit=N
//       {"head", "first", "next", "end", "damaged", "records": ["base64url of v1.LogRecord"]}
#pragma once

#include <cstddef>

#include "bridge/http_answer.h"
#include "proto/time.h"
#include "storage/store.h"

namespace latchkey::bridge {

inline constexpr size_t kLogScannedMax = 50000;
inline constexpr size_t kLogEntriesMax = 5000;
inline constexpr size_t kLogEntriesDefault = 1000;

using LogAnswer = HttpAnswer;

// 400 when a parameter is not what it should be, 503 when the store cannot be read.
LogAnswer LogPage(const storage::Reader& reader, const Parameter& parameter, Timestamp now);
LogAnswer RawLogPage(const storage::Reader& reader, const Parameter& parameter);

}  // namespace latchkey::bridge
