// Who is connected. Keyed by connection and not by client id, because on a take-over the broker
// brings the new connection before the old one's end. Says what presence to publish and whom to
// disconnect; does neither.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "latchkey/v1/presence.pb.h"
#include "plugins/auth/identity.h"
#include "proto/message.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::auth {

struct Session {
  Principal principal;
  std::string client_id;
  Timestamp signed_in_at;
  Instant began{};
  uint32_t keep_alive_s = 0;  // 0: none
};

// What went by on one connection: of a car's the presence of its end tells it.
struct Traffic {
  uint64_t messages_from = 0;
  uint64_t bytes_from = 0;
  uint64_t messages_to = 0;
  uint64_t bytes_to = 0;
  Instant heard;  // the last message of the client, or its sign-in
  Duration longest_silence{0};

  // The client has sent a message, or is given one.
  void Heard(size_t payload_bytes, Instant now);
  void Gave(size_t payload_bytes);
};

// A connection that is signed in. What each message asks for stands first: with thousands of
// connections it is in no cache.
struct Live {
  // Not taken over by a newer connection with the same client id. On a take-over the broker
  // publishes the old connection's will between the new one's sign-in and the old one's end.
  bool may_write = true;
  Traffic traffic;
  Session session;
};

// "127.0.0.1" -> LOOPBACK, "::ffff:10.0.0.1" -> IPV4, "2001:db8::1" -> IPV6, "" -> UNSPECIFIED.
v1::AddressKind AddressKindOf(std::string_view address);

// Not thread-safe; used from the broker's thread. Bounded by the broker's connections, the presence
// part by the cars of the cell.
class Sessions {
 public:
  using Connection = const void*;  // compared, never followed

  // `started_at` names this run of the broker in every Presence, `broker` the broker when the cell
  // has several.
  explicit Sessions(Timestamp started_at, std::string broker = {})
      : started_at_(started_at), broker_(std::move(broker)) {}

  // A connection has signed in. Gives the presence to publish: of a car, for each new connection.
  // Signing in again on the same connection (Mosquitto does that on SIGHUP) changes nothing.
  std::optional<Publish> Begin(Connection connection, Session session, std::string_view address);

  // A connection has ended; one that never signed in is ignored. Gives the presence to publish: of
  // a car, with what is known of the session that ended; online while another connection is open.
  std::optional<Publish> End(Connection connection, const Now& now);

  // This client is about to be disconnected by the plugin.
  void WillKick(const std::string& client_id);

  // nullptr: not signed in. Allocates nothing.
  const Live* Find(Connection connection) const;
  Live* Find(Connection connection);

  // Client ids, each once, of the phones that are signed in with one of these keys.
  std::vector<std::string> ClientsOf(const std::vector<KeyId>& keys) const;
  // The same of everybody signed in who is meant.
  std::vector<std::string> ClientsWhere(
      const std::function<bool(const Principal&)>& is_meant) const;

  void ForEach(const std::function<void(const Session&)>& visit) const;

  // What the broker that this one is joined with says of a car. True: it holds here, too, and may
  // pass. It does not when the car's newest connection is here, when it is this broker's own word
  // that comes back, or older than what was said here. Then it is kept: it is in force when the car
  // has no connection here any more.
  bool TakePeerWord(const CarRef& ref, std::string_view payload);

  // The other broker has not been heard of for long. Presence to publish of at most `most` of the
  // cars that were connected there: offline, BROKER_RESTART. Empty: all have been told.
  std::vector<Publish> TakePeerGone(size_t most, Timestamp now);

  // Presence of a car known from before the broker started: offline, BROKER_RESTART. nullopt: it
  // has been connected since, here or at the other broker.
  std::optional<Publish> OfflineAtStart(const CarRef& ref) const;

  size_t size() const { return sessions_.size(); }

 private:
  struct Entry : Live {
    uint64_t number = 0;  // of a car: Presence.session
    bool kicked = false;
    v1::AddressKind address_kind = v1::ADDRESS_KIND_UNSPECIFIED;
    Connection older = nullptr;  // the connection it takes over from
  };

  struct Ended {
    uint64_t number = 0;  // 0: none
    Timestamp began_at;
    Timestamp ended_at;
    v1::OfflineReason reason = v1::OFFLINE_REASON_UNSPECIFIED;
    v1::AddressKind address_kind = v1::ADDRESS_KIND_UNSPECIFIED;
    uint32_t keep_alive_s = 0;
    Duration silence_at_end{0};
    Traffic traffic{};
  };

  struct CarLinks {
    uint64_t opened = 0;  // since the broker started
    uint64_t open = 0;
    Timestamp since;  // of the newest connection
    v1::AddressKind address_kind = v1::ADDRESS_KIND_UNSPECIFIED;
    Ended ended{};
  };

  // nullptr: not signed in.
  Entry* FindEntry(Connection connection) const;
  static Ended EndedOf(const Entry& entry, bool taken_over, const Now& now);
  Publish PresenceOf(const CarRef& ref, v1::Presence presence, const CarLinks* links) const;
  // Offline, BROKER_RESTART.
  Publish AwaySince(const CarRef& ref, Timestamp since) const;
  Publish OnlineOf(const CarRef& ref, const CarLinks& links) const;

  // A car that is connected at the other broker.
  struct AtPeer {
    uint64_t since_ms = 0;
    std::string payload;  // v1::Presence
  };

  Timestamp started_at_;
  std::string broker_;
  std::unordered_map<CarRef, AtPeer> at_peer_;
  absl::flat_hash_map<Connection, std::unique_ptr<Entry>> sessions_;
  std::unordered_map<std::string, Connection> newest_;  // by client id
  std::unordered_map<CarRef, CarLinks> cars_;
};

}  // namespace latchkey::auth
