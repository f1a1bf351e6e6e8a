// Certificates that are revoked while everything runs, and addresses that fail to sign in again and
// again.
#include <filesystem>
#include <fstream>
#include <string>

#include <doctest/doctest.h>

#include "proto/topic.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

constexpr int kNotAuthorized = 0x87;

std::string SerialOf(const RawOptions& options) {
  return Certificate::FromPem(options.certificate_pem)->serial;
}

void Put(const std::filesystem::path& path, const std::string& text) {
  const std::string beside = path.string() + ".new";
  std::ofstream(beside, std::ios::binary) << text;
  std::filesystem::rename(beside, path);
}

std::string Crl(const tools::Issued& ca, const std::string& serial, uint64_t number) {
  const Timestamp now{UnixMs()};
  return tools::MakeCrl(ca, {{serial, now}}, number, {now, 30}).value();
}

// Adds a line to the options of latchkey_auth.
void Configure(const Cell& cell, const std::string& line) {
  const std::filesystem::path path = cell.path() / "broker" / "mosquitto.conf";
  std::string text = ReadAll(path);
  const std::string mark = "plugin_opt_cell ";
  const size_t at = text.find(mark);
  REQUIRE(at != std::string::npos);
  text.insert(at, line + "\n");
  Put(path, text);
}

int CodeOf(RawOptions options, const std::string& address = "") {
  options.source_address = address;
  RawClient client(std::move(options));
  return client.Connect();
}

}  // namespace

TEST_CASE(
    "a revoked car is cut off without a restart or a signal, and its new rings are not taken") {
  Cell cell;
  cell.StartBroker();
  const PrivateKey owner = PrivateKey::Generate();
  const PrivateKey thief = PrivateKey::Generate();
  const CarRef ref = Ref("demo", "car-1");
  const RawOptions as_car = cell.AsCar(ref);
  const PrivateKey car_key = std::move(PrivateKey::FromPem(as_car.private_key_pem).value());
  const std::string der = PemToDer(as_car.certificate_pem).value();
  const auto ring = [&](uint64_t version, const PrivateKey& key) {
    return Publish{
        KeyRingTopic(ref),
        SealKeyRing({ref, version, Timestamp{UnixMs()}, {OnRing(key.Public(), v1::ROLE_OWNER)}},
                    car_key, der),
        1, Retain::kYes, 0};
  };
  RawClient car(as_car);
  RawClient neighbour(cell.AsCar(Ref("demo", "car-2")));
  REQUIRE(car.Connect() == 0);
  REQUIRE(neighbour.Connect() == 0);
  const Publish first = ring(1, owner);
  REQUIRE(car.Send(first) == 0);
  RawClient bridge(cell.WithCertificate(BridgeIdentity{"main"}, cell.CellCa(), "bridge/main"));
  REQUIRE(bridge.Connect() == 0);

  Put(cell.path() / "broker" / "fleets" / "demo.crl.pem",
      Crl(cell.FleetCa("demo"), SerialOf(as_car), 1));
  CHECK(car.Ended(std::chrono::seconds(20)) != kNoAnswer);
  CHECK(CodeOf(as_car) == kNotAuthorized);
  CHECK(neighbour.Ping());
  CHECK(bridge.Send(ring(2, thief)) == kNotAuthorized);
  CHECK(bridge.Send(first) == 0);  // the one held stays
  const auto can = [&](const PrivateKey& key) {
    RawClient phone(cell.AsPhone(key));
    REQUIRE(phone.Connect() == 0);
    return phone.Subscribe(PresenceTopic(ref)) == 1;
  };
  CHECK(can(owner));
  CHECK_FALSE(can(thief));
  CHECK(CodeOf(cell.AsCar(ref)) == 0);  // the same car with a new certificate

  // Over a restart, and when the list is lost while it runs.
  cell.broker().Kill();
  cell.StartBroker();
  CHECK(CodeOf(as_car) == kNotAuthorized);
  CHECK(can(owner));
  CHECK_FALSE(can(thief));
  std::filesystem::remove(cell.path() / "broker" / "fleets" / "demo.crl.pem");
  CHECK(Eventually([&] { return CountLines(cell.BrokerLog(), "is gone") > 0; }));
  CHECK(CodeOf(as_car) == kNotAuthorized);
}

