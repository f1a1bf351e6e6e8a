// Certificates while everything runs: renewed over MQTT before they end, and taken back without a
// restart of the broker.
#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proto/renewal.h"
#include "proto/topic.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

namespace fs = std::filesystem;

constexpr int kNotAuthorized = 0x87;
constexpr Duration kDay = std::chrono::hours(24);
constexpr std::chrono::seconds kSoon{10};  // "within seconds"

Timestamp Clock() {
  return Timestamp{UnixMs()};
}

fs::path CarFolder(const Cell& cell, const std::string& car) {
  return cell.path() / "cars" / "demo" / car;
}

void AddCarOf(const Cell& cell, const std::string& car) {
  const Ran added = cell.Latchkey({"car", "add", car, "--fleet", "demo"});
  INFO(added.output);
  REQUIRE(added.exit_code == 0);
}

// A raw client with the certificate and key that are in the data folder.
RawOptions Holding(const Cell& cell, const fs::path& stem, const std::string& client_id) {
  RawOptions options;
  options.port = cell.car_port();
  options.client_id = client_id;
  options.certificate_pem = ReadAll(stem.string() + ".pem");
  options.private_key_pem = ReadAll(stem.string() + ".key");
  return options;
}

RawOptions HoldingCar(const Cell& cell, const std::string& car) {
  return Holding(cell, CarFolder(cell, car) / "car", "demo/" + car);
}

// The car's certificate as if it had been issued `age` days ago for `days`, with the same key.
void Age(const Cell& cell, const std::string& car, int age, int days) {
  const fs::path file = CarFolder(cell, car) / "car.pem";
  const Certificate held = Certificate::FromPem(ReadAll(file)).value();
  const std::string pem = tools::CertifyClient(held.identity, held.public_key, cell.FleetCa("demo"),
                                               {Clock() - age * kDay, days})
                              .value();
  fs::remove_all(cell.path() / "fleets" / "demo" / "issued");
  std::ofstream(file) << pem;
}

std::unique_ptr<Process> StartRegistrar(const Cell& cell) {
  auto registrar = cell.StartLatchkey({"ca", "serve", "--fleet", "demo"}, "registrar");
  REQUIRE(Eventually([&] {
    REQUIRE(registrar->Running());
    return CountLines(registrar->Output(), ": serves") > 0;
  }));
  return registrar;
}

void Revoke(const Cell& cell, std::vector<std::string> what) {
  what.insert(what.begin(), {"ca", "revoke"});
  const Ran revoked = cell.Latchkey(what);
  INFO(revoked.output);
  REQUIRE(revoked.exit_code == 0);
}

// Refused, whatever the layer: by the broker's answer or by a connection that never stands.
int CodeOf(const RawOptions& options) {
  RawClient client(options);
  return client.Connect();
}

int SendRing(RawClient& client, const KeyRing& ring, const PrivateKey& key,
             const std::string& certificate_der) {
  return client.Send(
      {KeyRingTopic(ring.ref), SealKeyRing(ring, key, certificate_der), 1, Retain::kYes, 0});
}

}  // namespace

TEST_CASE("a car two thirds through its certificate gets a new one, and keeps its key and ring") {
  Cell cell;
  cell.StartBroker();
  Process& unpaired = cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  unpaired.Stop();
  Age(cell, "car-1", 70, 100);
  const Certificate before =
      Certificate::FromPem(ReadAll(CarFolder(cell, "car-1") / "car.pem")).value();
  const auto registrar = StartRegistrar(cell);
  cell.StartCar("car-1");
  REQUIRE(Eventually(
      [&] { return CountLines(cell.CarOutput("car-1"), "the certificate is renewed") > 0; }));
  const Certificate after =
      Certificate::FromPem(ReadAll(CarFolder(cell, "car-1") / "car.pem")).value();
  CHECK(after.public_key.ToPoint() == before.public_key.ToPoint());
  CHECK(after.serial != before.serial);
  CHECK(after.not_after > Clock() + 700 * kDay);
  CHECK(CountLines(registrar->Output(), "granted car demo/car-1") == 1);
  // Kept by the registrar, listed, and the car connects with it.
  const Ran list = cell.Latchkey({"--json", "ca", "list", "--fleet", "demo"});
  CHECK(CountLines(list.output, "\"who\":\"car demo/car-1\"") == 2);
  REQUIRE(Eventually([&] { return CountLines(cell.BrokerLog(), "as demo/car-1 ") >= 3; }));
  // The phone paired before notices nothing.
  const Ran sent = cell.Latchkey(
      {"phone", "send", "anna", "car-1", "flash-lights", "--wait", "--timeout", "20s"});
  INFO(sent.output);
  CHECK(sent.exit_code == 0);
}

