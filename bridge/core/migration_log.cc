// See migration_log.h.
#include "bridge/core/migration_log.h"

#include <algorithm>
#include <array>
#include <utility>

#include "bridge/core/journal.h"

namespace latchkey::bridge {

namespace {

using storage::MigrationOrder;
using storage::MigrationPhase;
using storage::MigrationStatus;

constexpr std::array<MigrationOrder, 7> kOrders = {
    MigrationOrder::kStart,  MigrationOrder::kPause,   MigrationOrder::kResume,
    MigrationOrder::kVerify, MigrationOrder::kCutOver, MigrationOrder::kRollback,
    MigrationOrder::kFinish};

v1::LogEntry EntryAt(Timestamp now, std::string_view note) {
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(std::max<int64_t>(0, now.ms)));
  entry.set_event("migration");
  entry.set_note(LineOf(note, kLogNoteBytesMax));
  return entry;
}

// "split-commands, schema 1 to 2"
std::string NameOf(const MigrationStatus& status) {
  return status.name + ", schema " + std::to_string(status.from) + " to " +
         std::to_string(status.to);
}

std::string PhaseText(const MigrationStatus& before, const MigrationStatus& status) {
  switch (status.phase) {
    case MigrationPhase::kNone:
      return (before.phase == MigrationPhase::kCutOver ? "finished: " : "rolled back: ") +
             NameOf(before) + "; schema " + std::to_string(status.schema) + " is the only one";
    case MigrationPhase::kBackfill:
      return "both shapes are written: " + NameOf(status) + "; about " +
             std::to_string(status.rows_expected) + " rows to sweep";
    case MigrationPhase::kFilled:
      return "filled: " + NameOf(status) + "; " + std::to_string(status.rows_done) +
             " rows swept, " + std::to_string(status.damaged) + " damaged";
    case MigrationPhase::kVerified:
    case MigrationPhase::kDiffers:
      return "rolled back: schema " + std::to_string(status.schema) +
             " is read again, both are written";
    case MigrationPhase::kCutOver:
      return "cut over: schema " + std::to_string(status.schema) + " is read, both are written";
  }
  return "";
}

}  // namespace

std::optional<MigrationOrder> ParseOrder(std::string_view word) {
  const auto* const found = std::find_if(kOrders.begin(), kOrders.end(), [&](MigrationOrder one) {
    return storage::MigrationOrderName(one) == word;
  });
  return found == kOrders.end() ? std::nullopt : std::optional(*found);
}

v1::LogEntry OrderEntry(MigrationOrder order, const std::string& who, const MigrationStatus& status,
                        Timestamp now) {
  v1::LogEntry entry =
      EntryAt(now, "asked for: " + std::string(storage::MigrationOrderName(order)) +
                       (status.phase == MigrationPhase::kNone ? "" : " " + NameOf(status)));
  entry.set_who(LineOf(who, kMigrationWhoBytesMax));
  return entry;
}

v1::LogEntry PhaseEntry(const MigrationStatus& before, const MigrationStatus& status,
                        Timestamp now) {
  return EntryAt(now, PhaseText(before, status));
}

v1::LogEntry ComparedEntry(const storage::Comparison& comparison, const MigrationStatus& status,
                           Timestamp now) {
  const std::string records = std::to_string(comparison.compared);
  return EntryAt(
      now,
      comparison.differences == 0
          ? "verified: " + NameOf(status) + "; " + records + " records are the same in both shapes"
          : "differs: " + NameOf(status) + "; " + std::to_string(comparison.differences) + " of " +
                records + " records are not the same");
}

v1::LogEntry FailureEntry(MigrationOrder order, const std::string& who, const std::string& why,
                          Timestamp now) {
  v1::LogEntry entry = EntryAt(
      now, std::string(storage::MigrationOrderName(order)) + " was not carried out: " + why);
  entry.set_who(LineOf(who, kMigrationWhoBytesMax));
  return entry;
}

}  // namespace latchkey::bridge
