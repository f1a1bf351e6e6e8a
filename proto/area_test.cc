// Cells: known geohashes, their size everywhere on the earth, poles and date line, and bad names.
#include "proto/area.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <set>

#include <doctest/doctest.h>

namespace latchkey {
namespace {

constexpr double kMetresPerDegree = 111'195.0;  // of a sphere of the earth's size

bool Holds(const AreaBounds& bounds, double latitude, double longitude) {
  return bounds.south <= latitude && latitude < bounds.north && bounds.west <= longitude &&
         longitude < bounds.east;
}

TEST_CASE("area: near the equator a cell is the geohash of five characters") {
  CHECK(AreaOf(0.01, 0.01) == "s0000");
  CHECK(AreaOf(-0.01, -0.01) == "7zzzz");
  CHECK(AreaOf(37.7749, -122.4194) == "9q8yy");  // San Francisco
  CHECK(AreaOf(-33.8688, 151.2093) == "r3gx2");  // Sydney
  CHECK(AreaOf(35.6762, 139.6503) == "xn76c");   // Tokyo
  CHECK(AreaOf(48.1374, 11.5755) == "u281y");    // Munich: here two of them are one
  CHECK_FALSE(AreaBoundsOf("u281z"));
}

TEST_CASE("area: every place is in the cell it names, and a cell is about 5 km wide and high") {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> latitudes(-85, 85);
  std::uniform_real_distribution<double> longitudes(-180, 180);
  for (int i = 0; i < 20000; ++i) {
    const double latitude = latitudes(random);
    const double longitude = longitudes(random);
    CAPTURE(latitude);
    CAPTURE(longitude);
    const std::string cell = AreaOf(latitude, longitude);
    const auto bounds = AreaBoundsOf(cell);
    REQUIRE(bounds);
    CHECK(Holds(*bounds, latitude, longitude));
    const double high = (bounds->north - bounds->south) * kMetresPerDegree;
    const double middle = (bounds->north + bounds->south) / 2 * std::numbers::pi / 180;
    const double wide = (bounds->east - bounds->west) * kMetresPerDegree * std::cos(middle);
    CHECK(high == doctest::Approx(4886).epsilon(0.01));
    CHECK(wide >= 3400);
    CHECK(wide <= 7000);
  }
}

TEST_CASE("area: a cell's own corner and middle are in it, its other corners are not") {
  for (const char* cell : {"s0000", "9q8yy", "7zzzz", "u281y"}) {
    const auto bounds = AreaBoundsOf(cell);
    CAPTURE(cell);
    REQUIRE(bounds);
    CHECK(AreaOf(bounds->south, bounds->west) == cell);
    CHECK(AreaOf((bounds->south + bounds->north) / 2, (bounds->west + bounds->east) / 2) == cell);
    CHECK(AreaOf(bounds->north, bounds->west) != cell);
    CHECK(AreaOf(bounds->south, bounds->east) != cell);
  }
}

TEST_CASE("area: at the poles all longitudes are few cells, and none is a point") {
  for (const double latitude : {90.0, 89.99, -90.0, -89.99}) {
    std::set<std::string> cells;
    for (int longitude = -180; longitude <= 180; ++longitude) {
      cells.insert(AreaOf(latitude, longitude));
    }
    CAPTURE(latitude);
    CHECK(cells.size() >= 1);
    CHECK(cells.size() <= 4);
    for (const std::string& cell : cells) {
      CHECK(AreaBoundsOf(cell));
    }
  }
}

TEST_CASE("area: the date line is an edge like any other, and 180 east is 180 west") {
  CHECK(AreaOf(-16.9, 180.0) == AreaOf(-16.9, -180.0));
  CHECK(AreaOf(-16.9, 179.999) != AreaOf(-16.9, -179.999));
  const auto west = AreaBoundsOf(AreaOf(-16.9, -179.999));
  const auto east = AreaBoundsOf(AreaOf(-16.9, 179.999));
  REQUIRE(west);
  REQUIRE(east);
  CHECK(west->west == -180.0);
  CHECK(east->east == 180.0);
}

TEST_CASE("area: what is no place has no cell, and what is no cell has no bounds") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinite = std::numeric_limits<double>::infinity();
  CHECK(AreaOf(nan, 0).empty());
  CHECK(AreaOf(0, infinite).empty());
  CHECK(AreaOf(90.1, 0).empty());
  CHECK(AreaOf(0, -180.1).empty());
  for (const char* cell : {"", "u33d", "u33d80", "u33da", "U33D8", "u33 8"}) {
    CAPTURE(cell);
    CHECK_FALSE(AreaBoundsOf(cell));
  }
  // East of the name-giving column of its cell: a name that nobody gives.
  const auto bounds = AreaBoundsOf(AreaOf(60.5, 25.0));
  REQUIRE(bounds);
  CHECK(bounds->east - bounds->west == doctest::Approx(2 * 360.0 / 8192));
}

}  // namespace
}  // namespace latchkey
