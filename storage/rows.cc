// See rows.h.
#include "storage/rows.h"

#include <algorithm>

namespace latchkey::storage {

std::string_view FamilyName(Family family) {
  switch (family) {
    case Family::kState:
      return "state";
    case Family::kRing:
      return "ring";
    case Family::kPresence:
      return "presence";
    case Family::kCommand:
      return "command";
    case Family::kBlock:
      return "block";
    case Family::kLog:
      return "log";
    case Family::kWake:
      return "wake";
    case Family::kHistory:
      return "history";
    case Family::kSession:
      return "session";
    case Family::kCommandStep:
      return "command_step";
    case Family::kCommandMessage:
      return "command_message";
    case Family::kLogByCar:
      return "log_by_car";
    case Family::kMeta:
      return "meta";
  }
  return "";
}

std::optional<Family> FamilyOfName(std::string_view name) {
  const auto found = std::find_if(kFamilies.begin(), kFamilies.end(),
                                  [&](Family family) { return FamilyName(family) == name; });
  return found == kFamilies.end() ? std::nullopt : std::optional(*found);
}

Result<void> RowReader::Each(
    Family family, std::string_view begin, std::string_view end,
    const std::function<bool(std::string_view key, std::string_view value)>& visit) const {
  const std::unique_ptr<RowCursor> at = Rows(family, begin, end);
  for (; at->valid(); at->Next()) {
    if (!visit(at->key(), at->value())) {
      return {};
    }
  }
  return at->status();
}

Result<void> CheckRoom(const Room& room, const std::string& store) {
  if (room.free_bytes < room.free_bytes_min) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "only " + std::to_string(room.free_bytes >> 20) + " MB are free where " + store +
                    " is, " + std::to_string(room.free_bytes_min >> 20) +
                    " MB are needed: make room, writing goes on by itself");
  }
  return {};
}

}  // namespace latchkey::storage
