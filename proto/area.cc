// Cells of about 5 km: a geohash of 25 bits, whose longitude is coarser where the meridians meet.
#include "proto/area.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace latchkey {
namespace {

// The geohash alphabet: no a, i, l, o.
constexpr std::string_view kAlphabet = "0123456789bcdefghjkmnpqrstuvwxyz";
constexpr unsigned kBitsPerCharacter = 5;
constexpr unsigned kRowBits = 12;     // of latitude
constexpr unsigned kColumnBits = 13;  // of longitude
constexpr uint32_t kRows = 1U << kRowBits;
constexpr uint32_t kColumns = 1U << kColumnBits;
constexpr double kRowDegrees = 180.0 / kRows;
constexpr double kColumnDegrees = 360.0 / kColumns;

// How many columns of a row are one cell: the power of two that brings its width nearest to its
// height.
uint32_t ColumnsPerCell(uint32_t row) {
  const double latitude = (row + 0.5) * kRowDegrees - 90.0;
  const double narrowed = std::cos(latitude * std::numbers::pi / 180.0);
  const auto doublings = static_cast<unsigned>(std::lround(-std::log2(narrowed)));
  return 1U << std::min(doublings, kColumnBits);
}

// Longitude and latitude bits take turns, longitude first.
std::string NameOf(uint32_t row, uint32_t column) {
  std::string name;
  unsigned row_bit = kRowBits;
  unsigned column_bit = kColumnBits;
  for (size_t i = 0; i < kAreaCharacters; ++i) {
    uint32_t value = 0;
    for (unsigned bit = 0; bit < kBitsPerCharacter; ++bit) {
      const bool of_column = (i * kBitsPerCharacter + bit) % 2 == 0;
      const uint32_t next = of_column ? column >> --column_bit : row >> --row_bit;
      value = value << 1U | (next & 1U);
    }
    name += kAlphabet[value];
  }
  return name;
}

}  // namespace

std::string AreaOf(double latitude, double longitude) {
  if (!std::isfinite(latitude) || !std::isfinite(longitude) || std::abs(latitude) > 90.0 ||
      std::abs(longitude) > 180.0) {
    return {};
  }
  const auto row = std::min(static_cast<uint32_t>((latitude + 90.0) / kRowDegrees), kRows - 1);
  const auto column = static_cast<uint32_t>((longitude + 180.0) / kColumnDegrees) % kColumns;
  return NameOf(row, column - column % ColumnsPerCell(row));
}

std::optional<AreaBounds> AreaBoundsOf(std::string_view cell) {
  if (cell.size() != kAreaCharacters) {
    return std::nullopt;
  }
  uint32_t row = 0;
  uint32_t column = 0;
  bool of_column = true;
  for (const char character : cell) {
    const size_t value = kAlphabet.find(character);
    if (value == std::string_view::npos) {
      return std::nullopt;
    }
    for (unsigned bit = kBitsPerCharacter; bit-- > 0;) {
      uint32_t& side = of_column ? column : row;
      side = side << 1U | (static_cast<uint32_t>(value >> bit) & 1U);
      of_column = !of_column;
    }
  }
  const uint32_t wide = ColumnsPerCell(row);
  if (column % wide != 0) {
    return std::nullopt;
  }
  return AreaBounds{row * kRowDegrees - 90.0, column * kColumnDegrees - 180.0,
                    (row + 1) * kRowDegrees - 90.0, (column + wide) * kColumnDegrees - 180.0};
}

}  // namespace latchkey
