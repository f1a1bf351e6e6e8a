// Where a backup of the store is asked for and made: on a thread of its own, one at a time, beside
// everything else that the bridge does.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "proto/result.h"
#include "storage/backup.h"

namespace latchkey::bridge {

// What somebody wants.
struct BackupWish {
  std::string who;    // the administrator, for the log
  uint32_t keep = 0;  // the newest so many stay; 0: as configured
};

// One that is being made, or that was made last since the bridge's start.
struct BackupRun {
  uint64_t run = 0;  // another one for each; 0: there was none
  bool done = false;
  storage::BackupProgress progress;
  storage::BackupFacts made;  // id 0: it failed
  std::string error;
};

// What makes backups and knows them; both are called from threads other than the loop's.
struct BackupMaker {
  std::string folder;
  std::function<Result<storage::BackupFacts>(
      const BackupWish& wish, const std::function<bool(const storage::BackupProgress&)>& go_on)>
      make;
  std::function<Result<std::vector<storage::BackupFacts>>()> list;
  // Whether one that is being made shall go on: not while the store fails, which wants it back.
  std::function<bool()> may_go_on;
  // It was made, or not.
  std::function<void(const BackupWish& wish, const BackupRun& run)> ended;
};

// Not copyable. Thread rule: any thread asks.
class BackupDesk {
 public:
  // `first_run`: no run before had this number or a higher one.
  BackupDesk(BackupMaker maker, uint64_t first_run);
  // Ends the one that is being made.
  ~BackupDesk();
  BackupDesk(const BackupDesk&) = delete;
  BackupDesk& operator=(const BackupDesk&) = delete;

  // Begins one: its run. Error REASON_FULL: one is being made; REASON_CANCELLED: the bridge ends.
  Result<uint64_t> Begin(BackupWish wish);
  // From now on none is begun, and the one that is being made ends soon. Does not wait.
  void Stop();
  BackupRun Last() const;

  const std::string& folder() const { return maker_.folder; }

  Result<std::vector<storage::BackupFacts>> List() const { return maker_.list(); }

 private:
  void Work();
  void Make(const BackupWish& wish, uint64_t run);

  const BackupMaker maker_;
  mutable std::mutex mutex_;
  std::condition_variable wished_;
  std::optional<BackupWish> wish_;  // under mutex_, as all below
  BackupRun last_;
  uint64_t last_run_;
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

}  // namespace latchkey::bridge
