// The brokers a car or a phone of the data folder knows: `--broker` given once stays, what
// cell.json lists is known beside it, and the one that served last is tried first. In brokers.json
// beside the key:
//
//   {"cells": {"local": {"brokers": ["10.0.0.2:8884"], "last": "127.0.0.1:8884"}}}
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "proto/result.h"
#include "tools/latchkey/folder.h"
#include "tools/mqtt/link.h"

namespace latchkey::cli {

// Which listener of a broker.
enum class Port : uint8_t { kCars, kPhones };

// Every broker that cell.json lists, the cell's first broker first.
std::vector<tools::BrokerAddress> BrokersOf(const Cell& cell, Port port);

// Puts the brokers into `link`, and has it write down who serves. `holder` is the folder of the car
// or phone; `known` are tried in their order after those that were given and kept; `given` (each
// "HOST:PORT") take the place of those kept before, when there are any. A brokers.json that cannot
// be read counts as empty. Errors: REASON_MALFORMED (one that was given, or none at all),
// REASON_STORE_UNAVAILABLE (what was given cannot be kept).
Result<void> UseBrokers(const std::filesystem::path& holder, const std::string& cell,
                        const std::vector<tools::BrokerAddress>& known,
                        const std::vector<std::string>& given, tools::LinkOptions& link);

}  // namespace latchkey::cli
