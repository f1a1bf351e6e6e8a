// See report.h.
#include "tools/bench/report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <sstream>

#include <nlohmann/json.hpp>

namespace latchkey::bench {

namespace {

using nlohmann::ordered_json;

std::string Formatted(const char* format, double value) {
  std::array<char, 64> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), format, value));
  return text.data();
}

std::string SpreadText(const Spread& spread) {
  if (spread.count == 0) {
    return "not measured";
  }
  std::string text = NumberText(spread.median);
  if (spread.count > 1) {
    text += " (" + NumberText(spread.low) + ".." + NumberText(spread.high) + ")";
  }
  return text;
}

std::string GoalText(const Target& target) {
  return (target.goal == Goal::kAtLeast ? "at least " : "at most ") + NumberText(target.value);
}

bool Met(const Spread& spread, const Target& target) {
  return spread.count > 0 && target.MetBy(spread.median);
}

ordered_json ToJson(const Spread& spread) {
  return {{"median", spread.median}, {"low", spread.low},   {"high", spread.high},
          {"least", spread.least},   {"most", spread.most}, {"count", spread.count}};
}

void PutTarget(ordered_json& json, const Spread& spread, const std::optional<Target>& target,
               bool valid) {
  if (target) {
    json["target"] = {{"goal", target->goal == Goal::kAtLeast ? "at_least" : "at_most"},
                      {"value", target->value}};
    // What is not valid neither meets nor misses.
    json["target"]["met"] = valid ? ordered_json(Met(spread, *target)) : ordered_json(nullptr);
  }
}

// Characters, not bytes: names may have what is not ASCII.
size_t Width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

// Columns as wide as their widest cell; the last one is not filled up.
std::string TableText(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], Width(row[i]));
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line = "  ";
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i] + std::string(widths[i] - Width(row[i]) + 2, ' ');
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}  // namespace

std::string NumberText(double value) {
  const double size = std::abs(value);
  if (!std::isfinite(value)) {
    return "none";
  }
  if (size < 1000) {
    return Formatted(size != 0 && size < 0.001 ? "%.3g" : "%.4g", value);
  }
  std::string digits = Formatted("%.0f", value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, " ");
  }
  return digits;
}

bool Report::Case::valid() const {
  return std::none_of(remarks.begin(), remarks.end(),
                      [](const Remark& remark) { return remark.validity == Validity::kInvalid; });
}

Report::Case& Report::Of(std::string_view name) {
  const auto known = std::find_if(cases_.begin(), cases_.end(),
                                  [&](const Case& each) { return each.name == name; });
  if (known != cases_.end()) {
    return *known;
  }
  cases_.push_back({std::string(name), {}, {}, {}});
  return cases_.back();
}

void Report::Figure(std::string_view case_name, std::string_view subject, std::string_view name,
                    std::string_view unit, const Spread& spread, std::optional<Target> target) {
  Of(case_name).figures.push_back(
      {std::string(subject), "", std::string(name), std::string(unit), spread, target});
}

void Report::Ratio(std::string_view case_name, std::string_view name, std::string_view subject,
                   std::string_view baseline, const std::vector<double>& per_round,
                   std::optional<Target> target) {
  Of(case_name).ratios.push_back({std::string(subject), std::string(baseline), std::string(name),
                                  "", SpreadOf(per_round), target});
}

void Report::Note(std::string_view case_name, std::string_view text, Validity validity) {
  Of(case_name).remarks.push_back({std::string(text), validity});
}

void Report::Machine(std::string_view key, std::string_view value) {
  machine_.emplace_back(key, value);
}

std::string Report::Missed(const Case& about, const Row& row) {
  if (!row.target || !about.valid() || Met(row.spread, *row.target)) {
    return "";
  }
  return about.name + ": " + row.name + " of " + row.subject +
         (row.baseline.empty() ? "" : " by " + row.baseline) + " is " + SpreadText(row.spread) +
         (row.unit.empty() ? "" : " " + row.unit) + ", wanted " + GoalText(*row.target);
}

std::vector<std::string> Report::missed() const {
  std::vector<std::string> all;
  for (const Case& each : cases_) {
    for (const auto* rows : {&each.figures, &each.ratios}) {
      for (const Row& row : *rows) {
        if (std::string text = Missed(each, row); !text.empty()) {
          all.push_back(std::move(text));
        }
      }
    }
  }
  return all;
}

std::string Report::text() const {
  std::ostringstream out;
  for (const auto& [key, value] : machine_) {
    out << key << ": " << value << "\n";
  }
  for (const Case& each : cases_) {
    const auto target = [&](const Row& row) -> std::string {
      if (!row.target) {
        return "";
      }
      const char* judged = !each.valid()                  ? ": not judged"
                           : Met(row.spread, *row.target) ? ": met"
                                                          : ": MISSED";
      return GoalText(*row.target) + judged;
    };
    out << "\n" << each.name << (each.valid() ? "" : "  (NOT VALID, see notes)") << "\n";
    std::vector<std::vector<std::string>> table;
    for (const Row& row : each.figures) {
      table.push_back({row.subject, row.name, SpreadText(row.spread), row.unit, target(row)});
    }
    out << TableText(table);
    table.clear();
    for (const Row& row : each.ratios) {
      table.push_back(
          {row.subject + " / " + row.baseline, row.name, SpreadText(row.spread), target(row)});
    }
    out << (table.empty() ? "" : "  ratios, round by round\n") << TableText(table);
    for (const Remark& remark : each.remarks) {
      out << (remark.validity == Validity::kInvalid ? "  INVALID: " : "  note: ") << remark.text
          << "\n";
    }
  }
  return out.str();
}

std::string Report::json() const {
  ordered_json machine = ordered_json::object();
  for (const auto& [key, value] : machine_) {
    machine[key] = value;
  }
  ordered_json cases = ordered_json::array();
  for (const Case& each : cases_) {
    ordered_json figures = ordered_json::array();
    for (const Row& row : each.figures) {
      ordered_json one = {{"subject", row.subject}, {"name", row.name}, {"unit", row.unit}};
      one.update(ToJson(row.spread));
      PutTarget(one, row.spread, row.target, each.valid());
      figures.push_back(std::move(one));
    }
    ordered_json ratios = ordered_json::array();
    for (const Row& row : each.ratios) {
      ordered_json one = {{"subject", row.subject}, {"baseline", row.baseline}, {"name", row.name}};
      one.update(ToJson(row.spread));
      PutTarget(one, row.spread, row.target, each.valid());
      ratios.push_back(std::move(one));
    }
    ordered_json notes = ordered_json::array();
    for (const Remark& remark : each.remarks) {
      notes.push_back({{"text", remark.text}, {"invalid", remark.validity == Validity::kInvalid}});
    }
    cases.push_back({{"name", each.name},
                     {"valid", each.valid()},
                     {"figures", std::move(figures)},
                     {"ratios", std::move(ratios)},
                     {"notes", std::move(notes)}});
  }
  const ordered_json all = {{"machine", machine}, {"cases", cases}, {"missed", missed()}};
  return all.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace latchkey::bench
