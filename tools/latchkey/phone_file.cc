// phone.json. A ring is kept as its car signed it and is checked again at each load: a pairing that
// does not hold together is refused, not repaired.
#include "tools/latchkey/phone_file.h"

#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include "proto/certificate.h"
#include "proto/keyring.h"
#include "proto/types.h"

namespace latchkey::cli {

namespace {

using nlohmann::json;

constexpr std::string_view kFleetPhone = "fleet-";

std::string TextAt(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

Result<tools::Pairing> ReadPairing(const json& object, const std::string& path) {
  const auto broken = [&path](const std::string& what) {
    return Fail(v1::REASON_MALFORMED, path + ": a pairing " + what + ": pair again");
  };
  if (!object.is_object()) {
    return broken("is not an object");
  }
  const std::optional<FleetId> fleet = FleetId::Parse(TextAt(object, "fleet"));
  const std::optional<CarId> car = CarId::Parse(TextAt(object, "car"));
  const std::optional<std::string> signed_ring = Base64UrlDecode(TextAt(object, "key_ring"));
  const auto port = object.find("port");
  if (!fleet || !car || !signed_ring || port == object.end() || !port->is_number_integer()) {
    return broken("lacks fleet, car, port or ring");
  }
  const CarRef ref{*fleet, *car};
  const std::string host = TextAt(object, "host");
  const std::string cell = TextAt(object, "cell");
  if (signed_ring->empty()) {  // an invitation that waits for the car
    LK_TRY(PublicKey key, PublicKey::FromPoint(
                              Base64UrlDecode(TextAt(object, "car_key")).value_or(std::string())));
    return tools::Pairing{
        ref, host, port->get<int>(), cell, std::move(key), "", KeyRing{ref, 0, {}, {}}, ""};
  }
  const std::optional<std::string> der = Base64UrlDecode(TextAt(object, "car_certificate"));
  LK_TRY(Certificate certificate, Certificate::FromDer(der.value_or(std::string())));
  LK_TRY(KeyRing ring, OpenKeyRingOf(*signed_ring, certificate.public_key));
  if (ring.ref != ref) {
    return broken("has the ring of another car");
  }
  return tools::Pairing{
      ref,         host, port->get<int>(), cell, certificate.public_key, *der, std::move(ring),
      *signed_ring};
}

}  // namespace

namespace {

// A phone's name is a name, or that of a fleet's key, which may be longer.
Result<void> CheckPhoneName(const std::string& name) {
  const bool of_fleet = name.rfind(kFleetPhone, 0) == 0 &&
                        FleetId::Parse(std::string_view(name).substr(kFleetPhone.size()));
  return of_fleet ? Result<void>() : CheckName(name);
}

}  // namespace

Result<void> CheckName(const std::string& name) {
  if (!CarId::Parse(name)) {
    return Fail(v1::REASON_MALFORMED,
                "name \"" + name + "\" is not 1 to 32 letters, digits, '-' or '_'");
  }
  return {};
}

std::string FleetPhoneName(const FleetId& fleet) {
  return std::string(kFleetPhone) + fleet.str();
}

Result<std::optional<PublicKey>> FindFleetKey(const Folder& folder, const FleetId& fleet) {
  const std::string name = FleetPhoneName(fleet);
  std::error_code ignored;
  if (!std::filesystem::exists(folder.Phone(name) / "phone.key", ignored)) {
    return std::optional<PublicKey>();
  }
  LK_TRY(const SavedPhone phone, LoadPhone(folder, name));
  return std::optional<PublicKey>(phone.key.Public());
}

Result<PublicKey> MakePhone(const Folder& folder, const std::string& name,
                            const std::string& label) {
  LK_CHECK(CheckPhoneName(name));
  std::error_code ignored;
  if (std::filesystem::exists(folder.Phone(name) / "phone.key", ignored)) {
    return Fail(v1::REASON_MALFORMED, "phone " + name + " exists already in " +
                                          folder.Phone(name).string() +
                                          ": use it, or take another name");
  }
  if (label.size() > kLabelBytesMax) {
    return Fail(v1::REASON_TOO_LARGE, "a label has at most 64 bytes: shorten it");
  }
  const PrivateKey key = PrivateKey::Generate();
  LK_CHECK(SavePhone(folder, name, label, key.Public(), {}));
  LK_CHECK(WriteFile(folder.Phone(name) / "phone.key", key.ToPem(), Secrecy::kSecret));
  return key.Public();
}

Result<SavedPhone> LoadPhone(const Folder& folder, const std::string& name) {
  LK_CHECK(CheckPhoneName(name));
  const std::filesystem::path path = folder.Phone(name);
  const Result<std::string> pem = ReadFile(path / "phone.key");
  if (!pem) {
    return Fail(v1::REASON_MALFORMED, "no phone \"" + name + "\" (" + pem.error().text +
                                          "): make it with `latchkey phone init " + name + "`");
  }
  LK_TRY(PrivateKey key, PrivateKey::FromPem(*pem));
  LK_TRY(const std::string text, ReadFile(path / "phone.json"));
  const json file = json::parse(text, nullptr, false);
  if (!file.is_object()) {
    return Fail(v1::REASON_MALFORMED, (path / "phone.json").string() + " is not JSON: restore it");
  }
  SavedPhone phone{std::move(key), TextAt(file, "label"), {}};
  const auto pairings = file.find("pairings");
  if (pairings != file.end()) {
    for (const json& object : *pairings) {
      LK_TRY(tools::Pairing pairing, ReadPairing(object, (path / "phone.json").string()));
      phone.pairings.push_back(std::move(pairing));
    }
  }
  return phone;
}

Result<void> SavePhone(const Folder& folder, const std::string& name, const std::string& label,
                       const PublicKey& public_key, const std::vector<tools::Pairing>& pairings) {
  nlohmann::ordered_json file = {{"label", label},
                                 {"key_id", public_key.Id().str()},
                                 {"public_key", Base64UrlEncode(public_key.ToPoint())},
                                 {"pairings", json::array()}};
  for (const tools::Pairing& pairing : pairings) {
    file["pairings"].push_back(
        nlohmann::ordered_json{{"fleet", pairing.ref.fleet.str()},
                               {"car", pairing.ref.car.str()},
                               {"host", pairing.host},
                               {"port", pairing.port},
                               {"cell", pairing.cell},
                               {"ring_version", pairing.ring.version},
                               {"car_key", Base64UrlEncode(pairing.car_key.ToPoint())},
                               {"car_certificate", Base64UrlEncode(pairing.car_certificate)},
                               {"key_ring", Base64UrlEncode(pairing.signed_ring)}});
  }
  return WriteFile(folder.Phone(name) / "phone.json",
                   file.dump(2, ' ', false, json::error_handler_t::replace) + "\n",
                   Secrecy::kSecret);
}

Result<tools::Pairing> FindPairing(const SavedPhone& phone, const std::string& name,
                                   const std::string& car) {
  std::vector<const tools::Pairing*> found;
  std::string others;
  for (const tools::Pairing& pairing : phone.pairings) {
    if (pairing.ref.car.str() == car || pairing.ref.ToText() == car) {
      found.push_back(&pairing);
    }
    others += (others.empty() ? "" : ", ") + pairing.ref.ToText();
  }
  if (found.size() == 1) {
    return *found.front();
  }
  if (found.empty()) {
    return Fail(v1::REASON_NOT_ON_RING,
                "phone " + name + " is not paired with car " + car +
                    (others.empty() ? " or any other" : "; it is with " + others) +
                    ": pair with `latchkey phone pair " + name + " QRTEXT`");
  }
  return Fail(v1::REASON_NOT_ON_RING,
              "phone " + name + " is paired with several cars " + car + ": say which of " + others);
}

}  // namespace latchkey::cli
