// See tap_filter.h.
#include "tools/latchkey/tap_filter.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <google/protobuf/descriptor.h>

namespace latchkey::cli {

namespace {

using Is = Condition::Is;

// Longer ones first.
constexpr std::array<std::pair<std::string_view, Is>, 7> kOperators = {{{"<=", Is::kAtMost},
                                                                        {">=", Is::kAtLeast},
                                                                        {"!=", Is::kNotEqual},
                                                                        {"==", Is::kEqual},
                                                                        {"<", Is::kLess},
                                                                        {">", Is::kMore},
                                                                        {"=", Is::kEqual}}};

std::string_view Trimmed(std::string_view text) {
  const size_t begin = std::min(text.find_first_not_of(' '), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

// The group that a typed signal's name begins with; nullopt: a signal by its VSS path, or an app.
std::optional<Group> GroupOfName(std::string_view signal) {
  const std::optional<Group> group = ParseGroup(signal.substr(0, signal.find('.')));
  return group == Group::kApps ? std::nullopt : group;
}

Result<void> CheckSignal(std::string_view signal) {
  if (signal.empty()) {
    return Fail(v1::REASON_MALFORMED, "a condition names no signal: write energy.soc<20");
  }
  const std::optional<Group> group = GroupOfName(signal);
  if (!group) {
    return {};
  }
  const auto* member = v1::StateGroup::descriptor()->FindFieldByName(std::string(ToText(*group)));
  const auto* fields = member->message_type();
  const size_t dot = signal.find('.');
  const std::string_view field = dot == std::string_view::npos ? "" : signal.substr(dot + 1);
  if (fields->FindFieldByName(std::string(field)) != nullptr) {
    return {};
  }
  std::string all;
  for (int i = 0; i < fields->field_count(); ++i) {
    all += (all.empty() ? "" : ", ") + fields->field(i)->name();
  }
  return Fail(v1::REASON_MALFORMED, "no signal \"" + std::string(signal) + "\"; group " +
                                        std::string(ToText(*group)) + " has " + all);
}

std::variant<double, bool, std::string> ParseValue(std::string_view text) {
  if (text == "yes" || text == "true") {
    return true;
  }
  if (text == "no" || text == "false") {
    return false;
  }
  double number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size()) {
    return number;
  }
  return std::string(text);
}

bool IsOrder(Is is) {
  return is != Is::kEqual && is != Is::kNotEqual;
}

bool Compare(Is is, double left, double right) {
  switch (is) {
    case Is::kLess:
      return left < right;
    case Is::kAtMost:
      return left <= right;
    case Is::kEqual:
      return left == right;
    case Is::kNotEqual:
      return left != right;
    case Is::kAtLeast:
      return left >= right;
    case Is::kMore:
      return left > right;
  }
  return false;
}

}  // namespace

Result<Condition> ParseCondition(std::string_view text) {
  const size_t at = text.find_first_of("<>=!");
  const auto* found = std::find_if(kOperators.begin(), kOperators.end(), [&](const auto& one) {
    return at != std::string_view::npos && text.substr(at, one.first.size()) == one.first;
  });
  if (found == kOperators.end()) {
    return Fail(v1::REASON_MALFORMED, "\"" + std::string(text) +
                                          "\" is no condition: write energy.soc<20, "
                                          "body.is_locked=no or link.radio=LTE");
  }
  Condition condition{std::string(Trimmed(text.substr(0, at))), found->second,
                      ParseValue(Trimmed(text.substr(at + found->first.size())))};
  LK_CHECK(CheckSignal(condition.signal));
  if (IsOrder(condition.is) && !std::holds_alternative<double>(condition.value)) {
    return Fail(v1::REASON_MALFORMED,
                "\"" + std::string(text) + "\": only numbers are less or more than another");
  }
  return condition;
}

bool Holds(const Condition& condition, const SignalRow& row) {
  if (const auto* wanted = std::get_if<double>(&condition.value)) {
    if (const auto* number = std::get_if<double>(&row.value)) {
      return Compare(condition.is, *number, *wanted);
    }
    const auto* whole = std::get_if<int64_t>(&row.value);
    return whole != nullptr && Compare(condition.is, static_cast<double>(*whole), *wanted);
  }
  const bool equal = condition.is == Is::kEqual;
  if (const auto* wanted = std::get_if<bool>(&condition.value)) {
    const auto* flag = std::get_if<bool>(&row.value);
    return flag != nullptr && (*flag == *wanted) == equal;
  }
  const auto* text = std::get_if<std::string>(&row.value);
  return text != nullptr && (*text == std::get<std::string>(condition.value)) == equal;
}

bool MatchesGlob(std::string_view glob, std::string_view name) {
  size_t at = 0;
  size_t star = std::string_view::npos;
  size_t after_star = 0;  // where the name goes on when the star takes one character more
  size_t in_glob = 0;
  while (at < name.size()) {
    if (in_glob < glob.size() && glob[in_glob] == '*') {
      star = in_glob++;
      after_star = at;
    } else if (in_glob < glob.size() && (glob[in_glob] == '?' || glob[in_glob] == name[at])) {
      ++in_glob;
      ++at;
    } else if (star != std::string_view::npos) {
      in_glob = star + 1;
      at = ++after_star;
    } else {
      return false;
    }
  }
  return glob.find_first_not_of('*', in_glob) == std::string_view::npos;
}

void CarConditions::Take(const std::string& car, Group group, const std::vector<SignalRow>& rows) {
  for (size_t i = 0; i < conditions_.size(); ++i) {
    const Condition& condition = conditions_[i];
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const SignalRow& one) {
      return one.name == condition.signal;
    });
    if (row != rows.end()) {
      held_[car][{i, group}] = Holds(condition, *row);
    } else if (const auto known = held_.find(car); known != held_.end()) {
      known->second.erase({i, group});  // a group is complete: what is missing is not known
    }
  }
}

bool CarConditions::Hold(const std::string& car) const {
  const auto known = held_.find(car);
  for (size_t i = 0; i < conditions_.size(); ++i) {
    const bool holds =
        known != held_.end() &&
        std::any_of(known->second.begin(), known->second.end(),
                    [i](const auto& one) { return one.first.first == i && one.second; });
    if (!holds) {
      return false;
    }
  }
  return true;
}

std::set<Group> CarConditions::groups() const {
  std::set<Group> groups;
  for (const Condition& condition : conditions_) {
    if (const std::optional<Group> group = GroupOfName(condition.signal)) {
      groups.insert(*group);
    } else if (condition.signal.substr(0, condition.signal.find('.')) == ToText(Group::kApps)) {
      groups.insert(Group::kApps);
    } else {
      groups.insert(kGroups.begin(), kGroups.end());
    }
  }
  return groups;
}

}  // namespace latchkey::cli
