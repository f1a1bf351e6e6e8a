// Many reference cars in one loop: each with its link, all with one Inbox, each with a recorded
// drive or parked. `latchkey car run` is a fleet of one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
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
  // `seed` spreads reconnects.
  explicit Fleet(uint64_t seed) : random_(seed) {}

  // Adds a car whose link's index is size(). With a replay it drives, without one it stands parked.
  void Add(std::unique_ptr<car::CarClient> client, std::optional<Replay> replay);

  size_t size() const { return members_.size(); }

  // All cars wake: the built-in state, then Start.
  std::vector<Said> Start(const Now& now);
  std::vector<Said> Handle(const tools::LinkEvent& event, const Now& now);
  // Everything that is due: recorded values, parked cars' refresh, the cars' own deadlines.
  std::vector<Said> Run(const Now& now);
  std::vector<Said> Step(size_t car, const car::Input& input, const Now& now);

  // When Run has something to do.
  Instant NextAt(const Now& now) const;

  const car::CarClient& client(size_t car) const { return *members_.at(car).client; }

 private:
  struct Member {
    std::unique_ptr<car::CarClient> client;
    std::optional<Replay> replay;
    Instant refresh_at;
  };

  void Begin(size_t index, const Now& now, std::vector<Said>& said);

  std::vector<Member> members_;
  std::vector<car::Observe> due_;
  std::mt19937_64 random_;
};

}  // namespace latchkey::fleet
