// Papers of the CAs on disk. revoked.json is written before the list is: a crash between the two
// leaves a list that the next `latchkey ca crl` completes, never one that forgets.
#include "tools/latchkey/ca_inventory.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <system_error>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "tools/latchkey/cell.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

constexpr Duration kDay = std::chrono::hours(24);
constexpr size_t kSerialBytesMax = 20;

tl::unexpected<Error> BrokenList(const fs::path& path) {
  return Fail(v1::REASON_MALFORMED,
              path.string() + " is broken, and says what is revoked: put its last good copy back");
}

std::optional<std::string> ReadSerial(const nlohmann::json& entry) {
  const auto serial = entry.find("serial");
  return serial != entry.end() && serial->is_string()
             ? ParseSerial(serial->get_ref<const std::string&>())
             : std::nullopt;
}

Result<void> SaveRevoked(const Authority& authority, const RevokedList& list) {
  nlohmann::ordered_json json = {{"number", list.number},
                                 {"revoked", nlohmann::ordered_json::array()}};
  for (const tools::Revoked& each : list.entries) {
    json["revoked"].push_back({{"serial", SerialText(each.serial)}, {"at_ms", each.at.ms}});
  }
  return WriteFile(authority.revoked, json.dump(1) + "\n", Secrecy::kPublic);
}

// The number of the list on disk; 0: none that can be read.
uint64_t NumberOnDisk(const Authority& authority, const tools::Issued& ca) {
  const Result<std::string> bytes = ReadFile(authority.list);
  const Result<std::string> ca_der = PemToDer(ca.certificate_pem);
  const auto list = bytes && ca_der ? ReadRevocations(*bytes, *ca_der)
                                    : Result<Revocations>(Fail(v1::REASON_MALFORMED, ""));
  return list ? list->number : 0;
}

// Folders in which somebody may hold a certificate of this CA.
std::vector<fs::path> HoldersOf(const Authority& authority) {
  std::vector<fs::path> found;
  for (const fs::path& parent : authority.holders) {
    found.push_back(parent);
    std::error_code error;
    for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
      found.push_back(it->path());
    }
  }
  return found;
}

}  // namespace

Authority FleetAuthority(const Folder& folder, const FleetId& fleet) {
  const fs::path home = folder.Fleet(fleet);
  return {"fleet " + fleet.str(),
          home,
          "ca",
          home / "issued",
          home / "revoked.json",
          folder.Broker() / "fleets" / (fleet.str() + ".crl.pem"),
          {folder.root() / "cars" / fleet.str(), folder.root() / "operators" / fleet.str()}};
}

Authority CellAuthority(const Folder& folder) {
  const fs::path home = folder.root() / "ca";
  return {"the cell",
          home,
          "cell",
          home / "issued",
          home / "revoked.json",
          folder.Broker() / "cell.crl.pem",
          {folder.root() / "bridge"}};
}

Authority AuthorityOf(const Folder& folder, const CertificateIdentity& identity) {
  if (const auto* car = std::get_if<CarIdentity>(&identity)) {
    return FleetAuthority(folder, car->ref.fleet);
  }
  if (const auto* staff = std::get_if<OperatorIdentity>(&identity)) {
    return FleetAuthority(folder, staff->fleet);
  }
  if (const auto* registrar = std::get_if<RegistrarIdentity>(&identity)) {
    return FleetAuthority(folder, registrar->fleet);
  }
  return CellAuthority(folder);
}

Result<tools::Issued> LoadCa(const Authority& authority) {
  Result<tools::Issued> ca = LoadIssued(authority.folder, authority.stem);
  if (!ca) {
    return Fail(v1::REASON_MALFORMED,
                "no CA of " + authority.name + " here (" + ca.error().text +
                    "): make it with `latchkey fleet init FLEET`, or go to the computer that "
                    "holds it");
  }
  return ca;
}

Result<int> DaysWithin(const tools::Issued& ca, Timestamp now, int days) {
  LK_TRY(const std::string der, PemToDer(ca.certificate_pem));
  LK_TRY(const Timestamp end, EndOf(der));
  const int64_t left = (end - now) / kDay;
  if (left < 1) {
    return Fail(v1::REASON_BAD_CERTIFICATE,
                "the CA itself ends within a day: make a new one before issuing from it");
  }
  return static_cast<int>(std::min<int64_t>(left, days));
}

Result<tools::Issued> IssueAndKeep(const Folder& folder, const CertificateIdentity& identity,
                                   Timestamp now, int days) {
  const Authority authority = AuthorityOf(folder, identity);
  LK_TRY(const tools::Issued ca, LoadCa(authority));
  LK_TRY(const int within, DaysWithin(ca, now, days));
  LK_TRY(tools::Issued issued, tools::IssueClient(identity, ca, now, within));
  LK_CHECK(KeepIssued(authority, issued.certificate_pem));
  return issued;
}

Result<void> KeepIssued(const Authority& authority, const std::string& certificate_pem) {
  LK_TRY(const Certificate certificate, Certificate::FromPem(certificate_pem));
  return WriteFile(authority.issued / (SerialText(certificate.serial) + ".pem"), certificate_pem,
                   Secrecy::kPublic);
}

