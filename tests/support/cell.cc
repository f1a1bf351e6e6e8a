// A whole cell, started as its README says.
#include "tests/support/cell.h"

#include <exception>
#include <iostream>
#include <sstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "latchkey/v1/state.pb.h"
#include "proto/token.h"
#include "proto/topic.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

constexpr const char* kProgram = LK_BINARY_DIR "/bin/latchkey";
constexpr const char* kBridge = LK_BINARY_DIR "/bin/latchkey-bridge";
constexpr const char* kPlugins = LK_BINARY_DIR "/plugins";
constexpr const char* kBroker = "/usr/sbin/mosquitto";

}  // namespace

Cell::Cell(const std::vector<std::string>& fleets) {
  std::filesystem::create_directories(folder_.path() / "test");
  for (const std::string& fleet : fleets) {
    const Ran made =
        Latchkey({"fleet", "init", fleet, "--cell", "test-cell", "--plugin-dir", kPlugins});
    INFO(made.output);
    REQUIRE(made.exit_code == 0);
  }
  const auto cell = nlohmann::json::parse(ReadAll(path() / "cell.json"));
  name_ = cell["name"];
  phone_port_ = cell["phone_port"];
  car_port_ = cell["car_port"];
  http_port_ = cell["http_port"];
}

Cell::~Cell() {
  const std::string logs = std::uncaught_exceptions() > 0 ? Logs() : "";
  processes_.clear();
  if (!logs.empty()) {
    std::cerr << logs;
  }
}

std::string Cell::Logs() const {
  std::ostringstream out;
  for (const auto& entry : std::filesystem::directory_iterator(path() / "test")) {
    const std::string text = ReadAll(entry.path());
    constexpr size_t kMost = 12000;
    out << "===== " << entry.path().filename().string() << "\n"
        << text.substr(text.size() > kMost ? text.size() - kMost : 0) << "\n";
  }
  return out.str();
}

void Cell::Start(const std::string& name, const std::vector<std::string>& arguments) {
  processes_.erase(name);
  processes_[name] = std::make_unique<Process>(arguments, path() / "test" / (name + ".log"));
}

void Cell::StartBroker() {
  Start("broker", {kBroker, "-c", (path() / "broker" / "mosquitto.conf").string()});
  REQUIRE(Eventually([&] {
    REQUIRE(broker().Running());
    RawClient probe({phone_port_, 4, "probe", {}, {}, {}, {}, true, 0});
    return probe.Connect() >= 0;
  }));
}

void Cell::StartBridge() {
  Start("bridge", {kBridge, "--config", (path() / "bridge" / "latchkey.toml").string()});
  REQUIRE(Eventually([&] {
    REQUIRE(bridge().Running());
    return HttpGet(http_port_, "/readyz").status == 200;
  }));
}

