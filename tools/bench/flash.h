// One car and one phone that flash the lights again and again, each as itself on its own
// connection, with signatures made beforehand or on the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"
#include "tools/bench/crowd.h"
#include "tools/bench/entrance.h"

namespace latchkey::bench {

// kBeforehand: all bytes are ready and nobody verifies, so what is timed is the way. kOnTheWay: the
// phone signs the command, the car verifies it and signs two receipts, the phone verifies both.
enum class Signatures : uint8_t { kBeforehand, kOnTheWay };

struct FlashWish {
  const Entrance* entrance = nullptr;
  const BenchCar* car = nullptr;      // car 0 of the crowd
  const BenchPhone* phone = nullptr;  // phone 0
  std::string signed_ring;            // which pairs both; the car publishes it first
  size_t commands = 0;
  Duration rest;  // between two commands nothing happens, as between those of people
  Signatures signatures = Signatures::kBeforehand;
};

// Seconds from the phone's wish until it has the second receipt, for each command. The same bytes
// go over a broker of any dressing. Errors REASON_STORE_UNAVAILABLE: one of both does not get in,
// is refused something, or a receipt does not come within 10 s; those of Entrance.
Result<std::vector<double>> FlashSeconds(const FlashWish& wish);

// What the signatures on the way cost by themselves.
struct Cost {
  double path_s = 0;  // median of 3 signs and 3 verifies, as they follow each other on the way
};

// Taken `times` times, each after `rest` without work: caches and clock are then as on the way.
Cost CostOfSignatures(const BenchCar& car, const BenchPhone& phone, Duration rest, size_t times);

}  // namespace latchkey::bench
