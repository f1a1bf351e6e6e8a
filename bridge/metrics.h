// The bridge's numbers for Prometheus. No label ever names a car or a key.
#pragma once

#include <string>

#include "bridge/runner.h"

namespace latchkey::bridge {

// Prometheus text exposition format 0.0.4.
std::string MetricsText(const Status& status);

}  // namespace latchkey::bridge
