// The bridge's log: logfmt lines on stderr.
#pragma once

#include <string>
#include <string_view>

#include "bridge/core/step.h"

namespace latchkey::bridge {

// `event key=value ...`; values with spaces, quotes or control characters are quoted and escaped.
std::string ToLine(const LogEvent& event);

// Sets the lowest level that is written: debug, info, warning or error. Once, before any Log.
void OpenLog(std::string_view level);
// Writes one line. From any thread.
void Log(const LogEvent& event);

}  // namespace latchkey::bridge
