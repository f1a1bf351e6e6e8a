// What was measured: figures by key, each with what it says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace latchkey::footprint {

struct Figure {
  std::string key;   // "bridge.parked.memory_per_car"
  std::string unit;  // "bytes", "s", ""
  double value = 0;
};

// In the order in which they were taken.
class Report {
 public:
  void Put(const std::string& key, double value, const std::string& unit = "bytes") {
    figures_.push_back({key, unit, value});
  }

  const std::vector<Figure>& figures() const { return figures_; }

 private:
  std::vector<Figure> figures_;
};

inline double PerCar(uint64_t now, uint64_t before, size_t cars) {
  return (static_cast<double>(now) - static_cast<double>(before)) / static_cast<double>(cars);
}

}  // namespace latchkey::footprint
