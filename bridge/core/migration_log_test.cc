// What the log says of migrations, and the words by which they are ordered.
#include "bridge/core/migration_log.h"

#include <doctest/doctest.h>

namespace latchkey::bridge {

namespace {

storage::MigrationStatus At(storage::MigrationPhase phase) {
  storage::MigrationStatus status;
  status.schema = phase == storage::MigrationPhase::kCutOver ? 2 : 1;
  status.from = 1;
  status.to = 2;
  status.name = "split-commands";
  status.phase = phase;
  status.rows_done = 7;
  return status;
}

}  // namespace

TEST_CASE("migration log: each order has a word, and no other word is one") {
  for (const auto order : {storage::MigrationOrder::kStart, storage::MigrationOrder::kPause,
                           storage::MigrationOrder::kResume, storage::MigrationOrder::kVerify,
                           storage::MigrationOrder::kCutOver, storage::MigrationOrder::kRollback,
                           storage::MigrationOrder::kFinish}) {
    CHECK(ParseOrder(storage::MigrationOrderName(order)) == order);
  }
  for (const char* word : {"", "cut over", "Start", "rehearse", "finish "}) {
    CHECK_FALSE(ParseOrder(word));
  }
}

TEST_CASE("migration log: an entry says who asked, in one line and no longer than it may be") {
  const v1::LogEntry entry =
      OrderEntry(storage::MigrationOrder::kCutOver, "alice\nroot" + std::string(500, 'x'),
                 At(storage::MigrationPhase::kVerified), Timestamp{5});
  CHECK(entry.event() == "migration");
  CHECK(entry.at_ms() == 5);
  CHECK(entry.who().size() == kMigrationWhoBytesMax);
  CHECK(entry.who().find('\n') == std::string::npos);
  CHECK(entry.note() == "asked for: cutover split-commands, schema 1 to 2");
}

TEST_CASE("migration log: each phase that is reached has its words") {
  using storage::MigrationPhase;
  const auto note = [](MigrationPhase before, MigrationPhase after) {
    return PhaseEntry(At(before), At(after), Timestamp{0}).note();
  };
  CHECK(note(MigrationPhase::kBackfill, MigrationPhase::kFilled) ==
        "filled: split-commands, schema 1 to 2; 7 rows swept, 0 damaged");
  CHECK(note(MigrationPhase::kVerified, MigrationPhase::kCutOver) ==
        "cut over: schema 2 is read, both are written");
  CHECK(note(MigrationPhase::kCutOver, MigrationPhase::kVerified).rfind("rolled back", 0) == 0);
  CHECK(note(MigrationPhase::kBackfill, MigrationPhase::kNone).rfind("rolled back", 0) == 0);
  CHECK(note(MigrationPhase::kCutOver, MigrationPhase::kNone).rfind("finished", 0) == 0);
  storage::Comparison found;
  found.compared = 10;
  found.differences = 2;
  CHECK(ComparedEntry(found, At(MigrationPhase::kDiffers), Timestamp{0}).note() ==
        "differs: split-commands, schema 1 to 2; 2 of 10 records are not the same");
}

}  // namespace latchkey::bridge
