// The rules of names, the text forms of ids, and base64url.
#include "proto/types.h"

#include <algorithm>

namespace latchkey {

namespace {

constexpr size_t kNameCharactersMax = 32;
constexpr size_t kKeyIdCharacters = 22;
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kHex = "0123456789abcdef";

bool IsLower(char c) {
  return c >= 'a' && c <= 'z';
}

bool IsUpper(char c) {
  return c >= 'A' && c <= 'Z';
}

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

// Which characters a name may have: a look-up, as every topic of every message is asked for it.
using Alphabet = std::array<bool, 256>;

constexpr Alphabet AlphabetOf(std::string_view characters) {
  Alphabet alphabet{};
  for (const char c : characters) {
    alphabet[static_cast<uint8_t>(c)] = true;
  }
  return alphabet;
}

constexpr Alphabet kBase64Url = AlphabetOf(kAlphabet);
constexpr Alphabet kFleetCharacters = AlphabetOf("abcdefghijklmnopqrstuvwxyz0123456789-");

bool IsOf(const Alphabet& alphabet, std::string_view text) {
  bool all = true;
  for (const char c : text) {
    all = all && alphabet[static_cast<uint8_t>(c)];
  }
  return all;
}

bool HasNameLength(std::string_view text) {
  return !text.empty() && text.size() <= kNameCharactersMax;
}

// -1: not in the alphabet.
int Base64Value(char c) {
  if (IsUpper(c)) {
    return c - 'A';
  }
  if (IsLower(c)) {
    return c - 'a' + 26;
  }
  if (IsDigit(c)) {
    return c - '0' + 52;
  }
  if (c == '-') {
    return 62;
  }
  return c == '_' ? 63 : -1;
}

struct GroupRow {
  std::string_view word;
  v1::Permission permission;
};

// By Group.
constexpr std::array<GroupRow, kGroupCount> kGroupRows = {{
    {"body", v1::PERMISSION_READ_BODY},
    {"energy", v1::PERMISSION_READ_ENERGY},
    {"location", v1::PERMISSION_READ_LOCATION},
    {"climate", v1::PERMISSION_READ_CLIMATE},
    {"drive", v1::PERMISSION_READ_DRIVE},
    {"service", v1::PERMISSION_READ_SERVICE},
    {"apps", v1::PERMISSION_READ_APPS},
    {"link", v1::PERMISSION_READ_LINK},
    {"area", v1::PERMISSION_READ_AREA},
}};

}  // namespace

bool FleetRule::Valid(std::string_view text) {
  return HasNameLength(text) && text.front() != '-' && IsOf(kFleetCharacters, text);
}

bool CarRule::Valid(std::string_view text) {
  return HasNameLength(text) && text.front() != '-' && IsOf(kBase64Url, text);
}

bool KeyRule::Valid(std::string_view text) {
  return text.size() == kKeyIdCharacters && IsOf(kBase64Url, text);
}

std::optional<CommandId> CommandId::FromBytes(std::string_view raw) {
  CommandId id;
  if (raw.size() != id.bytes.size()) {
    return std::nullopt;
  }
  std::transform(raw.begin(), raw.end(), id.bytes.begin(),
                 [](char c) { return static_cast<uint8_t>(c); });
  return id;
}

CommandId CommandId::Make(int64_t unix_ms, std::string_view random10) {
  CommandId id;
  const auto time = static_cast<uint64_t>(unix_ms);
  for (size_t i = 0; i < 6; ++i) {
    id.bytes[i] = static_cast<uint8_t>((time >> (40 - 8 * i)) & 0xff);
  }
  for (size_t i = 0; i < 10 && i < random10.size(); ++i) {
    id.bytes[6 + i] = static_cast<uint8_t>(random10[i]);
  }
  id.bytes[6] = static_cast<uint8_t>(0x70 | (id.bytes[6] & 0x0f));
  id.bytes[8] = static_cast<uint8_t>(0x80 | (id.bytes[8] & 0x3f));
  return id;
}

std::string CommandId::ToBytes() const {
  return {bytes.begin(), bytes.end()};
}

std::string CommandId::ToText() const {
  std::string text;
  text.reserve(36);
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) {
      text += '-';
    }
    text += kHex[bytes[i] >> 4];
    text += kHex[bytes[i] & 0x0f];
  }
  return text;
}

std::optional<CommandId> CommandId::FromText(std::string_view text) {
  if (text.size() != 36) {
    return std::nullopt;
  }
  CommandId id;
  size_t digit = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i] != '-') {
        return std::nullopt;
      }
      continue;
    }
    const size_t value = text[i] == '\0' ? std::string_view::npos : kHex.find(text[i]);
    if (value == std::string_view::npos) {
      return std::nullopt;
    }
    uint8_t& byte = id.bytes[digit / 2];
    byte = static_cast<uint8_t>((size_t{byte} << 4U) | value);
    ++digit;
  }
  return id;
}

std::string_view ToText(Group group) {
  return kGroupRows[static_cast<size_t>(group)].word;
}

std::optional<Group> ParseGroup(std::string_view text) {
  for (const Group group : kGroups) {
    if (ToText(group) == text) {
      return group;
    }
  }
  return std::nullopt;
}

v1::Permission ReadPermission(Group group) {
  return kGroupRows[static_cast<size_t>(group)].permission;
}

std::string Base64UrlEncode(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() * 4 + 2) / 3);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : bytes) {
    bits = (bits << 8) | static_cast<uint8_t>(c);
    count += 8;
    while (count >= 6) {
      count -= 6;
      text += kAlphabet[(bits >> count) & 0x3f];
    }
  }
  if (count > 0) {
    text += kAlphabet[(bits << (6 - count)) & 0x3f];
  }
  return text;
}

std::optional<std::string> Base64UrlDecode(std::string_view text) {
  if (text.size() % 4 == 1) {
    return std::nullopt;
  }
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = Base64Value(c);
    if (value < 0) {
      return std::nullopt;
    }
    bits = (bits << 6) | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(static_cast<uint8_t>((bits >> count) & 0xff));
    }
  }
  const uint32_t spare = bits & ((uint32_t{1} << count) - 1);
  if (spare != 0) {
    return std::nullopt;
  }
  return bytes;
}

}  // namespace latchkey
