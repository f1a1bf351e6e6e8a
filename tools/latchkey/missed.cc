// See missed.h.
#include "tools/latchkey/missed.h"

namespace latchkey::cli {

uint64_t Missed::Take(const std::string& car, Group group, uint64_t sequence) {
  const auto [last, first] = last_.try_emplace({car, group}, sequence);
  if (first || sequence <= last->second) {
    return 0;  // older or repeated: the broker says again what it is not sure was heard
  }
  const uint64_t missing = sequence - last->second - 1;
  last->second = sequence;
  if (missing > 0) {
    messages_ += missing;
    cars_.insert(car);
  }
  return missing;
}

void Missed::Take(const std::string& car, const v1::Presence& presence) {
  const Session now{presence.broker_started_at_ms(), presence.session()};
  const auto [known, first] = sessions_.try_emplace(car, now);
  if (first || known->second == now) {
    return;
  }
  known->second = now;
  last_.erase(last_.lower_bound({car, kGroups.front()}), last_.upper_bound({car, kGroups.back()}));
}

}  // namespace latchkey::cli
