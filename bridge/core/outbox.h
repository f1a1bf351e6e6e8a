// Commands: from their arrival to exactly one outcome.
//
//   arrives, car offline ──────────────► held ──car's DELIVERED──► delivered
//   arrives, car online ──► live ──2 s──► │                            │
//                            │   silent   │ expiry, superseded,        │ car's final receipt,
//                            │            │ car's final receipt        │ no word 24 h after expiry
//                            └────────────┴──────────► closed ◄────────┘  ──kept──► forgotten
//
// What decides:
// - A held command is on disk before anybody reads HELD. The bridge judges a command (time, ring,
//   signature) only where it would hold it; a live car judges for itself.
// - A command is dead when either the wall clock or the monotonic clock has passed its expiry, so a
//   wall clock set back revives nothing.
// - A command that may have reached the car (`sent`) gets kAnswerGrace beyond its expiry for the
//   car's own word before the bridge says EXPIRED, and every outcome the bridge then gives says
//   that it may have acted. It counts as sent unless the bridge has seen the car away ever since
//   before the command was issued: published here, live, resent while online, broker or bridge
//   restarted.
// - A command the car has confirmed (DELIVERED) is the car's: the bridge waits for its outcome
//   until kOutcomeWait after the expiry, then says REFUSED, OUTCOME_UNKNOWN, may have acted. It is
//   sent again when the car reconnects, because the car repeats the outcome of an id it knows.
// - A command whose key is blocked, or has fallen off the ring, is not sent any more: REFUSED with
//   that reason, at once, or after kAnswerGrace when the car may be about to answer for itself. One
//   that the car has confirmed waits for the car as ever.
// - An owner's RemoveKey that is held denies its key at that car until the ring is without the key
//   or the command has its outcome: at once when the car is away, after receipt_wait when it is
//   online and silent. It has room of its own in a full queue.
// - The first final word stands. A different one later is counted as a conflict and changes
//   nothing.
// - Commands that the bridge refused are remembered in memory only, the last kRefusedKept.
//
// Memory: a closed command costs about 500 bytes until it is forgotten (its receipt included).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "bridge/core/bridge.h"
#include "bridge/core/commands.h"
#include "bridge/core/denials.h"
#include "bridge/core/links.h"
#include "bridge/core/rings.h"
#include "bridge/core/step.h"
#include "proto/command.h"
#include "proto/receipt.h"
#include "proto/types.h"

namespace latchkey::bridge {

inline constexpr Duration kEndlessClosedKept = std::chrono::hours(7 * 24);  // remove_key
// After a restart the expiry of a closed command is not known: the longest there is.
inline constexpr Duration kLifetimeMax = std::chrono::hours(24);
inline constexpr size_t kRefusedKept = 4096;

// Not copyable; one thread. The references outlive it.
class Outbox {
 public:
  Outbox(const Limits& limits, const Links& links, Rings& rings, Denials& denials,
         Counters& counters);

  // Before the first call of any other function.
  void Load(const storage::CommandRecord& record);
  // First in every step: acts on every deadline that has passed by either clock.
  void Passes(const Now& now, Effects& out);
  // A message of command/{lane} that parsed.
  void Arrived(const Command& command, const Now& now, Effects& out);
  // A message of receipt/{lane}. Believed only when the car's key signed it; else counted.
  void Receipt(const CarRef& ref, const KeyId& lane, const std::string& payload, const Now& now,
               Effects& out);
  void CarOnline(const CarRef& ref, const Now& now);
  void CarOffline(const CarRef& ref, const Now& now, Effects& out);
  void BrokerUp(const Now& now, Effects& out);
  void BrokerDown();
  // A car has another ring; blocks of these scopes were set or lifted.
  void RingChanged(const CarRef& ref);
  void BlocksChanged(const std::vector<BlockScope>& scopes);
  // Last in every step: what changed of keys takes effect on what waits.
  void CheckKeys(const Now& now, Effects& out);
  std::optional<Instant> NextDeadline() const;

  size_t open() const { return commands_.open(); }

  size_t held() const { return commands_.held(); }

  void CheckInvariants() const;

 private:
  void StartClocks(const Now& now);
  bool Act(Entry& entry, const Now& now, Effects& out);
  void Answer(Entry& entry, const KeyId& lane, const Now& now, Effects& out);
  void ArrivedOffline(const Command& command, const Now& now, Effects& out);
  void Refuse(const Command& command, Reason reason, const Now& now, Effects& out);
  Verdict Lawful(const Command& command, const Now& now);
  bool Full(const Command& command, size_t leaving, size_t leaving_of_key) const;
  void Hold(Entry& entry, const Now& now, Effects& out);
  void Send(Entry& entry, const Now& now, Effects& out);
  // Who says the outcome decides whether the bridge publishes a receipt.
  void CloseByBridge(Entry& entry, v1::ReceiptState state, Reason reason, const Now& now,
                     Effects& out);
  void CloseByCar(Entry& entry, const Outcome& outcome, const Now& now, Effects& out);
  void Closed(Entry& entry, const Now& now, Effects& out);
  void Say(Entry& entry, Effects& out);
  void Forget(uint64_t order, Effects& out);
  void Ends(Entry& entry, const Now& now, Effects& out);
  bool DenyCommands(const CarRef& ref, const Now& now, Effects& out);
  bool SettleBlocks(const CarRef& ref, const Now& now, Effects& out);
  void KeepRemoval(Entry& entry, Effects& out);
  void LiftBlockOf(const CarRef& ref, const CommandId& command, const Now& now, Effects& out);
  void RetryLater(Entry& entry, const Now& now, Duration first);
  void CheckEntry(const Entry& entry) const;

  const Limits& limits_;
  const Links& links_;
  Rings& rings_;
  Denials& denials_;
  Counters& counters_;
  Commands commands_;
  std::set<uint64_t> unsaid_;  // their last receipt was not published: the broker was down
  std::unordered_map<CommandKey, std::string, CommandKeyHash>
      refused_;  // receipts of refused commands
  std::deque<CommandKey> refused_order_;
  std::set<CarRef> unchecked_;  // CheckKeys has to look at these
  uint64_t next_order_ = 1;
  bool broker_up_ = false;
  bool clocks_started_ = false;
};

}  // namespace latchkey::bridge
