// See quoted_table.h.
#include "tools/import/quoted_table.h"

#include <algorithm>

namespace latchkey::legacy {

QuotedTable::QuotedTable(std::string_view bytes) : rest_(bytes) {
  if (rest_.substr(0, 3) == "\xEF\xBB\xBF") {
    rest_.remove_prefix(3);
  }
  ReadRow(header_);
}

std::optional<size_t> QuotedTable::Column(std::string_view name) const {
  const auto found = std::find(header_.begin(), header_.end(), name);
  return found == header_.end() ? std::nullopt
                                : std::optional(static_cast<size_t>(found - header_.begin()));
}

bool QuotedTable::Next() {
  while (!rest_.empty()) {
    ReadRow(cells_);
    if (cells_.size() > 1 || !cells_.front().empty() || !sound_) {
      return true;
    }
  }
  return false;
}

void QuotedTable::ReadRow(std::vector<std::string>& cells) {
  cells.assign(1, "");
  sound_ = true;
  bool quoted = false;
  size_t at = 0;
  for (; at < rest_.size(); ++at) {
    const char c = rest_[at];
    if (c == '"') {
      const bool doubled = quoted && at + 1 < rest_.size() && rest_[at + 1] == '"';
      if (doubled) {
        cells.back() += '"';
        ++at;
      } else {
        quoted = !quoted;
      }
    } else if (c == ',' && !quoted) {
      if (cells.size() == kColumnsMax) {
        sound_ = false;
      } else {
        cells.emplace_back();
      }
    } else if (c == '\n' && !quoted) {
      ++at;
      break;
    } else if (c != '\r' || quoted) {
      cells.back() += c;
    }
  }
  sound_ = sound_ && !quoted;
  rest_.remove_prefix(at);
}

}  // namespace latchkey::legacy
