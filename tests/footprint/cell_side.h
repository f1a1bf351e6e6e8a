// A real Mosquitto with the plugins and a real latchkey-bridge, fed with what the cars say.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/footprint/cars.h"
#include "tests/footprint/report.h"
#include "tests/support/cell.h"

namespace latchkey::footprint {

enum class BridgeToo : uint8_t { kNo, kYes };

struct CellWish {
  size_t cars = 0;
  size_t connections = 0;  // cars at once, at the end
  size_t visitors = 0;     // cars that each connect once: presence
  BridgeToo bridge = BridgeToo::kYes;
};

// `cell` is made and not started. What the broker and the bridge have in memory for state, rings,
// presence and open connections. Fault: they did not take what they were told.
void MeasureCell(testing::Cell& cell, const Cars& cars, const CellWish& wish, Report& report);

// Lets this process and those it starts from here on have as many open files as may be.
size_t RaiseFileLimit();

}  // namespace latchkey::footprint
