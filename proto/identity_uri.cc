// Identity URIs as a grammar.
#include "proto/identity_uri.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "proto/keyring.h"

namespace latchkey {

namespace {

constexpr size_t kUriBytesMax = 256;
constexpr size_t kNameCharactersMax = 32;

bool IsStaffName(std::string_view text) {
  return !text.empty() && text.size() <= kNameCharactersMax &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_';
         });
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) {
      return parts;
    }
    text.remove_prefix(at + 1);
  }
}

// nullopt: a word that is no group, or one twice.
std::optional<uint32_t> ParseGroups(std::string_view text) {
  uint32_t mask = 0;
  for (const std::string_view word : Split(text, '+')) {
    const std::optional<Group> group = ParseGroup(word);
    if (!group || (mask & Bit(ReadPermission(*group))) != 0) {
      return std::nullopt;
    }
    mask |= Bit(ReadPermission(*group));
  }
  return WithImplied(mask);
}

std::optional<CertificateIdentity> ParseParts(const std::vector<std::string_view>& parts) {
  if (parts[0] == "car" && parts.size() == 3) {
    const auto fleet = FleetId::Parse(parts[1]);
    const auto car = CarId::Parse(parts[2]);
    if (fleet && car) {
      return CarIdentity{{*fleet, *car}};
    }
  }
  if (parts[0] == "operator" && parts.size() == 4) {
    const auto fleet = FleetId::Parse(parts[1]);
    const auto groups = ParseGroups(parts[3]);
    if (fleet && groups && IsStaffName(parts[2])) {
      return OperatorIdentity{*fleet, std::string(parts[2]), *groups};
    }
  }
  if (parts[0] == "bridge" && parts.size() == 2 && IsStaffName(parts[1])) {
    return BridgeIdentity{std::string(parts[1])};
  }
  if (parts[0] == "registrar" && parts.size() == 2) {
    if (const auto fleet = FleetId::Parse(parts[1])) {
      return RegistrarIdentity{*fleet};
    }
  }
  if (parts[0] == "administrator" && parts.size() == 2 && IsStaffName(parts[1])) {
    return AdministratorIdentity{std::string(parts[1])};
  }
  if (parts[0] == "peer" && parts.size() == 2 && IsStaffName(parts[1])) {
    return PeerIdentity{std::string(parts[1])};
  }
  return std::nullopt;
}

struct UriWriter {
  std::string operator()(const CarIdentity& car) const {
    return "car:" + car.ref.fleet.str() + ":" + car.ref.car.str();
  }

  std::string operator()(const OperatorIdentity& staff) const {
    std::string groups;
    const bool implied = (staff.permissions & Bit(v1::PERMISSION_READ_LOCATION)) != 0;
    for (const Group group : kGroups) {
      const bool written = group != Group::kArea || !implied;
      if (written && (staff.permissions & Bit(ReadPermission(group))) != 0) {
        groups += (groups.empty() ? "" : "+") + std::string(ToText(group));
      }
    }
    return "operator:" + staff.fleet.str() + ":" + staff.name + ":" + groups;
  }

  std::string operator()(const BridgeIdentity& bridge) const { return "bridge:" + bridge.name; }

  std::string operator()(const RegistrarIdentity& registrar) const {
    return "registrar:" + registrar.fleet.str();
  }

  std::string operator()(const AdministratorIdentity& administrator) const {
    return "administrator:" + administrator.name;
  }

  std::string operator()(const PeerIdentity& peer) const { return "peer:" + peer.name; }
};

}  // namespace

std::string ToUri(const CertificateIdentity& identity) {
  return std::string(kIdentityUrn) + std::visit(UriWriter{}, identity);
}

Result<CertificateIdentity> ParseIdentityUri(std::string_view uri) {
  if (uri.size() <= kUriBytesMax && uri.substr(0, kIdentityUrn.size()) == kIdentityUrn) {
    auto identity = ParseParts(Split(uri.substr(kIdentityUrn.size()), ':'));
    if (identity) {
      return std::move(*identity);
    }
  }
  return Fail(v1::REASON_BAD_CERTIFICATE,
              "not a Latchkey identity: want urn:latchkey:car:FLEET:CAR, "
              "urn:latchkey:operator:FLEET:NAME:GROUPS, urn:latchkey:bridge:NAME, "
              "urn:latchkey:registrar:FLEET or urn:latchkey:administrator:NAME");
}

}  // namespace latchkey
