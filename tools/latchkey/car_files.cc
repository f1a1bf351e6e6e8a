// A car's files: car.pem, car.key, memory.bin, and car.lock, which the process that runs the car
// holds (flock: it is free again when the process ends, however it ends).
#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "proto/crypto.h"
#include "tools/ca/ca.h"
#include "tools/latchkey/broker_list.h"
#include "tools/latchkey/ca_inventory.h"
#include "tools/latchkey/car.h"
#include "tools/latchkey/cell.h"
#include "tools/latchkey/phone_file.h"
#include "tools/latchkey/relay_key.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr size_t kPemColumns = 64;

Result<std::shared_ptr<FileLock>> Lock(const std::filesystem::path& folder, const CarRef& ref) {
  const std::filesystem::path file = folder / "car.lock";
  auto lock = std::make_shared<FileLock>(file, FileLock::Patience::kTry);
  if (!lock->held() && lock->error() == EWOULDBLOCK) {
    return Fail(v1::REASON_NOT_ALLOWED,
                "car " + ref.ToText() +
                    " runs in another process: stop that first, or type into its `car run`");
  }
  if (!lock->held()) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                file.string() + ": " + std::generic_category().message(lock->error()) +
                    ": check the folder's owner and the limit of open files");
  }
  return lock;
}

Result<car::Memory> ReadMemory(const std::filesystem::path& folder, const CarRef& ref) {
  const Result<std::string> stored = ReadFile(folder / "memory.bin");
  if (!stored) {
    return Fail(v1::REASON_MALFORMED, "car " + ref.ToText() + " has no memory (" +
                                          stored.error().text +
                                          "): add it with `latchkey car add " + ref.car.str() +
                                          " --fleet " + ref.fleet.str() + "`");
  }
  return car::LoadMemory(*stored, ref);
}

// RFC 7468.
std::string CertificatePem(std::string_view der) {
  std::string text = Base64UrlEncode(der);
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  text.append((4 - text.size() % 4) % 4, '=');
  std::string pem = "-----BEGIN CERTIFICATE-----\n";
  for (size_t at = 0; at < text.size(); at += kPemColumns) {
    pem += text.substr(at, kPemColumns) + "\n";
  }
  return pem + "-----END CERTIFICATE-----\n";
}

// The CA that signs new certificates of the car; empty when the fleet's CA is not in this folder.
std::string FleetCaDer(const Folder& folder, const FleetId& fleet) {
  const Result<std::string> pem = ReadFile(folder.Fleet(fleet) / "ca.pem");
  return pem ? PemToDer(*pem).value_or(std::string()) : std::string();
}

}  // namespace

Result<CarRef> ParseCar(const std::string& fleet, const std::string& car) {
  LK_TRY(const FleetId fleet_id, ParseFleet(fleet));
  const auto car_id = CarId::Parse(car);
  if (!car_id) {
    return Fail(v1::REASON_MALFORMED,
                "car \"" + car + "\" is not 1 to 32 of letters, digits, '-' and '_'");
  }
  if (fleet_id == FleetId::Parse("bridge") || fleet_id == FleetId::Parse("administrator") ||
      fleet_id == FleetId::Parse("peer")) {
    return Fail(v1::REASON_NOT_ALLOWED, "fleet \"" + fleet +
                                            "\" would share client ids with the cell's own "
                                            "services: choose another name");
  }
  if (car == "operator" || car == "registrar") {
    return Fail(v1::REASON_NOT_ALLOWED, "car \"" + car + "\" would share client ids with the " +
                                            "fleet's " + car + ": choose another name");
  }
  return CarRef{fleet_id, *car_id};
}

bool HasCarFiles(const Folder& folder, const CarRef& ref) {
  std::error_code ignored;
  return std::filesystem::exists(folder.Car(ref) / "memory.bin", ignored);
}

Result<car::Memory> LookIntoCar(const Folder& folder, const CarRef& ref) {
  return ReadMemory(folder.Car(ref), ref);
}

