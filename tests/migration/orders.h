// The bridge's door for migrations, as an administrator uses it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/load/world.h"

namespace latchkey::migration {

// How it stands, as the bridge says.
struct Standing {
  bool known = false;  // false: no answer
  uint32_t schema = 0;
  std::string phase;
  bool paused = false;
  std::string waits_for;
  uint64_t done = 0;  // rows
  uint64_t expected = 0;
  uint64_t compared = 0;  // records, by the last verification
  uint64_t differences = 0;
  int64_t verified_ms = 0;  // when that was
  bool comparing = false;   // now
  std::string text;         // all of it
};

// Nobody else gives orders.
class Orders {
 public:
  explicit Orders(load::World& world) : world_(world) {}

  Standing Now() const;
  // Gives an order, again while the bridge is not there, and expects it to be carried out: by its
  // answer, or when that was lost by how it stands. Surprise: it is refused.
  void Give(const std::string& order) const;
  // Gives it once.
  testing::HttpAnswer Post(const std::string& order) const;
  // Has it been carried out? Not of `verify`.
  static bool Carried(const std::string& order, const Standing& before, const Standing& now);
  // Waits until it has this phase and looks at it no more. Surprise: not in time.
  Standing Await(const std::string& phase, std::chrono::milliseconds patience) const;
  // Gives `verify` and waits for what comes of it, and gives it again when the bridge was killed
  // over it. Surprise: not in time, or not `phase` then.
  void Verify(const std::string& phase, std::chrono::milliseconds patience) const;

 private:
  load::World& world_;
};

}  // namespace latchkey::migration
