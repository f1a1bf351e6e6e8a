// A whole cell for one test: made by `latchkey fleet init`, with broker, bridge, cars and phones as
// people run them, and with raw clients that hold any credential of it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proto/certificate.h"
#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/types.h"
#include "tests/support/process.h"
#include "tests/support/raw.h"
#include "tools/ca/ca.h"

namespace latchkey::testing {

class Cell {
 public:
  // Makes the cell with these fleets and starts nothing.
  explicit Cell(const std::vector<std::string>& fleets = {"demo"});
  // Stops everything; prints every log when the test is failing.
  ~Cell();
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;

  // Starts and waits until it serves.
  void StartBroker();
  void StartBridge();

  Process& broker() { return *processes_.at("broker"); }

  Process& bridge() { return *processes_.at("bridge"); }

  // `latchkey car add` when new, then `latchkey car run` until it is connected. Starts again after
  // Kill or Stop; its log goes on.
  Process& StartCar(const std::string& car, const std::vector<std::string>& more = {});
  // Output of the car over all its runs.
  std::string CarOutput(const std::string& car) const;
  // The newest QR text the car shows.
  std::string QrText(const std::string& car) const;
  // `latchkey phone init` when new, and `phone pair` with a car that runs with --offer.
  void Pair(const std::string& phone, const std::string& car);

  // `latchkey --data ... arguments`.
  Ran Latchkey(const std::vector<std::string>& arguments) const;
  std::unique_ptr<Process> StartLatchkey(const std::vector<std::string>& arguments,
                                         const std::string& name) const;

  int phone_port() const { return phone_port_; }

  int car_port() const { return car_port_; }

  int http_port() const { return http_port_; }

  const std::string& name() const { return name_; }

  std::filesystem::path path() const { return folder_.path(); }

  tools::Issued FleetCa(const std::string& fleet) const;
  tools::Issued CellCa() const;
  PrivateKey PhoneKey(const std::string& phone) const;
  std::string BrokerLog() const;

  // A client of the car port with a certificate for `identity` from `ca`.
  RawOptions WithCertificate(const CertificateIdentity& identity, const tools::Issued& ca,
                             const std::string& client_id, int version = 5) const;
  RawOptions AsCar(const CarRef& ref, int version = 5) const;
  // A client of the phone port with a good token.
  RawOptions AsPhone(const PrivateKey& key, int version = 5) const;

 private:
  std::string Logs() const;
  void Start(const std::string& name, const std::vector<std::string>& arguments);

  TempDir folder_;
  std::string name_;
  int phone_port_ = 0;
  int car_port_ = 0;
  int http_port_ = 0;
  std::map<std::string, std::unique_ptr<Process>> processes_;
};

// A car on a raw client: it holds its key and ring, and publishes what the test wants.
class RawCar {
 public:
  RawCar(const Cell& cell, const std::string& fleet, const std::string& car);

  // Writes the next version of the ring with these keys and publishes it; PUBACK's code.
  int PublishRing(const std::vector<std::pair<PublicKey, v1::Role>>& keys);
  // The same without waiting, as RawClient::Post.
  uint16_t PostRing(const std::vector<std::pair<PublicKey, v1::Role>>& keys);
  // Publishes a drive group with this speed, observed now; PUBACK's code.
  int PublishSpeed(float speed);

  const CarRef& ref() const { return ref_; }

  const PrivateKey& key() const { return key_; }

  const std::string& certificate_der() const { return certificate_der_; }

  RawClient& client() { return *client_; }

 private:
  Publish NextRing(const std::vector<std::pair<PublicKey, v1::Role>>& keys);

  CarRef ref_;
  PrivateKey key_;
  std::string certificate_der_;
  uint64_t version_ = 0;
  uint64_t sequence_ = 0;
  std::unique_ptr<RawClient> client_;
};

}  // namespace latchkey::testing
