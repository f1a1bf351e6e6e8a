// What auth tells the world of what it refused and of who listens: counters, lines of the broker's
// log, and entries for the log of the cell. One place, so that each refusal is told once.
#pragma once

#include <optional>
#include <string_view>

#include "plugins/auth/events.h"
#include "plugins/auth/identity.h"
#include "plugins/auth/taps.h"
#include "plugins/mosquitto.h"
#include "plugins/refusals.h"
#include "proto/message.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::auth {

// Not thread-safe; used from the broker's thread.
class Teller {
 public:
  explicit Teller(broker::Broker& broker) : broker_(broker) {}

  // Counts it, with a line while there are lines.
  void Refuse(const Refused& refused, const Now& now);
  // The same for a client that does not get in. `key`: its key, where it has shown that it has it.
  void RefuseSignIn(const broker::Client& client, std::string_view key, const Error& error,
                    const Now& now);
  // An access that was judged. Allowed: an operator's subscription is told, nothing else.
  // `principal` nullptr: nobody known.
  void Judged(const broker::AccessRequest& request, const Principal* principal, Verdict verdict,
              const Now& now);
  // Anything else of a signed-in client that was refused, for example a ring.
  void RefuseClient(const Refused& refused, const Principal* principal, const Now& now);

  // A reconnect storm has begun or is over.
  void Storm(const std::string& text, const Now& now);

  // Lines that wait for their second to end.
  void Tick(const Now& now);
  // Counters that changed, and what was left out.
  void Tell(const Now& now);
  void Say(const std::optional<Publish>& publish);

 private:
  void JudgedOperator(const broker::AccessRequest& request, const Principal& principal,
                      Verdict verdict, const Now& now);

  broker::Broker& broker_;
  Refusals refusals_;
  Taps taps_;
  EventBook events_;
};

}  // namespace latchkey::auth
