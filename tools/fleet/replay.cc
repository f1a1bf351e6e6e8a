// Recorded time onto present time.
#include "tools/fleet/replay.h"

#include <algorithm>
#include <cmath>

#include "proto/result.h"

namespace latchkey::fleet {
namespace {

constexpr Duration kLoopPause{1000};  // of recorded time, between the last row and the first
// So much the wall clock goes back against the monotonic one without having been set: both are in
// whole milliseconds, and it may be slewed.
constexpr Duration kUnsteady{50};

}  // namespace

Replay::Replay(const Drive& drive, ReplayOptions options, const Now& start)
    : drive_(drive), options_(options), source_("replay:" + drive.name), started_(start) {
  LK_ASSERT(options_.speed > 0);
  if (drive_.length > Duration(0)) {
    begin_ = options_.shift % drive_.length;
  }
  if (options_.copy > 0) {
    source_ += " (copy " + std::to_string(options_.copy) + ", shifted " +
               std::to_string(begin_.count() / 1000) + " s)";
  }
  const auto first =
      std::find_if(drive_.observations.begin(), drive_.observations.end(),
                   [this](const Observation& observation) { return observation.offset >= begin_; });
  next_ = static_cast<size_t>(first - drive_.observations.begin());
}

Duration Replay::Scaled(Duration recorded) const {
  return Duration(std::llround(static_cast<double>(recorded.count()) / options_.speed));
}

void Replay::Due(const Now& now, std::vector<car::Observe>& out) {
  const size_t full = out.size() + kDueMax;
  for (;;) {
    while (next_ < drive_.observations.size() && out.size() < full) {
      const Observation& observation = drive_.observations[next_];
      const Duration after = Scaled(observation.offset - begin_);
      if (started_.mono + after > now.mono) {
        return;
      }
      // What is due late is still said to be observed when it was.
      Timestamp at = now.wall - (now.mono - (started_.mono + after));
      // Rows go on: a car refuses what it takes for older than what it has.
      at = at < said_ && said_ - at <= kUnsteady ? said_ : at;
      said_ = at;
      out.push_back({observation.signal, observation.value, at, source_});
      ++next_;
    }
    const Duration whole = Scaled(drive_.length - begin_ + kLoopPause);
    const bool again = options_.at_end == AtEnd::kLoop && next_ >= drive_.observations.size() &&
                       !drive_.observations.empty() && started_.mono + whole <= now.mono;
    if (!again) {
      return;
    }
    started_ = {started_.wall + whole, started_.mono + whole};
    begin_ = Duration(0);
    next_ = 0;
  }
}

std::optional<Instant> Replay::NextAt() const {
  if (next_ < drive_.observations.size()) {
    return started_.mono + Scaled(drive_.observations[next_].offset - begin_);
  }
  if (options_.at_end == AtEnd::kLoop && !drive_.observations.empty()) {
    return started_.mono + Scaled(drive_.length - begin_ + kLoopPause);
  }
  return std::nullopt;
}

}  // namespace latchkey::fleet
