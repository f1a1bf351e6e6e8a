// See main_backup.h.
#include "bridge/main_backup.h"

#include <filesystem>
#include <string>
#include <system_error>

#include "bridge/log.h"
#include "storage/rocksdb_backup.h"

namespace latchkey::bridge {

namespace {

// Who made a copy of everything is in the log.
Told ToldOf(const BackupWish& wish, const BackupRun& run) {
  return {"backup", wish.who,
          run.error.empty() ? "backup " + std::to_string(run.made.id) + " is made"
                            : "a backup failed: " + run.error};
}

}  // namespace

BackupMaker MakerOf(const Config& config, const storage::RocksDbStore& store, const Runner& runner,
                    Intake& intake) {
  BackupMaker maker;
  maker.folder = config.backup.dir;
  const std::filesystem::path engine = std::filesystem::path(config.backup.dir) / "store";
  storage::BackupOrder order;
  order.folder = engine;
  order.bytes_per_second = static_cast<uint64_t>(config.backup.bytes_per_second);
  order.keep = static_cast<uint32_t>(config.backup.keep);
  maker.make = [&store, order](const BackupWish& wish, const auto& go_on) {
    storage::BackupOrder wished = order;
    wished.keep = wish.keep == 0 ? order.keep : wish.keep;
    std::error_code error;
    if (std::filesystem::create_directories(order.folder.parent_path(), error)) {
      std::filesystem::permissions(order.folder.parent_path(), std::filesystem::perms::owner_all,
                                   error);
    }
    return storage::MakeBackup(store, wished, go_on);
  };
  maker.list = [engine] { return storage::ListBackups(engine); };
  maker.may_go_on = [&runner] { return runner.status().store_error.empty(); };
  maker.ended = [&intake](const BackupWish& wish, const BackupRun& run) {
    Log(LogEvent{run.error.empty() ? LogEvent::Level::kInfo : LogEvent::Level::kWarning,
                 "backup",
                 {{"id", std::to_string(run.made.id)}, {"why", run.error}}});
    intake.PutAlways(ToldOf(wish, run));
  };
  return maker;
}

}  // namespace latchkey::bridge
