// State groups by reflection: each signal's name, VSS path and unit come from state.proto's
// options, its range from the table of state_ranges.cc, so a signal is added in two places and
// nowhere else.
#include "proto/state.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "proto/area.h"
#include "proto/state_ranges.h"
#include "proto/usual_state.h"
#include "proto/wire.h"

namespace latchkey {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kPathBytesMax = 128;
constexpr size_t kAppIdBytesMax = 128;
constexpr size_t kAppVersionBytesMax = 32;

// One typed signal of the schema.
struct SignalFacts {
  const FieldDescriptor* field;
  const FieldDescriptor* value;
  const FieldDescriptor* age;
  std::string name;
  std::string vss;
  std::string unit;
  const SignalRange* range;
};

// The typed signals of each group, by field number. Apps has none.
using SignalTable = std::array<std::vector<SignalFacts>, kGroupCount>;

// The member of StateGroup that holds each group.
using GroupFields = std::array<const FieldDescriptor*, kGroupCount>;

GroupFields ReadGroupFields() {
  GroupFields fields{};
  for (const Group group : kGroups) {
    fields[static_cast<size_t>(group)] =
        v1::StateGroup::descriptor()->FindFieldByName(std::string(ToText(group)));
  }
  return fields;
}

const FieldDescriptor* GroupField(Group group) {
  static const GroupFields fields = ReadGroupFields();
  return fields[static_cast<size_t>(group)];
}

SignalTable ReadSignalTable() {
  SignalTable table;
  for (const Group group : kGroups) {
    const FieldDescriptor* member = GroupField(group);
    LK_ASSERT(member != nullptr && member->message_type() != nullptr);
    for (int i = 0; i < member->message_type()->field_count(); ++i) {
      const FieldDescriptor* field = member->message_type()->field(i);
      if (field->is_repeated()) {
        continue;
      }
      LK_ASSERT(field->message_type() != nullptr);
      const std::string name = std::string(ToText(group)) + "." + field->name();
      SignalFacts facts{field,
                        field->message_type()->FindFieldByName("value"),
                        field->message_type()->FindFieldByName("age_ms"),
                        name,
                        field->options().GetExtension(v1::vss),
                        field->options().GetExtension(v1::unit),
                        FindRange(name)};
      LK_ASSERT(facts.value != nullptr && facts.age != nullptr);
      table[static_cast<size_t>(group)].push_back(std::move(facts));
    }
    std::sort(table[static_cast<size_t>(group)].begin(), table[static_cast<size_t>(group)].end(),
              [](const SignalFacts& a, const SignalFacts& b) {
                return a.field->number() < b.field->number();
              });
  }
  return table;
}

const std::vector<SignalFacts>& SignalsOfGroup(Group group) {
  static const SignalTable table = ReadSignalTable();
  return table[static_cast<size_t>(group)];
}

// Names and VSS paths of all signals with a field of their own, sorted.
std::vector<std::string_view> ReadOwnNames() {
  std::vector<std::string_view> names;
  for (const Group group : kGroups) {
    for (const SignalFacts& facts : SignalsOfGroup(group)) {
      names.insert(names.end(), {facts.name, facts.vss});
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Has the signal at `path` a field of its own? As an extra it would get past its group's permission
// (a position in group energy) and past its range.
bool HasOwnField(std::string_view path) {
  static const std::vector<std::string_view> names = ReadOwnNames();
  return std::binary_search(names.begin(), names.end(), path);
}

std::optional<Group> GroupOf(const v1::StateGroup& state) {
  const int number = static_cast<int>(state.group_case());
  for (const Group group : kGroups) {
    if (GroupField(group)->number() == number) {
      return group;
    }
  }
  return std::nullopt;
}

// The float a person would write: 87.1, not 87.0999984741211.
double Widen(float value) {
  std::array<char, 32> text{};
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value);
  double wide = static_cast<double>(value);
  std::from_chars(text.data(), written.ptr, wide);
  return wide;
}

using Value = std::variant<bool, double, int64_t, std::string>;

Value ReadValue(const Message& signal, const FieldDescriptor* field) {
  const Reflection* reflection = signal.GetReflection();
  const FieldDescriptor::CppType type = field->cpp_type();
  if (type == FieldDescriptor::CPPTYPE_FLOAT) {
    return Widen(reflection->GetFloat(signal, field));
  }
  if (type == FieldDescriptor::CPPTYPE_DOUBLE) {
    return reflection->GetDouble(signal, field);
  }
  if (type == FieldDescriptor::CPPTYPE_INT64) {
    return reflection->GetInt64(signal, field);
  }
  if (type == FieldDescriptor::CPPTYPE_BOOL) {
    return reflection->GetBool(signal, field);
  }
  LK_ASSERT(type == FieldDescriptor::CPPTYPE_STRING);
  return reflection->GetString(signal, field);
}

tl::unexpected<Error> Malformed(Group group, std::string_view what) {
  return Fail(v1::REASON_MALFORMED, "a message of state group " + std::string(ToText(group)) + " " +
                                        std::string(what) + ": refused");
}

tl::unexpected<Error> Impossible(std::string_view signal) {
  return Fail(v1::REASON_IMPOSSIBLE_VALUE,
              "signal " + std::string(signal) + " has a value it cannot have: refused");
}

Result<void> CheckSignal(const SignalFacts& facts, const Message& signal, uint64_t age_ms_max,
                         Group group) {
  const Reflection* reflection = signal.GetReflection();
  if (reflection->GetUInt64(signal, facts.age) > age_ms_max) {
    return Malformed(group, "has a signal older than 1970");
  }
  const FieldDescriptor::CppType type = facts.value->cpp_type();
  bool plausible = true;
  if (type == FieldDescriptor::CPPTYPE_FLOAT) {
    plausible =
        Plausible(facts.range, static_cast<double>(reflection->GetFloat(signal, facts.value)));
  } else if (type == FieldDescriptor::CPPTYPE_DOUBLE) {
    plausible = Plausible(facts.range, reflection->GetDouble(signal, facts.value));
  } else if (type == FieldDescriptor::CPPTYPE_INT64) {
    plausible =
        Plausible(facts.range, static_cast<double>(reflection->GetInt64(signal, facts.value)));
  } else if (type == FieldDescriptor::CPPTYPE_STRING &&
             reflection->GetString(signal, facts.value).size() > kSignalTextBytesMax) {
    return Malformed(group, "has a text above 256 bytes");
  }
  if (!plausible) {
    return Impossible(facts.name);
  }
  return {};
}

// A text of one's own choosing could be a position.
Result<void> CheckArea(const v1::StateGroup& state) {
  if (state.area().has_cell() && !AreaBoundsOf(state.area().cell().value())) {
    return Impossible("area.cell");
  }
  return {};
}

Result<void> CheckExtras(const v1::StateGroup& state, Group group) {
  if (state.extra_size() > kExtraSignalsMax) {
    return Malformed(group, "has more than 256 extra signals");
  }
  for (const v1::ExtraSignal& extra : state.extra()) {
    if (extra.path().empty() || extra.path().size() > kPathBytesMax || HasOwnField(extra.path()) ||
        extra.age_ms() > state.observed_at_ms() ||
        extra.value_case() == v1::ExtraSignal::VALUE_NOT_SET ||
        extra.text().size() > kSignalTextBytesMax) {
      return Malformed(group, "has an extra signal with a bad path, age or value");
    }
    if (extra.has_number() && !std::isfinite(extra.number())) {
      return Impossible(extra.path());
    }
  }
  return {};
}

Result<void> CheckApps(const v1::StateGroup& state) {
  if (state.apps().installed_size() > kAppsMax) {
    return Malformed(Group::kApps, "lists more than 64 apps");
  }
  for (const v1::App& app : state.apps().installed()) {
    if (app.app_id().empty() || app.app_id().size() > kAppIdBytesMax ||
        app.version().size() > kAppVersionBytesMax || app.age_ms() > state.observed_at_ms()) {
      return Malformed(Group::kApps, "has an app with a bad id, version or age");
    }
  }
  return {};
}

tl::unexpected<Error> TooLarge(Group group) {
  return Fail(v1::REASON_TOO_LARGE, "a message of state group " + std::string(ToText(group)) +
                                        " is larger than 16384 bytes: refused");
}

// All that ParseState asks of a message that parses.
Result<void> CheckParsed(const v1::StateGroup& state, Group group) {
  if (GroupOf(state) != group) {
    return Malformed(group, "carries another group");
  }
  if (state.observed_at_ms() == 0 || state.observed_at_ms() > kTimestampMsMax) {
    return Malformed(group, "has no possible time of observation");
  }
  if (state.source().size() > kSourceBytesMax) {
    return Malformed(group, "names a source above 128 bytes");
  }
  const Message& message = state.GetReflection()->GetMessage(state, GroupField(group));
  const Reflection* reflection = message.GetReflection();
  for (const SignalFacts& facts : SignalsOfGroup(group)) {
    if (reflection->HasField(message, facts.field)) {
      LK_CHECK(CheckSignal(facts, reflection->GetMessage(message, facts.field),
                           state.observed_at_ms(), group));
    }
  }
  if (group == Group::kApps) {
    LK_CHECK(CheckApps(state));
  }
  if (group == Group::kArea) {
    LK_CHECK(CheckArea(state));
  }
  return CheckExtras(state, group);
}

// An age never reaches before 1970, whoever made the message.
Timestamp ObservedAt(const v1::StateGroup& state, uint64_t age_ms) {
  const uint64_t newest = std::min(state.observed_at_ms(), kTimestampMsMax);
  return Timestamp{static_cast<int64_t>(newest - std::min(newest, age_ms))};
}

Value ExtraValue(const v1::ExtraSignal& extra) {
  if (extra.has_number()) {
    return extra.number();
  }
  if (extra.has_flag()) {
    return extra.flag();
  }
  return extra.text();
}

std::string NumberText(double value) {
  const double size = std::abs(value);
  const bool fixed = size == 0.0 || (size >= 1e-6 && size < 1e15);
  std::array<char, 64> text{};
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value,
                                     fixed ? std::chars_format::fixed : std::chars_format::general);
  return {text.data(), written.ptr};
}

}  // namespace

bool HidesPlace(Group group, const v1::StateGroup& state) {
  return (group == Group::kLocation || group == Group::kArea) &&
         state.location().ByteSizeLong() == 0 && state.area().ByteSizeLong() == 0 &&
         state.extra_size() == 0;
}

StateVersion VersionOf(const v1::StateGroup& state) {
  return {static_cast<int64_t>(std::min(state.observed_at_ms(), kTimestampMsMax)),
          state.sequence()};
}

bool Replaces(Group group, const v1::StateGroup& next, const HeldState& held) {
  const StateVersion version = VersionOf(next);
  const bool made_later = version.sequence > held.version.sequence;
  if (made_later && HidesPlace(group, next)) {
    return true;
  }
  if (version > held.version) {
    return version.sequence >= held.version.sequence || version.observed_at_ms > held.void_until_ms;
  }
  const bool was_ahead = held.version.observed_at_ms > held.received_at.ms;
  return was_ahead && made_later && version.observed_at_ms >= held.received_at.ms;
}

HeldState TakenAt(Timestamp now, const v1::StateGroup& next, const HeldState* before) {
  HeldState held{VersionOf(next), now, before == nullptr ? 0 : before->void_until_ms};
  if (before != nullptr && held.version < before->version) {
    held.void_until_ms = std::max(held.void_until_ms, before->version.observed_at_ms);
  }
  return held;
}

Result<v1::StateGroup> ParseState(std::string_view bytes, Group group) {
  if (bytes.size() > kStateBytesMax) {
    return TooLarge(group);
  }
  std::optional<v1::StateGroup> state = FromWire<v1::StateGroup>(bytes, kStateBytesMax);
  if (!state) {
    return Malformed(group, "does not parse");
  }
  LK_CHECK(CheckParsed(*state, group));
  return std::move(*state);
}

Result<void> CheckState(std::string_view bytes, Group group) {
  if (IsUsualState(bytes, group)) {
    return {};
  }
  LK_CHECK(ParseState(bytes, group));
  return {};
}

std::vector<SignalRow> SignalsOf(const v1::StateGroup& state) {
  std::vector<SignalRow> rows;
  const std::optional<Group> group = GroupOf(state);
  if (group) {
    const Message& message = state.GetReflection()->GetMessage(state, GroupField(*group));
    const Reflection* reflection = message.GetReflection();
    for (const SignalFacts& facts : SignalsOfGroup(*group)) {
      if (!reflection->HasField(message, facts.field)) {
        continue;
      }
      const Message& signal = reflection->GetMessage(message, facts.field);
      const uint64_t age_ms = signal.GetReflection()->GetUInt64(signal, facts.age);
      rows.push_back({facts.name, facts.vss, facts.unit, ReadValue(signal, facts.value),
                      ObservedAt(state, age_ms)});
    }
  }
  for (const v1::App& app : state.apps().installed()) {
    rows.push_back(
        {"apps." + app.app_id(), "", "", app.version(), ObservedAt(state, app.age_ms())});
  }
  for (const v1::ExtraSignal& extra : state.extra()) {
    rows.push_back(
        {extra.path(), extra.path(), "", ExtraValue(extra), ObservedAt(state, extra.age_ms())});
  }
  return rows;
}

std::vector<std::string> SignalNames(Group group) {
  std::vector<std::string> names;
  for (const SignalFacts& facts : SignalsOfGroup(group)) {
    names.push_back(facts.name);
  }
  return names;
}

std::string ValueText(const SignalRow& row) {
  if (const auto* flag = std::get_if<bool>(&row.value)) {
    return *flag ? "yes" : "no";
  }
  if (const auto* number = std::get_if<double>(&row.value)) {
    return NumberText(*number);
  }
  if (const auto* whole = std::get_if<int64_t>(&row.value)) {
    return std::to_string(*whole);
  }
  return std::get<std::string>(row.value);
}

Duration AgeOf(Timestamp observed_at, Timestamp now) {
  return std::max(Duration(0), now - observed_at);
}

std::string AgeText(Duration age) {
  const int64_t seconds = std::max<int64_t>(0, age.count()) / 1000;
  if (seconds < 60) {
    return std::to_string(seconds) + " s";
  }
  const int64_t minutes = seconds / 60;
  if (minutes < 60) {
    return std::to_string(minutes) + " min";
  }
  const int64_t hours = minutes / 60;
  if (hours < 24) {
    const std::string text = std::to_string(hours) + " h";
    return minutes % 60 == 0 ? text : text + " " + std::to_string(minutes % 60) + " min";
  }
  return std::to_string(hours / 24) + " d";
}

bool PlausibleValue(std::string_view signal, double value) {
  return Plausible(FindRange(signal), value);
}

}  // namespace latchkey
