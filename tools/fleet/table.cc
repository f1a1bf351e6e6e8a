// Lines and cells. No recorder quotes.
#include "tools/fleet/table.h"

#include <charconv>

namespace latchkey::fleet {
namespace {

void Split(std::string_view line, char separator, std::vector<std::string_view>& out) {
  out.clear();
  for (;;) {
    const size_t end = line.find(separator);
    out.push_back(line.substr(0, end));
    if (end == std::string_view::npos) {
      return;
    }
    line.remove_prefix(end + 1);
  }
}

// "Velocity [km/h]" -> "Velocity"
std::string_view WithoutUnit(std::string_view name) {
  return Trim(name.substr(0, name.find('[')));
}

}  // namespace

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

std::optional<double> ParseNumber(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

Table::Table(std::string_view bytes, char separator) : rest_(bytes), separator_(separator) {
  Split(NextLine(), separator_, header_);
  for (std::string_view& name : header_) {
    name = WithoutUnit(name);
  }
}

std::optional<size_t> Table::Column(std::string_view name) const {
  for (size_t i = 0; i < header_.size(); ++i) {
    if (header_[i] == name) {
      return i;
    }
  }
  return std::nullopt;
}

std::string_view Table::NextLine() {
  const size_t end = rest_.find('\n');
  std::string_view line = rest_.substr(0, end);
  rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
  if (line.ends_with('\r')) {
    line.remove_suffix(1);
  }
  return line;
}

bool Table::Next() {
  while (!rest_.empty()) {
    const std::string_view line = NextLine();
    if (!Trim(line).empty()) {
      Split(line, separator_, cells_);
      return true;
    }
  }
  return false;
}

std::optional<std::string_view> Table::Cell(std::optional<size_t> column) const {
  if (!column || *column >= cells_.size()) {
    return std::nullopt;
  }
  return Trim(cells_[*column]);
}

}  // namespace latchkey::fleet
