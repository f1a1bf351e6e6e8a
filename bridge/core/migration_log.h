// What the log says of a migration: who ordered what, and which phase was reached. And the words
// by which people give orders.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "latchkey/v1/log.pb.h"
#include "proto/time.h"
#include "storage/migration.h"

namespace latchkey::bridge {

inline constexpr size_t kMigrationWhoBytesMax = 64;

// As storage::MigrationOrderName has them. nullopt: it is no order.
std::optional<storage::MigrationOrder> ParseOrder(std::string_view word);

// `who` asked for it; `status` is how it stood.
v1::LogEntry OrderEntry(storage::MigrationOrder order, const std::string& who,
                        const storage::MigrationStatus& status, Timestamp now);
// A phase other than `before` was reached, but not by comparing.
v1::LogEntry PhaseEntry(const storage::MigrationStatus& before,
                        const storage::MigrationStatus& status, Timestamp now);
// Both shapes were compared; `status` is how it stands since.
v1::LogEntry ComparedEntry(const storage::Comparison& comparison,
                           const storage::MigrationStatus& status, Timestamp now);
// An order that was allowed could not be carried out.
v1::LogEntry FailureEntry(storage::MigrationOrder order, const std::string& who,
                          const std::string& why, Timestamp now);

}  // namespace latchkey::bridge
