// Which records of the log name a car (pure): rows of schema version 3, so that what is asked of
// one car does not read the whole log. A row has no value: what it leads to is looked at again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/types.h"
#include "storage/rows.h"

namespace latchkey::storage {

struct LogName {
  CarRef ref;
  uint64_t sequence = 0;
  bool operator==(const LogName&) const = default;
};

std::string LogByCarKey(const LogName& name);
// nullopt: it is no such key.
std::optional<LogName> ParseLogByCarKey(std::string_view key);

// The cars that a record of the log names (proto/log_chain.h, CarsNamed), each once; none when its
// payload is no v1.LogRecord or its content was erased.
std::vector<CarRef> CarsOfLog(std::string_view payload);

}  // namespace latchkey::storage
