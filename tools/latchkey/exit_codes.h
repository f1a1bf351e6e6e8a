// What commands that send one to a car tell a script.
#pragma once

#include "proto/receipt.h"

namespace latchkey::cli {

inline constexpr int kExitDone = 0;      // done, or received where the outcome was not waited for
inline constexpr int kExitRefused = 1;   // refused or failed
inline constexpr int kExitUsage = 2;     // not understood; nothing was sent
inline constexpr int kExitTimedOut = 3;  // nobody waited for the outcome until it came
inline constexpr int kExitUnused = 4;    // expired, superseded or taken back: it has not acted
inline constexpr int kExitUnknown = 5;   // whether it has acted is not known: look at the car

int ExitCode(const Outcome& outcome);

// Of taking a command back, by what became of it: kExitDone (it will not act any more: it was taken
// back, or came to nothing otherwise), kExitRefused (it has acted), kExitUnknown.
int CancelExitCode(const Outcome& target);

}  // namespace latchkey::cli
