// What HTTP serves of history: the samples of one signal of a car over some time, or which signals
// there are. The last minute may not be there yet (core/history.h).
//
//   GET /v1/history?fleet=F&car=C     {"now_ms", "fleet", "car", "bytes", "unreadable", "signals":
//       [{"name", "samples", "first_ms", "last_ms", "thinned_ms"}]}: bytes are those of all its
//       chunks, in the store before compression
//   GET /v1/history?fleet=F&car=C&signal=S[&since=MS][&until=MS][&limit=N]
//       {"now_ms", "fleet", "car", "signal", "unit", "thinned_ms", "again_ms", "unreadable",
//       "truncated", "next_ms", "samples": [{"observed_at_ms", "received_at_ms", "age_ms",
//       "value"}]}
//       in order of observation, since <= observed_at_ms < until; value is a number (yes 1, no 0)
//       or a text. thinned_ms: to stay within the bound, of some of this time at most one message
//       in so many milliseconds was sampled; 0: all were. again_ms: a value that does not change is
//       sampled again after this while the car speaks. truncated: there are more than `limit`;
//       they begin at since=next_ms. unit is "" when the car has none of the signal now.
//       unreadable: chunks that are damaged.
#pragma once

#include <cstddef>

#include "bridge/http_answer.h"
#include "proto/time.h"
#include "storage/store.h"

namespace latchkey::bridge {

inline constexpr size_t kHistorySamplesDefault = 10000;
inline constexpr size_t kHistorySamplesMax = 100000;

// 400 when a parameter is not what it should be, 404 when the car has no history of the signal, 503
// when the store cannot be read.
HttpAnswer HistoryPage(const storage::Reader& reader, const Parameter& parameter, Timestamp now);

}  // namespace latchkey::bridge
