// What the bridge's backups are made of: the store, the configuration's folder and bounds, and the
// log that says who had one made.
#pragma once

#include "bridge/backup_desk.h"
#include "bridge/config.h"
#include "bridge/runner.h"
#include "storage/rocksdb_store.h"

namespace latchkey::bridge {

// All outlive what it gives.
BackupMaker MakerOf(const Config& config, const storage::RocksDbStore& store, const Runner& runner,
                    Intake& intake);

}  // namespace latchkey::bridge
