// The way of a bridge that starts while another one runs: it warms up beside it, then asks it to
// yield, and is given the store. What it does to the one that runs is in hand_over.h.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "bridge/core/bridge.h"
#include "bridge/hand_over.h"
#include "bridge/runner.h"
#include "storage/follower.h"

namespace latchkey::bridge {

// A core that is loaded from a store which another process still writes.
class WarmCore {
 public:
  using Make = std::function<std::unique_ptr<Bridge>()>;

  // `follower` outlives it; `make` gives an empty core; `loaded` is told of every kTellEvery-th
  // record that Load loads.
  WarmCore(storage::Follower& follower, Make make,
           std::function<void(uint64_t records, uint64_t of)> loaded);

  static constexpr uint64_t kTellEvery = 50'000;

  // How many records. Errors: those of the follower.
  Result<uint64_t> Load();
  // Brings it up to what was written since. `reloaded` counts the times that it had to be loaded
  // anew. How many records. Errors: those of the follower.
  Result<uint64_t> CatchUp();

  uint64_t reloaded() const { return reloaded_; }

  std::unique_ptr<Bridge> Take() { return std::move(core_); }

 private:
  storage::Follower& follower_;
  const Make make_;
  const std::function<void(uint64_t, uint64_t)> loaded_;
  std::unique_ptr<Bridge> core_;
  uint64_t reloaded_ = 0;
};

// One step of the way, told as it is reached: `phase` and fields, as a line of the log.
using TellPhase =
    std::function<void(std::string phase, std::vector<std::pair<std::string, std::string>> fields)>;

struct TakeOverParts {
  std::filesystem::path store;  // the hand-over's socket lies beside it
  pid_t stop_old = 0;           // a bridge that cannot hand over: it is told to end; 0: none is
  WarmCore::Make make;
  std::function<Result<std::unique_ptr<storage::Follower>>()> follow;
  std::function<std::optional<pid_t>()> holder;  // of the store's lock
  Clock clock;
  TellPhase tell;
};

// What was taken: the store is nobody's, and its lock free.
struct Taken {
  std::unique_ptr<Bridge> core;        // as Runner::LoadRest wants it; nullptr: nothing to take
  std::unique_ptr<HandOverCall> call;  // is to be told when we serve; nullptr: nobody waits for it
  HandedOver handed;
  Instant asked_at;  // when the old one was asked: where the gap begins
};

// Errors: nothing has changed and the old one serves on, unless the text says otherwise.
// REASON_NOT_ALLOWED: the one that runs keeps its place, or cannot hand over and `stop_old` is not
// its process. REASON_STORE_UNAVAILABLE: it hangs, or the store cannot be read.
Result<Taken> TakeOver(const TakeOverParts& parts);

// With the store open and MQTT begun: waits until `connected`, then says so to the one that handed
// over, which ends. Error REASON_STORE_UNAVAILABLE: it did not connect in time, so whoever waits
// gets the store back when this process ends.
Result<void> Serves(const Taken& taken, const std::function<bool()>& connected,
                    const TakeOverParts& parts);

}  // namespace latchkey::bridge
