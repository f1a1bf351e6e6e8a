// Which cars are connected, as the broker's plugin says in presence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "bridge/core/bridge.h"
#include "bridge/core/step.h"
#include "latchkey/v1/presence.pb.h"
#include "proto/types.h"

namespace latchkey::bridge {

// What a presence message changed.
enum class LinkChange : uint8_t {
  kNone,
  kOnline,       // was offline, is online
  kReconnected,  // was online and is, in another session: what was in flight may be lost
  kShown,        // is online as before, and the broker says so for the first time since BrokerUp
  kOffline,      // was online, is offline
};

// Not copyable; one thread. `limits` and `counters` outlive it.
class Links {
 public:
  Links(const Limits& limits, Counters& counters);

  void Load(const storage::PresenceRecord& record);
  // A message of presence. One of a broker that started before the newest seen is stale: ignored
  // and counted REASON_OLDER_VERSION, unless the newest seen lies in the future: then a clock was
  // wrong, and it is forgotten.
  LinkChange Arrived(const CarRef& ref, const std::string& payload, const Now& now, Effects& out);
  void BrokerUp();
  // Cars held online that the broker has not shown since BrokerUp; they are offline from here on.
  std::vector<CarRef> DropUnseen();

  bool Online(const CarRef& ref) const { return online_.count(ref) > 0; }

  // Online, and the broker has said so since BrokerUp: what is sent goes to the session that is
  // known, not to one that began while the bridge did not listen.
  bool Reachable(const CarRef& ref) const;

  // How long the car has surely been away: the broker says so in this session with it, and the
  // bridge has watched it that long. 0: online, or not known.
  Duration AwayFor(const CarRef& ref, Instant now) const;

  // Which of its MQTT sessions a car is in, or was in last: another number for each, since start.
  // 0: nothing is known of the car.
  uint64_t VisitOf(const CarRef& ref) const;

  // The same cars, as `other` saw them.
  void See(const Links& other);

  size_t cars() const { return cars_.size(); }

  size_t cars_online() const { return online_.size(); }

  void CheckInvariants() const;

 private:
  struct Link {
    bool online = false;
    uint64_t session = 0;
    uint64_t broker_started_at_ms = 0;
    uint64_t since_ms = 0;
    Instant changed_at;  // when the bridge was told something else than before
    uint64_t seen = 0;   // the broker session in which it was last said
    uint64_t visit = 0;
  };

  const Limits& limits_;
  Counters& counters_;
  std::map<CarRef, Link> cars_;
  std::set<CarRef> online_;
  uint64_t newest_broker_started_at_ms_ = 0;
  uint64_t broker_session_ = 0;
  uint64_t last_visit_ = 0;
};

}  // namespace latchkey::bridge
