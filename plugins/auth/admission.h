// How many may come in at once. After a restart of the broker or of a network all come back
// together; the broker's one thread would verify them one after the other while those that are
// inside wait. Cars and phones have a bucket each, since anybody can make as many phones as he
// likes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/rate.h"
#include "proto/message.h"
#include "proto/time.h"

namespace latchkey::auth {

// Values index arrays.
enum class Crowd : uint8_t { kCars, kPhones };

inline constexpr size_t kCrowdCount = 2;

// "cars", "phones".
std::string_view ToText(Crowd crowd);

// Among whom a client will count when it gets in, by what costs nothing to look at. nullopt: it is
// never kept waiting: the bridge, an administrator, a registrar. Their client ids are theirs alone,
// and only who has shown a certificate is asked with `has_certificate`.
std::optional<Crowd> CrowdOf(std::string_view client_id, bool has_certificate);

// A storm is over when for so long nobody was refused.
inline constexpr Duration kStormOverAfter = std::chrono::seconds(60);

// Not thread-safe; used from the broker's thread.
class Admission {
 public:
  explicit Admission(Rate rate) : buckets_(rate, kCrowdCount) {}

  // May one more try to sign in? Takes nothing: who fails to sign in uses nothing up. False counts
  // it as refused.
  bool Ask(Crowd crowd, const Now& now);
  // One has signed in.
  void Entered(Crowd crowd, const Now& now);

  // Words for the log when a storm has begun or is over, at most one in a call.
  std::optional<std::string> TakeWord(const Now& now);
  // Retained numbers on $SYS/broker/latchkey/admit/... that changed since the last call:
  // {cars,phones}_refused and {cars,phones}_entered since the start, and each with _minute of the
  // last 60 s. None before the first refusal.
  std::vector<Publish> TakeChanged(const Now& now);

  // Sign-ins refused, and sign-ins, of the last 60 s.
  uint64_t refused_in_minute(Crowd crowd, Instant now) const;
  uint64_t entered_in_minute(Crowd crowd, Instant now) const;

 private:
  // Counts of each of the last 60 seconds.
  class Minute {
   public:
    void Add(Instant now);
    uint64_t Sum(Instant now) const;

   private:
    struct Second {
      int64_t number = -1;
      uint64_t count = 0;
    };

    std::array<Second, 60> seconds_{};
  };

  struct Side {
    uint64_t refused = 0;
    uint64_t entered = 0;
    Minute refused_minute;
    Minute entered_minute;
    // Of the storm that is.
    uint64_t storm_refused = 0;
    uint64_t storm_entered = 0;
  };

  RateLimiter buckets_;
  std::array<Side, kCrowdCount> sides_{};
  std::optional<Instant> storm_began_;
  Instant refused_at_;  // the last
  bool began_said_ = false;
  std::array<uint64_t, kCrowdCount * 4> told_{};
};

}  // namespace latchkey::auth
