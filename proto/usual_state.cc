// Reads over the wire format (protobuf, "Encoding") by a table made once from the schema.
#include "proto/usual_state.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include <google/protobuf/descriptor.h>

#include "latchkey/v1/state.pb.h"
#include "proto/result.h"
#include "proto/state.h"
#include "proto/state_ranges.h"
#include "proto/wire.h"

namespace latchkey {

namespace {

using google::protobuf::FieldDescriptor;

// Tags: field number and wire type.
constexpr uint64_t kVarint = 0;
constexpr uint64_t kFixed64 = 1;
constexpr uint64_t kLength = 2;
constexpr uint64_t kFixed32 = 5;

constexpr uint64_t Tag(int field, uint64_t wire_type) {
  return static_cast<uint64_t>(field) << 3U | wire_type;
}

enum class ValueKind : uint8_t { kNone, kFloat, kDouble, kBool, kWhole, kText };

// A signal with a field of its own.
struct Shape {
  ValueKind kind = ValueKind::kNone;  // kNone: no such field
  const SignalRange* range = nullptr;
};

constexpr size_t kFieldsMax = 16;      // numbers of signals within a group are below
constexpr size_t kLengthBytesMax = 4;  // protobuf takes no more than 5

struct GroupShape {
  int field = 0;  // of StateGroup
  bool usual = true;
  std::array<Shape, kFieldsMax> signals{};  // by field number
};

using Shapes = std::array<GroupShape, kGroupCount>;

ValueKind KindOf(const FieldDescriptor& value) {
  constexpr std::array<std::pair<FieldDescriptor::Type, ValueKind>, 5> kKinds = {{
      {FieldDescriptor::TYPE_FLOAT, ValueKind::kFloat},
      {FieldDescriptor::TYPE_DOUBLE, ValueKind::kDouble},
      {FieldDescriptor::TYPE_BOOL, ValueKind::kBool},
      {FieldDescriptor::TYPE_SINT64, ValueKind::kWhole},
      {FieldDescriptor::TYPE_STRING, ValueKind::kText},
  }};
  for (const auto& [type, kind] : kKinds) {
    if (type == value.type()) {
      return kind;
    }
  }
  return ValueKind::kNone;
}

Shapes ReadShapes() {
  Shapes shapes{};
  for (const Group group : kGroups) {
    const std::string word(ToText(group));
    const FieldDescriptor* member = v1::StateGroup::descriptor()->FindFieldByName(word);
    LK_ASSERT(member != nullptr);
    GroupShape& shape = shapes[static_cast<size_t>(group)];
    shape.field = member->number();
    // What an app or an area may be is not a range.
    shape.usual = group != Group::kApps && group != Group::kArea;
    for (int i = 0; i < member->message_type()->field_count(); ++i) {
      const FieldDescriptor* field = member->message_type()->field(i);
      const auto number = static_cast<size_t>(field->number());
      if (field->is_repeated() || number >= kFieldsMax) {
        continue;
      }
      const FieldDescriptor* value = field->message_type()->FindFieldByName("value");
      const FieldDescriptor* age = field->message_type()->FindFieldByName("age_ms");
      LK_ASSERT(value != nullptr && value->number() == 1 && age != nullptr && age->number() == 2);
      shape.signals[number] = {KindOf(*value), FindRange(word + "." + field->name())};
    }
  }
  return shapes;
}

// The rest of a message. What is taken is as protobuf's parser takes it.
class Rest {
 public:
  explicit Rest(std::string_view bytes) : bytes_(bytes) {}

  bool empty() const { return bytes_.empty(); }

  // nullopt: it does not end within `bytes_max`, at most 9: 63 bits.
  std::optional<uint64_t> TakeVarint(size_t bytes_max = 9) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes_.size() && i < bytes_max; ++i) {
      const auto byte = static_cast<uint8_t>(bytes_[i]);
      value |= static_cast<uint64_t>(byte & 0x7fU) << (7 * i);
      if (byte < 0x80) {
        bytes_.remove_prefix(i + 1);
        return value;
      }
    }
    return std::nullopt;
  }

  // nullopt: there are not so many bytes.
  std::optional<std::string_view> Take(uint64_t size) {
    if (size > bytes_.size()) {
      return std::nullopt;
    }
    const std::string_view taken = bytes_.substr(0, static_cast<size_t>(size));
    bytes_.remove_prefix(static_cast<size_t>(size));
    return taken;
  }

  std::optional<std::string_view> TakeBytes() {
    const std::optional<uint64_t> size = TakeVarint(kLengthBytesMax);
    return size ? Take(*size) : std::nullopt;
  }

