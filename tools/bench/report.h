// What the cases found: figures with their spread, ratios to a baseline of the same round, targets
// and whether they are met, and notes; as text for people and as JSON for machines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/figures.h"

namespace latchkey::bench {

enum class Goal : uint8_t { kAtLeast, kAtMost };

// What a median has to be.
struct Target {
  Goal goal = Goal::kAtLeast;
  double value = 0;

  bool MetBy(double median) const {
    return goal == Goal::kAtLeast ? median >= value : median <= value;
  }
};

// kInvalid: what the case measured says nothing of its subjects, for example because the generator
// was the bottleneck; its targets are then neither met nor missed.
enum class Validity : uint8_t { kInformation, kInvalid };

// Cases come in the order in which something is first said of them. One thread.
class Report {
 public:
  // `subject` is what was measured ("latchkey, 1000 pairings"), `name` of what ("messages per CPU
  // second"), `unit` in what ("1/s").
  void Figure(std::string_view case_name, std::string_view subject, std::string_view name,
              std::string_view unit, const Spread& spread, std::optional<Target> target = {});
  // The median of what `subject` had by what `baseline` had, round by round.
  void Ratio(std::string_view case_name, std::string_view name, std::string_view subject,
             std::string_view baseline, const std::vector<double>& per_round,
             std::optional<Target> target = {});
  void Note(std::string_view case_name, std::string_view text, Validity validity);
  // A line of what all was measured on.
  void Machine(std::string_view key, std::string_view value);

  std::string text() const;
  // One object: {"machine": {..}, "cases": [{"name", "valid", "figures": [..], "ratios": [..],
  // "notes": [..]}], "missed": [..]}.
  std::string json() const;
  // Each target that a valid case has missed, in words.
  std::vector<std::string> missed() const;

 private:
  // A ratio has a baseline and no unit.
  struct Row {
    std::string subject;
    std::string baseline;
    std::string name;
    std::string unit;
    Spread spread;
    std::optional<Target> target;
  };

  struct Remark {
    std::string text;
    Validity validity = Validity::kInformation;
  };

  struct Case {
    std::string name;
    std::vector<Row> figures;
    std::vector<Row> ratios;
    std::vector<Remark> remarks;
    bool valid() const;
  };

  Case& Of(std::string_view name);
  static std::string Missed(const Case& about, const Row& row);

  std::vector<std::pair<std::string, std::string>> machine_;
  std::vector<Case> cases_;
};

// Five digits at most, thousands apart: "57 500", "0.9512", "1.18".
std::string NumberText(double value);

}  // namespace latchkey::bench
