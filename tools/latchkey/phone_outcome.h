// Following one command to its end: for `latchkey phone send`, its --resume, and `phone cancel`.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "tools/latchkey/phone_commands.h"
#include "tools/latchkey/receipts.h"
#include "tools/latchkey/sent_file.h"
#include "tools/latchkey/session.h"

namespace latchkey::cli {

// How long to follow it.
enum class Follow : uint8_t {
  kFirst,    // until anybody says anything
  kOutcome,  // until its outcome, or that its Cancel came to nothing
};

struct FollowOptions {
  std::string name;    // of the phone
  std::string action;  // as it is shown
  Follow until = Follow::kOutcome;
  std::optional<Duration> timeout;  // nullopt: none
  std::string mqtt = "5";           // or "3.1.1"
};

// How it went.
struct Followed {
  enum class End : uint8_t {
    kOutcome,        // `outcome` is what was waited for
    kTimedOut,       // the deadline came, or the person stopped waiting: it was said how to go on
    kNotSent,        // the broker refuses the phone, or the phone the command: it was said why
    kCancelRefused,  // `outcome` is that of the Cancel
  };
  End end = End::kNotSent;
  Outcome outcome;
};

// Gives `input` (Send, Resume or Cancel) to the phone of `talk`, prints each step, and keeps
// sent.json. What went wrong has been said with an exit code, but for kOutcome and kCancelRefused.
Followed FollowCommand(Context& context, Talk& talk, const FollowOptions& options,
                       const tools::Phone::Input& input);

}  // namespace latchkey::cli
