// Keys that are denied: the bridge's copy of the map that the broker's auth plugin holds, and how
// the two agree (proto/latchkey/v1/control.proto).
//
//   broker up ─► everything held goes out, kBlocksPerMessageMax at a time ─► all that the plugin
//   knows is asked for, page by page ─► agreed. From then on each side tells the other of changes.
//
// - A change of ours is written durably in the step that publishes it. What is lost between the two
//   is told at the next BrokerUp.
// - A request without an answer is sent again every kAnswerWait, kTriesMax times in all; then the
//   bridge counts it, says so in the log, and begins anew after kAgreeAgainAfter; so it does when
//   the plugin refused something.
// - Merging is the same in whatever order and however often: an answer or a change that comes late,
//   twice, or to a bridge that has started again does no harm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bridge/core/bridge.h"
#include "bridge/core/step.h"
#include "proto/blocks.h"
#include "proto/types.h"
#include "storage/records.h"

namespace latchkey::bridge {

inline constexpr Duration kAnswerWait = std::chrono::seconds(5);
inline constexpr int kTriesMax = 5;
inline constexpr Duration kAgreeAgainAfter = std::chrono::minutes(1);
inline constexpr size_t kChangesInFlightMax = 64;  // above: everything is sent once more instead

// Not copyable; one thread. `counters` outlives it.
class Denials {
 public:
  explicit Denials(Counters& counters);

  void Load(const storage::BlockRecord& record);
  // First in every step: sends again what was not answered.
  void Passes(const Now& now, Effects& out);
  void BrokerUp(const Now& now, Effects& out);
  void BrokerDown();
  // A message of kBlocksChangedTopic. Scopes whose standing it changed.
  std::vector<BlockScope> Changed(const std::string& payload, const Now& now, Effects& out);
  // A message of kControlAnswerTopic. As Changed.
  std::vector<BlockScope> Answered(const std::string& payload, const Now& now, Effects& out);

  bool Denies(const KeyId& key, const CarRef& ref) const {
    return blocks_.Denies(key.str(), ref.fleet.str(), ref.car.str());
  }

  // nullptr: nothing is known of this scope.
  const Block* Find(const BlockScope& scope) const { return blocks_.Find(scope); }

  // Keys denied at this car by its owner, and the cars that have such.
  std::set<KeyId> OwnersAt(const CarRef& ref) const;
  std::vector<CarRef> CarsOfOwners() const;

  // Denies a key at a car while the owner's RemoveKey `command` is on its way. False: no more
  // blocks can be kept.
  bool Deny(const KeyId& key, const CarRef& ref, const CommandId& command, const Now& now,
            Effects& out);
  // Writes once more what is known of this car: it was erased with it, but a block must not be
  // lost, and the broker keeps it, too.
  void Keep(const CarRef& ref, Effects& out) const;
  // The owner's block that stands is over.
  void Lift(const KeyId& key, const CarRef& ref, const Now& now, Effects& out);

  std::optional<Instant> NextDeadline() const;

  size_t size() const { return blocks_.size(); }

  size_t standing() const { return blocks_.standing(); }

  // The plugin has taken and told everything since BrokerUp.
  bool agreed() const { return up_ && stage_ == Stage::kAgreed && !begin_at_; }

  void CheckInvariants() const;

 private:
  enum class Stage : uint8_t { kApart, kTelling, kAsking, kAgreed };

  struct Request {
    std::string bytes;  // v1::Control
    Instant again_at;
    int tries = 0;
  };

  // True: it was taken over; written durably.
  bool Take(const Block& block, Effects& out);
  void Index(const Block& block);
  std::vector<BlockScope> TakeAll(const std::vector<v1::Block>& blocks, const Now& now,
                                  Effects& out);
  bool Own(const Block& block, const Now& now, Effects& out);
  void Begin(const Now& now, Effects& out);
  void TellNext(const Now& now, Effects& out);
  void AskNext(const Now& now, Effects& out);
  uint64_t Send(v1::Control control, const Now& now, Effects& out);
  void GoesOn(const v1::ControlAnswer& answer, const Now& now, Effects& out);
  void BeginLater(const Now& now);

  Counters& counters_;
  Blocks blocks_;
  std::map<CarRef, std::set<KeyId>> owners_;  // keys with an owner's block that stands
  bool up_ = false;
  Stage stage_ = Stage::kApart;
  std::optional<BlockScope> reached_;  // the last scope told, or heard
  uint64_t step_ = 0;                  // the request that telling or asking waits for
  bool begin_anew_ = false;            // a change could not be told by itself
  std::map<uint64_t, Request> requests_;
  uint64_t last_request_ = 0;
  std::optional<Instant> begin_at_;
};

}  // namespace latchkey::bridge
