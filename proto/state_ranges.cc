// The table of ranges.
#include "proto/state_ranges.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace latchkey {

namespace {

// What a signal can physically or by definition be. Wide on purpose: outside of it no reading is
// real.
constexpr auto kRanges = std::to_array<SignalRange>({
    {"body.window_open_max", 0, 100},
    {"energy.soc", 0, 100},
    {"energy.range", 0, 2000},
    {"energy.charge_limit", 0, 100},
    {"energy.time_to_full", 0, 100000},
    {"energy.voltage", 0, 1500},
    {"energy.current", -2000, 2000},
    {"energy.battery_temperature", -60, 90},
    {"energy.soh", 0, 100},
    {"location.latitude", -90, 90},
    {"location.longitude", -180, 180},
    {"location.altitude", -500, 9000},
    {"location.heading", 0, 360},
    {"climate.cabin_temperature", -60, 90},
    {"climate.outside_temperature", -60, 90},
    {"climate.target_temperature", -60, 90},
    {"climate.heating_power", -50, 50},
    {"climate.aircon_power", -50, 50},
    {"climate.humidity", 0, 100},
    {"drive.speed", 0, 400},
    {"drive.odometer", 0, 5e6},
    {"drive.gear", -1, 127},
    {"drive.throttle", 0, 100},
    {"drive.torque", -5000, 5000},
    {"drive.acceleration", -100, 100},
    {"service.tyre_front_left", 0, 1000},
    {"service.tyre_front_right", 0, 1000},
    {"service.tyre_rear_left", 0, 1000},
    {"service.tyre_rear_right", 0, 1000},
    {"service.low_voltage", 0, 60},
    {"service.warnings", 0, 10000},
    {"service.service_distance", -1e6, 1e6},
    {"link.signal", -200, 50},
    {"link.queue", 0, 1e9},
    {"link.values_refused", 0, 1e15},
});

bool IsCoordinate(std::string_view signal) {
  return signal == "location.latitude" || signal == "location.longitude";
}

}  // namespace

const SignalRange* FindRange(std::string_view signal) {
  const auto* found =
      std::find_if(kRanges.begin(), kRanges.end(),
                   [signal](const SignalRange& range) { return range.signal == signal; });
  return found == kRanges.end() ? nullptr : found;
}

bool Plausible(const SignalRange* range, double value) {
  if (!std::isfinite(value)) {
    return false;
  }
  if (range == nullptr) {
    return true;
  }
  if (value == 0.0 && IsCoordinate(range->signal)) {
    return false;
  }
  return value >= range->min && value <= range->max;
}

}  // namespace latchkey
