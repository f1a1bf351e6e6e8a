// A curve over time as text for a terminal (pure): braille dots, an axis of values with their unit,
// an axis of times, and nothing drawn where nothing is known.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "proto/time.h"

namespace latchkey::cli {

struct PlotPoint {
  Timestamp at;
  double value = 0;
};

struct PlotOptions {
  Timestamp since;
  Timestamp until;  // after `since`
  // A value stands until the next point, at most this long: then nothing is known.
  Duration gap_after{0};
  std::string unit;                                 // empty: none
  std::function<std::string(Timestamp)> time_text;  // of one width
  size_t width = 72;                                // characters of the curve
  size_t height = 12;                               // lines of the curve
};

// Lines, each with its end. `points` in order of time; those outside of the times are left out.
// Empty: there is none.
std::string PlotText(const std::vector<PlotPoint>& points, const PlotOptions& options);

}  // namespace latchkey::cli
