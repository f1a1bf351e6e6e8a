// Bookkeeping of connections; the only subtle part is the order of a take-over, see the header.
#include "plugins/auth/sessions.h"

#include <set>
#include <utility>

#include "proto/topic.h"

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

Publish Sessions::PresenceOf(const CarRef& ref, const v1::Presence& presence) const {
  v1::Presence stamped = presence;
  stamped.set_broker_started_at_ms(static_cast<uint64_t>(started_at_.ms));
  return Publish{PresenceTopic(ref), stamped.SerializeAsString(), 1, Retain::kYes, 0};
}

std::optional<Publish> Sessions::Begin(Connection connection, Session session,
                                       std::string_view address) {
  const auto known = sessions_.find(connection);
  if (known != sessions_.end()) {
    if (known->second.session.principal == session.principal &&
        known->second.session.client_id == session.client_id) {
      return std::nullopt;
    }
    End(connection, session.signed_in_at);
  }
  std::optional<Publish> publish;
  if (session.principal.kind == PrincipalKind::kCar) {
    CarLinks& links = cars_[session.principal.car];
    ++links.opened;
    ++links.open;
    v1::Presence presence;
    presence.set_online(true);
    presence.set_since_ms(static_cast<uint64_t>(session.signed_in_at.ms));
    presence.set_session(links.opened);
    presence.set_address_kind(AddressKindOf(address));
    publish = PresenceOf(session.principal.car, presence);
  }
  Connection& newest = newest_[session.client_id];
  sessions_.insert_or_assign(connection, Entry{std::move(session), newest});
  newest = connection;
  return publish;
}

std::optional<Publish> Sessions::End(Connection connection, Timestamp now) {
  const auto found = sessions_.find(connection);
  if (found == sessions_.end()) {
    return std::nullopt;
  }
  const auto [ended, older] = std::move(found->second);
  sessions_.erase(found);
  const auto newest = newest_.find(ended.client_id);
  if (newest != newest_.end() && newest->second == connection) {
    // When the newer one failed after its sign-in, the older one is in force again.
    const Session* left = Find(older);
    if (left != nullptr && left->client_id == ended.client_id) {
      newest->second = older;
    } else {
      newest_.erase(newest);
    }
  }
  if (ended.principal.kind != PrincipalKind::kCar) {
    return std::nullopt;
  }
  CarLinks& links = cars_[ended.principal.car];
  LK_ASSERT(links.open > 0);
  --links.open;
  if (links.open > 0) {
    return std::nullopt;
  }
  v1::Presence presence;
  presence.set_online(false);
  presence.set_since_ms(static_cast<uint64_t>(now.ms));
  presence.set_reason(v1::OFFLINE_REASON_CONNECTION_ENDED);
  presence.set_session(links.opened);
  return PresenceOf(ended.principal.car, presence);
}

bool Sessions::MayWrite(Connection connection) const {
  const Session* session = Find(connection);
  if (session == nullptr) {
    return false;
  }
  const auto newest = newest_.find(session->client_id);
  return newest != newest_.end() && newest->second == connection;
}

const Session* Sessions::Find(Connection connection) const {
  const auto found = sessions_.find(connection);
  return found == sessions_.end() ? nullptr : &found->second.session;
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
    if (is_meant(entry.session.principal)) {
      clients.insert(entry.session.client_id);
    }
  }
  return {clients.begin(), clients.end()};
}

std::optional<Publish> Sessions::OfflineAtStart(const CarRef& ref) const {
  if (cars_.contains(ref)) {
    return std::nullopt;
  }
  v1::Presence presence;
  presence.set_online(false);
  presence.set_since_ms(static_cast<uint64_t>(started_at_.ms));
  presence.set_reason(v1::OFFLINE_REASON_BROKER_RESTART);
  return PresenceOf(ref, presence);
}

}  // namespace latchkey::auth
