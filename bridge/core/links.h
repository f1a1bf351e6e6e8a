// Which cars are connected, as the broker's plugin says in presence.
//
// A restart of the broker takes every car's connection, and most are back within seconds. So a car
// of which nothing more is known than that the broker is another is awaited: nothing is sent to it,
// and the store keeps saying that it is online, until it has not come for Limits::presence_grace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
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
  // A message of presence. One of a broker that started before the newest seen of the same broker
  // is stale: ignored and counted REASON_OLDER_VERSION, unless the newest seen lies in the future:
  // then a clock was wrong, and it is forgotten. Of two brokers that are joined the one that is
  // listened to has put the words of both in order. `in_force` (nullptr: nobody asks) gets the word
  // when it is neither.
  LinkChange Arrived(const CarRef& ref, const std::string& payload, const Now& now, Effects& out,
                     v1::Presence* in_force = nullptr);
  void BrokerUp();
  // The session went on: what was loaded is as the broker last said it.
  void BrokerKept(const Now& now);
  // Cars held online that the broker has not shown since BrokerUp; they are offline from here on,
  // and awaited.
  std::vector<CarRef> DropUnseen(const Now& now);
  // Nothing of this car is known any more.
  void Forget(const CarRef& ref);
  // First in every step: who was awaited for too long is said to be offline.
  void Passes(const Now& now, Effects& out);
  std::optional<Instant> NextDeadline() const;

  bool Online(const CarRef& ref) const { return online_.count(ref) > 0; }

  // Online, and the broker has said so since BrokerUp: what is sent goes to the session that is
  // known, not to one that began while the bridge did not listen.
  bool Reachable(const CarRef& ref) const;

  // How long the car has surely been away: the broker says so in this session with it, and the
  // bridge has watched it that long. 0: online, or not known. Never known where two brokers have
  // spoken: while they do not hear each other the car may be at the other one, for which this one
  // keeps what phones send.
  Duration AwayFor(const CarRef& ref, Instant now) const;

  // Which of its MQTT sessions a car is in, or was in last: another number for each, since start.
  // 0: nothing is known of the car.
  uint64_t VisitOf(const CarRef& ref) const;

  // The same cars, as `other` saw them.
  void See(const Links& other);

  size_t cars() const { return cars_.size(); }

  const std::set<CarRef>& online() const { return online_; }

  size_t cars_online() const { return online_.size(); }

  size_t cars_awaited() const { return awaited_.size(); }

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
    uint64_t ended_at_ms = 0;  // of the ended session that was told last
  };

  // Said to be online, and not known to be since the broker is another.
  struct Awaited {
    Instant until;
    std::string offline;  // v1::Presence, for when it does not come
  };

  uint64_t& Newest(const std::string& broker);
  void Await(const CarRef& ref, std::string offline, const Now& now);
  void AwaitNoMore(const CarRef& ref);

  const Limits& limits_;
  Counters& counters_;
  std::map<CarRef, Link> cars_;
  std::set<CarRef> online_;
  std::map<CarRef, Awaited> awaited_;
  std::set<std::pair<Instant, CarRef>> awaited_until_;
  // The newest run seen of each broker, by Presence.broker.
  std::map<std::string, uint64_t> newest_started_at_ms_;
  uint64_t broker_session_ = 0;
  uint64_t last_visit_ = 0;
};

}  // namespace latchkey::bridge
