// What the plugin says for the log of the cell (log.proto) on kEventTopic: refused sign-ins, taps,
// refused access. Bounded, so that strangers, who can make as many keys as they like, can neither
// fill the log nor push out of it what others did; what is left out is counted and said.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/auth/identity.h"
#include "plugins/rate.h"
#include "proto/message.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::auth {

// Values index arrays.
enum class EventKind : uint8_t { kSignInRefused, kTap, kTapRefused, kAccessRefused, kStorm };

inline constexpr size_t kEventKindCount = 5;

// As LogEntry.event: "sign_in_refused", "tap", "tap_refused", "access_refused", "storm".
std::string_view ToText(EventKind kind);

inline constexpr int kEventsPerSecondMax = 20;
// Of one key, or of one address that does not get in.
inline constexpr Rate kEventsOfOne{0.1, 10};
// Of all who have no certificate, so that the rest of a second is left to those who have one.
inline constexpr Rate kEventsOfStrangers{2, 10};
inline constexpr size_t kEventNamesMax = 10'000;
inline constexpr size_t kEventWhoBytesMax = 128;
inline constexpr size_t kEventNoteBytesMax = 256;

// Something to be logged. Views.
struct Event {
  EventKind kind = EventKind::kAccessRefused;
  Reason reason = v1::REASON_UNSPECIFIED;
  const Principal* principal = nullptr;  // nullptr: nobody known; then `who` and `address`
  std::string_view who;                  // client id
  std::string_view address;
  std::string_view key;    // a key that is known without a principal; empty: none
  std::string_view topic;  // or filter; empty: none
  std::string_view text;   // for people; empty: none
};

// Not thread-safe; used from the broker's thread.
class EventBook {
 public:
  // The message that says it; nullopt: left out and counted.
  std::optional<Publish> Note(const Event& event, const Now& now);
  // The begin or end of a reconnect storm, in words: of the broker itself, so never left out.
  static Publish Storm(std::string_view text, const Now& now);
  // One message for each kind of which some were left out since the last call.
  std::vector<Publish> TakeLeftOut(const Now& now);

  uint64_t left_out() const { return left_out_total_; }

 private:
  bool Take(const Event& event, const Now& now);

  RateLimiter ones_{kEventsOfOne, kEventNamesMax};
  RateLimiter strangers_{kEventsOfStrangers, 1};
  std::optional<Instant> second_began_;
  int in_second_ = 0;
  std::array<uint64_t, kEventKindCount> left_out_{};
  uint64_t left_out_total_ = 0;
};

}  // namespace latchkey::auth
