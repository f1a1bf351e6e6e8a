// A QR code for a terminal.
#pragma once

#include <string>
#include <string_view>

#include "proto/result.h"

namespace latchkey::cli {

// Lines of half-block characters (UTF-8), two rows of modules a line, dark on light with the quiet
// zone of four modules that scanners need. Error REASON_TOO_LARGE: no QR code holds the text.
Result<std::string> QrCode(std::string_view text);

// The same as an SVG picture, dark on white, for paper and web pages; `title` is read aloud by
// those who cannot see it. Error as above.
Result<std::string> QrSvg(std::string_view text, std::string_view title);

// A link for people: on a terminal its QR code, then in any case the text after `title`, so that it
// can be copied and grepped: "invitation: latchkey://...".
void SayLink(std::string_view title, const std::string& link);

}  // namespace latchkey::cli
