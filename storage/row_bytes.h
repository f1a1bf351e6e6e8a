// What all rows have in common: keys that begin with a car's two names, values that begin with a
// format byte and end in a checksum over family, key and value (pure; storage/README.md, Bytes).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proto/result.h"
#include "proto/types.h"
#include "storage/rows.h"

namespace latchkey::storage {

inline constexpr char kRowFormat = 1;

// The value of a row: format, `fields`, checksum.
std::string Seal(Family family, std::string_view key, std::string_view fields);
// The fields of a value. Errors REASON_MALFORMED: cut off, the checksum does not fit, a format that
// is not 1.
Result<std::string_view> Unseal(Family family, std::string_view key, std::string_view value);

// The two names and what follows them.
struct CarKey {
  CarRef ref;
  std::string_view suffix;
};

// nullopt: it does not begin with a fleet and a car.
std::optional<CarKey> ParseCarKey(std::string_view key);
// Prefix of all keys of a car within a family: nothing of another car begins with it.
std::string KeyPrefix(const CarRef& ref);
// The first key after all that begin with this prefix, which ends in 00.
std::string AfterPrefix(std::string prefix);

}  // namespace latchkey::storage
