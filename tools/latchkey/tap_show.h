// How a tap prints what it hears: a line for people or a JSON object on one line.
#pragma once

#include <string>
#include <vector>

#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/state.pb.h"
#include "proto/freshness.h"
#include "proto/message.h"
#include "proto/state.h"
#include "proto/time.h"
#include "proto/types.h"
#include "tools/latchkey/missed.h"

namespace latchkey::cli {

// A message of a state group that a tap has heard.
struct HeardState {
  std::string car;  // fleet/car
  Group group = Group::kBody;
  const v1::StateGroup& state;
  const std::vector<SignalRow>& rows;
  CarMode mode = CarMode::kOffline;
  Retain retained = Retain::kNo;
  Timestamp at;  // when the tap heard it
};

std::string StateText(const HeardState& heard);
std::string StateJson(const HeardState& heard);

std::string PresenceText(const std::string& car, const v1::Presence& presence, Timestamp now);
std::string PresenceJson(const std::string& car, const v1::Presence& presence, Retain retained,
                         Timestamp now);

std::string MissedText(const Missed& missed);
std::string MissedJson(const Missed& missed);

}  // namespace latchkey::cli
