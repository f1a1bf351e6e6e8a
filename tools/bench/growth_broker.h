// What pairings and a change of one cost a running broker: Latchkey's ring on its retained topic,
// beside the dynamic-security plugin's command on its $CONTROL topic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "proto/result.h"
#include "tools/bench/crowd.h"
#include "tools/bench/place.h"

namespace latchkey::bench {

// One kind of change, each the processor time of the whole broker.
struct ChangeCost {
  size_t changes = 0;
  double cpu_us = 0;         // of one change
  double plain_us = 0;       // of a message as long that changes nothing
  double wall_us = 0;        // from sending to the answer, one after the other
  double written_bytes = 0;  // to its disk, of one change

  double NetUs() const { return cpu_us - plain_us; }
};

struct BrokerCost {
  uint64_t private_bytes = 0;  // when it takes connections
  uint64_t calm_bytes = 0;     // with Latchkey: when each car's presence is retained
  double start_s = 0;          // until it took connections
  ChangeCost change;
};

// A broker with Latchkey's plugins and the ring file in `folder` (rings.log, of `pairings`): cars
// of the crowd publish new versions of their rings. Errors of BenchBroker::Start, and
// REASON_STORE_UNAVAILABLE: a client is not let in, or a change is refused.
Result<BrokerCost> MeasureRings(const Place& place, const Crowd& crowd,
                                const std::filesystem::path& folder, size_t pairings);

// A broker with dynamic-security and as many clients: an administrator makes a client with a role
// that is there, and takes it away, `changes` times in all. Errors as above.
Result<BrokerCost> MeasureDynamicSecurity(const Place& place, const Crowd& crowd, size_t clients,
                                          size_t changes);

}  // namespace latchkey::bench
