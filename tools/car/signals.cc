// Signals by reflection over latchkey.v1.StateGroup.
#include "tools/car/signals.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "proto/state.h"

namespace latchkey::car {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

const FieldDescriptor* GroupField(Group group) {
  const FieldDescriptor* field =
      v1::StateGroup::descriptor()->FindFieldByName(std::string(ToText(group)));
  LK_ASSERT(field != nullptr);
  return field;
}

// The field of a typed signal; nullptr: the schema has none.
const FieldDescriptor* SignalField(Group group, std::string_view name) {
  const FieldDescriptor* field =
      GroupField(group)->message_type()->FindFieldByName(std::string(name));
  return field == nullptr || field->is_repeated() ? nullptr : field;
}

bool IsText(const FieldDescriptor* signal) {
  return signal->message_type()->FindFieldByName("value")->cpp_type() ==
         FieldDescriptor::CPPTYPE_STRING;
}

void Write(Message& signal, const SignalValue& value) {
  const FieldDescriptor* field = signal.GetDescriptor()->FindFieldByName("value");
  const Reflection* reflection = signal.GetReflection();
  const FieldDescriptor::CppType type = field->cpp_type();
  if (type == FieldDescriptor::CPPTYPE_STRING) {
    reflection->SetString(&signal, field, std::get<std::string>(value));
    return;
  }
  const double number = std::get<double>(value);
  if (type == FieldDescriptor::CPPTYPE_BOOL) {
    reflection->SetBool(&signal, field, number != 0.0);
  } else if (type == FieldDescriptor::CPPTYPE_INT64) {
    reflection->SetInt64(&signal, field, std::llround(number));
  } else if (type == FieldDescriptor::CPPTYPE_FLOAT) {
    reflection->SetFloat(&signal, field, static_cast<float>(number));
  } else {
    reflection->SetDouble(&signal, field, number);
  }
}

struct SignalName {
  Group group;
  std::string_view field;
};

std::optional<SignalName> Split(std::string_view signal) {
  const size_t dot = signal.find('.');
  const auto group = ParseGroup(signal.substr(0, dot));
  if (dot == std::string_view::npos || !group) {
    return std::nullopt;
  }
  return SignalName{*group, signal.substr(dot + 1)};
}

}  // namespace

Verdict SignalBoard::Set(std::string_view signal, const SignalValue& value, Timestamp observed_at) {
  const auto name = Split(signal);
  const FieldDescriptor* field = name ? SignalField(name->group, name->field) : nullptr;
  const bool is_text = std::holds_alternative<std::string>(value);
  if (field == nullptr || IsText(field) != is_text || observed_at.ms <= 0) {
    return Verdict::Refuse(v1::REASON_IMPOSSIBLE_VALUE);
  }
  const bool possible = is_text ? std::get<std::string>(value).size() <= kSignalTextBytesMax
                                : PlausibleValue(signal, std::get<double>(value));
  if (!possible) {
    return Verdict::Refuse(v1::REASON_IMPOSSIBLE_VALUE);
  }
  GroupBoard& board = groups_[static_cast<size_t>(name->group)];
  const auto held = board.signals.find(name->field);
  if (held == board.signals.end()) {
    board.signals.emplace(std::string(name->field), Signal{value, observed_at});
    board.changed = true;
  } else if (held->second.observed_at > observed_at) {
    return Verdict::Refuse(v1::REASON_OLDER_VERSION);
  } else {
    board.changed |= held->second.value != value || board.said_void;
    held->second = {value, observed_at};
  }
  board.observed = true;
  return Verdict::Allow();
}

const SignalBoard::Signal* SignalBoard::Held(std::string_view signal) const {
  const auto name = Split(signal);
  if (!name) {
    return nullptr;
  }
  const GroupBoard& board = groups_[static_cast<size_t>(name->group)];
  const auto held = board.signals.find(name->field);
  return held == board.signals.end() ? nullptr : &held->second;
}

std::optional<SignalValue> SignalBoard::Find(std::string_view signal) const {
  const Signal* held = Held(signal);
  return held == nullptr ? std::nullopt : std::optional(held->value);
}

std::optional<Timestamp> SignalBoard::ObservedAt(std::string_view signal) const {
  const Signal* held = Held(signal);
  return held == nullptr ? std::nullopt : std::optional(held->observed_at);
}

void SignalBoard::SetApps(std::map<std::string, App> apps, Timestamp observed_at) {
  apps_ = std::move(apps);
  apps_observed_at_ = observed_at;
  GroupBoard& board = groups_[static_cast<size_t>(Group::kApps)];
  board.changed = true;
  board.observed = true;
}

void SignalBoard::SetSource(Group group, std::string_view source) {
  GroupBoard& board = groups_[static_cast<size_t>(group)];
  source = source.substr(0, kSourceBytesMax);
  board.changed |= board.source != source;
  board.source = std::string(source);
}

void SignalBoard::Reobserve(Timestamp now) {
  for (GroupBoard& board : groups_) {
    for (auto& [name, signal] : board.signals) {
      signal.observed_at = std::max(signal.observed_at, now);
      board.observed = true;
      board.changed |= board.said_void;
    }
  }
  if (apps_observed_at_.ms > 0) {
    apps_observed_at_ = std::max(apps_observed_at_, now);
    GroupBoard& board = groups_[static_cast<size_t>(Group::kApps)];
    board.observed = true;
    board.changed |= board.said_void;
  }
}

void SignalBoard::NotAfter(Timestamp now) {
  for (GroupBoard& board : groups_) {
    for (auto& [name, signal] : board.signals) {
      board.said_void |= signal.observed_at > now;
      signal.observed_at = std::min(signal.observed_at, now);
    }
  }
  groups_[static_cast<size_t>(Group::kApps)].said_void |= apps_observed_at_ > now;
  apps_observed_at_ = std::min(apps_observed_at_, now);
  for (auto& [app_id, app] : apps_) {
    app.observed_at = std::min(app.observed_at, now);
  }
}

std::optional<v1::StateGroup> SignalBoard::Build(Group group, uint64_t sequence) {
  GroupBoard& board = groups_[static_cast<size_t>(group)];
  board.changed = false;
  board.observed = false;
  board.said_void = false;
  Timestamp newest = group == Group::kApps ? apps_observed_at_ : Timestamp{};
  for (const auto& [name, signal] : board.signals) {
    newest = std::max(newest, signal.observed_at);
  }
  if (newest.ms <= 0) {
    return std::nullopt;
  }
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(newest.ms));
  state.set_sequence(sequence);
  state.set_source(board.source);
  Message& body = *state.GetReflection()->MutableMessage(&state, GroupField(group));
  for (const auto& [name, signal] : board.signals) {
    Message& out = *body.GetReflection()->MutableMessage(&body, SignalField(group, name));
    Write(out, signal.value);
    out.GetReflection()->SetUInt64(&out, out.GetDescriptor()->FindFieldByName("age_ms"),
                                   static_cast<uint64_t>((newest - signal.observed_at).count()));
  }
  if (group == Group::kApps) {
    for (const auto& [app_id, app] : apps_) {
      v1::App& out = *state.mutable_apps()->add_installed();
      out.set_app_id(app_id);
      out.set_version(app.version);
      out.set_age_ms(
          static_cast<uint64_t>(std::max<int64_t>(0, (newest - app.observed_at).count())));
    }
  }
  return state;
}

}  // namespace latchkey::car
