// The door to libqrencode.
#include "tools/latchkey/qr.h"

#include <memory>

#include <qrencode.h>
#include <unistd.h>

#include "tools/latchkey/show.h"

namespace latchkey::cli {
namespace {

constexpr int kQuiet = 4;  // modules, ISO/IEC 18004

using Code = std::unique_ptr<QRcode, void (*)(QRcode*)>;

Result<Code> Encode(std::string_view text) {
  Code code(QRcode_encodeData(static_cast<int>(text.size()),
                              reinterpret_cast<const unsigned char*>(text.data()), 0, QR_ECLEVEL_L),
            QRcode_free);
  if (!code) {
    return Fail(v1::REASON_TOO_LARGE,
                "a text of " + std::to_string(text.size()) + " bytes does not fit a QR code");
  }
  return code;
}

}  // namespace

Result<std::string> QrCode(std::string_view text) {
  LK_TRY(const Code code, Encode(text));
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

Result<std::string> QrSvg(std::string_view text, std::string_view title) {
  LK_TRY(const Code code, Encode(text));
  const std::string size = std::to_string(code->width + 2 * kQuiet);
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + size + " " + size +
                    "\" shape-rendering=\"crispEdges\" role=\"img\"><title>" + std::string(title) +
                    "</title><rect width=\"" + size + "\" height=\"" + size +
                    "\" fill=\"#fff\"/><path fill=\"#000\" d=\"";
  for (int y = 0; y < code->width; ++y) {
    for (int x = 0; x < code->width; ++x) {
      if ((code->data[y * code->width + x] & 1) != 0) {
        svg += "M" + std::to_string(x + kQuiet) + " " + std::to_string(y + kQuiet) + "h1v1h-1z";
      }
    }
  }
  return svg + "\"/></svg>\n";
}

void SayLink(std::string_view title, const std::string& link) {
  if (::isatty(STDOUT_FILENO) == 1) {
    const Result<std::string> code = QrCode(link);
    Say(code ? *code : code.error().text);
  }
  Say(std::string(title) + ": " + link);
}

}  // namespace latchkey::cli