Process& Cell::StartCar(const std::string& car, const std::vector<std::string>& more) {
  if (!std::filesystem::exists(path() / "cars" / "demo" / car)) {
    const Ran added = Latchkey({"car", "add", car, "--fleet", "demo"});
    INFO(added.output);
    REQUIRE(added.exit_code == 0);
  }
  std::vector<std::string> arguments = {kProgram, "--data",  path().string(), "car",       "run",
                                        car,      "--fleet", "demo",          "--confirm", "yes"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  // Connected is what the broker says.
  const CarRef ref = Ref("demo", car);
  const int before = CountLines(BrokerLog(), "as " + ref.ToText() + " ");
  Start("car-" + car, arguments);
  Process& process = *processes_.at("car-" + car);
  REQUIRE(Eventually([&] {
    REQUIRE(process.Running());
    return CountLines(BrokerLog(), "as " + ref.ToText() + " ") > before;
  }));
  return process;
}

std::string Cell::CarOutput(const std::string& car) const {
  return ReadAll(path() / "test" / ("car-" + car + ".log"));
}

std::string Cell::QrText(const std::string& car) const {
  const std::string mark = "latchkey://pair?";
  std::string text;
  REQUIRE(Eventually([&] {
    const std::string output = CarOutput(car);
    const size_t at = output.rfind(mark);
    const size_t end = at == std::string::npos ? at : output.find_first_of(" \r\n\"", at);
    text = end == std::string::npos ? "" : output.substr(at, end - at);
    return !text.empty();
  }));
  return text;
}

void Cell::Pair(const std::string& phone, const std::string& car) {
  if (!std::filesystem::exists(path() / "phones" / phone)) {
    const Ran made = Latchkey({"phone", "init", phone});
    INFO(made.output);
    REQUIRE(made.exit_code == 0);
  }
  const Ran paired = Latchkey({"phone", "pair", phone, QrText(car), "--timeout", "20s"});
  INFO(paired.output);
  REQUIRE(paired.exit_code == 0);
}

Ran Cell::Latchkey(const std::vector<std::string>& arguments) const {
  std::vector<std::string> all = {kProgram, "--data", path().string()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return Run(all);
}

std::unique_ptr<Process> Cell::StartLatchkey(const std::vector<std::string>& arguments,
                                             const std::string& name) const {
  std::vector<std::string> all = {kProgram, "--data", path().string()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return std::make_unique<Process>(all, path() / "test" / (name + ".log"));
}

tools::Issued Cell::FleetCa(const std::string& fleet) const {
  return {ReadAll(path() / "fleets" / fleet / "ca.pem"),
          ReadAll(path() / "fleets" / fleet / "ca.key")};
}

tools::Issued Cell::CellCa() const {
  return {ReadAll(path() / "ca" / "cell.pem"), ReadAll(path() / "ca" / "cell.key")};
}

PrivateKey Cell::PhoneKey(const std::string& phone) const {
  return std::move(PrivateKey::FromPem(ReadAll(path() / "phones" / phone / "phone.key")).value());
}

std::string Cell::BrokerLog() const {
  return ReadAll(path() / "test" / "broker.log");
}

RawOptions Cell::WithCertificate(const CertificateIdentity& identity, const tools::Issued& ca,
                                 const std::string& client_id, int version) const {
  const tools::Issued issued = tools::IssueClient(identity, ca, Timestamp{UnixMs()}, 30).value();
  return {car_port_, version, client_id, {}, {}, issued.certificate_pem, issued.private_key_pem,
          true,      0};
}

RawOptions Cell::AsCar(const CarRef& ref, int version) const {
  return WithCertificate(CarIdentity{ref}, FleetCa(ref.fleet.str()), ref.ToText(), version);
}

RawOptions Cell::AsPhone(const PrivateKey& key, int version) const {
  const std::string id = key.Public().Id().str();
  return {phone_port_,
          version,
          id + "/test",
          id,
          MintToken(key, name_, Timestamp{UnixMs()}, std::chrono::minutes(5)),
          {},
          {},
          true,
          0};
}

RawCar::RawCar(const Cell& cell, const std::string& fleet, const std::string& car)
    : ref_(Ref(fleet, car)), key_(PrivateKey::Generate()) {
  const RawOptions options = cell.AsCar(ref_);
  key_ = std::move(PrivateKey::FromPem(options.private_key_pem).value());
  certificate_der_ = PemToDer(options.certificate_pem).value();
  client_ = std::make_unique<RawClient>(options);
  REQUIRE(client_->Connect() == 0);
}

Publish RawCar::NextRing(const std::vector<std::pair<PublicKey, v1::Role>>& keys) {
  KeyRing ring{ref_, ++version_, Timestamp{UnixMs()}, {}};
  for (const auto& [key, role] : keys) {
    ring.keys.push_back(OnRing(key, role));
  }
  return {KeyRingTopic(ref_), SealKeyRing(ring, key_, certificate_der_), 1, Retain::kYes, 0};
}

int RawCar::PublishRing(const std::vector<std::pair<PublicKey, v1::Role>>& keys) {
  return client_->Send(NextRing(keys));
}

uint16_t RawCar::PostRing(const std::vector<std::pair<PublicKey, v1::Role>>& keys) {
  return client_->Post(NextRing(keys));
}

int RawCar::PublishSpeed(float speed) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(UnixMs()));
  state.set_sequence(++sequence_);
  state.mutable_drive()->mutable_speed()->set_value(speed);
  return client_->Send(
      {StateTopic(ref_, Group::kDrive), state.SerializeAsString(), 1, Retain::kYes, 0});
}

}  // namespace latchkey::testing
