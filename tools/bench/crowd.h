// The people of a bench: cars with certificates of the fleet's CA, phones with keys, and the rings
// that pair them, each signed by its car. Some connect; of the others there is only a ring, so that
// a million pairings are made in a minute.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"
#include "tools/bench/place.h"
#include "tools/ca/ca.h"

namespace latchkey::bench {

// As many keys as a family has: a ring is judged by its size, so a pairing costs what it costs in
// one of these.
inline constexpr size_t kKeysPerRing = 4;

struct BenchCar {
  CarRef ref;
  tools::Issued issued;
  std::string certificate_der;
  PrivateKey key;
};

struct BenchPhone {
  PrivateKey key;
  KeyId id;
};

// What a client signs in with. With a certificate it connects to the cars' port, else to the
// phones'.
struct SignIn {
  std::string client_id;
  std::string user_name;  // empty: none
  std::string password;
  const tools::Issued* issued = nullptr;  // lives as long as the crowd; nullptr: no certificate
};

// Cars 0 to cars()-1 can connect, and phone i is on the ring of car i, with kKeysPerRing - 1 others
// that cannot. Cars beyond are only on paper. One thread.
class Crowd {
 public:
  // Error REASON_BAD_CERTIFICATE: the fleet's CA does not parse.
  static Result<Crowd> Make(const Place& place, size_t cars);

  size_t cars() const { return cars_.size(); }

  const BenchCar& car(size_t index) const { return cars_[index]; }

  const BenchPhone& phone(size_t index) const { return phones_[index]; }

  // The car that `index` would be, also beyond cars().
  CarRef RefOf(size_t index) const;

  // The SignedKeyRing of a car that can connect, as it publishes it.
  std::string SignedRing(size_t car, uint64_t version) const;

  // Writes a ring file of latchkey_auth with `pairings` pairings (rounded up to whole rings), those
  // of cars that can connect first. Errors REASON_STORE_UNAVAILABLE, REASON_BAD_CERTIFICATE.
  Result<void> WriteRingFile(const std::filesystem::path& path, size_t pairings) const;

  // Of a car or phone as Latchkey wants it; `now` is when a phone's token is made.
  SignIn CarSignIn(size_t car) const;
  SignIn PhoneSignIn(size_t phone, Timestamp now) const;
  // Of an operator who may read all of the fleet.
  SignIn TapSignIn() const;

 private:
  Crowd(std::string cell, FleetId fleet, tools::Issued fleet_ca)
      : cell_(std::move(cell)), fleet_(std::move(fleet)), fleet_ca_(std::move(fleet_ca)) {}

  KeyRing RingOf(size_t car, uint64_t version) const;
  Result<std::string> PaperRing(size_t car, const PrivateKey& key, const tools::Signer& ca,
                                Timestamp now) const;

  std::string cell_;
  FleetId fleet_;
  tools::Issued fleet_ca_;
  std::vector<BenchCar> cars_;
  std::vector<BenchPhone> phones_;
  std::vector<RingKey> strangers_;  // keys on rings that nobody holds any more
  tools::Issued tap_;
};

}  // namespace latchkey::bench