std::string SerialText(std::string_view serial) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : serial) {
    const auto byte = static_cast<unsigned char>(c);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::optional<std::string> ParseSerial(std::string_view text) {
  std::string digits;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (c == ':') {
      continue;
    }
    if (!letter && (c < '0' || c > '9')) {
      return std::nullopt;
    }
    digits += static_cast<char>(letter ? (c & 15) + 9 : c - '0');
  }
  digits.erase(0, digits.find_first_not_of('\0'));
  if (digits.size() % 2 != 0) {
    digits.insert(digits.begin(), '\0');
  }
  if (digits.empty() || digits.size() > 2 * kSerialBytesMax) {
    return std::nullopt;
  }
  std::string serial;
  for (size_t i = 0; i < digits.size(); i += 2) {
    serial += static_cast<char>(digits[i] << 4 | digits[i + 1]);
  }
  return serial;
}

std::vector<Certificate> ReadNewCertificates(const fs::path& folder, std::set<std::string>& seen) {
  std::vector<Certificate> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const fs::path& path = it->path();
    if (path.extension() != ".pem" || !seen.insert(path.filename().string()).second) {
      continue;
    }
    const Result<std::string> pem = ReadFile(path);
    Result<Certificate> certificate =
        pem ? Certificate::FromPem(*pem) : tl::unexpected<Error>(pem.error());
    if (certificate) {
      found.push_back(std::move(*certificate));
    }
  }
  return found;
}

void Adopt(const Authority& authority, const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != ".pem") {
      continue;
    }
    const Result<std::string> pem = ReadFile(it->path());
    const Result<Certificate> certificate =
        pem ? Certificate::FromPem(*pem) : tl::unexpected<Error>(pem.error());
    std::error_code ignored;
    if (certificate &&
        !fs::exists(authority.issued / (SerialText(certificate->serial) + ".pem"), ignored)) {
      static_cast<void>(KeepIssued(authority, *pem));  // the holder has it still
    }
  }
}

void AdoptHeld(const Authority& authority) {
  for (const fs::path& holder : HoldersOf(authority)) {
    Adopt(authority, holder);
  }
}

std::vector<Certificate> ListCertificates(const Authority& authority) {
  std::map<std::string, Certificate> by_serial;
  const auto add = [&](const fs::path& folder) {
    std::set<std::string> seen;
    for (Certificate& each : ReadNewCertificates(folder, seen)) {
      by_serial.emplace(each.serial, std::move(each));
    }
  };
  add(authority.issued);
  for (const fs::path& holder : HoldersOf(authority)) {
    add(holder);
  }
  std::vector<Certificate> all;
  for (auto& [serial, certificate] : by_serial) {
    all.push_back(std::move(certificate));
  }
  std::sort(all.begin(), all.end(), [](const Certificate& a, const Certificate& b) {
    const std::string a_uri = ToUri(a.identity);
    const std::string b_uri = ToUri(b.identity);
    return a_uri != b_uri ? a_uri < b_uri : a.not_after < b.not_after;
  });
  return all;
}

const tools::Revoked* RevokedList::Find(std::string_view serial) const {
  const auto found =
      std::find_if(entries.begin(), entries.end(),
                   [serial](const tools::Revoked& each) { return each.serial == serial; });
  return found == entries.end() ? nullptr : &*found;
}

Result<RevokedList> LoadRevoked(const Authority& authority) {
  std::error_code ignored;
  if (!fs::exists(authority.revoked, ignored)) {
    return RevokedList{};
  }
  LK_TRY(const std::string text, ReadFile(authority.revoked));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("number") || !json["number"].is_number_unsigned() ||
      !json.contains("revoked") || !json["revoked"].is_array()) {
    return BrokenList(authority.revoked);
  }
  RevokedList list{json["number"].get<uint64_t>(), {}};
  for (const nlohmann::json& entry : json["revoked"]) {
    std::optional<std::string> serial = entry.is_object() ? ReadSerial(entry) : std::nullopt;
    if (!serial || !entry.contains("at_ms") || !entry["at_ms"].is_number_integer()) {
      return BrokenList(authority.revoked);
    }
    list.entries.push_back({std::move(*serial), Timestamp{entry["at_ms"].get<int64_t>()}});
  }
  return list;
}

Result<RevokedList> Revoke(const Authority& authority, const std::vector<std::string>& serials,
                           Timestamp now) {
  LK_TRY(const tools::Issued ca, LoadCa(authority));
  const FileLock lock(authority.folder / "revoked.lock", FileLock::Patience::kWait);
  if (!lock.held()) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, "cannot lock " +
                                                  (authority.folder / "revoked.lock").string() +
                                                  ": run as the user who made the folder");
  }
  LK_TRY(RevokedList list, LoadRevoked(authority));
  for (const std::string& serial : serials) {
    if (list.Find(serial) == nullptr) {
      list.entries.push_back({serial, now});
    }
  }
  list.number = std::max(list.number, NumberOnDisk(authority, ca)) + 1;
  LK_TRY(const std::string pem, tools::MakeCrl(ca, list.entries, list.number, {now, kListDays}));
  LK_CHECK(SaveRevoked(authority, list));
  LK_CHECK(WriteFile(authority.list, pem, Secrecy::kPublic));
  return list;
}

}  // namespace latchkey::cli
