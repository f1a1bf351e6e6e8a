// The simulated disk behind the bridge: the promises of storage/store.h and
// none besides. It can be full, fail to sync, be slow, not be readable, and
// lose power; and at every call the bridge can die.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "storage/memory_store.h"
#include "storage/store.h"

namespace latchkey::sim {

// Thrown at an await point: the bridge's process ends there and then.
struct Died {};

// Every place where the bridge waits for something that is not itself: each is
// where it can die.
class Awaits {
 public:
  // It dies at the `nth` from here on, 0 the next.
  void DieAt(uint64_t nth) { left_ = nth; }

  void Never() { left_.reset(); }

  // Throws Died.
  void Pass() {
    if (left_ && (*left_)-- == 0) {
      left_.reset();
      throw Died{};
    }
  }

 private:
  std::optional<uint64_t> left_;
};

enum class Disk : uint8_t {
  kGood,
  kFull,        // nothing can be written
  kNoSync,      // what must be durable fails; whether it is there afterwards nobody
                // knows
  kUnreadable,  // neither written nor read
};

class SimStore final : public storage::Store {
 public:
  using Records = std::map<std::string, storage::Record>;
  // After a commit that succeeded: what is in the store now, and was not known
  // before.
  using Watch = std::function<void(std::span<const storage::Change>, bool durable)>;

  explicit SimStore(Awaits& awaits) : awaits_(awaits) {}

  Result<void> Commit(std::span<const storage::Change> changes,
                      storage::Durability durability) override;
  Result<void> Sync() override;
  std::unique_ptr<storage::Reader> Snapshot() const override;

  // From here on the same records are kept in rows, too, beginning at schema 1, and these are
  // migrated forth and back all the time; every read must give the same of both.
  void MigrateAtRandom(uint64_t seed);

  // How often reads went over to a new shape, and back.
  uint64_t cut_overs() const { return cut_overs_; }

  // As a process does at its start: what it then finds is on disk. False: it
  // cannot be.
  bool Open();
  // The process ended. What was not synced is there as far as `kept` batches;
  // without: all of it. `limbo`: a batch that failed to sync turns out to be
  // there.
  void Restart(std::optional<size_t> kept, bool limbo);

  // Records of a kind, by their keys.
  const Records& Of(storage::Kind kind) const { return live_.at(static_cast<size_t>(kind)); }

  // Is a record of this command on disk, so that no power cut takes it away?
  bool OnDisk(const CarRef& ref, const CommandId& id) const;

  size_t unsynced() const { return unsynced_.size(); }

  Watch watch;
  std::function<void()> recovered;    // it can write again, and has what it has
  std::function<bool()> limbo_stays;  // asked when that is decided
  Disk disk = Disk::kGood;
  uint64_t failures = 0;

 private:
  friend class SimReader;
  using Batch = std::vector<storage::Change>;

  // What a batch replaced, so that a power cut can take it back.
  struct Replaced {
    storage::Kind kind = storage::Kind::kState;
    std::string key;
    std::optional<storage::Record> before;  // nullopt: there was none
  };

  using Undo = std::vector<Replaced>;

  Records& FamilyOf(storage::Kind kind) { return live_.at(static_cast<size_t>(kind)); }

  void Apply(const Batch& batch);
  void Put(storage::Kind kind, const std::string& key, storage::Record record, Undo& undo);
  void Erase(storage::Kind kind, const std::string& key, Undo& undo);
  // Keys from `begin` up to but without `end`.
  void EraseRange(storage::Kind kind, const std::string& begin, const std::string& end, Undo& undo);
  void EraseCar(const CarRef& ref, Undo& undo);
  void Synced();
  // Something of a migration happens, or nothing.
  void MigrateALittle();
  void MigrateOnwards();
  // Throws Fault when the rows give other records than there are.
  void CheckRows(storage::Kind kind) const;

  Awaits& awaits_;
  std::array<Records, storage::kKinds.size()> live_;  // by Kind
  std::vector<Undo> unsynced_;  // a power cut can take these back, the last first
  std::optional<Batch> limbo_;
  std::unique_ptr<storage::MemoryStore> rows_;  // null: none are kept
  std::vector<size_t> rows_unsynced_;           // of rows_, by unsynced_: writes up to there
  std::mt19937_64 random_;                      // of the migrations alone
  uint64_t cut_overs_ = 0;
  mutable uint64_t log_reads_ = 0;
};

}  // namespace latchkey::sim
