// See migration.h.
#include "storage/migration.h"

namespace latchkey::storage {

namespace {

tl::unexpected<Error> Not(std::string text) {
  return Fail(v1::REASON_NOT_ALLOWED, std::move(text));
}

// The order, and why it cannot be now.
tl::unexpected<Error> Refused(const MigrationStatus& status, MigrationOrder order,
                              std::string_view what_instead) {
  return Not("migration " + status.name + " is " + std::string(MigrationPhaseName(status.phase)) +
             (status.paused ? ", paused" : "") + ": " + std::string(MigrationOrderName(order)) +
             " is not possible now; " + std::string(what_instead));
}

Result<void> MayVerify(const MigrationStatus& status) {
  return status.phase == MigrationPhase::kBackfill
             ? Result<void>(Refused(status, MigrationOrder::kVerify,
                                    status.paused ? "resume it and wait until it is filled"
                                                  : "wait until it is filled"))
             : Result<void>();
}

Result<void> MayCutOver(const MigrationStatus& status) {
  switch (status.phase) {
    case MigrationPhase::kVerified:
      return {};
    case MigrationPhase::kNone:
    case MigrationPhase::kBackfill:
      return Refused(status, MigrationOrder::kCutOver, "wait until it is filled, then verify");
    case MigrationPhase::kFilled:
      return Refused(status, MigrationOrder::kCutOver, "verify first");
    case MigrationPhase::kDiffers:
      return Refused(status, MigrationOrder::kCutOver,
                     "look at the mismatches; roll back, or verify again");
    case MigrationPhase::kCutOver:
      return Refused(status, MigrationOrder::kCutOver, "it is done: finish, or roll back");
  }
  return {};
}

}  // namespace

std::string_view MigrationPhaseName(MigrationPhase phase) {
  switch (phase) {
    case MigrationPhase::kNone:
      return "none";
    case MigrationPhase::kBackfill:
      return "backfill";
    case MigrationPhase::kFilled:
      return "filled";
    case MigrationPhase::kVerified:
      return "verified";
    case MigrationPhase::kDiffers:
      return "differs";
    case MigrationPhase::kCutOver:
      return "cut over";
  }
  return "";
}

std::string_view MigrationOrderName(MigrationOrder order) {
  switch (order) {
    case MigrationOrder::kStart:
      return "start";
    case MigrationOrder::kPause:
      return "pause";
    case MigrationOrder::kResume:
      return "resume";
    case MigrationOrder::kVerify:
      return "verify";
    case MigrationOrder::kCutOver:
      return "cutover";
    case MigrationOrder::kRollback:
      return "rollback";
    case MigrationOrder::kFinish:
      return "finish";
  }
  return "";
}

Result<void> MayMigrate(const MigrationStatus& status, MigrationOrder order) {
  const bool sweeping = status.phase == MigrationPhase::kBackfill;
  if (order == MigrationOrder::kStart) {
    return status.phase == MigrationPhase::kNone
               ? Result<void>()
               : Refused(status, order, "finish it or roll it back before another one begins");
  }
  if (status.phase == MigrationPhase::kNone) {
    return Not("no migration runs at schema version " + std::to_string(status.schema) +
               ": start one first");
  }
  switch (order) {
    case MigrationOrder::kStart:
    case MigrationOrder::kRollback:
      return {};
    case MigrationOrder::kPause:
      return sweeping && !status.paused ? Result<void>()
                                        : Refused(status, order, "nothing is being moved");
    case MigrationOrder::kResume:
      return sweeping && status.paused ? Result<void>()
                                       : Refused(status, order, "it is not paused");
    case MigrationOrder::kVerify:
      return MayVerify(status);
    case MigrationOrder::kCutOver:
      return MayCutOver(status);
    case MigrationOrder::kFinish:
      return status.phase == MigrationPhase::kCutOver
                 ? Result<void>()
                 : Refused(status, order, "cut over first; until finish it can be rolled back");
  }
  return {};
}

}  // namespace latchkey::storage
