// What becomes of one command, line by line as it is told, for everything that sends one; and who
// came and went on a car's ring.
#pragma once

#include <string>
#include <vector>

#include "tools/latchkey/commands.h"
#include "tools/phone/phone.h"

namespace latchkey::cli {

// Prints what happens to one command and remembers how it stands.
class Report {
 public:
  Report(Context& context, std::string action);

  void Began(const tools::Phone::Began& began);
  void Receipt(const tools::Phone::Receipt& receipt);

  // The last word; UNSPECIFIED: none has come.
  v1::ReceiptState state() const { return outcome_.state; }

  const Outcome& outcome() const { return outcome_; }

  std::optional<Timestamp> expires_at() const { return expires_at_; }

 private:
  Context& context_;
  std::string action_;
  Outcome outcome_;
  std::optional<Timestamp> expires_at_;
};

// Exit codes of commands that send one, beside 2 for usage.
inline constexpr int kExitDone = 0;      // done, or received where the outcome was not waited for
inline constexpr int kExitRefused = 1;   // refused or failed
inline constexpr int kExitTimedOut = 3;  // nobody waited for the outcome until it came
inline constexpr int kExitUnused = 4;    // expired, superseded or taken back: it has not acted
inline constexpr int kExitUnknown = 5;   // whether it has acted is not known: look at the car

int ExitCode(const Outcome& outcome);

// Of taking a command back: kExitDone (it has not acted and will not), kExitRefused (it has acted),
// kExitUnknown.
int CancelExitCode(const Outcome& target);

// A line (or JSON line) for each key that was added, removed or changed. `me` is this phone's.
void SayRingChange(const Context& context, const tools::Phone::RingChanged& change,
                   const KeyId& me);

}  // namespace latchkey::cli
