// See plot.h.
#include "tools/latchkey/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>

namespace latchkey::cli {

namespace {

constexpr size_t kDotsAcross = 2;  // of a braille character
constexpr size_t kDotsDown = 4;
constexpr double kTicks = 4;

// Bits of U+2800: dots of the left column from above, then of the right one.
constexpr std::array<std::array<uint8_t, kDotsDown>, kDotsAcross> kDots = {
    {{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}};

// The values that the axis shows.
struct Scale {
  double low = 0;
  double high = 1;
  double step = 1;  // between ticks: 1, 2 or 5 times a power of ten
};

Scale ScaleOf(double low, double high) {
  if (high - low < std::max(1e-9, std::abs(high) * 1e-9)) {
    const double around = std::max(std::abs(high) * 0.01, 1e-3);
    low -= around;
    high += around;
  }
  const double raw = (high - low) / kTicks;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double part = raw / power;
  Scale scale;
  scale.step = power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
  scale.low = std::floor(low / scale.step) * scale.step;
  scale.high = std::ceil(high / scale.step) * scale.step;
  return scale;
}

std::string NumberText(double value, double step) {
  const int digits = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 9);
  std::array<char, 64> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%.*f", digits,
                                  std::abs(value) < step / 2 ? 0.0 : value));
  return text.data();
}

std::string Left(std::string text, size_t width) {
  text.insert(0, width - std::min(width, text.size()), ' ');
  return text;
}

class Canvas {
 public:
  Canvas(size_t width, size_t height) : width_(width), height_(height), cells_(width * height, 0) {}

  size_t across() const { return width_ * kDotsAcross; }

  size_t down() const { return height_ * kDotsDown; }

  void Dot(size_t x, size_t y) {
    cells_[y / kDotsDown * width_ + x / kDotsAcross] |= kDots[x % kDotsAcross][y % kDotsDown];
  }

  std::string Line(size_t row) const {
    std::string text;
    for (size_t column = 0; column < width_; ++column) {
      const uint8_t bits = cells_[row * width_ + column];
      if (bits == 0) {
        text += ' ';
      } else {
        text += '\xe2';
        text += static_cast<char>(0xa0 | bits >> 6);
        text += static_cast<char>(0x80 | (bits & 0x3f));
      }
    }
    return text.substr(0, text.find_last_not_of(' ') + 1);
  }

 private:
  size_t width_;
  size_t height_;
  std::vector<uint8_t> cells_;
};

class Plot {
 public:
  Plot(const PlotOptions& options, const Scale& scale)
      : options_(options), scale_(scale), canvas_(options.width, options.height) {}

  // A value stands until the next one, and is joined with it; after a gap it is not.
  void Draw(const std::vector<PlotPoint>& points) {
    for (size_t i = 0; i < points.size(); ++i) {
      const PlotPoint& point = points[i];
      const Timestamp known = point.at + options_.gap_after;
      const bool last = i + 1 == points.size();
      const bool gap = last || points[i + 1].at > known;
      const size_t y = Y(point.value);
      // The last value before a gap is known when it was seen, and not after.
      const size_t end = gap ? X(point.at) : X(points[i + 1].at);
      for (size_t x = X(point.at); x <= end; ++x) {
        canvas_.Dot(x, y);
      }
      if (!gap) {
        const size_t next = Y(points[i + 1].value);
        for (size_t between = std::min(y, next); between <= std::max(y, next); ++between) {
          canvas_.Dot(end, between);
        }
      }
    }
  }

  std::string Text() const {
    const size_t width = std::max(NumberText(scale_.low, scale_.step).size(),
                                  NumberText(scale_.high, scale_.step).size());
    std::vector<std::string> labels(options_.height);
    for (double tick = scale_.low; tick < scale_.high + scale_.step / 2; tick += scale_.step) {
      labels[Y(tick) / kDotsDown] = NumberText(tick, scale_.step);
    }
    std::string text = options_.unit.empty() ? "" : Left("", width + 1) + options_.unit + "\n";
    for (size_t row = 0; row < options_.height; ++row) {
      text += Left(labels[row], width) + (labels[row].empty() ? " \u2502" : " \u2524") +
              canvas_.Line(row) + "\n";
    }
    text += Left("", width) + " \u2514";
    for (size_t i = 0; i < options_.width; ++i) {
      text += "\u2500";
    }
    return text + "\n" + TimeAxis(width + 2) + "\n";
  }

 private:
  size_t X(Timestamp at) const {
    const double part = static_cast<double>((at - options_.since).count()) /
                        static_cast<double>((options_.until - options_.since).count());
    const auto most = static_cast<double>(canvas_.across() - 1);
    return static_cast<size_t>(std::clamp(std::floor(part * (most + 1)), 0.0, most));
  }

  size_t Y(double value) const {
    const double part = (scale_.high - value) / (scale_.high - scale_.low);
    const auto most = static_cast<double>(canvas_.down() - 1);
    return static_cast<size_t>(std::clamp(std::round(part * most), 0.0, most));
  }

  // Its begin, its middle if there is room, and its end.
  std::string TimeAxis(size_t indent) const {
    const std::string begin = options_.time_text(options_.since);
    const std::string end = options_.time_text(options_.until);
    const std::string middle =
        options_.time_text({options_.since.ms + (options_.until.ms - options_.since.ms) / 2});
    std::string line = Left("", indent) + begin;
    const size_t width = indent + std::max(options_.width, begin.size() + end.size() + 2);
    const size_t middle_at = indent + (width - indent - middle.size()) / 2;
    if (options_.width >= begin.size() + middle.size() + end.size() + 4) {
      line.append(middle_at - line.size(), ' ');
      line += middle;
    }
    line.append(width - end.size() - line.size(), ' ');
    return line + end;
  }

  const PlotOptions& options_;
  const Scale scale_;
  Canvas canvas_;
};

}  // namespace

std::string PlotText(const std::vector<PlotPoint>& points, const PlotOptions& options) {
  std::vector<PlotPoint> shown;
  for (const PlotPoint& point : points) {
    if (point.at >= options.since && point.at < options.until) {
      shown.push_back(point);
    }
  }
  if (shown.empty() || options.width == 0 || options.height == 0) {
    return "";
  }
  const auto [low, high] = std::minmax_element(
      shown.begin(), shown.end(),
      [](const PlotPoint& one, const PlotPoint& other) { return one.value < other.value; });
  Plot plot(options, ScaleOf(low->value, high->value));
  plot.Draw(shown);
  return plot.Text();
}

}  // namespace latchkey::cli
