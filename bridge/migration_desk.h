// Where threads of HTTP give orders for a migration and wait for what the loop says, and the thread
// that compares both shapes of the store beside it all.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "bridge/core/migration_pace.h"
#include "bridge/core/step.h"
#include "bridge/runner.h"
#include "storage/store.h"

namespace latchkey::bridge {

// Not copyable. Thread rule: any thread gives orders and asks; the loop's has the door. Its end
// stops a comparison and waits for that; until then `store` and `intake` outlive it.
class MigrationDesk {
 public:
  // `first_id`: no order or comparison before had this id or a higher one.
  MigrationDesk(uint64_t first_id, const storage::Store& store, Intake& intake);
  ~MigrationDesk();
  MigrationDesk(const MigrationDesk&) = delete;
  MigrationDesk& operator=(const MigrationDesk&) = delete;

  // Waits at most `wait` until it was carried out or refused. nullopt: there is no room, or not in
  // time; it may still be.
  std::optional<MigrationAnswer> Order(storage::MigrationOrder order, std::string who,
                                       Duration wait);
  // A comparison is stopped and none begins any more, nobody waits for an order: the bridge ends.
  void Close();

  ComparisonFigures comparison() const;
  // For the runner.
  MigrationDoor door();

 private:
  void Answered(const MigrationAnswer& answer);
  Result<uint64_t> Compare();
  void StopComparing();
  void Compared(uint64_t id, const Result<void>& kept);
  void RunComparison(uint64_t id);
  bool GoesOn(uint64_t compared);

  const storage::Store& store_;
  Intake& intake_;
  mutable std::mutex mutex_;  // of all that is not const, atomic or the thread
  std::condition_variable told_;
  uint64_t last_id_;
  std::set<uint64_t> awaited_;
  std::map<uint64_t, MigrationAnswer> answers_;
  ComparisonFigures figures_;
  MigrationRate rate_;
  bool closed_ = false;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> runs_ = false;  // the thread is not at its end
  std::thread thread_;              // the loop's, and who ends the desk
};

}  // namespace latchkey::bridge
