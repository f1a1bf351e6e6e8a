// Separated text as its recorder wrote it: one header line, rows, cells by column name.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace latchkey::fleet {

// Views point into the text read.
class Table {
 public:
  // Cuts the header line off `bytes`.
  Table(std::string_view bytes, char separator);

  // Column with this name; a unit in brackets (" [km/h]") and spaces around are not compared. Of
  // several the first. nullopt: none.
  std::optional<size_t> Column(std::string_view name) const;

  size_t columns() const { return header_.size(); }

  // Next row that is not empty; false at the end. Its cells stay until the next call.
  bool Next();

  const std::vector<std::string_view>& cells() const { return cells_; }

  // Cell of the row, trimmed; nullopt: the row is shorter, or there is no such column.
  std::optional<std::string_view> Cell(std::optional<size_t> column) const;

 private:
  std::string_view NextLine();

  std::string_view rest_;
  char separator_;
  std::vector<std::string_view> header_;
  std::vector<std::string_view> cells_;
};

std::string_view Trim(std::string_view text);
// nullopt: not wholly a decimal number.
std::optional<double> ParseNumber(std::string_view text);

}  // namespace latchkey::fleet
