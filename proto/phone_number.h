// What counts as a phone number: E.164, pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace latchkey {

inline constexpr size_t kPhoneDigitsMin = 8;
inline constexpr size_t kPhoneDigitsMax = 15;

// '+', a country code that does not begin with 0, 8 to 15 digits in all, nothing else.
inline bool IsPhoneNumber(std::string_view text) {
  const std::string_view digits = text.substr(text.empty() ? 0 : 1);
  return !text.empty() && text.front() == '+' && digits.size() >= kPhoneDigitsMin &&
         digits.size() <= kPhoneDigitsMax && digits.front() != '0' &&
         std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace latchkey
