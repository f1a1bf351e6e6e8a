// A QR code for a terminal.
#pragma once

#include <string>
#include <string_view>

#include "proto/result.h"

namespace latchkey::cli {

// Lines of half-block characters (UTF-8), two rows of modules a line, dark on light with the quiet
// zone of four modules that scanners need. Error REASON_TOO_LARGE: no QR code holds the text.
Result<std::string> QrCode(std::string_view text);

}  // namespace latchkey::cli
