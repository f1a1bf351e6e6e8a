// A command as schema version 2 keeps it (pure): its step, a small row that is written at each, and
// its signed bytes in a row of their own, written once and deleted with the last step. At version 1
// both are one row, so that a command of 250 bytes is written four times in its life.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "proto/result.h"
#include "storage/records.h"
#include "storage/rows.h"

namespace latchkey::storage {

// Key of both rows.
std::string CommandKey(const CarRef& ref, const CommandId& id);

PutRow EncodeStep(const CommandRecord& record);
// nullopt: it has no payload, so there is no such row.
std::optional<PutRow> EncodeMessage(const CommandRecord& record);

// A command of its step's row and its message's, nullopt where there is none. Errors
// REASON_MALFORMED: not what these encode; the step speaks of a message that is not there, or of
// none and there is one.
Result<CommandRecord> DecodeCommandRows(std::string_view key, std::string_view step,
                                        const std::optional<std::string_view>& message);

}  // namespace latchkey::storage
