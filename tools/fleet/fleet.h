// Many reference cars in one loop: each with its link, all with one Inbox, each with a recorded
// drive or parked. `latchkey car run` is a fleet of one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "proto/time.h"
#include "tools/car/car_mqtt.h"
#include "tools/fleet/replay.h"

namespace latchkey::fleet {

// What a car has to say to people.
struct Said {
  size_t car = 0;
  car::Effect effect;  // Act, OfferShown, OfferOver, AskPerson, Note
};

// One thread uses it.
class Fleet {
 public:
  // Sees what cars say to people, at the moment it is to be done: after what the car wrote before
  // and before what it writes next. It must not call the fleet.
  using Listener = std::function<void(const Said& said, const Now& now)>;

  // `seed` spreads reconnects.
  Fleet(uint64_t seed, Listener listener) : listener_(std::move(listener)), random_(seed) {}

  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  // Adds a car whose link's index is size(). With a replay it drives, without one it stands parked.
  // One that is asleep does not connect until an SMS wakes it.
  enum class At : uint8_t { kAwake, kAsleep };
  void Add(std::unique_ptr<car::CarClient> client, std::optional<Replay> replay,
           At at = At::kAwake);

  size_t size() const { return members_.size(); }

  // The built-in state, then Start of all cars that are awake.
  void Start(const Now& now);
  void Handle(const tools::LinkEvent& event, const Now& now);
  // Everything that is due: recorded values, parked cars' refresh, the cars' own deadlines.
  void Run(const Now& now);
  void Step(size_t car, const car::Input& input, const Now& now);

  // When Run has something to do.
  Instant NextAt(const Now& now) const;

  // Why a car's file could not be written, of the first such car; empty: all could.
  const std::string& failure() const { return failure_; }

  const car::CarClient& client(size_t car) const { return *members_.at(car).client; }

 private:
  struct Member {
    std::unique_ptr<car::CarClient> client;
    std::optional<Replay> replay;
    Instant refresh_at;
    At at = At::kAwake;
  };

  void Begin(size_t index, const Now& now);

  Listener listener_;
  Now now_;  // of the current call
  std::string failure_;
  std::vector<Member> members_;
  std::vector<car::Observe> due_;
  std::mt19937_64 random_;
};

}  // namespace latchkey::fleet
