// Counts the messages of state groups that never reached this reader, by their sequence, which
// rises by one with each message of a group of a car. One thread.
//
// A car that starts again leaves numbers out, so a count begins anew with each MQTT session of the
// car: for that the reader must hear presence, and hear it before the state that follows it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "latchkey/v1/presence.pb.h"
#include "proto/types.h"

namespace latchkey::cli {

class Missed {
 public:
  // A message arrived, retained or live. How many of its group are missing before it.
  uint64_t Take(const std::string& car, Group group, uint64_t sequence);
  void Take(const std::string& car, const v1::Presence& presence);

  uint64_t messages() const { return messages_; }

  // Of which some are missing.
  size_t cars() const { return cars_.size(); }

 private:
  struct Session {
    uint64_t broker_started_at_ms = 0;
    uint64_t session = 0;
    bool operator==(const Session&) const = default;
  };

  std::map<std::pair<std::string, Group>, uint64_t> last_;
  std::map<std::string, Session> sessions_;
  std::set<std::string> cars_;
  uint64_t messages_ = 0;
};

}  // namespace latchkey::cli
