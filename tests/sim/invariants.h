// What must always hold (DESIGN section 8), watched from outside the bridge: on
// what it writes, on what it says and on what the cars do. A breach throws
// Fault with the number of the invariant.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>

#include "bridge/core/history_watch.h"
#include "bridge/core/step.h"
#include "proto/log_chain.h"
#include "proto/message.h"
#include "proto/receipt.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "storage/records.h"
#include "tests/sim/store.h"

namespace latchkey::sim {

// When the bridge says something.
struct Moment {
  Timestamp bridge_wall;       // by its own clock, when it decided
  Timestamp true_wall;         // by the cars' and phones'
  Instant mono;                // the bridge's
  bool behind_on_car = false;  // the broker knows of the car what the bridge was not yet given
  bool clocks_agree = true;    // always have: "unused" can be held against the bridge
};

class Invariants {
 public:
  Invariants(const SimStore& store, const bridge::HistoryWatch::Bounds& history)
      : store_(store), history_(history) {}

  // A phone made this command; `bytes` is what it sends, on `lane`.
  void PhoneMade(const CommandId& id, const KeyId& lane, const std::string& bytes);
  // A phone, or the broker, gives it to the bridge or the car once more.
  void SentAgain(const std::string& bytes);
  // The bridge committed these, and when it decided so.
  void Committed(std::span<const storage::Change> changes, bool durable, const Now& now);
  // The bridge published.
  void Published(const Publish& publish, const Moment& moment);
  // The bridge told the broker's plugin.
  void Told(const Publish& control);
  // The bridge handed an SMS to its gateway.
  void Sent(const bridge::SendSms& sms, const Moment& moment);
  // The bridge was given word of the car's coming or going, or has a new session with the broker:
  // from here on everything may go to the car once more. All cars: nullopt.
  void MayVisit(const std::optional<CarRef>& ref);
  // The bridge was given a receipt of the car; and when the turn that it is dealt with in is over.
  void Answers(const std::string& receipt, const CarRef& ref);
  void Answered(const std::string& receipt, const CarRef& ref);
  // The phone takes a command back.
  void TakenBack(const CommandId& id);
  // A car had an effect.
  void Acted(const CommandId& id);
  // The bridge begins anew from the store, after a crash or a failure of it.
  void Restarted();
  // After everything had its time: every promise has its outcome, and no key is
  // denied by an owner any more.
  void AllKept() const;

  bridge::HistoryWatch& history() { return history_; }

  size_t made() const { return made_.size(); }

  size_t promised() const { return promised_.size(); }

  size_t ended() const { return finals_.size(); }

  size_t acted() const { return acted_.size(); }

  // Commands that the bridge closed because their key was denied or off the
  // ring.
  size_t denied() const { return denied_; }

  // How often an owner's RemoveKey denied a key.
  size_t owners_blocks() const { return owners_blocks_; }

  // Commands that ended CANCELLED.
  size_t cancelled() const { return cancelled_; }

  // Records of the log that were committed.
  size_t log_entries() const { return log_entries_; }

  // Commands refused because the store could not write.
  size_t unavailable() const { return unavailable_; }

 private:
  struct Made {
    KeyId lane;
    std::string bytes;
    std::optional<Timestamp> expires_at;
  };

  void CommittedOne(const storage::StateRecord& state);
  void CommittedOne(const storage::RingRecord& ring);
  void CommittedOne(const storage::CommandRecord& record);
  void CommittedOne(const storage::BlockRecord& block);
  void CommittedOne(const storage::EraseCommand& erase);
  void CommittedOne(const storage::LogRecord& record);
  void PublishedCommand(const Topic& topic, const Publish& publish, const Moment& moment);
  void PublishedReceipt(const CarRef& ref, const Publish& publish, const Moment& moment);
  void SaidFinally(const Outcome& outcome, const Moment& moment);
  void Delivered(const CommandId& id, const CarRef& ref, Instant now);
  void DropDenied();
  // With `now`: also by what this turn has blocked.
  bool Denied(const KeyId& lane, const CarRef& ref, bool now = false) const;
  bool OnRing(const KeyId& lane, const CarRef& ref);
  void ReadRing(const storage::RingRecord& ring);

  const SimStore& store_;
  bridge::HistoryWatch history_;
  std::map<CommandId, Made> made_;
  std::unordered_map<std::string, CommandId> ids_;  // by bytes
  std::set<CommandId> promised_;                    // HELD was said
  std::map<CommandId, v1::ReceiptState> finals_;    // final state as stored
  std::map<CommandId, v1::ReceiptState> said_;      // final state as the bridge said it
  std::set<CommandId> surely_unused_;               // said to have ended without "may have
                                                    // acted", when it did
  std::set<CommandId> not_kept_;    // refused for the store's sake and not sent again since
  std::set<CommandId> closed_now_;  // in the turn that is being said
  std::set<CommandId> forgotten_;   // erased from the store
  std::set<CommandId> acted_;
  std::map<CarRef, uint64_t> ring_versions_;
  // Of the turn that is being said: what came after a delivery does not forbid
  // it.
  std::set<BlockScope> fresh_blocks_;
  std::map<CarRef, std::set<KeyId>> fresh_rings_;  // the keys of the ring before
  std::map<CarRef, uint64_t> fresh_versions_;
  std::map<std::pair<CarRef, Group>, StateVersion> fresh_states_;  // the state before
  std::map<CarRef, std::set<KeyId>> ring_keys_;                    // of the newest
  std::map<BlockScope, Block> blocks_;
  std::map<std::pair<CarRef, Group>, StateVersion> state_versions_;
  std::map<CarRef, std::map<CommandId, Instant>> visits_;  // when sent, in this visit of the car
  std::map<CarRef, std::set<CommandId>> unanswered_;       // of these
  std::multiset<CommandId> answers_;  // given to the bridge, which may have dealt with them
  std::set<CommandId> taken_back_;
  std::map<std::pair<CarRef, Timestamp>, uint32_t> sms_;  // per car and day of its budget
  std::map<CarRef, Timestamp> sms_at_;
  size_t denied_ = 0;
  size_t owners_blocks_ = 0;
  size_t unavailable_ = 0;
  size_t cancelled_ = 0;
  size_t log_entries_ = 0;
  LogHead log_head_;
  std::map<CommandId, v1::ReceiptState> logged_now_;  // final steps, in this commit
};

}  // namespace latchkey::sim