TEST_CASE(
    "a fleet whose list cannot be read at start is out, and back with its rings when it can") {
  Cell cell({"demo", "rival"});
  cell.StartBroker();
  const PrivateKey owner = PrivateKey::Generate();
  const auto can = [&](const CarRef& ref) {
    RawClient phone(cell.AsPhone(owner));
    REQUIRE(phone.Connect() == 0);
    return phone.Subscribe(PresenceTopic(ref)) == 1;
  };
  for (const char* fleet : {"demo", "rival"}) {
    RawCar car(cell, fleet, "car-1");
    REQUIRE(car.PublishRing({{owner.Public(), v1::ROLE_OWNER}}) == 0);
    CHECK(can(car.ref()));
  }
  cell.broker().Kill();
  const std::filesystem::path list = cell.path() / "broker" / "fleets" / "demo.crl.pem";
  Put(list, "torn");
  cell.StartBroker();
  CHECK(CodeOf(cell.AsCar(Ref("demo", "car-1"))) == kNotAuthorized);
  CHECK_FALSE(can(Ref("demo", "car-1")));
  CHECK(CodeOf(cell.AsCar(Ref("rival", "car-1"))) == 0);
  CHECK(can(Ref("rival", "car-1")));
  Put(list, Crl(cell.FleetCa("demo"), "no such serial", 1));
  CHECK(Eventually([&] { return can(Ref("demo", "car-1")); }));
  CHECK(CodeOf(cell.AsCar(Ref("demo", "car-1"))) == 0);
}

TEST_CASE("the cell's list cuts off bridges and administrators") {
  Cell cell;
  const std::filesystem::path list = cell.path() / "broker" / "cell.crl.pem";
  Configure(cell, "plugin_opt_cell_crl " + list.string());
  cell.StartBroker();
  const RawOptions as_bridge =
      cell.WithCertificate(BridgeIdentity{"main"}, cell.CellCa(), "bridge/main");
  const RawOptions as_root =
      cell.WithCertificate(AdministratorIdentity{"root"}, cell.CellCa(), "administrator/root");
  RawClient bridge(as_bridge);
  RawClient root(as_root);
  REQUIRE(bridge.Connect() == 0);
  REQUIRE(root.Connect() == 0);
  Put(list, Crl(cell.CellCa(), SerialOf(as_root), 1));
  CHECK(root.Ended(std::chrono::seconds(20)) == 0x98);
  CHECK(CodeOf(as_root) == kNotAuthorized);
  CHECK(bridge.Ping());
  Put(list, Crl(cell.CellCa(), SerialOf(as_bridge), 2));
  CHECK(bridge.Ended(std::chrono::seconds(20)) == 0x98);
  CHECK(CodeOf(as_bridge) == kNotAuthorized);
  CHECK(CodeOf(as_root) == 0);  // the second list does not name it
}

TEST_CASE("an address that fails to sign in again and again is refused unread, and no other") {
  Cell cell;
  Configure(cell, "plugin_opt_rate_sign_in 0.01:5");
  cell.StartBroker();
  const PrivateKey key = PrivateKey::Generate();
  const RawOptions good = cell.AsPhone(key);
  RawOptions bad = good;
  bad.password = "password";
  for (int i = 0; i < 5; ++i) {
    CHECK(CodeOf(good, "127.0.0.2") == 0);  // what works takes nothing
    CHECK(CodeOf(bad, "127.0.0.2") == kNotAuthorized);
  }
  CHECK(CodeOf(good, "127.0.0.2") == kNotAuthorized);
  CHECK(CodeOf(good, "127.0.0.3") == 0);
  CHECK(CodeOf(cell.AsCar(Ref("demo", "car-1")), "127.0.0.2") == 0);
  CHECK(CountLines(cell.BrokerLog(), "refused at=connect reason=full") == 1);
}

}  // namespace latchkey::testing
