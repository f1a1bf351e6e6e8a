// What any number of cars say: values of recorded drives, other ones for each car, and rings of
// four keys. Nothing is kept per car: asked again, a car says the same.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/crypto.h"
#include "proto/message.h"
#include "proto/time.h"
#include "proto/types.h"
#include "tools/ca/ca.h"
#include "tools/car/signals.h"

namespace latchkey::footprint {

// A driving car speaks this often.
inline constexpr Duration kDriveStep = std::chrono::seconds(10);
inline constexpr size_t kKeysPerRing = 4;
// One car of so many has the commanding phone on its ring.
inline constexpr size_t kCommandedEvery = 100;

class Cars {
 public:
  // Reads all drives below `data`. Fault: there are none.
  Cars(const std::filesystem::path& data, tools::Issued fleet_ca);

  CarRef RefOf(size_t car) const;
  // A certificate, new each time, and its key.
  tools::Issued Certify(size_t car, Timestamp now) const;
  Publish Ring(size_t car, Timestamp now) const;
  // All groups, of a car that has just parked.
  std::vector<Publish> Parks(size_t car, Timestamp now) const;
  // What a car that drives says in the `step`th kDriveStep of its drive: drive, location and energy
  // each time; climate, link and area once a minute.
  std::vector<Publish> Drives(size_t car, size_t step, Timestamp now) const;
  // A command that waits for a day.
  Publish Command(size_t car, Timestamp now) const;

  size_t drives() const { return drives_.size(); }

 private:
  // A signal as it was last observed, so long before.
  struct Last {
    std::string_view signal;
    double value = 0;
    Duration age{0};
  };

  using Frame = std::vector<Last>;
  using Frames = std::vector<Frame>;  // of a drive, each kDriveStep

  // Making a key and reading it again takes longer than all else: cars share some.
  struct CarKey {
    PrivateKey key;
    std::string pem;
  };

  const CarKey& KeyOf(size_t car) const { return keys_[car % keys_.size()]; }

  std::string CertificateOf(size_t car, Timestamp now) const;
  const Frame& FrameOf(size_t car, size_t step) const;
  car::SignalBoard BoardOf(size_t car, size_t step, const std::vector<Group>& groups,
                           Timestamp now) const;
  std::vector<Publish> Say(size_t car, size_t step, const std::vector<Group>& groups,
                           Timestamp now) const;

  tools::Issued fleet_ca_;
  PrivateKey commander_;
  std::vector<CarKey> keys_;
  std::vector<Frames> drives_;
};

}  // namespace latchkey::footprint
