// A live cell whose store is filled: broker, bridge, cars and phones as real processes, commands
// every few milliseconds, drives that are replayed, phones that pair, and who watches what is said
// of cars. The bridge may be killed at any time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/load/judge.h"
#include "tests/load/world.h"
#include "tests/migration/act.h"
#include "tests/migration/filling.h"
#include "tests/migration/latency.h"
#include "tests/migration/orders.h"
#include "tests/migration/pairings.h"
#include "tests/migration/watch.h"

namespace latchkey::migration {

class Live {
 public:
  // Fills the store at schema version 1; nothing runs. `disk_mb`: on a disk of its own of so many
  // MB; 0: on none.
  Live(const Options& options, int disk_mb, Report& report);
  ~Live();
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;

  // Starts everything, and waits until the broker has what it lacked.
  void Start();
  // The bridge is killed at once and started again; what the migration was it still is. Surprise:
  // it is not.
  void Kill();
  // The same a few milliseconds after `during` has begun, in a thread of its own, and whatever the
  // migration is then.
  void KillWhile(const std::function<void()>& during);
  // No more is sent; waits for what is open, and says what is wrong in the report. The bridge ends,
  // and its store, which must be of version `schema`, must say all that Fill wrote.
  void End(uint32_t schema);

  load::World& world() { return world_; }

  const Orders& orders() const { return orders_; }

  // For a while.
  void Wait(int ms) { world_.Wait(ms); }

  // From the first kill's begin on: when the bridge was not as it is in quiet times.
  const Spans& outages() const { return outages_; }

  int kills() const { return kills_; }

 private:
  void FillStore(size_t cars, Report& report);
  void AwaitQuiet();
  void Restart();
  void JudgeCommands();
  void JudgeStore(uint32_t schema);

  Options options_;
  Report& report_;
  load::World world_;
  Orders orders_;
  Filling filling_;
  std::unique_ptr<Contents> contents_;
  std::unique_ptr<testing::Process> drivers_;
  std::unique_ptr<Pairings> pairings_;
  std::unique_ptr<Watch> watch_;
  Spans outages_;
  std::chrono::milliseconds settling_{
      0};  // after a start, until the bridge has nothing to catch up
  double longest_start_s_ = 0;
  int kills_ = 0;
};

}  // namespace latchkey::migration
