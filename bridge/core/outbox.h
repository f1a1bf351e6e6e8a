// Commands: from their arrival to exactly one outcome.
//
//                 car away, or silent for receipt_wait
//   arrives ─┬─────────────────────► held ───────── car's DELIVERED ──────────► delivered
//            │                       ▲  │                                           │
//            └─ car online ─► live ──┘  │ car's final receipt, expiry, superseded,  │ car's final
//                              │        │ its key denied, taken back                │ receipt, no
//                              │        │                                           │ word 24 h
//                              │ the same                                           │ after expiry
//                              └────────┴──────────► closed ◄───────────────────────┘
//                                                       │ kept beyond its expiry
//                                                       ▼ forgotten
//
//   held, delivered, while the car is online (delivery.h):
//     queued ── in order, room among in_flight_max ──► sent ── car's word ──► next
//        ▲                                               │
//        └── silent for redeliver_first, twice as long after each time ──┘
//
// What decides:
// - A held command is on disk before anybody reads HELD. The bridge judges a command (time, ring,
//   signature) only where it would hold it; a live car judges for itself.
// - A command is dead when either the wall clock or the monotonic clock has passed its expiry, so a
//   wall clock set back revives nothing.
// - A command that may have reached the car (`sent`) gets kAnswerGrace beyond its expiry for the
//   car's own word before the bridge says EXPIRED, and every outcome the bridge then gives says
//   that it may have acted. It counts as sent unless the bridge has seen the car away ever since
//   before the command was issued: published here, live, resent while online, gone whole by SMS
//   (waker.h), broker or bridge restarted, two brokers (links.h).
// - The bridge sends a command once in each MQTT session of the car, deliver_after its presence at
//   the earliest, and again in the same session only when the car is silent. After BrokerUp it
//   sends nothing to a car before the broker has shown it, which tells the session. A bridge that
//   starts again does not know what was sent in this session. What is due is sent last in a step,
//   after everything that could deny it.
// - A command the car has confirmed (DELIVERED) is the car's: the bridge waits for its outcome
//   until kOutcomeWait after the expiry, then says REFUSED, OUTCOME_UNKNOWN, may have acted. It is
//   sent again when the car reconnects, because the car repeats the outcome of an id it knows.
// - A command whose key is blocked, or has fallen off the ring, is not sent any more: REFUSED with
//   that reason, at once, or after kAnswerGrace when the car may be about to answer for itself. One
//   that the car has confirmed waits for the car as ever.
// - A Cancel takes back a command of the same lane in the same way, with CANCELLED. It is held and
//   sent like any command, so that copies on their way die at the car, too; but when the car is
//   away and the command was never sent, both end CANCELLED at once. One whose command has its
//   outcome is refused ENDED. It has room of its own in a full queue.
// - An owner's RemoveKey that is held denies its key at that car until the ring is without the key
//   or the command has its outcome: at once when the car is away, after receipt_wait when it is
//   online and silent. It has room of its own in a full queue.
// - The first final word stands. A different one later is counted as a conflict and changes
//   nothing.
// - Commands that the bridge refused are remembered in memory only, the last kRefusedKept.
// - While the store cannot write, what is new and would be held is refused, whatever it is.
// - Each step is an entry of the log (journal.h) in the turn that makes it.
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
#include "bridge/core/delivery.h"
#include "bridge/core/denials.h"
#include "bridge/core/links.h"
#include "bridge/core/rings.h"
#include "bridge/core/step.h"
#include "bridge/core/waker.h"
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
  void Load(const storage::WakeRecord& record);
  // After the last Load, see Bridge.
  void TakeRefused(const Outbox& before);
  void StoreFails();
  // After Passes, before any step, see Bridge::Restored.
  void EndUnknown(const Now& now, Effects& out);
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
  // Ends and forgets all commands of a car, or of a key; who waits for one that was held is told
  // that it is refused. Of a car also what it was sent by SMS.
  void Forget(const CarRef& ref, const Now& now, Effects& out);
  void Forget(const KeyId& key, const Now& now, Effects& out);
  // Numbers of cars; what became of an SMS.
  void ContactsAre(const Contacts& contacts);
  void Reported(const SmsReport& report, const Now& now, Effects& out);
  // Last in every step: what changed of keys takes effect on what waits, then what may be sent is.
  void Settle(const Now& now, Effects& out);
  std::optional<Instant> NextDeadline() const;

  size_t open() const { return commands_.open(); }

  size_t held() const { return commands_.held(); }

  void CheckInvariants() const;

 private:
  void StartClocks(const Now& now);
  void Act(Entry& entry, const Now& now, Effects& out);
  void Answer(Entry& entry, const KeyId& lane, const Now& now, Effects& out);
  void ArrivedOffline(const Command& command, const Now& now, Effects& out);
  void Refuse(const Command& command, Reason reason, const Now& now, Effects& out);
  bool MayHaveReached(const Command& command, const Now& now) const;
  Verdict Lawful(const Command& command, const Now& now);
  bool Full(const Command& command, size_t leaving, size_t leaving_of_key) const;
  void Hold(Entry& entry, const Now& now, Effects& out);
  // Delivery: outbox_delivery.cc.
  void Enqueue(Entry& entry, const Now& now, Duration wait);
  void NotSent(Entry& entry);
  void AskAgain(Entry& entry, const Now& now, Duration wait);
  void Send(Entry& entry, const Now& now, Effects& out);
  void Deliver(const Now& now, Effects& out);
  void WakeCars(const Now& now, Effects& out);
  // Taking back: outbox_cancel.cc.
  bool EndsCancel(const Command& command, const Now& now, Effects& out);
  bool TakenBack(const Command& command) const;
  bool TakeBack(const CarRef& ref, const Now& now, Effects& out);
  void Stop(Entry& entry, Reason why, const Now& now, Effects& out);
  // Who says the outcome decides whether the bridge publishes a receipt.
  void CloseByBridge(Entry& entry, v1::ReceiptState state, Reason reason, const Now& now,
                     Effects& out);
  void CloseByCar(Entry& entry, const Outcome& outcome, const Now& now, Effects& out);
  void Closed(Entry& entry, v1::ReceiptSource source, const Now& now, Effects& out);
  void Say(Entry& entry, Effects& out);
  void Forget(uint64_t order, Effects& out);
  template <class Which>
  void ForgetAll(const Which& which, const Now& now, Effects& out);
  void Ends(Entry& entry, const Now& now, Effects& out);
  void CheckKeys(const Now& now, Effects& out);
  bool DenyCommands(const CarRef& ref, const Now& now, Effects& out);
  bool SettleBlocks(const CarRef& ref, const Now& now, Effects& out);
  void KeepRemoval(Entry& entry, Effects& out);
  void LiftBlockOf(const CarRef& ref, const CommandId& command, const Now& now, Effects& out);
  void CheckEntry(const Entry& entry) const;

  const Limits& limits_;
  const Links& links_;
  Rings& rings_;
  Denials& denials_;
  Counters& counters_;
  Commands commands_;
  Delivery delivery_;
  Waker waker_;
  std::set<uint64_t> unsaid_;  // their last receipt was not published: the broker was down
  std::unordered_map<CommandKey, std::string, CommandKeyHash>
      refused_;  // receipts of refused commands
  std::deque<CommandKey> refused_order_;
  std::set<CarRef> unchecked_;  // CheckKeys has to look at these
  uint64_t next_order_ = 1;
  bool broker_up_ = false;
  bool clocks_started_ = false;
  bool store_fails_ = false;
};

}  // namespace latchkey::bridge
