// Who is connected. Keyed by connection and not by client id, because on a take-over the broker
// brings the new connection before the old one's end. Says what presence to publish and whom to
// disconnect; does neither.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

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
};

// "127.0.0.1" -> LOOPBACK, "::ffff:10.0.0.1" -> IPV4, "2001:db8::1" -> IPV6, "" -> UNSPECIFIED.
v1::AddressKind AddressKindOf(std::string_view address);

// Not thread-safe; used from the broker's thread. Bounded by the broker's connections, the presence
// part by the cars of the cell.
class Sessions {
 public:
  using Connection = const void*;  // compared, never followed

  // `started_at` names this run of the broker in every Presence.
  explicit Sessions(Timestamp started_at) : started_at_(started_at) {}

  // A connection has signed in. Gives the presence to publish: of a car, for each new connection.
  // Signing in again on the same connection (Mosquitto does that on SIGHUP) changes nothing.
  std::optional<Publish> Begin(Connection connection, Session session, std::string_view address);

  // A connection has ended; one that never signed in is ignored. Gives the presence to publish: of
  // a car, when it was its last connection.
  std::optional<Publish> End(Connection connection, Timestamp now);

  // nullptr: not signed in.
  const Session* Find(Connection connection) const;

  // Signed in, and not taken over by a newer connection with the same client id. On a take-over the
  // broker publishes the old connection's will between the new one's sign-in and the old one's end.
  bool MayWrite(Connection connection) const;

  // Client ids, each once, of the phones that are signed in with one of these keys.
  std::vector<std::string> ClientsOf(const std::vector<KeyId>& keys) const;
  // The same of everybody signed in who is meant.
  std::vector<std::string> ClientsWhere(
      const std::function<bool(const Principal&)>& is_meant) const;

  // Presence of a car known from before the broker started: offline, BROKER_RESTART. nullopt: it
  // has been connected since.
  std::optional<Publish> OfflineAtStart(const CarRef& ref) const;

  size_t size() const { return sessions_.size(); }

 private:
  struct Entry {
    Session session;
    Connection older = nullptr;  // the connection it takes over from
  };

  struct CarLinks {
    uint64_t opened = 0;  // since the broker started
    uint64_t open = 0;
  };

  Publish PresenceOf(const CarRef& ref, const v1::Presence& presence) const;

  Timestamp started_at_;
  std::unordered_map<Connection, Entry> sessions_;
  std::unordered_map<std::string, Connection> newest_;  // by client id
  std::unordered_map<CarRef, CarLinks> cars_;
};

}  // namespace latchkey::auth
