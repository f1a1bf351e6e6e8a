// latchkey ca list, revoke, crl, serve: what the CAs of this folder have issued, taking it back,
// and renewing cars' certificates.
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/latchkey/ca_expiry.h"
#include "tools/latchkey/ca_inventory.h"
#include "tools/latchkey/ca_serve.h"
#include "tools/latchkey/cell.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using nlohmann::ordered_json;

constexpr int kBridgeDays = 825;

struct CaOptions {
  std::string fleet;  // empty: the cell's CA
  std::string car;
  std::string staff;
  std::string administrator;
  std::string peer;
  std::string serial;
  bool registrar = false;
  bool bridge = false;
  std::string length;
  int days = kCarDays;
};

struct WhoText {
  std::string operator()(const CarIdentity& car) const { return "car " + car.ref.ToText(); }

  std::string operator()(const OperatorIdentity& staff) const {
    return "operator " + staff.fleet.str() + "/" + staff.name;
  }

  std::string operator()(const BridgeIdentity& bridge) const { return "bridge " + bridge.name; }

  std::string operator()(const RegistrarIdentity& registrar) const {
    return "registrar " + registrar.fleet.str();
  }

  std::string operator()(const AdministratorIdentity& administrator) const {
    return "administrator " + administrator.name;
  }

  std::string operator()(const PeerIdentity& peer) const { return "peer " + peer.name; }
};

std::string WhoIs(const Certificate& certificate) {
  return std::visit(WhoText{}, certificate.identity);
}

std::string Padded(std::string text, size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text;
}

Result<Authority> Chosen(const Folder& folder, const CaOptions& options) {
  if (options.fleet.empty()) {
    return CellAuthority(folder);
  }
  LK_TRY(const FleetId fleet, ParseFleet(options.fleet));
  return FleetAuthority(folder, fleet);
}

Result<void> List(const Context& context, const CaOptions& options) {
  LK_TRY(const Authority authority, Chosen(Folder(context.data), options));
  LK_CHECK(LoadCa(authority).map([](const tools::Issued&) {}));
  LK_TRY(const RevokedList revoked, LoadRevoked(authority));
  const Timestamp now = ReadClocks().wall;
  for (const Certificate& each : ListCertificates(authority)) {
    const tools::Revoked* entry = revoked.Find(each.serial);
    if (context.json) {
      const auto days_left = std::chrono::floor<std::chrono::days>(each.not_after - now).count();
      ordered_json json = {{"who", WhoIs(each)},
                           {"uri", ToUri(each.identity)},
                           {"serial", SerialText(each.serial)},
                           {"ends_at_ms", each.not_after.ms},
                           {"days_left", days_left},
                           {"revoked", entry != nullptr}};
      if (entry != nullptr) {
        json["revoked_at_ms"] = entry->at.ms;
      }
      Say(json.dump());
      continue;
    }
    Say(Padded(WhoIs(each), 32) + "  " + Padded(SerialText(each.serial), 32) + "  " +
        DateText(each.not_after).substr(0, 10) + "  " + EndText(each.not_after, now) +
        (entry != nullptr ? "  revoked " + DateText(entry->at).substr(0, 19) : ""));
  }
  return {};
}

// Does the person mean this certificate?
bool Meant(const CaOptions& options, const Certificate& certificate) {
  if (const auto* car = std::get_if<CarIdentity>(&certificate.identity)) {
    return !options.car.empty() && car->ref.car.str() == options.car;
  }
  if (const auto* staff = std::get_if<OperatorIdentity>(&certificate.identity)) {
    return !options.staff.empty() && staff->name == options.staff;
  }
  if (const auto* administrator = std::get_if<AdministratorIdentity>(&certificate.identity)) {
    return !options.administrator.empty() && administrator->name == options.administrator;
  }
  if (const auto* peer = std::get_if<PeerIdentity>(&certificate.identity)) {
    return !options.peer.empty() && peer->name == options.peer;
  }
  return std::holds_alternative<BridgeIdentity>(certificate.identity) ? options.bridge
                                                                      : options.registrar;
}

// The serials meant that are not revoked yet.
Result<std::vector<std::string>> SerialsMeant(const Authority& authority,
                                              const CaOptions& options) {
  std::vector<std::string> serials;
  if (!options.serial.empty()) {
    const std::optional<std::string> serial = ParseSerial(options.serial);
    if (!serial) {
      return Fail(v1::REASON_MALFORMED, "serial number \"" + options.serial +
                                            "\" is not 1 to 20 bytes of hex: `latchkey ca list` "
                                            "shows them");
    }
    serials.push_back(*serial);
    return serials;
  }
  LK_TRY(const RevokedList revoked, LoadRevoked(authority));
  bool known = false;
  for (const Certificate& each : ListCertificates(authority)) {
    if (Meant(options, each)) {
      known = true;
      if (revoked.Find(each.serial) == nullptr) {
        serials.push_back(each.serial);
      }
    }
  }
  if (serials.empty()) {
    return Fail(v1::REASON_MALFORMED,
                known ? "everything of it is revoked already; `latchkey ca list` shows when"
                      : "the CA of " + authority.name +
                            " has issued nothing to it: `latchkey ca list` shows what it has "
                            "issued; --serial revokes any number");
  }
  return serials;
}

