// The data folder: where a cell, its fleets, cars, phones and operators keep their files.
//
//   cell.json                  name, host, ports, further brokers (see Cell)
//   ca/                        cell.pem cell.key: the cell's CA, which signs the broker's server
//                              certificate, the bridge and administrators; and ca_inventory.h
//   broker/                    mosquitto.conf server.pem server.key clients_ca.pem cell.crl.pem
//                              fleets/{fleet}.pem fleets/{fleet}.crl.pem rings.log mosquitto.db
//   bridge/                    latchkey.toml bridge.pem bridge.key store/
//                              admin.token: whoever reads it may have things erased
//                              contacts/{fleet}/{car}.json: number and relay key, of cars with SMS
//   fleets/{fleet}/            ca.pem ca.key registrar/; and ca_inventory.h
//   cars/{fleet}/{car}/        car.pem car.key memory.bin relay.key
//   phones/{name}/             phone.key phone.json (label, pairings) sent.json (sent_file.h)
//   operators/{fleet}/{name}/  operator.pem operator.key
//   brokers/{name}/            a broker beside or after the first: mosquitto.conf peer.pem peer.key
//                              rings.log mosquitto.db
//   run/                       logs, pid files
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "proto/types.h"

namespace latchkey::cli {

// One more broker of the cell, joined with the first.
struct CellBroker {
  std::string name;  // also its folder's: brokers/{name}
  std::string host;
  int phone_port = 0;
  int car_port = 0;
};

struct Cell {
  std::string name;         // `aud` of tokens
  std::string host;         // address of the broker
  int phone_port = 0;       // TLS
  int car_port = 0;         // mutual TLS: cars, operators, bridge
  int http_port = 0;        // bridge, loopback only
  std::string broker = {};  // the first broker's name; empty: it never had another beside it
  std::vector<CellBroker> others = {};
};

class Folder {
 public:
  explicit Folder(std::filesystem::path root);

  const std::filesystem::path& root() const { return root_; }

  std::filesystem::path CellCa() const;  // ca/cell.pem
  std::filesystem::path Broker() const;
  std::filesystem::path Bridge() const;
  std::filesystem::path Fleet(const FleetId& fleet) const;
  std::filesystem::path Car(const CarRef& ref) const;
  std::filesystem::path Phone(std::string_view name) const;
  std::filesystem::path Operator(const FleetId& fleet, std::string_view name) const;
  // Error REASON_MALFORMED: absent or broken; the text says to run `latchkey fleet init`.
  Result<Cell> LoadCell() const;
  Result<void> SaveCell(const Cell& cell) const;

 private:
  std::filesystem::path root_;
};

// A lock file that one process at a time holds, until it ends; the file stays.
class FileLock {
 public:
  enum class Patience : uint8_t { kWait, kTry };
  FileLock(const std::filesystem::path& path, Patience patience);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  // False: it cannot be made, or (kTry) another process holds it.
  bool held() const { return number_ >= 0; }

  // An errno when it is not held; EWOULDBLOCK: another process holds it.
  int error() const { return error_; }

 private:
  int number_;
  int error_ = 0;
};

// A fleet as people type it. Error REASON_MALFORMED: it is no name of one.
Result<FleetId> ParseFleet(const std::string& text);

// Whole file. Error REASON_STORE_UNAVAILABLE with path and errno text.
Result<std::string> ReadFile(const std::filesystem::path& path);
// Replaces a file atomically (temp file, fsync, rename, fsync of the folder). Secret: mode 0600,
// else 0644.
enum class Secrecy : uint8_t { kPublic, kSecret };
Result<void> WriteFile(const std::filesystem::path& path, std::string_view bytes, Secrecy secrecy);

}  // namespace latchkey::cli