TEST_CASE("the registrar gives nothing to a key it has not certified, nor to another car") {
  Cell cell;
  cell.StartBroker();
  AddCarOf(cell, "car-1");
  Age(cell, "car-1", 70, 100);
  const auto registrar = StartRegistrar(cell);
  const CarRef victim = Ref("demo", "car-1");
  // A certificate of the fleet that the inventory does not know: made with a stolen CA key.
  RawClient stolen(cell.AsCar(victim));
  REQUIRE(stolen.Connect() == 0);
  REQUIRE(stolen.Subscribe(CertificateTopic(victim)) == 1);
  const PrivateKey thief = PrivateKey::Generate();
  const Certificate held =
      Certificate::FromPem(ReadAll(CarFolder(cell, "car-1") / "car.pem")).value();
  const std::string ca_der = PemToDer(cell.FleetCa("demo").certificate_pem).value();
  REQUIRE(stolen.Send({CertificateRequestTopic(victim),
                       MakeCertificateRequest(victim, thief, Clock()), 1, Retain::kNo, 0}) == 0);
  const auto answer = stolen.NextOn(CertificateTopic(victim));
  REQUIRE(answer.has_value());
  CHECK(Said(OpenCertificateGrant(answer->payload, held, ca_der, Clock())) == "REASON_NOT_ALLOWED");
  // Another car neither asks for it nor answers it nor hears its answers.
  RawCar other(cell, "demo", "car-2");
  CHECK(other.client().Send({CertificateRequestTopic(victim),
                             MakeCertificateRequest(victim, thief, Clock()), 1, Retain::kNo, 0}) ==
        kNotAuthorized);
  CHECK(other.client().Send({CertificateTopic(victim),
                             MakeCertificateRefusal(Clock(), v1::REASON_NOT_ALLOWED), 1,
                             Retain::kNo, 0}) == kNotAuthorized);
  CHECK(other.client().Subscribe(CertificateTopic(victim)) == kNotAuthorized);
  // Control: the car itself, with its own key, is granted.
  RawClient car(HoldingCar(cell, "car-1"));
  REQUIRE(car.Connect() == 0);
  REQUIRE(car.Subscribe(CertificateTopic(victim)) == 1);
  const PrivateKey key =
      std::move(PrivateKey::FromPem(ReadAll(CarFolder(cell, "car-1") / "car.key")).value());
  REQUIRE(car.Send({CertificateRequestTopic(victim), MakeCertificateRequest(victim, key, Clock()),
                    1, Retain::kNo, 0}) == 0);
  const auto grant = car.NextOn(CertificateTopic(victim));
  REQUIRE(grant.has_value());
  CHECK(Said(OpenCertificateGrant(grant->payload, held, ca_der, Clock())) == "allowed");
}

TEST_CASE("a revoked car is thrown out within seconds and stays out; the others stay in") {
  Cell cell;
  AddCarOf(cell, "car-1");
  AddCarOf(cell, "car-2");
  cell.StartBroker();
  const RawOptions held = HoldingCar(cell, "car-1");
  const CarRef ref = Ref("demo", "car-1");
  const PrivateKey old_key = std::move(PrivateKey::FromPem(held.private_key_pem).value());
  const std::string old_der = PemToDer(held.certificate_pem).value();
  const PrivateKey owner = PrivateKey::Generate();
  KeyRing ring{ref, 1, Clock(), {OnRing(owner.Public(), v1::ROLE_OWNER)}};
  RawClient car(held);
  RawClient other(HoldingCar(cell, "car-2"));
  REQUIRE(car.Connect() == 0);
  REQUIRE(other.Connect() == 0);
  REQUIRE(SendRing(car, ring, old_key, old_der) == 0);

  Revoke(cell, {"--fleet", "demo", "--car", "car-1"});
  CHECK(car.Ended(kSoon) != kNoAnswer);
  CHECK(other.Ping());
  CHECK(CodeOf(held) != 0);
  CHECK(CodeOf(held) != 0);

  // A ring under it is none, also from a connection that may write this car's ring.
  const RawOptions again = cell.AsCar(ref);
  const PrivateKey new_key = std::move(PrivateKey::FromPem(again.private_key_pem).value());
  RawClient renewed(again);
  REQUIRE(renewed.Connect() == 0);
  ring.version = 2;
  CHECK(SendRing(renewed, ring, old_key, old_der) >= 0x80);
  CHECK(SendRing(renewed, ring, new_key, PemToDer(again.certificate_pem).value()) == 0);

  // Nothing of it needs the broker's memory.
  cell.broker().Stop();
  cell.StartBroker();
  CHECK(CodeOf(held) != 0);
  CHECK(CodeOf(HoldingCar(cell, "car-2")) == 0);
  const Ran list = cell.Latchkey({"--json", "ca", "list", "--fleet", "demo"});
  CHECK(CountLines(list.output, "\"revoked\":true") == 1);
}