  // Is `tag` what comes next? Then it is taken. Tags of more than two bytes never are.
  bool TakeTag(uint64_t tag) {
    const auto low = static_cast<char>(tag < 0x80 ? tag : (tag & 0x7fU) | 0x80U);
    const size_t size = tag < 0x80 ? 1 : 2;
    if (bytes_.size() < size || bytes_[0] != low ||
        (size == 2 && bytes_[1] != static_cast<char>(tag >> 7U))) {
      return false;
    }
    bytes_.remove_prefix(size);
    return true;
  }

  // A float or double as it stands: little-endian, as the machine (asserted below).
  template <class Number>
  std::optional<double> TakeNumber() {
    const std::optional<std::string_view> bytes = Take(sizeof(Number));
    if (!bytes) {
      return std::nullopt;
    }
    Number number{};
    std::memcpy(&number, bytes->data(), sizeof(number));
    return static_cast<double>(number);
  }

 private:
  std::string_view bytes_;
};

bool IsPlainText(std::string_view text, size_t bytes_max) {
  return text.size() <= bytes_max &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

// The value of a signal where one stands. nullopt: not usual. A text counts as 0.
std::optional<double> TakeValue(Rest& rest, ValueKind kind) {
  switch (kind) {
    case ValueKind::kFloat:
      return rest.TakeTag(Tag(1, kFixed32)) ? rest.TakeNumber<float>() : 0.0;
    case ValueKind::kDouble:
      return rest.TakeTag(Tag(1, kFixed64)) ? rest.TakeNumber<double>() : 0.0;
    case ValueKind::kBool:
    case ValueKind::kWhole: {
      if (!rest.TakeTag(Tag(1, kVarint))) {
        return 0.0;
      }
      const std::optional<uint64_t> value = rest.TakeVarint();
      if (!value || kind == ValueKind::kBool) {
        return value ? std::optional(0.0) : std::nullopt;
      }
      const auto half = static_cast<int64_t>(*value >> 1U);
      return static_cast<double>((*value & 1U) == 0 ? half : -half - 1);
    }
    case ValueKind::kText: {
      if (!rest.TakeTag(Tag(1, kLength))) {
        return 0.0;
      }
      const std::optional<std::string_view> text = rest.TakeBytes();
      return text && IsPlainText(*text, kSignalTextBytesMax) ? std::optional(0.0) : std::nullopt;
    }
    case ValueKind::kNone:
      break;
  }
  return std::nullopt;
}

bool IsUsualSignal(std::string_view bytes, const Shape& shape, uint64_t age_ms_max) {
  Rest rest(bytes);
  const std::optional<double> value = TakeValue(rest, shape.kind);
  if (!value) {
    return false;
  }
  if (rest.TakeTag(Tag(2, kVarint))) {
    const std::optional<uint64_t> age_ms = rest.TakeVarint();
    if (!age_ms || *age_ms > age_ms_max) {
      return false;
    }
  }
  const bool number = shape.kind != ValueKind::kBool && shape.kind != ValueKind::kText;
  return rest.empty() && (!number || Plausible(shape.range, *value));
}

bool AreUsualSignals(std::string_view bytes, const GroupShape& shape, uint64_t age_ms_max) {
  Rest rest(bytes);
  uint64_t last = 0;
  while (!rest.empty()) {
    const std::optional<uint64_t> tag = rest.TakeVarint(1);
    const uint64_t field = tag.value_or(0) >> 3U;
    if (field <= last || field >= kFieldsMax || *tag != Tag(static_cast<int>(field), kLength)) {
      return false;
    }
    last = field;
    const std::optional<std::string_view> signal = rest.TakeBytes();
    if (!signal || !IsUsualSignal(*signal, shape.signals[field], age_ms_max)) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool IsUsualState(std::string_view bytes, Group group) {
  static_assert(std::endian::native == std::endian::little);
  static const Shapes shapes = ReadShapes();
  const GroupShape& shape = shapes[static_cast<size_t>(group)];
  Rest rest(bytes);
  if (!shape.usual || bytes.size() > kStateBytesMax || !rest.TakeTag(Tag(1, kVarint))) {
    return false;
  }
  const std::optional<uint64_t> observed_at_ms = rest.TakeVarint();
  if (!observed_at_ms || *observed_at_ms == 0 || *observed_at_ms > kTimestampMsMax ||
      (rest.TakeTag(Tag(2, kVarint)) && !rest.TakeVarint())) {
    return false;
  }
  if (rest.TakeTag(Tag(4, kLength))) {
    const std::optional<std::string_view> source = rest.TakeBytes();
    if (!source || !IsPlainText(*source, kSourceBytesMax)) {
      return false;
    }
  }
  if (!rest.TakeTag(Tag(shape.field, kLength))) {
    return false;
  }
  const std::optional<std::string_view> signals = rest.TakeBytes();
  return signals && rest.empty() && AreUsualSignals(*signals, shape, *observed_at_ms);
}

}  // namespace latchkey
