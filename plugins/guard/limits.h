// How much may come from one sender: the rates of latchkey_guard, and in which order they are asked
// so that one sender's excess is paid by that sender.
#pragma once

#include <string_view>

#include "plugins/rate.h"
#include "proto/time.h"
#include "proto/topic.h"

namespace latchkey::guard {

// Messages and subscriptions of a client, all its connections together; commands of a key; pairing
// claims of a key, of an address (RateName), and at a car.
struct Rates {
  Rate message{100, 1000};
  Rate command{20, 300};
  Rate claim_key{0.1, 5};
  Rate claim_address{0.5, 20};
  Rate claim_car{5, 60};
};

// Who sends, as auth named it at sign-in. Views.
struct Sender {
  std::string_view name;     // a phone's key id; "car:{fleet}/{car}", "bridge:{name}" ...
  std::string_view address;  // of a claim
};

// A broker that this one is joined with: what it hands on was checked and counted there.
bool IsPeer(std::string_view name);

// Not thread-safe. A check of a sender that is known allocates nothing, but for claims.
class Limits {
 public:
  explicit Limits(const Rates& rates);

  // Of both: the option whose bucket is empty ("rate_message", ...): the refusal is REASON_FULL.
  // Empty: it may pass, and the tokens are taken. Bridges, registrars and peers answer for
  // many and are not limited: what they pass on was counted where it came in.

  // One publish or subscription, before anything else is asked of it. `sender`: Sender::name.
  std::string_view Take(std::string_view sender, Instant now);
  // A publish of `topic` that may pass otherwise: its sender may write there, and it parses. A
  // claim takes a token from its key, its address and its car only when all three have one, so
  // whoever has used up his own bucket takes nothing from a car's.
  std::string_view TakeFor(const Topic& topic, const Sender& sender, Instant now);

 private:
  std::string_view TakeClaim(const Topic& topic, std::string_view address, Instant now);

  RateLimiter message_;
  RateLimiter command_;
  RateLimiter claim_key_;
  RateLimiter claim_address_;
  RateLimiter claim_car_;
};

}  // namespace latchkey::guard
