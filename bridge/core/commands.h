// Every command the bridge answers for, found by id, by car and by the time something is due.
// It keeps its indexes true and decides nothing but that; outbox.h decides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "latchkey/v1/options.pb.h"
#include "latchkey/v1/receipt.pb.h"
#include "proto/command.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"
#include "storage/records.h"

namespace latchkey::bridge {

// How long after its expiry the car's own word is waited for, when the command may have reached it.
inline constexpr Duration kAnswerGrace = std::chrono::seconds(10);
// The same for a command the car has confirmed.
inline constexpr Duration kOutcomeWait = std::chrono::hours(24);

// kLive: the car is online and has it from the phone; in memory. kHeld: on disk. kDelivered: the
// car confirmed it. kClosed: has its outcome.
enum class Phase : uint8_t { kLive, kHeld, kDelivered, kClosed };

struct Entry {
  CarRef ref;
  KeyId lane;
  CommandId id;
  uint64_t order = 0;
  v1::Slot slot = v1::SLOT_NONE;
  const ActionFacts* action = nullptr;  // nullptr: not known any more, or to this software
  Timestamp issued_at;
  std::optional<Timestamp> expires_at;  // nullopt: never
  Timestamp received_at;
  Timestamp changed_at;
  Phase phase = Phase::kLive;
  v1::ReceiptState state = v1::RECEIPT_STATE_UNSPECIFIED;
  Reason reason = v1::REASON_UNSPECIFIED;
  bool on_disk = false;                    // a record was written
  bool loaded = false;                     // came from the store
  bool sent = false;                       // may have reached the car
  Reason denied = v1::REASON_UNSPECIFIED;  // why it is not sent any more: its key, or taken back
  std::optional<KeyId> removes;            // a RemoveKey: of this key
  std::optional<CommandId> cancels;        // a Cancel: of this command
  std::string payload;                     // SignedCommand; empty once closed
  std::string receipt;                     // last Receipt about it as carried; may be empty
  std::optional<Instant> expires_mono;
  std::optional<Instant> act_at;  // live: hold; held, delivered: send again; closed: forget
  uint64_t sent_visit = 0;        // visit of the car (Links) in which the bridge sent it; 0: none
  Instant sent_at;                // when, the last time
  Duration back_off{0};           // and how long the car may be silent then
  // What the two orders of deadlines hold of it; set by Commands alone.
  std::optional<Instant> due;
  std::optional<Timestamp> due_wall;

  bool Denied() const { return denied != v1::REASON_UNSPECIFIED; }

  // Dead by the wall clock or by the monotonic one.
  bool Expired(const Now& now) const {
    return (expires_at && *expires_at <= now.wall) || (expires_mono && *expires_mono <= now.mono);
  }
};

// A live entry for a command that arrives.
Entry EntryOf(const Command& command, uint64_t order, const Now& now);
// An entry as stored: its clocks do not run yet, and it counts as sent.
Entry EntryOf(const storage::CommandRecord& record);
storage::CommandRecord RecordOf(const Entry& entry);

// A command of one car, for looking up.
using CommandKey = std::pair<CarRef, CommandId>;

struct CommandKeyHash {
  size_t operator()(const CommandKey& key) const noexcept {
    return std::hash<CarRef>{}(key.first) * 31 ^ std::hash<CommandId>{}(key.second);
  }
};

// Not copyable; one thread. References to entries stay valid until Erase.
class Commands {
 public:
  struct OfCar {
    std::set<uint64_t> open;  // by order: the order of delivery
    std::map<KeyId, size_t> per_key;
  };

  Commands() = default;
  Commands(const Commands&) = delete;
  Commands& operator=(const Commands&) = delete;

  // Adds an entry whose order and id are not there yet.
  Entry& Add(Entry entry);
  void Erase(uint64_t order);
  // nullptr: not known.
  Entry* Find(const CarRef& ref, const CommandId& id);

  Entry& At(uint64_t order) { return entries_.at(order); }

  const std::map<uint64_t, Entry>& all() const { return entries_; }

  // Cars with open commands, and one of them; nullptr: no open command.
  const std::map<CarRef, OfCar>& cars() const { return cars_; }

  const OfCar* OfCarOrNull(const CarRef& ref) const;
  // Orders of held commands of a car in a slot; never any in SLOT_NONE.
  std::set<uint64_t> HeldInSlot(const CarRef& ref, v1::Slot slot) const;

  // To be called after any change of an entry's times or phase.
  void Reschedule(Entry& entry);
  void SetPhase(Entry& entry, Phase phase);

  // The entry that is due first by one clock, when it is due; nullptr: none is.
  Entry* DueBy(Timestamp wall);
  Entry* DueBy(Instant mono);
  std::optional<Instant> NextDue() const;

  size_t open() const { return open_count_; }

  size_t held() const { return held_count_; }

  // Throws Fault when an index is not what the entries say.
  void CheckInvariants() const;

 private:
  void Leave(const Entry& entry);
  void CheckEntry(const Entry& entry) const;

  std::map<uint64_t, Entry> entries_;  // by order
  std::unordered_map<CommandKey, uint64_t, CommandKeyHash> orders_;
  std::map<CarRef, OfCar> cars_;
  std::set<std::pair<Instant, uint64_t>> due_;
  std::set<std::pair<Timestamp, uint64_t>> due_wall_;
  size_t open_count_ = 0;
  size_t held_count_ = 0;
};

}  // namespace latchkey::bridge
