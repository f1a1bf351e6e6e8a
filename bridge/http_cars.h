// What HTTP serves of cars: who is online, and the newest state of each, every value with when it
// was observed, when the bridge received it, its age, and one word for how far that can be trusted
// (proto/freshness.h).
//
//   GET /v1/cars[?fleet=F][&limit=N]   {"now_ms", "broker_connected", "truncated", "cars":
//       [{"fleet", "car", "online", "since_ms", "mode", "freshness", "clock", "ring_version",
//       "certificate_not_after_ms", "groups": {"energy": {"observed_at_ms", "received_at_ms",
//       "age_ms", "freshness", "source"}}}]}
//       online and since_ms are null when no presence is known; mode is driving, charging, parked
//       or offline; freshness, live, recent, stale or never, is the best of any group, "never" when
//       there is none. clock is null, or {"word": "ahead", "by_ms", "since_ms", "text": "car's
//       clock is 3 min ahead"}: then what it observed in the future has its age counted from
//       received_at_ms and is recent at best. ring_version and certificate_not_after_ms (when the
//       car's certificate runs out) are null without a ring; source is absent when it is the car
//       itself.
//   GET /v1/cars/{fleet}/{car}         one car as above, each group with "signals": [{"name",
//       "vss", "unit", "value", "observed_at_ms", "received_at_ms", "age_ms", "freshness"}] and
//       "never": ["soh"], its signals that were never observed; "never": ["climate"] of the car are
//       the groups of which nothing was; 404 when nothing is known of it
#pragma once

#include <cstddef>
#include <memory>

#include "bridge/core/bridge.h"
#include "bridge/http_answer.h"
#include "proto/time.h"
#include "proto/types.h"
#include "storage/store.h"

namespace latchkey::bridge {

inline constexpr size_t kCarsDefault = 10000;
inline constexpr size_t kCarsMax = 200000;

// What the store does not say.
struct CarsNow {
  Timestamp now;
  bool broker_connected = false;
  std::shared_ptr<const WrongClocks> wrong_clocks;  // nullptr: none
};

// 400 when a parameter is not what it should be, 503 when the store cannot be read.
HttpAnswer CarsPage(const storage::Reader& reader, const Parameter& parameter, const CarsNow& at);
HttpAnswer CarPage(const storage::Reader& reader, const CarRef& ref, const CarsNow& at);

}  // namespace latchkey::bridge
