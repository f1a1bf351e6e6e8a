// Identity by certificate or token, and the binding of client ids to principals: nobody can take
// over another's session because nobody gets in under another's client id.
#include "plugins/auth/identity.h"

#include <array>
#include <utility>
#include <variant>

#include "proto/certificate.h"
#include "proto/token.h"

namespace latchkey::auth {

namespace {

constexpr std::string_view kBridgeWord = "bridge";
constexpr std::string_view kOperatorWord = "operator";
constexpr std::string_view kRegistrarWord = "registrar";
constexpr std::string_view kAdministratorWord = "administrator";
constexpr std::string_view kPeerWord = "peer";
constexpr std::string_view kBrokerMadePrefix = "auto-";  // Mosquitto's default auto_id_prefix

std::string Joined(std::string_view a, std::string_view b) {
  std::string text(a);
  text += '/';
  text += b;
  return text;
}

// `id` itself, or `id` and '/' and anything.
bool BeginsWithId(std::string_view client_id, std::string_view id) {
  return client_id.substr(0, id.size()) == id &&
         (client_id.size() == id.size() || client_id[id.size()] == '/');
}

std::string OwnClientId(const Principal& principal) {
  switch (principal.kind) {
    case PrincipalKind::kPhone:
      return principal.key.str();
    case PrincipalKind::kCar:
      return principal.car.ToText();
    case PrincipalKind::kOperator:
      return Joined(Joined(principal.car.fleet.str(), kOperatorWord), principal.name);
    case PrincipalKind::kBridge:
      return Joined(kBridgeWord, principal.name);
    case PrincipalKind::kRegistrar:
      return Joined(principal.car.fleet.str(), kRegistrarWord);
    case PrincipalKind::kAdministrator:
      return Joined(kAdministratorWord, principal.name);
    case PrincipalKind::kPeer:
      return Joined(kPeerWord, principal.name);
  }
  return {};
}

bool IsOthersFleet(std::string_view fleet) {
  return fleet == kBridgeWord || fleet == kAdministratorWord || fleet == kPeerWord;
}

bool IsOthersCar(std::string_view car) {
  return car == kOperatorWord || car == kRegistrarWord;
}

// A fleet called "bridge" or a car called "operator" would own client ids of others.
bool NamesAreOthers(const Principal& principal) {
  return IsOthersFleet(principal.car.fleet.str()) || IsOthersCar(principal.car.car.str());
}

// What the certificate says of its holder, not yet believed.
Principal PrincipalOf(const CertificateIdentity& identity) {
  Principal principal;
  if (const auto* car = std::get_if<CarIdentity>(&identity)) {
    principal.kind = PrincipalKind::kCar;
    principal.car = car->ref;
  } else if (const auto* fleet_operator = std::get_if<OperatorIdentity>(&identity)) {
    principal.kind = PrincipalKind::kOperator;
    principal.car.fleet = fleet_operator->fleet;
    principal.name = fleet_operator->name;
    principal.permissions = fleet_operator->permissions;
  } else if (const auto* bridge = std::get_if<BridgeIdentity>(&identity)) {
    principal.kind = PrincipalKind::kBridge;
    principal.name = bridge->name;
  } else if (const auto* registrar = std::get_if<RegistrarIdentity>(&identity)) {
    principal.kind = PrincipalKind::kRegistrar;
    principal.car.fleet = registrar->fleet;
  } else if (const auto* administrator = std::get_if<AdministratorIdentity>(&identity)) {
    principal.kind = PrincipalKind::kAdministrator;
    principal.name = administrator->name;
  } else if (const auto* peer = std::get_if<PeerIdentity>(&identity)) {
    principal.kind = PrincipalKind::kPeer;
    principal.name = peer->name;
  }
  return principal;
}

Result<Principal> ByCertificate(std::string_view der, const Trust& trust, Timestamp now) {
  LK_TRY(const Certificate certificate, Certificate::FromDer(der));
  Principal principal = PrincipalOf(certificate.identity);
  principal.serial = certificate.serial;
  const std::string* ca = trust.CaOf(principal);
  if (ca == nullptr) {
    return Fail(v1::REASON_BAD_CERTIFICATE, "fleet " + principal.car.fleet.str() +
                                                " is not of this cell: refused; add its CA to "
                                                "fleet_ca_dir");
  }
  LK_CHECK(CheckSignedBy(der, *ca, now));
  if (trust.Revoked(principal)) {
    return Fail(v1::REASON_BAD_CERTIFICATE,
                "the certificate of " + principal.ToText() +
                    " is revoked: refused; issue another if it should get in again");
  }
  return principal;
}

Result<Principal> ByToken(const Credentials& credentials, const Trust& trust, Timestamp now) {
  if (!credentials.user_name || !credentials.password) {
    return Fail(v1::REASON_BAD_TOKEN,
                "no certificate, and no user name and password: refused; connect with either");
  }
  LK_TRY(const Token token,
         CheckToken(*credentials.password, *credentials.user_name, trust.cell, now));
  Principal principal;
  principal.kind = PrincipalKind::kPhone;
  principal.key = token.key_id;
  return principal;
}

}  // namespace

std::string Principal::ToText() const {
  switch (kind) {
    case PrincipalKind::kPhone:
      return "phone:" + key.str();
    case PrincipalKind::kCar:
      return "car:" + car.ToText();
    case PrincipalKind::kOperator:
      return "operator:" + Joined(car.fleet.str(), name);
    case PrincipalKind::kBridge:
      return "bridge:" + name;
    case PrincipalKind::kRegistrar:
      return "registrar:" + car.fleet.str();
    case PrincipalKind::kAdministrator:
      return "administrator:" + name;
    case PrincipalKind::kPeer:
      return "peer:" + name;
  }
  return {};
}

const std::string* Trust::FindFleetCa(std::string_view fleet) const {
  const auto found = fleet_cas.find(fleet);
  return found == fleet_cas.end() ? nullptr : &found->second;
}

const Revocations* Trust::FindFleetRevoked(std::string_view fleet) const {
  const auto found = fleet_revoked.find(fleet);
  return found == fleet_revoked.end() ? nullptr : &found->second;
}

const std::string* Trust::CaOf(const Principal& principal) const {
  switch (principal.kind) {
    case PrincipalKind::kPhone:
      return nullptr;
    case PrincipalKind::kBridge:
    case PrincipalKind::kAdministrator:
    case PrincipalKind::kPeer:
      return &cell_ca;
    case PrincipalKind::kCar:
    case PrincipalKind::kOperator:
    case PrincipalKind::kRegistrar:
      return FindFleetCa(principal.car.fleet.str());
  }
  return nullptr;
}

bool Trust::Revoked(const Principal& principal) const {
  switch (principal.kind) {
    case PrincipalKind::kPhone:
      return false;
    case PrincipalKind::kBridge:
    case PrincipalKind::kAdministrator:
    case PrincipalKind::kPeer:
      return cell_revoked.serials.contains(principal.serial);
    case PrincipalKind::kCar:
    case PrincipalKind::kOperator:
    case PrincipalKind::kRegistrar: {
      const Revocations* revoked = FindFleetRevoked(principal.car.fleet.str());
      return revoked != nullptr && revoked->serials.contains(principal.serial);
    }
  }
  return true;
}

Result<Principal> Identify(const Credentials& credentials, const Trust& trust, Timestamp now) {
  LK_TRY(Principal principal, credentials.certificate
                                  ? ByCertificate(*credentials.certificate, trust, now)
                                  : ByToken(credentials, trust, now));
  const std::string own = OwnClientId(principal);
  const bool broker_made =
      principal.kind == PrincipalKind::kPhone &&
      credentials.client_id.substr(0, kBrokerMadePrefix.size()) == kBrokerMadePrefix;
  if (NamesAreOthers(principal) || (!broker_made && !BeginsWithId(credentials.client_id, own))) {
    return Fail(v1::REASON_NOT_ALLOWED,
                "the client id is not this client's: refused; use " + own + ", or that and '/...'");
  }
  return principal;
}

bool IsPeerClientId(std::string_view client_id) {
  return client_id.size() > kPeerWord.size() && BeginsWithId(client_id, kPeerWord);
}

std::optional<Principal> RestingPrincipal(std::string_view client_id, const Trust& trust) {
  std::array<std::string_view, 2> levels;
  const size_t slash = client_id.find('/');
  levels[0] = client_id.substr(0, slash);
  if (slash != std::string_view::npos) {
    levels[1] = client_id.substr(slash + 1);
    levels[1] = levels[1].substr(0, levels[1].find('/'));
  }
  Principal principal;
  if (levels[0] == kBridgeWord || levels[0] == kPeerWord) {
    if (levels[1].empty()) {
      return std::nullopt;
    }
    principal.kind = levels[0] == kPeerWord ? PrincipalKind::kPeer : PrincipalKind::kBridge;
    principal.name = std::string(levels[1]);
    return principal;
  }
  if (levels[0] == kAdministratorWord) {
    return std::nullopt;
  }
  if (trust.FindFleetCa(levels[0]) != nullptr) {
    std::optional<FleetId> fleet = FleetId::Parse(levels[0]);
    std::optional<CarId> car = CarId::Parse(levels[1]);
    if (!fleet || !car || car->str() == kOperatorWord) {
      return std::nullopt;
    }
    if (car->str() == kRegistrarWord) {
      principal.kind = PrincipalKind::kRegistrar;
      principal.car.fleet = std::move(*fleet);
      return principal;
    }
    principal.kind = PrincipalKind::kCar;
    principal.car = CarRef{std::move(*fleet), std::move(*car)};
    return principal;
  }
  std::optional<KeyId> key = KeyId::Parse(levels[0]);
  if (!key) {
    return std::nullopt;
  }
  principal.kind = PrincipalKind::kPhone;
  principal.key = std::move(*key);
  return principal;
}

}  // namespace latchkey::auth
