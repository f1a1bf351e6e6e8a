// Which of the cars and phones belong to the broker that this one is joined with, and who is sent
// there next. Pure: says whom to disconnect, does it not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "latchkey/v1/control.pb.h"
#include "plugins/auth/identity.h"
#include "plugins/auth/sessions.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::auth {

// Cars and phones lie on a circle of kMovePoints by a hash of who they are; those below a mark
// belong to the other broker. The mark rises to what was ordered as fast as they can be sent.
inline constexpr uint32_t kMovePoints = 65536;
inline constexpr uint32_t kMovePerSecondMax = 10'000;

// Only cars and phones move by themselves: whoever serves the cell is moved by who runs it.
bool Moves(const Principal& principal);
// 0 to kMovePoints - 1; the same at every broker and after every restart. Moves(principal).
uint32_t PointOf(const Principal& principal);

// Not thread-safe; used from the broker's thread.
class Moving {
 public:
  // Errors: REASON_MALFORMED (above 100 percent, or too many a second). Nothing is done then.
  Result<void> Order(const v1::MoveClients& order, Instant now);

  // Does it belong to the other broker? Who is not yet sent belongs here until then.
  bool IsMoved(const Principal& principal) const;

  // Client ids to be disconnected now, at most as many as the rate allows; to be asked often. Looks
  // through all sessions once a second: 10 ms for 100,000.
  std::vector<std::string> TakeDue(const Sessions& sessions, Instant now);

  // A moved one was not let in.
  void KeptOut() { ++kept_out_; }

  // Without `broker` and `peer`.
  v1::Moving Tell(const Sessions& sessions) const;

 private:
  using Candidate = std::pair<uint32_t, std::string>;

  void Look(const Sessions& sessions);

  uint32_t percent_ = 0;
  uint32_t per_second_ = 0;
  uint32_t goal_ = 0;     // points below this are to be at the other broker
  uint32_t reached_ = 0;  // and below this they are
  double tokens_ = 0;
  Instant at_;
  Instant looked_at_;
  std::deque<Candidate> next_;
  bool all_seen_ = false;  // next_ holds everybody who is to go
  uint64_t sent_away_ = 0;
  uint64_t kept_out_ = 0;
};

}  // namespace latchkey::auth