Result<void> AddCarFiles(const Folder& folder, const CarRef& ref, int days,
                         std::optional<car::Invitation> invitation) {
  if (HasCarFiles(folder, ref)) {
    return Fail(v1::REASON_FULL, "car " + ref.ToText() + " is there already, in " +
                                     folder.Car(ref).string() + ": run it, or choose another name");
  }
  const Timestamp now = ReadClocks().wall;
  car::Memory memory = car::NewMemory(ref, now);
  memory.invitation = std::move(invitation);
  LK_TRY(const std::optional<PublicKey> fleet_key, FindFleetKey(folder, ref.fleet));
  if (fleet_key) {
    memory.ring.keys.push_back({fleet_key->Id(),
                                fleet_key->ToPoint(),
                                v1::ROLE_FLEET,
                                PermissionsOf(v1::ROLE_FLEET),
                                {},
                                {},
                                "fleet " + ref.fleet.str(),
                                {}});
  }
  LK_TRY(const tools::Issued issued, IssueAndKeep(folder, CarIdentity{ref}, now, days));
  LK_CHECK(SaveIssued(folder.Car(ref), "car", issued));
  return WriteFile(folder.Car(ref) / "memory.bin", car::SerializeMemory(memory), Secrecy::kSecret);
}

Result<std::unique_ptr<car::CarClient>> OpenCar(const Folder& folder, const CarRef& ref,
                                                size_t index, tools::Inbox& inbox,
                                                int utc_offset_minutes,
                                                const std::vector<std::string>& brokers) {
  LK_TRY(const Cell cell, folder.LoadCell());
  const std::filesystem::path path = folder.Car(ref);
  LK_TRY(car::Memory unlocked, ReadMemory(path, ref));  // says so when there is no such car
  LK_TRY(const std::shared_ptr<FileLock> lock, Lock(path, ref));
  LK_TRY(car::Memory memory, ReadMemory(path, ref));
  LK_TRY(const tools::Issued issued, LoadIssued(path, "car"));
  LK_TRY(PrivateKey key, PrivateKey::FromPem(issued.private_key_pem));
  LK_TRY(std::string certificate_der, PemToDer(issued.certificate_pem));
  LK_TRY(std::optional<std::string> relay_key, ReadRelayKey(folder, ref));
  car::Options options{.ref = ref,
                       .certificate_der = std::move(certificate_der),
                       .fleet_ca_der = FleetCaDer(folder, ref.fleet),
                       .host = cell.host,
                       .phone_port = cell.phone_port,
                       .cell = cell.name,
                       .relay_key = std::move(relay_key).value_or(""),
                       .utc_offset_minutes = utc_offset_minutes};
  tools::LinkOptions link;
  LK_CHECK(UseBrokers(path, cell.name, BrokersOf(cell, Port::kCars), brokers, link));
  link.client_id = ref.ToText();
  link.keep_alive = car::kKeepAlive;
  link.ca_file = folder.CellCa().string();
  link.certificate_file = (path / "car.pem").string();
  link.private_key_file = (path / "car.key").string();
  car::Storage storage;
  storage.memory = [file = path / "memory.bin", lock](std::string_view bytes) {
    return WriteFile(file, bytes, Secrecy::kSecret);
  };
  storage.certificate = [file = path / "car.pem"](std::string_view der) {
    return WriteFile(file, CertificatePem(der), Secrecy::kPublic);
  };
  return std::make_unique<car::CarClient>(
      index, car::Car(std::move(options), std::move(key), std::move(memory)), std::move(link),
      inbox, std::move(storage));
}

Result<ParkedCar> ParkedCar::Open(const Folder& folder, const CarRef& ref) {
  const std::filesystem::path path = folder.Car(ref);
  LK_TRY(car::Memory unlocked, ReadMemory(path, ref));
  LK_TRY(std::shared_ptr<FileLock> lock, Lock(path, ref));
  LK_TRY(car::Memory memory, ReadMemory(path, ref));
  return ParkedCar(std::move(lock), path / "memory.bin", std::move(memory));
}

Result<void> ParkedCar::Reset(Timestamp now) {
  car::Memory after = memory_;
  car::ResetMemory(after, now);
  LK_CHECK(WriteFile(file_, car::SerializeMemory(after), Secrecy::kSecret));
  memory_ = std::move(after);
  return {};
}

}  // namespace latchkey::cli
