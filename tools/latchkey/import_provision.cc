// Cars that an import brings get an identity, and their owners an invitation on paper: a pairing
// code whose secret the car's unit holds. The server keeps none of it and can let nobody in; the
// person in the car is asked as ever.
#include <system_error>
#include <utility>

#include "proto/crypto.h"
#include "proto/pairing.h"
#include "tools/latchkey/ca_inventory.h"
#include "tools/latchkey/car.h"
#include "tools/latchkey/import.h"
#include "tools/latchkey/qr.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

Result<void> MakeFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error) {
    fs::permissions(folder, fs::perms::owner_all, error);
  }
  if (error) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, folder.string() + ": " + error.message());
  }
  return {};
}

// A page for paper. Names of fleets and cars have no character that HTML knows.
std::string PageOf(const car::Invitation& invitation, const std::string& svg) {
  const std::string link = ToQrText(invitation.offer);
  std::string shown;
  for (const char c : link) {
    shown += c == '&' ? std::string("&amp;") : std::string(1, c);
  }
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Invitation to "
         "car " +
         invitation.offer.ref.ToText() +
         "</title><style>body{font:12pt sans-serif;margin:2cm}svg{width:8cm}code{font-size:8pt;"
         "overflow-wrap:anywhere}</style></head><body>\n<h1>Your key to car " +
         invitation.offer.ref.ToText() + "</h1>\n" + svg +
         "<ol><li>Sit in the car and switch it on.</li><li>Scan this code with the "
         "app.</li><li>The "
         "car asks whether to let your phone in: say yes.</li></ol>\n<p>The code works once, "
         "until " +
         DateText(invitation.ends_at) +
         ". Who holds it and sits in the car gets the owner's key: keep it as you keep a "
         "key.</p>\n<p>"
         "Without a camera: <code>" +
         shown + "</code></p>\n</body></html>\n";
}

Result<void> WriteInvitation(const fs::path& folder, const car::Invitation& invitation) {
  const CarRef& ref = invitation.offer.ref;
  const std::string stem = ref.fleet.str() + "-" + ref.car.str();
  const std::string link = ToQrText(invitation.offer);
  LK_TRY(const std::string svg, QrSvg(link, "Invitation to car " + ref.ToText()));
  LK_CHECK(WriteFile(folder / (stem + ".txt"), link + "\n", Secrecy::kSecret));
  LK_CHECK(WriteFile(folder / (stem + ".svg"), svg, Secrecy::kSecret));
  return WriteFile(folder / (stem + ".html"), PageOf(invitation, svg), Secrecy::kSecret);
}

// True: the car is new, or its invitation was not written before.
Result<bool> ProvisionOne(const Folder& folder, const Cell& cell, const CarRef& ref,
                          const Provisioning& provisioning) {
  const bool is_new = !HasCarFiles(folder, ref);
  if (is_new) {
    car::Invitation invitation;
    invitation.offer = {cell.host, cell.phone_port, cell.name, ref,
                        RandomBytes(kPairingSecretBytes)};
    invitation.ends_at = ReadClocks().wall + provisioning.life;
    LK_CHECK(AddCarFiles(folder, ref, kCarDays, std::move(invitation)));
  }
  LK_TRY(const car::Memory memory, LookIntoCar(folder, ref));
  std::error_code error;
  const fs::path page = provisioning.folder / (ref.fleet.str() + "-" + ref.car.str() + ".html");
  if (!memory.invitation || (!is_new && fs::exists(page, error))) {
    return false;
  }
  LK_CHECK(WriteInvitation(provisioning.folder, *memory.invitation));
  return true;
}

}  // namespace

Result<Provisioned> Provision(const Folder& folder, const legacy::Plan& plan, const FleetId& fleet,
                              const Provisioning& provisioning) {
  LK_TRY(const Cell cell, folder.LoadCell());
  LK_CHECK(MakeFolder(provisioning.folder));
  Provisioned provisioned;
  for (const legacy::PlannedVehicle& vehicle : plan.vehicles) {
    if (!vehicle.car) {
      continue;
    }
    LK_TRY(const CarRef ref, ParseCar(fleet.str(), vehicle.car->str()));
    LK_TRY(const bool made, ProvisionOne(folder, cell, ref, provisioning));
    (made ? provisioned.made : provisioned.there).push_back(ref.car.str());
  }
  return provisioned;
}

}  // namespace latchkey::cli
