// What a tap shows of a fleet: cars by a pattern of their names, and cars of which something is
// true, by what the tap has heard of each.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "proto/result.h"
#include "proto/state.h"
#include "proto/types.h"

namespace latchkey::cli {

// "energy.soc<20": a signal compared with a number, with yes or no, or with a text.
struct Condition {
  enum class Is : uint8_t { kLess, kAtMost, kEqual, kNotEqual, kAtLeast, kMore };
  std::string signal;  // as SignalRow.name
  Is is = Is::kEqual;
  std::variant<double, bool, std::string> value;
};

// Operators < <= = == != >= >. Errors REASON_MALFORMED: there is no operator, a group has no such
// signal (the text names those it has), an order of yes and no or of texts.
Result<Condition> ParseCondition(std::string_view text);

// False also when the value is of another kind than the condition's.
bool Holds(const Condition& condition, const SignalRow& row);

// '*' stands for any characters, '?' for one.
bool MatchesGlob(std::string_view glob, std::string_view name);

// Remembers of each car what its conditions are about. One thread.
class CarConditions {
 public:
  explicit CarConditions(std::vector<Condition> conditions) : conditions_(std::move(conditions)) {}

  // All signals of a group of a car, which replace what it said before.
  void Take(const std::string& car, Group group, const std::vector<SignalRow>& rows);
  // Do all conditions hold, by the last that was heard of each signal? A signal that was not heard
  // fulfils none.
  bool Hold(const std::string& car) const;

  bool empty() const { return conditions_.empty(); }

  // Groups whose signals are asked for; all, where one is no group's own.
  std::set<Group> groups() const;

 private:
  std::vector<Condition> conditions_;
  std::map<std::string, std::map<std::pair<size_t, Group>, bool>> held_;  // by car
};

}  // namespace latchkey::cli