TEST_CASE("a revoked operator is thrown out within seconds and taps no more") {
  Cell cell;
  for (const char* name : {"ann", "bob"}) {
    REQUIRE(cell.Latchkey({"operator", "add", name, "--fleet", "demo", "--groups", "drive"})
                .exit_code == 0);
  }
  cell.StartBroker();
  RawCar car(cell, "demo", "car-1");
  const std::string state = StateTopic(car.ref(), Group::kDrive);
  const auto holding = [&](const std::string& name) {
    return Holding(cell, cell.path() / "operators" / "demo" / name / "operator",
                   "demo/operator/" + name + "/tap");
  };
  RawClient ann(holding("ann"));
  RawClient bob(holding("bob"));
  for (RawClient* each : {&ann, &bob}) {
    REQUIRE(each->Connect() == 0);
    REQUIRE(each->Subscribe(state) == 1);
  }
  REQUIRE(car.PublishSpeed(5) == 0);
  REQUIRE(ann.NextOn(state).has_value());
  REQUIRE(bob.NextOn(state).has_value());
  Revoke(cell, {"--fleet", "demo", "--operator", "ann"});
  CHECK(ann.Ended(kSoon) != kNoAnswer);
  CHECK(CodeOf(holding("ann")) != 0);
  REQUIRE(car.PublishSpeed(6) == 0);
  CHECK(bob.NextOn(state).has_value());
}

TEST_CASE("a damaged revocation list leaves the one before in force") {
  Cell cell;
  AddCarOf(cell, "car-1");
  AddCarOf(cell, "car-2");
  cell.StartBroker();
  const fs::path list = cell.path() / "broker" / "fleets" / "demo.crl.pem";
  RawClient first(HoldingCar(cell, "car-1"));
  REQUIRE(first.Connect() == 0);
  Revoke(cell, {"--fleet", "demo", "--car", "car-1"});
  REQUIRE(first.Ended(kSoon) != kNoAnswer);
  RawClient other(HoldingCar(cell, "car-2"));
  REQUIRE(other.Connect() == 0);

  const tools::Issued stranger = tools::MakeCa("Latchkey fleet demo", Clock(), 30);
  const Certificate second =
      Certificate::FromPem(ReadAll(CarFolder(cell, "car-2") / "car.pem")).value();
  const std::vector<std::string> damaged = {
      "", "rubbish", ReadAll(list).substr(0, 100),
      tools::MakeCrl(stranger, {{second.serial, Clock()}}, 99, {Clock(), 30}).value()};
  for (const std::string& bytes : damaged) {
    CAPTURE(bytes);
    const int complaints = CountLines(cell.BrokerLog(), "demo.crl.pem");
    std::ofstream(list, std::ios::trunc) << bytes;
    REQUIRE(Eventually([&] { return CountLines(cell.BrokerLog(), "demo.crl.pem") > complaints; }));
    CHECK(CodeOf(HoldingCar(cell, "car-1")) != 0);
    CHECK(other.Ping());
  }
  // The next whole list counts again.
  Revoke(cell, {"--fleet", "demo", "--car", "car-2"});
  CHECK(other.Ended(kSoon) != kNoAnswer);
  CHECK(CodeOf(HoldingCar(cell, "car-1")) != 0);
  REQUIRE(cell.broker().Running());
}

TEST_CASE("a revoked bridge or registrar is thrown out, and comes back with a new certificate") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  const auto registrar = StartRegistrar(cell);
  const RawOptions stolen_bridge = Holding(cell, cell.path() / "bridge" / "bridge", "bridge/main");
  const RawOptions stolen_registrar =
      Holding(cell, cell.path() / "fleets" / "demo" / "registrar" / "registrar", "demo/registrar");
  Revoke(cell, {"--fleet", "demo", "--registrar"});
  REQUIRE(Eventually([&] { return CountLines(registrar->Output(), ": serves") >= 2; }));
  Revoke(cell, {"--bridge"});
  const int before = CountLines(cell.BrokerLog(), "as bridge/main ");
  REQUIRE(Eventually([&] { return CountLines(cell.BrokerLog(), "as bridge/main ") > before; }));
  CHECK(Eventually([&] { return HttpGet(cell.http_port(), "/readyz").status == 200; }));
  CHECK(CodeOf(stolen_bridge) != 0);
  CHECK(CodeOf(stolen_registrar) != 0);
}

TEST_CASE("status names what ends within thirty days, also while the bridge is down") {
  Cell cell;
  AddCarOf(cell, "car-1");
  CHECK(cell.Latchkey({"status"}).output.find("warning:") == std::string::npos);
  Age(cell, "car-1", 90, 100);
  const Ran status = cell.Latchkey({"status"});
  CHECK(status.exit_code == 1);  // no bridge
  CHECK(status.output.find("warning: certificate of car demo/car-1 ends in 9 days") !=
        std::string::npos);
  cell.StartBroker();
  cell.StartBridge();
  const Ran json = cell.Latchkey({"--json", "status"});
  CHECK(json.exit_code == 0);
  const auto parsed = nlohmann::json::parse(json.output, nullptr, false);
  REQUIRE(parsed.is_object());
  REQUIRE(parsed["ending"].size() == 1);
  CHECK(parsed["ending"][0]["ended"] == false);
}

}  // namespace latchkey::testing
