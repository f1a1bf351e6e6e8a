// What must always hold (DESIGN section 8), watched from outside the bridge: on what it writes, on
// what it says and on what the cars do. A breach throws Fault with the number of the invariant.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "bridge/core/story.h"

namespace latchkey::sim {

// When the bridge says something.
struct Moment {
  Timestamp bridge_wall;       // by its own clock
  Timestamp true_wall;         // by the cars' and phones'
  bool behind_on_car = false;  // the broker knows of the car what the bridge was not yet given
  bool clocks_agree = true;    // always have: "unused" can be held against the bridge
};

class Invariants {
 public:
  // A phone made this command; `bytes` is what it sends, on `lane`.
  void PhoneMade(const CommandId& id, const KeyId& lane, const std::string& bytes);
  // The bridge committed these; `store` is what the store holds after it.
  void Committed(const bridge::Effects& effects, const bridge::StoryStore& store);
  // The bridge published.
  void Published(const Publish& publish, const Moment& moment, const bridge::StoryStore& store);
  // A car had an effect.
  void Acted(const CommandId& id);
  // The store came back from a power cut or a crash.
  void Restarted(const bridge::StoryStore& store);
  // After everything had its time: every promise has its outcome.
  void AllKept() const;
  // And no key is denied by an owner any more.
  void OwnersBlocksAreOver(const bridge::StoryStore& store) const;

  size_t promised() const { return promised_.size(); }

  size_t ended() const { return finals_.size(); }

  size_t acted() const { return acted_.size(); }

  // Commands that the bridge closed because their key was denied or off the ring.
  size_t denied() const { return denied_; }

  // How often an owner's RemoveKey denied a key.
  size_t owners_blocks() const { return owners_blocks_; }

 private:
  struct Made {
    KeyId lane;
    std::string bytes;
    std::optional<Timestamp> expires_at;
  };

  void CommittedCommand(const storage::CommandRecord& record);
  void PublishedCommand(const Publish& publish, const Moment& moment,
                        const bridge::StoryStore& store);
  const std::set<KeyId>& KeysOf(const storage::RingRecord& ring);
  void PublishedReceipt(const CarRef& ref, const Publish& publish, const Moment& moment,
                        const bridge::StoryStore& store);

  std::map<CommandId, Made> made_;
  std::set<CommandId> promised_;                  // HELD was said
  std::map<CommandId, v1::ReceiptState> finals_;  // final state as stored
  std::map<CommandId, v1::ReceiptState> said_;    // final state as the bridge said it
  std::set<CommandId> surely_unused_;  // said EXPIRED, without "may have acted", when it was
  std::set<CommandId> closed_now_;     // in the turn that is being said
  std::set<CommandId> forgotten_;      // erased from the store
  std::set<CommandId> acted_;
  std::map<CarRef, uint64_t> ring_versions_;
  std::map<std::pair<CarRef, uint64_t>, std::set<KeyId>> ring_keys_;
  std::map<BlockScope, Block> blocks_;
  size_t denied_ = 0;
  size_t owners_blocks_ = 0;
  std::map<std::pair<CarRef, Group>, StateVersion> state_versions_;
};

}  // namespace latchkey::sim
