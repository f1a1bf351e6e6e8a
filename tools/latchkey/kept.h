// What a cell keeps of one car, or of one key: `car export`, `car erase`, `phone export`, `phone
// erase` have in common whom they mean and where they ask.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include <nlohmann/json.hpp>

#include "proto/result.h"
#include "proto/types.h"
#include "tools/latchkey/folder.h"

namespace CLI {
class App;
}

namespace latchkey::cli {

struct Context;

// A car or a key.
using Subject = std::variant<CarRef, KeyId>;

// "car demo/F3-17", "key NgGq..."
std::string NameOf(const Subject& subject);
// "fleet=F&car=C" or "key=K", for a query of the bridge.
std::string QueryOf(const Subject& subject);

// A key id, or the name of a phone in this data folder. Error REASON_MALFORMED: neither.
Result<KeyId> ParsePhoneOrKey(const Folder& folder, const std::string& text);

// Asks the bridge for JSON; `missing` is the answer to 404. Errors: those of AskBridge, and what
// the bridge complains of.
Result<nlohmann::ordered_json> AskJson(int port, const std::string& path,
                                       const std::optional<nlohmann::ordered_json>& missing);

void AddCarExport(CLI::App& car, Context& context);
void AddPhoneExport(CLI::App& phone, Context& context);
void AddCarErase(CLI::App& car, Context& context);
void AddPhoneErase(CLI::App& phone, Context& context);

}  // namespace latchkey::cli
