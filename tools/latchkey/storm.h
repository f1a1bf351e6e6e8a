// Do cars come back after the broker or a network was gone, and is it a storm? From the bridge's
// /metrics: what the broker's plugin counts of sign-ins above its admit_rate, and how many cars
// that were online before are not back yet.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace latchkey::cli {

struct Storm {
  // Sign-ins of the last minute.
  int64_t cars_refused = 0;
  int64_t cars_entered = 0;
  int64_t phones_refused = 0;
  int64_t phones_entered = 0;
  // Cars: online, and those that were before the broker restarted and are not yet.
  int64_t back = 0;
  int64_t awaited = 0;

  // False: nobody was refused for the rate in the last minute.
  bool refuses() const { return cars_refused + phones_refused > 0; }
};

// `metrics`: the text of /metrics. nullopt: nobody is refused and nobody awaited.
std::optional<Storm> StormIn(std::string_view metrics);

// "reconnect storm: 312 sign-ins of cars refused for the rate in the last minute, 840 let in; 812
// of 2000 cars are back; who was refused comes again by itself".
std::string StormText(const Storm& storm);

}  // namespace latchkey::cli
