// Bookkeeping of connections; the only subtle part is the order of a take-over, see the header.
#include "plugins/auth/sessions.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "proto/topic.h"
#include "proto/wire.h"

namespace latchkey::auth {

v1::AddressKind AddressKindOf(std::string_view address) {
  constexpr std::string_view kMapped = "::ffff:";
  if (address.substr(0, kMapped.size()) == kMapped) {
    address.remove_prefix(kMapped.size());
  }
  if (address.empty()) {
    return v1::ADDRESS_KIND_UNSPECIFIED;
  }
  if (address == "::1" || address.substr(0, 4) == "127.") {
    return v1::ADDRESS_KIND_LOOPBACK;
  }
  return address.find(':') == std::string_view::npos ? v1::ADDRESS_KIND_IPV4
                                                     : v1::ADDRESS_KIND_IPV6;
}

Publish Sessions::PresenceOf(const CarRef& ref, v1::Presence presence,
                             const CarLinks* links) const {
  presence.set_broker_started_at_ms(static_cast<uint64_t>(started_at_.ms));
  presence.set_broker(broker_);
  if (links != nullptr && links->ended.number != 0) {
    const Ended& from = links->ended;
    v1::EndedSession& ended = *presence.mutable_ended();
    ended.set_session(from.number);
    ended.set_began_at_ms(static_cast<uint64_t>(from.began_at.ms));
    ended.set_ended_at_ms(static_cast<uint64_t>(from.ended_at.ms));
    ended.set_reason(from.reason);
    ended.set_address_kind(from.address_kind);
    ended.set_messages_from_car(from.traffic.messages_from);
    ended.set_bytes_from_car(from.traffic.bytes_from);
    ended.set_messages_to_car(from.traffic.messages_to);
    ended.set_bytes_to_car(from.traffic.bytes_to);
    ended.set_longest_silence_ms(static_cast<uint64_t>(from.traffic.longest_silence.count()));
    ended.set_silence_at_end_ms(static_cast<uint64_t>(from.silence_at_end.count()));
    ended.set_keep_alive_s(from.keep_alive_s);
  }
  return Publish{PresenceTopic(ref), presence.SerializeAsString(), 1, Retain::kYes, 0};
}

void Traffic::Heard(size_t payload_bytes, Instant now) {
  ++messages_from;
  bytes_from += payload_bytes;
  longest_silence = std::max(longest_silence, now - heard);
  heard = now;
}

void Traffic::Gave(size_t payload_bytes) {
  ++messages_to;
  bytes_to += payload_bytes;
}

// Of the car's newest connection.
Publish Sessions::OnlineOf(const CarRef& ref, const CarLinks& links) const {
  v1::Presence presence;
  presence.set_online(true);
  presence.set_since_ms(static_cast<uint64_t>(links.since.ms));
  presence.set_session(links.opened);
  presence.set_address_kind(links.address_kind);
  return PresenceOf(ref, std::move(presence), &links);
}

Sessions::Ended Sessions::EndedOf(const Entry& entry, bool taken_over, const Now& now) {
  const Session& session = entry.session;
  Ended ended{entry.number,
              session.signed_in_at,
              now.wall,
              v1::OFFLINE_REASON_CONNECTION_ENDED,
              entry.address_kind,
              session.keep_alive_s,
              std::max(Duration(0), now.mono - entry.traffic.heard),
              entry.traffic};
  ended.traffic.longest_silence = std::max(ended.traffic.longest_silence, ended.silence_at_end);
  // What the broker waits for (MQTT 5.0 section 3.1.2.10).
  const Duration patience = std::chrono::seconds(session.keep_alive_s) * 3 / 2;
  if (entry.kicked) {
    ended.reason = v1::OFFLINE_REASON_KICKED;
  } else if (taken_over) {
    ended.reason = v1::OFFLINE_REASON_TAKEN_OVER;
  } else if (session.keep_alive_s > 0 && ended.silence_at_end >= patience) {
    ended.reason = v1::OFFLINE_REASON_TIMED_OUT;
  }
  return ended;
}

std::optional<Publish> Sessions::Begin(Connection connection, Session session,
                                       std::string_view address) {
  if (const Entry* known = FindEntry(connection)) {
    if (known->session.principal == session.principal &&
        known->session.client_id == session.client_id) {
      return std::nullopt;
    }
    End(connection, Now{session.signed_in_at, session.began});
  }
  auto entry = std::make_unique<Entry>();
  entry->address_kind = AddressKindOf(address);
  entry->traffic.heard = session.began;
  std::optional<Publish> publish;
  if (session.principal.kind == PrincipalKind::kCar) {
    CarLinks& links = cars_[session.principal.car];
    entry->number = ++links.opened;
    ++links.open;
    links.since = session.signed_in_at;
    links.address_kind = entry->address_kind;
    publish = OnlineOf(session.principal.car, links);
  }
  Connection& newest = newest_[session.client_id];
  entry->older = newest;
  if (Entry* older = FindEntry(newest)) {
    older->may_write = false;
  }
  entry->session = std::move(session);
  sessions_.insert_or_assign(connection, std::move(entry));
  newest = connection;
  return publish;
}

std::optional<Publish> Sessions::End(Connection connection, const Now& now) {
  const auto found = sessions_.find(connection);
  if (found == sessions_.end()) {
    return std::nullopt;
  }
  const std::unique_ptr<const Entry> entry = std::move(found->second);
  const Session& ended = entry->session;
  sessions_.erase(found);
  const bool taken_over = !entry->may_write;
  if (!taken_over) {
    // When the newer one failed after its sign-in, the older one is in force again.
    Entry* left = FindEntry(entry->older);
    if (left != nullptr && left->session.client_id == ended.client_id) {
      left->may_write = true;
      newest_[ended.client_id] = entry->older;
    } else {
      newest_.erase(ended.client_id);
    }
  }
  if (ended.principal.kind != PrincipalKind::kCar) {
    return std::nullopt;
  }
  CarLinks& links = cars_[ended.principal.car];
  LK_ASSERT(links.open > 0);
  --links.open;
  links.ended = EndedOf(*entry, taken_over, now);
  if (links.open > 0) {
    return OnlineOf(ended.principal.car, links);
  }
  const auto at_peer = at_peer_.find(ended.principal.car);
  if (at_peer != at_peer_.end()) {
    return Publish{PresenceTopic(ended.principal.car), at_peer->second.payload, 1, Retain::kYes, 0};
  }
  v1::Presence presence;
  presence.set_online(false);
  presence.set_since_ms(static_cast<uint64_t>(now.wall.ms));
  presence.set_reason(links.ended.reason);
  presence.set_session(links.opened);
  return PresenceOf(ended.principal.car, std::move(presence), &links);
}

void Sessions::WillKick(const std::string& client_id) {
  const auto newest = newest_.find(client_id);
  if (Entry* entry = newest == newest_.end() ? nullptr : FindEntry(newest->second)) {
    entry->kicked = true;
  }
}

const Live* Sessions::Find(Connection connection) const {
  return FindEntry(connection);
}

Live* Sessions::Find(Connection connection) {
  return FindEntry(connection);
}

Sessions::Entry* Sessions::FindEntry(Connection connection) const {
  const auto found = sessions_.find(connection);
  return found == sessions_.end() ? nullptr : found->second.get();
}

std::vector<std::string> Sessions::ClientsOf(const std::vector<KeyId>& keys) const {
  if (keys.empty()) {
    return {};
  }
  const std::set<KeyId> set(keys.begin(), keys.end());
  return ClientsWhere([&set](const Principal& principal) {
    return principal.kind == PrincipalKind::kPhone && set.contains(principal.key);
  });
}

std::vector<std::string> Sessions::ClientsWhere(
    const std::function<bool(const Principal&)>& is_meant) const {
  std::set<std::string> clients;
  for (const auto& [connection, entry] : sessions_) {
    if (is_meant(entry->session.principal)) {
      clients.insert(entry->session.client_id);
    }
  }
  return {clients.begin(), clients.end()};
}

void Sessions::ForEach(const std::function<void(const Session&)>& visit) const {
  for (const auto& [connection, entry] : sessions_) {
    visit(entry->session);
  }
}

bool Sessions::TakePeerWord(const CarRef& ref, std::string_view payload) {
  const auto word = FromWire<v1::Presence>(payload, RuleOf(TopicKind::kPresence).payload_bytes_max);
  if (!word || word->broker() == broker_) {
    return false;
  }
  const auto car = cars_.find(ref);
  const bool here = car != cars_.end() && car->second.open > 0;
  const auto own_since =
      car == cars_.end()
          ? 0
          : static_cast<uint64_t>(here ? car->second.since.ms : car->second.ended.ended_at.ms);
  if (!word->online()) {
    const auto known = at_peer_.find(ref);
    const bool older = known != at_peer_.end() && word->since_ms() < known->second.since_ms;
    if (!older) {
      at_peer_.erase(ref);
    }
    return !older && !here && word->since_ms() >= own_since;
  }
  at_peer_.insert_or_assign(ref, AtPeer{word->since_ms(), std::string(payload)});
  return !here || word->since_ms() >= own_since;
}

std::vector<Publish> Sessions::TakePeerGone(size_t most, Timestamp now) {
  std::vector<Publish> said;
  while (!at_peer_.empty() && said.size() < most) {
    const CarRef ref = at_peer_.begin()->first;
    at_peer_.erase(at_peer_.begin());
    const auto car = cars_.find(ref);
    const bool here = car != cars_.end() && car->second.open > 0;
    said.push_back(here ? OnlineOf(ref, car->second) : AwaySince(ref, now));
  }
  return said;
}

std::optional<Publish> Sessions::OfflineAtStart(const CarRef& ref) const {
  return cars_.contains(ref) || at_peer_.contains(ref) ? std::nullopt
                                                       : std::optional(AwaySince(ref, started_at_));
}

Publish Sessions::AwaySince(const CarRef& ref, Timestamp since) const {
  v1::Presence presence;
  presence.set_online(false);
  presence.set_since_ms(static_cast<uint64_t>(since.ms));
  presence.set_reason(v1::OFFLINE_REASON_BROKER_RESTART);
  return PresenceOf(ref, std::move(presence), nullptr);
}

}  // namespace latchkey::auth
