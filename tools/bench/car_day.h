// A day of a car: it stands, drives a recorded drive in the morning and again in the evening, and
// stands. A real `Car` lives it in virtual time, beside it the text topics of an OVMS module with
// the same sensors; what both say is counted. No network, no clock, no thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "proto/crypto.h"
#include "proto/result.h"
#include "proto/time.h"
#include "tools/bench/line_bytes.h"
#include "tools/bench/text_topics.h"
#include "tools/car/car.h"
#include "tools/fleet/drive.h"

namespace latchkey::bench {

struct DayPlan {
  const fleet::Drive* drive = nullptr;  // lives as long as the day
  Timestamp midnight{1782432000000};    // 2026-06-26
  std::vector<Duration> drives_at = {std::chrono::hours(7) + std::chrono::minutes(30),
                                     std::chrono::hours(17)};
  Duration length = std::chrono::hours(24);
  Duration sensors_every = std::chrono::seconds(60);  // those that a drive did not record
};

// By what the car was doing.
enum class DayPart : uint8_t { kParked, kDriving };
inline constexpr size_t kDayPartCount = 2;

struct DayBytes {
  std::array<LineBytes, kDayPartCount> parts;
  std::array<Duration, kDayPartCount> lasted{};

  LineBytes All() const;

  const LineBytes& of(DayPart part) const { return parts[static_cast<size_t>(part)]; }
};

// The keep-alive that a car asks for.
Duration CarKeepAlive();

// What a fleet's car is, made once for several days.
struct DayCar {
  CarRef ref;
  std::string certificate_der;
  PrivateKey key;
};

Result<DayCar> MakeDayCar(Timestamp now);

// How a car's words reach the line. The defaults are what `latchkey car run` does; all else is a
// what-if.
struct CarLine {
  Writer writer = Writer::kEachPacket;
  int qos_max = 1;
  Duration keep_alive = CarKeepAlive();
  Duration publish_interval = car::Limits{}.publish_interval_min;
};

// The reference car's day.
DayBytes LiveAsCar(const DayPlan& plan, const DayCar& car, const CarLine& line);

// The same day as text topics.
DayBytes LiveAsText(const DayPlan& plan, const TextOptions& options);

}  // namespace latchkey::bench
