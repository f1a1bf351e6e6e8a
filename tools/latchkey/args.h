// The words of `latchkey phone send` as an action of the schema.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "latchkey/v1/command.pb.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::cli {

// "flash-lights", "flash_lights" or "flash" -> "flash_lights"; any other word likewise.
std::string ActionName(std::string_view word);

// A v1::Command with only its action set. `args` are key=value; `now` is for from= and until= of
// add-key, which count from it. Errors: REASON_UNKNOWN_ACTION, REASON_MALFORMED (an argument the
// action does not have, a value that cannot be read, one that is missing); each says what may be
// written. Ranges are checked when the command is sealed.
Result<v1::Command> MakeAction(std::string_view word, const std::vector<std::string>& args,
                               Timestamp now);

// One line per action: its name, arguments and longest life. For --help.
std::string ActionsText();

}  // namespace latchkey::cli
