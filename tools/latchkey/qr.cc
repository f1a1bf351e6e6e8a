// The door to libqrencode.
#include "tools/latchkey/qr.h"

#include <memory>

#include <qrencode.h>
#include <unistd.h>

#include "tools/latchkey/show.h"

namespace latchkey::cli {
namespace {

constexpr int kQuiet = 4;  // modules, ISO/IEC 18004

}  // namespace

Result<std::string> QrCode(std::string_view text) {
  const std::unique_ptr<QRcode, void (*)(QRcode*)> code(
      QRcode_encodeData(static_cast<int>(text.size()),
                        reinterpret_cast<const unsigned char*>(text.data()), 0, QR_ECLEVEL_L),
      QRcode_free);
  if (!code) {
    return Fail(v1::REASON_TOO_LARGE,
                "a text of " + std::to_string(text.size()) + " bytes does not fit a QR code");
  }
  const auto dark = [&code](int x, int y) {
    const bool inside = x >= 0 && y >= 0 && x < code->width && y < code->width;
    return inside && (code->data[y * code->width + x] & 1) != 0;
  };
  // Drawn light on the terminal's dark: a light module is a filled half block. Colours are set, so
  // that a light terminal shows the same.
  std::string drawn;
  for (int y = -kQuiet; y < code->width + kQuiet; y += 2) {
    drawn += "\x1b[97;40m";
    for (int x = -kQuiet; x < code->width + kQuiet; ++x) {
      const bool upper = !dark(x, y);
      const bool lower = !dark(x, y + 1);
      drawn += upper && lower ? "█" : upper ? "▀" : lower ? "▄" : " ";
    }
    drawn += "\x1b[0m\n";
  }
  return drawn;
}

void SayLink(std::string_view title, const std::string& link) {
  if (::isatty(STDOUT_FILENO) == 1) {
    const Result<std::string> code = QrCode(link);
    Say(code ? *code : code.error().text);
  }
  Say(std::string(title) + ": " + link);
}

}  // namespace latchkey::cli
