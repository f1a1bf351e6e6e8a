// Wakes cars by SMS: a command that is held for a car that is away goes to it whole when it fits
// into one SMS, else a word that wakes it does. A wake drains the car's 12 V battery and costs
// money, so there are few:
//
//   held, car away ──away kWakeSettle──► due ──► SMS ──no presence for kWakeRetryAfter──► due ...
//        │                                ▲                  at most kWakeTriesMax for a command
//        │     not within kWakeGap of the last SMS to the car, unless it is a new command that
//        │     moves or shows something and goes whole; nor when the car had all of its day
//        └── the car is there, has confirmed it, or it has ended: nothing is due
//
// - What is counted of a car is on disk before its SMS leaves, so a bridge that starts again does
//   not begin to count anew.
// - An SMS wakes the car for all that waits, so it counts as a try of each that is not urgent.
// - The two clocks: while the bridge runs the monotonic one counts, so a jump of the wall clock
//   neither frees the budget nor locks it up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "bridge/core/bridge.h"
#include "bridge/core/commands.h"
#include "bridge/core/links.h"
#include "bridge/core/step.h"
#include "proto/types.h"

namespace latchkey::bridge {

// A car that has just left may be back by itself.
inline constexpr Duration kWakeSettle = std::chrono::seconds(5);
inline constexpr Duration kWakeGap = std::chrono::minutes(2);
inline constexpr Duration kWakeRetryAfter = std::chrono::minutes(3);
inline constexpr int kWakeTriesMax = 3;
inline constexpr Duration kWakeDay = std::chrono::hours(24);
inline constexpr size_t kSmsKept = 4096;  // whose reports can be told a car

// Not copyable; one thread. The references outlive it.
class Waker {
 public:
  Waker(const Limits& limits, const Links& links, Counters& counters);
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  // Before the first call of any other function.
  void Load(const storage::WakeRecord& record);
  // After Load, at the first moment that is known.
  void StartClocks(const Now& now);
  void ContactsAre(const Contacts& contacts);
  void BrokerUp(const Now& now);
  void BrokerDown();
  // A command is held and its car is away. Nothing happens when it is of a class that can wait.
  void Held(const Entry& entry, const Now& now);
  void CarOnline(const CarRef& ref);
  // It needs no waking any more.
  void Over(const Entry& entry);
  // Order of a command whose car is to be woken now; nullopt: none. Wake or Over it.
  std::optional<uint64_t> DueBy(Instant now) const;
  // Sends an SMS for it, unless there were enough. True: the command itself went.
  bool Wake(const Entry& entry, const Now& now, Effects& out);
  void Reported(const SmsReport& report, const Now& now, Effects& out);
  // Forgets what a car of which nothing waits was sent.
  void Forget(const CarRef& ref);
  std::optional<Instant> NextDeadline() const;

  void CheckInvariants() const;

 private:
  // What is wanted for one held command.
  struct Want {
    CarRef ref;
    bool urgent = false;  // moves or shows something
    bool skipped = false;
    int tries = 0;
    Instant next;                // not before
    std::optional<Instant> due;  // nullopt: not while things are as they are
  };

  // What a car was sent.
  struct Spent {
    storage::WakeRecord record;
    Instant day;  // as in the record
    Instant last;
  };

  // An SMS that was handed to the gateway.
  struct Sms {
    CarRef ref;
    std::optional<CommandId> command;
  };

  void Plan(uint64_t order, Want& want);
  void PlanCar(const CarRef& ref);
  void PlanAll();
  void Spend(const CarRef& ref, const Now& now, Effects& out);
  void Share(uint64_t order, const CarRef& ref, const Now& now);
  void Send(const Entry& entry, std::string bytes, bool whole, const Now& now, Effects& out);
  void Remember(uint64_t id, Sms sms);

  const Limits& limits_;
  const Links& links_;
  Counters& counters_;
  Contacts contacts_;
  std::map<uint64_t, Want> wants_;  // by order of the command
  std::map<CarRef, std::set<uint64_t>> of_car_;
  std::set<std::pair<Instant, uint64_t>> due_;
  std::map<CarRef, Spent> spent_;
  std::map<uint64_t, Sms> sms_;  // by id; the last kSmsKept
  uint64_t last_id_ = 0;
  std::optional<Instant> from_;  // nobody is woken before; nullopt: the broker is away
};

}  // namespace latchkey::bridge
