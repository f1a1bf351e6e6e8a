// The bridge's side of the log (proto/log_chain.h): gives each entry its salt and its place in the
// chain, knows where the chain ends in the store, and keeps it within its bounds.
//
// The head moves only with a commit that worked, so what is in the store is always one chain. Where
// its last records are damaged, the chain goes on after the last good one, in their place, with
// entries that name what was damaged. What is erased because the log is full or old is always its
// oldest part; an entry says through where and with which hash the rest begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "latchkey/v1/log.pb.h"
#include "proto/log_chain.h"
#include "proto/result.h"
#include "proto/time.h"
#include "storage/records.h"
#include "storage/store.h"

namespace latchkey::bridge {

struct LogBounds {
  uint64_t keep_bytes = uint64_t{1} << 30;  // of records, about: counted by samples at start
  Duration keep = std::chrono::hours(24 * 400);
  Duration look_every = std::chrono::hours(1);  // for what is too old
  // Of one round. A clock that is set years ahead cannot erase the log at once.
  size_t erased_max = 20000;
};

struct LogFigures {
  LogHead head;
  uint64_t entries = 0;
  uint64_t bytes = 0;  // about
};

// Not copyable; one thread.
class LogBook {
 public:
  explicit LogBook(const LogBounds& bounds) : bounds_(bounds) {}

  LogBook(const LogBook&) = delete;
  LogBook& operator=(const LogBook&) = delete;

  // Finds the end of the chain. Gives entries that are to be added first: one for each damaged
  // record there, which are also given to `damaged`. Errors: those of the reader.
  Result<std::vector<v1::LogEntry>> Load(
      const storage::Reader& reader, const Now& now,
      const std::function<void(std::string_view key, const Error&)>& damaged);
  // Appends an entry to what is about to be committed.
  void Add(v1::LogEntry entry, std::vector<storage::Change>& changes);
  // The commit of what was added worked, or failed: then the chain is as it was before.
  void Kept();
  void Lost();

  // Is it time to look for what is to be erased?
  bool Due(Instant now) const;
  // Changes that bring the log nearer to its bounds; none: it is within them. To be followed by
  // Kept or Lost. Errors: those of the reader.
  Result<std::vector<storage::Change>> Prune(const storage::Reader& reader, const Now& now);

  // What blanking a part of the log gives.
  struct Blanked {
    uint64_t next = 0;  // where the next part begins
    bool end = false;   // there is none
    uint64_t entries = 0;
    uint64_t unreadable = 0;  // damaged: whether they name it nobody can tell
    std::vector<storage::Change> changes;
  };

  // Changes that take the content out of entries that `names` picks, from `from` on; at most
  // `records_max` are looked at. The chain stays whole. To be followed by Kept or Lost. Errors:
  // those of the reader.
  Result<Blanked> Blank(const storage::Reader& reader, uint64_t from, size_t records_max,
                        const std::function<bool(const v1::LogEntry&)>& names);

  // The last entry that is kept, as Load found it, when it says that the store was restored from a
  // backup (event "restored"): nothing has happened since.
  const std::optional<v1::LogEntry>& restored() const { return restored_; }

  LogFigures figures() const { return {head_, head_.sequence + 1 - first_, bytes_}; }

 private:
  // A part of the log that is to be erased.
  struct Oldest {
    LogHead end;  // nothing to erase: sequence 0
    uint64_t bytes = 0;
  };

  Result<Oldest> FindOldest(const storage::Reader& reader, Timestamp now) const;
  Result<void> Measure(const storage::Reader& reader);

  const LogBounds bounds_;
  std::optional<v1::LogEntry> restored_;
  LogHead head_;
  uint64_t first_ = 1;  // sequence of the first record that is kept
  uint64_t bytes_ = 0;
  Instant look_at_;
  // With what was added since the last commit.
  LogHead added_head_;
  uint64_t added_first_ = 1;
  uint64_t added_bytes_ = 0;
  uint64_t erased_bytes_ = 0;
};

}  // namespace latchkey::bridge
