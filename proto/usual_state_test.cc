// Which messages are recognised by their bytes alone, and that these are ones ParseState takes.
#include "proto/usual_state.h"

#include <string>

#include <doctest/doctest.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "proto/state.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using google::protobuf::FieldDescriptor;

v1::StateGroup At(Timestamp observed_at) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(observed_at.ms));
  state.set_sequence(300);
  state.set_source("replay:TripA01 (copy 2)");
  return state;
}

// A state of `group` in which every signal has a value.
v1::StateGroup Full(Group group) {
  v1::StateGroup state = At(testing::kNow);
  const auto* member = v1::StateGroup::descriptor()->FindFieldByName(std::string(ToText(group)));
  auto* message = state.GetReflection()->MutableMessage(&state, member);
  for (int i = 0; i < member->message_type()->field_count(); ++i) {
    const FieldDescriptor* field = member->message_type()->field(i);
    if (field->is_repeated()) {
      continue;
    }
    auto* signal = message->GetReflection()->MutableMessage(message, field);
    const auto* reflection = signal->GetReflection();
    const FieldDescriptor* value = field->message_type()->FindFieldByName("value");
    reflection->SetUInt64(signal, field->message_type()->FindFieldByName("age_ms"),
                          1000U * field->number());
    if (value->type() == FieldDescriptor::TYPE_FLOAT) {
      reflection->SetFloat(signal, value, 7.5F);
    } else if (value->type() == FieldDescriptor::TYPE_DOUBLE) {
      reflection->SetDouble(signal, value, 52.25);
    } else if (value->type() == FieldDescriptor::TYPE_BOOL) {
      reflection->SetBool(signal, value, true);
    } else if (value->type() == FieldDescriptor::TYPE_SINT64) {
      reflection->SetInt64(signal, value, 3);
    } else {
      reflection->SetString(signal, value, "LTE");
    }
  }
  return state;
}

bool Usual(const v1::StateGroup& state, Group group) {
  return IsUsualState(state.SerializeAsString(), group);
}

TEST_CASE(
    "usual state: what a car serializes is recognised, of every group that has ranges alone") {
  for (const Group group : kGroups) {
    CAPTURE(ToText(group));
    const bool usual = group != Group::kApps && group != Group::kArea;
    const v1::StateGroup state = Full(group);
    CHECK(Usual(state, group) == usual);
    if (usual) {
      CHECK(ParseState(state.SerializeAsString(), group));
    }
    for (const Group other : kGroups) {
      CHECK((other == group || !Usual(state, other)));
    }
  }
}

TEST_CASE("usual state: whatever is recognised is taken by ParseState, damaged in any bit") {
  for (const Group group : kGroups) {
    CAPTURE(ToText(group));
    testing::ForEachDamaged(Full(group).SerializeAsString(), [&](const std::string& damaged) {
      if (IsUsualState(damaged, group)) {
        CHECK(testing::Said(ParseState(damaged, group)) == "allowed");
      }
    });
  }
}

TEST_CASE("usual state: what is not possible is not recognised") {
  const Group group = Group::kLocation;
  v1::StateGroup state = Full(group);
  REQUIRE(Usual(state, group));
  state.mutable_location()->mutable_latitude()->set_value(0);
  CHECK_FALSE_MESSAGE(Usual(state, group), "a latitude that is left out is 0");
  state.mutable_location()->mutable_latitude()->set_value(90.5);
  CHECK_FALSE(Usual(state, group));
  state = Full(group);
  state.mutable_location()->mutable_altitude()->set_age_ms(state.observed_at_ms() + 1);
  CHECK_FALSE_MESSAGE(Usual(state, group), "older than 1970");
  state = Full(group);
  state.set_observed_at_ms(0);
  CHECK_FALSE(Usual(state, group));
  state = Full(Group::kDrive);
  state.mutable_drive()->mutable_gear()->set_value(-1);
  CHECK(Usual(state, Group::kDrive));
  state.mutable_drive()->mutable_gear()->set_value(-2);
  CHECK_FALSE(Usual(state, Group::kDrive));
}

TEST_CASE("usual state: what needs a closer look is left to ParseState") {
  const Group group = Group::kLink;
  v1::StateGroup state = Full(group);
  state.mutable_link()->mutable_radio()->set_value("\xc3\xa4");
  CHECK_FALSE_MESSAGE(Usual(state, group), "beyond ASCII");
  CHECK(ParseState(state.SerializeAsString(), group));
  state = Full(group);
  state.add_extra()->set_path("Vehicle.Some.Thing");
  CHECK_FALSE(Usual(state, group));
  const std::string bytes = Full(group).SerializeAsString();
  CHECK_FALSE_MESSAGE(IsUsualState(bytes + bytes, group), "fields that come twice");
  CHECK_FALSE(IsUsualState("", group));
  const std::string minimal =
      "\x08\x01\xba\x01";  // observed_at_ms 1; link, its length is to follow
  CHECK(IsUsualState(minimal + std::string(1, '\0'), group));
  CHECK_FALSE_MESSAGE(IsUsualState(minimal + "\x80\x80\x80\x80\x80" + std::string(1, '\0'), group),
                      "a length that protobuf refuses");
  CHECK_FALSE(IsUsualState(minimal + "\x01", group));
}

}  // namespace
}  // namespace latchkey