void SayList(const Context& context, const Authority& authority, const RevokedList& list,
             const std::vector<std::string>& serials) {
  if (context.json) {
    ordered_json json = {{"revoked", ordered_json::array()},
                         {"number", list.number},
                         {"list", authority.list.string()}};
    for (const std::string& serial : serials) {
      json["revoked"].push_back(SerialText(serial));
    }
    Say(json.dump());
    return;
  }
  for (const std::string& serial : serials) {
    Say("revoked certificate " + SerialText(serial));
  }
  Say("revocation list of " + authority.name + ": number " + std::to_string(list.number) +
      ", revoked certificates " + std::to_string(list.entries.size()) + ", " +
      authority.list.string());
  Say("the broker takes it within seconds, without a restart");
}

Result<void> RevokeMeant(const Context& context, const CaOptions& options) {
  const Folder folder(context.data);
  LK_TRY(const Authority authority, Chosen(folder, options));
  LK_CHECK(LoadCa(authority).map([](const tools::Issued&) {}));
  LK_TRY(const std::vector<std::string> serials, SerialsMeant(authority, options));
  const Timestamp now = ReadClocks().wall;
  if (options.bridge) {
    // Before the old one is refused: the bridge connects again with what it finds.
    LK_TRY(const tools::Issued bridge,
           IssueAndKeep(folder, BridgeIdentity{std::string(kBridgeName)}, now, kBridgeDays));
    LK_CHECK(SaveIssued(folder.Bridge(), "bridge", bridge));
  }
  LK_TRY(const RevokedList list, Revoke(authority, serials, now));
  SayList(context, authority, list, serials);
  if (!context.json && options.bridge) {
    Say("the bridge has a new certificate and key; if it runs elsewhere, take both there: " +
        (folder.Bridge() / "bridge.pem").string());
  }
  return {};
}

Result<void> Renew(const Context& context, const CaOptions& options) {
  LK_TRY(const Authority authority, Chosen(Folder(context.data), options));
  LK_TRY(const RevokedList list, Revoke(authority, {}, ReadClocks().wall));
  SayList(context, authority, list, {});
  return {};
}

Result<void> StartServing(Context& context, const CaOptions& options) {
  LK_TRY(const FleetId fleet, ParseFleet(options.fleet));
  ServeWish wish{fleet, options.days, std::nullopt};
  if (!options.length.empty()) {
    LK_TRY(wish.length, ParseDuration(options.length));
  }
  return ServeRegistrar(context, wish);
}

// What the callback of a subcommand does with its outcome.
void Report(Context& context, const Result<void>& done) {
  if (!done) {
    Complain(context, done.error());
  }
}

void AddRevoke(CLI::App& ca, Context& context, const std::shared_ptr<CaOptions>& options) {
  CLI::App* revoke = ca.add_subcommand(
      "revoke", "Take certificates back: their holders are thrown out and cannot come back");
  CLI::Option* fleet = revoke->add_option("--fleet", options->fleet, "Of this fleet's CA");
  CLI::Option_group* what = revoke->add_option_group("what", "What to revoke, exactly one");
  what->add_option("--car", options->car, "All certificates of this car")->needs(fleet);
  what->add_option("--operator", options->staff, "All certificates of this operator")->needs(fleet);
  what->add_flag("--registrar", options->registrar,
                 "The registrar's; `ca serve` makes itself a new one")
      ->needs(fleet);
  what->add_flag("--bridge", options->bridge, "The bridge's, and make it a new one")
      ->excludes(fleet);
  what->add_option("--administrator", options->administrator, "All of this administrator")
      ->excludes(fleet);
  what->add_option("--peer", options->peer, "All of the broker of this name towards another")
      ->excludes(fleet);
  what->add_option("--serial", options->serial,
                   "This serial number, in hex; without --fleet of the cell's CA");
  what->require_option(1);
  revoke->callback([&context, options] { Report(context, RevokeMeant(context, *options)); });
}

}  // namespace

void AddCa(CLI::App& app, Context& context) {
  CLI::App* ca = app.add_subcommand(
      "ca", "Certificates: list, revoke, and renew them (where the CA's key is)");
  ca->require_subcommand(1);
  const auto options = std::make_shared<CaOptions>();
  CLI::App* list =
      ca->add_subcommand("list", "Who has a certificate, until when, and what is revoked");
  list->add_option("--fleet", options->fleet, "Of this fleet's CA (default: the cell's)");
  list->callback([&context, options] { Report(context, List(context, *options)); });

  AddRevoke(*ca, context, options);

  CLI::App* crl =
      ca->add_subcommand("crl", "Write the revocation list anew, so that it is no older than " +
                                    std::to_string(kListDays) + " days");
  crl->add_option("--fleet", options->fleet, "Of this fleet's CA (default: the cell's)");
  crl->callback([&context, options] { Report(context, Renew(context, *options)); });

  CLI::App* serve = ca->add_subcommand(
      "serve", "Run the fleet's registrar until Ctrl-C: cars get new certificates in time");
  serve->add_option("--fleet", options->fleet, "The fleet")->required();
  serve->add_option("--days", options->days, "Days that a new certificate lives")
      ->check(CLI::Range(1, 3650))
      ->capture_default_str();
  serve->add_option("--for", options->length, "End after this time, for example 30s or 5m");
  serve->callback([&context, options] { Report(context, StartServing(context, *options)); });
}

}  // namespace latchkey::cli
