// The list of all cases, see cases.h.
#include "tools/bench/cases.h"

#include <algorithm>

namespace latchkey::bench {

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      {"throughput",
       "messages per second of broker CPU, bare to Latchkey, 1,000 to 1,000,000 pairings",
       RunThroughput},
      {"flash", "a command to a car and its receipts back: latency", RunFlash},
      {"ingest", "state messages a second that the bridge stores", RunIngest},
      {"held", "commands for cars that are away: HELD a second, and for each sync of the disk",
       RunHeld},
      {"growth", "what a pairing costs, and a change of one, 1,000 to 1,000,000", RunGrowth},
      {"storm", "all cars come back after the broker has crashed", RunStorm},
      {"car_day", "a recorded day of a car on the wire, and as an OVMS module's text", RunCarDay},
  };
  return cases;
}

const Case* FindCase(std::string_view name) {
  const auto found = std::find_if(Cases().begin(), Cases().end(),
                                  [&](const Case& each) { return each.name == name; });
  return found == Cases().end() ? nullptr : &*found;
}

}  // namespace latchkey::bench
