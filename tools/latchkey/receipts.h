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

// A line (or JSON line) for each key that was added, removed or changed. `me` is this phone's.
void SayRingChange(const Context& context, const tools::Phone::RingChanged& change,
                   const KeyId& me);

}  // namespace latchkey::cli
