// The names of things, as types: a bare string is unchecked input, one of these has been checked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "latchkey/v1/options.pb.h"

namespace latchkey {

// A checked string. Made by Parse only; compares and hashes like its text.
template <class Rule>
class Name {
 public:
  Name() = default;  // empty: names nothing

  // nullopt when `text` breaks the rule.
  static std::optional<Name> Parse(std::string_view text) {
    if (!Rule::Valid(text)) {
      return std::nullopt;
    }
    Name name;
    name.text_ = std::string(text);
    return name;
  }

  const std::string& str() const { return text_; }

  bool empty() const { return text_.empty(); }

  auto operator<=>(const Name&) const = default;

 private:
  std::string text_;
};

// 1 to 32 of a-z 0-9 and '-', not beginning with '-'.
struct FleetRule {
  static bool Valid(std::string_view text);
};

// 1 to 32 of A-Z a-z 0-9 '-' '_', not beginning with '-'. Opaque: never a VIN.
struct CarRule {
  static bool Valid(std::string_view text);
};

// 22 characters of base64url: first 132 bits of SHA-256 of the SubjectPublicKeyInfo (DER).
struct KeyRule {
  static bool Valid(std::string_view text);
};

using FleetId = Name<FleetRule>;
using CarId = Name<CarRule>;
using KeyId = Name<KeyRule>;

// A car and its fleet: the partition key everywhere.
struct CarRef {
  FleetId fleet;
  CarId car;
  auto operator<=>(const CarRef&) const = default;

  std::string ToText() const { return fleet.str() + "/" + car.str(); }
};

// UUIDv7, RFC 9562 section 5.7.
struct CommandId {
  std::array<uint8_t, 16> bytes{};
  auto operator<=>(const CommandId&) const = default;
  // From the wire. nullopt: not 16 bytes.
  static std::optional<CommandId> FromBytes(std::string_view raw);
  // Milliseconds since 1970 and 10 random bytes.
  static CommandId Make(int64_t unix_ms, std::string_view random10);
  std::string ToBytes() const;
  // 8-4-4-4-12 lower-case hex.
  std::string ToText() const;
  static std::optional<CommandId> FromText(std::string_view text);
};

// The unit of permission, of retention and of update rate. Values index arrays.
enum class Group : uint8_t {
  kBody,
  kEnergy,
  kLocation,
  kClimate,
  kDrive,
  kService,
  kApps,
  kLink,
  kArea
};

inline constexpr size_t kGroupCount = 9;
inline constexpr std::array<Group, kGroupCount> kGroups = {
    Group::kBody,    Group::kEnergy, Group::kLocation, Group::kClimate, Group::kDrive,
    Group::kService, Group::kApps,   Group::kLink,     Group::kArea};

// "body", "energy", ... as in the topic.
std::string_view ToText(Group group);
std::optional<Group> ParseGroup(std::string_view text);
// PERMISSION_READ_BODY for kBody and so on.
v1::Permission ReadPermission(Group group);

// base64url without padding (RFC 4648 section 5).
std::string Base64UrlEncode(std::string_view bytes);
// nullopt: a character outside the alphabet, an impossible length, or non-zero spare bits.
std::optional<std::string> Base64UrlDecode(std::string_view text);

}  // namespace latchkey

template <class Rule>
struct std::hash<latchkey::Name<Rule>> {
  size_t operator()(const latchkey::Name<Rule>& name) const noexcept {
    return std::hash<std::string>{}(name.str());
  }
};

template <>
struct std::hash<latchkey::CarRef> {
  size_t operator()(const latchkey::CarRef& ref) const noexcept {
    return std::hash<std::string>{}(ref.fleet.str()) * 1000003 ^
           std::hash<std::string>{}(ref.car.str());
  }
};

template <>
struct std::hash<latchkey::CommandId> {
  size_t operator()(const latchkey::CommandId& id) const noexcept {
    return std::hash<std::string_view>{}(
        std::string_view(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()));
  }
};
