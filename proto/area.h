// Coarse places: the earth in named cells of about 5 km, for those who need to know the town and
// not the street.
//
// A cell's name is a geohash of five characters. Geohash cells are 4.9 km high everywhere and 4.9
// km wide at the equator only, so that in the north a name would tell more than it should: there,
// 2, 4, 8 ... neighbours of a row are one cell, which is named like its westernmost.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace latchkey {

inline constexpr size_t kAreaCharacters = 5;

// Name of the cell that holds a WGS 84 place, in degrees; 180 east is 180 west. Empty: no such
// place (not finite, latitude beyond 90, longitude beyond 180).
std::string AreaOf(double latitude, double longitude);

// A cell, in degrees: south <= latitude < north and west <= longitude < east.
struct AreaBounds {
  double south = 0;
  double west = 0;
  double north = 0;
  double east = 0;
};

// nullopt: AreaOf gives no cell this name.
std::optional<AreaBounds> AreaBoundsOf(std::string_view cell);

}  // namespace latchkey
