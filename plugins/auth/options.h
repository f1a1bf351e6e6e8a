// The options of latchkey_auth, as the broker's configuration gives them.
#pragma once

#include <string>
#include <vector>

#include "plugins/auth/trust_files.h"
#include "plugins/mosquitto.h"
#include "plugins/rate.h"
#include "proto/result.h"

namespace latchkey::auth {

struct Options {
  TrustPaths trust;
  std::string ring_file;
  Rate rate_sign_in{5, 200};  // failed sign-ins of one address
  std::string broker;         // its name among the cell's brokers; empty: it is the only one
  Rate admit_rate;            // sign-ins of cars, and likewise of phones; no limit unless set
};

// Error REASON_MALFORMED: one is unknown, missing or no rate.
Result<Options> ReadOptions(const std::vector<broker::Option>& given);

}  // namespace latchkey::auth
