// The cases of the bench: each runs Latchkey and its baselines on the same work, alternating, and
// says what it found to a Report.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "tools/bench/place.h"
#include "tools/bench/report.h"

namespace latchkey::bench {

struct Wish {
  bool quick = false;   // all cases together within 3 minutes: everything runs, figures are rough
  size_t rounds = 0;    // 0: what the case takes for enough
  size_t pairings = 0;  // the most; 0: the case's own
  size_t cars = 0;      // the most that connect; 0: the case's own
  PlaceWish place;

  size_t RoundsOr(size_t full, size_t at_quick) const {
    return rounds != 0 ? rounds : quick ? at_quick : full;
  }
};

// Errors of each: what it needs does not start or does not answer; the text says what. A slow
// subject is no error.
Result<void> RunThroughput(const Wish& wish, Report& report);
Result<void> RunFlash(const Wish& wish, Report& report);
Result<void> RunIngest(const Wish& wish, Report& report);
Result<void> RunHeld(const Wish& wish, Report& report);
Result<void> RunGrowth(const Wish& wish, Report& report);
Result<void> RunStorm(const Wish& wish, Report& report);
Result<void> RunCarDay(const Wish& wish, Report& report);

struct Case {
  std::string_view name;
  std::string_view what;  // one line for --list
  Result<void> (*run)(const Wish& wish, Report& report) = nullptr;
};

// In the order in which they run.
const std::vector<Case>& Cases();
// nullptr: there is none of that name.
const Case* FindCase(std::string_view name);

}  // namespace latchkey::bench
