// Phones that pair all the time: the code on the car's screen, claim, the person's yes, ring, and
// then a first command, so that it counts only when the new key is obeyed.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "proto/time.h"
#include "tests/support/cell.h"

namespace latchkey::migration {

// How the first command of a new key goes.
enum class First : uint8_t {
  kAwake,   // to the car itself
  kAsleep,  // the car goes to sleep: HELD, which needs the bridge to know the ring; then it wakes
};

class Pairings {
 public:
  // One car for each, all at once; each on a thread of its own from Start on. The cell's broker
  // need not run before.
  // `disk_full`: the disk is full at times, and a first command that is refused for it is no wrong.
  Pairings(const testing::Cell& cell, const std::vector<First>& lanes, bool disk_full);
  ~Pairings();
  Pairings(const Pairings&) = delete;
  Pairings& operator=(const Pairings&) = delete;

  void Start();
  // What has begun is brought to its end, nothing more begins; waits for it.
  void Stop();

  // Pairings whose first command was done.
  size_t done() const { return done_; }

  // After Stop: those that came to nothing, in words; and how long the longest took.
  const std::vector<std::string>& wrongs() const { return wrongs_; }

  Duration longest() const { return longest_; }

 private:
  class Lane;

  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<std::thread> threads_;
  std::atomic<bool> halted_ = false;
  std::atomic<size_t> done_ = 0;
  std::mutex mutex_;
  std::vector<std::string> wrongs_;
  Duration longest_{0};
};

}  // namespace latchkey::migration
