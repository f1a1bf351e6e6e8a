// Curves as text: where the dots are, what the axes say, and that gaps stay gaps.
#include "tools/latchkey/plot.h"

#include <doctest/doctest.h>

namespace latchkey::cli {

namespace {

PlotOptions Small() {
  PlotOptions options;
  options.since = {0};
  options.until = {80'000};
  options.gap_after = std::chrono::seconds(15);
  options.unit = "percent";
  options.time_text = [](Timestamp at) { return std::to_string(at.ms / 1000) + "s"; };
  options.width = 20;
  options.height = 5;
  return options;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

// Characters of braille in a text.
size_t Dots(const std::string& text) {
  size_t count = 0;
  for (size_t at = text.find('\xe2'); at != std::string::npos; at = text.find('\xe2', at + 1)) {
    const auto second = static_cast<unsigned char>(text[at + 1]);
    count += second >= 0xa0 && second <= 0xa3 ? 1 : 0;
  }
  return count;
}

}  // namespace

TEST_CASE("plot: the axes say the unit, the values and the times") {
  const std::vector<std::string> lines =
      Lines(PlotText({{{0}, 80}, {{10'000}, 85}, {{20'000}, 100}}, Small()));
  REQUIRE(lines.size() == 8);
  CHECK(lines[0] == "    percent");
  CHECK(lines[1].rfind("100 \u2524", 0) == 0);
  CHECK(lines[5].rfind(" 80 \u2524\u28c0", 0) == 0);
  CHECK(lines[6].rfind("    \u2514\u2500", 0) == 0);
  CHECK(lines[7] == "     0s      40s      80s");
}

TEST_CASE("plot: a value stands until the next one, and nothing is drawn in a gap") {
  const PlotOptions options = Small();
  // 20 characters for 80 s: one for 4 s.
  CHECK(Dots(PlotText({{{0}, 5}, {{12'000}, 5}}, options)) == 4);
  CHECK(Dots(PlotText({{{0}, 5}, {{40'000}, 5}}, options)) == 2);
  CHECK(Dots(PlotText({{{0}, 5}}, options)) == 1);
}

TEST_CASE("plot: what is outside of its times is left out, and of nothing nothing is drawn") {
  CHECK(PlotText({}, Small()).empty());
  CHECK(PlotText({{{-1}, 5}, {{80'000}, 5}}, Small()).empty());
}

TEST_CASE("plot: a value that never changes, huge and tiny ones have a scale") {
  for (const double value : {0.0, 5.0, -3e9, 1e-7, 48.1234567}) {
    const std::string text = PlotText({{{0}, value}, {{10'000}, value}}, Small());
    CHECK(Dots(text) == 3);
    CHECK(Lines(text).size() == 8);
  }
  CHECK(Dots(PlotText({{{0}, -1e12}, {{10'000}, 1e12}}, Small())) > 3);
}

}  // namespace latchkey::cli
