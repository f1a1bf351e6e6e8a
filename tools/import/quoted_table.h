// Comma-separated text with quotes (RFC 4180), as exports of web services write it. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace latchkey::legacy {

inline constexpr size_t kColumnsMax = 1000;

class QuotedTable {
 public:
  // Cuts the header line off `bytes`, which outlive this. A byte order mark is left out.
  explicit QuotedTable(std::string_view bytes);

  const std::vector<std::string>& header() const { return header_; }

  // Of several columns of one name the first; nullopt: none.
  std::optional<size_t> Column(std::string_view name) const;

  // Next row that is not empty; false at the end.
  bool Next();

  const std::vector<std::string>& cells() const { return cells_; }

  // False: a quote of the last row does not end, or it has more than kColumnsMax cells.
  bool sound() const { return sound_; }

 private:
  void ReadRow(std::vector<std::string>& cells);

  std::string_view rest_;
  std::vector<std::string> header_;
  std::vector<std::string> cells_;
  bool sound_ = true;
};

}  // namespace latchkey::legacy
