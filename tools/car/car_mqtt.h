// A reference car on a real connection: turns link events into the car's inputs and does its
// effects in order. Decides nothing.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proto/result.h"
#include "proto/time.h"
#include "tools/car/car.h"
#include "tools/car/hands.h"
#include "tools/mqtt/link.h"

namespace latchkey::car {

// MQTT keep-alive of a car: the most that proto/README.md section 12 allows. A car that is gone
// without a word is known to be away a minute and a half later; commands do not wait for that, the
// bridge holds what a silent car does not answer. Each half of it costs a parked car twice the
// bytes.
inline constexpr Duration kKeepAlive = std::chrono::seconds(60);

// The car's files. Each function replaces what is stored and syncs it.
struct Storage {
  std::function<Result<void>(std::string_view bytes)> memory;
  std::function<Result<void>(std::string_view der)> certificate;  // where the link reads it, too
};

// One thread uses it, the one that reads the Inbox.
class CarClient {
 public:
  // `index` names its events in `inbox`.
  CarClient(size_t index, Car car, tools::LinkOptions link, tools::Inbox& inbox, Storage storage);

  CarClient(const CarClient&) = delete;
  CarClient& operator=(const CarClient&) = delete;

  // Who does what the car says to its body and to people (Act, OfferShown, OfferOver, AskPerson,
  // Note), called in the midst of Step, in order. It must not call Step or Handle. To be set before
  // the first Step.
  void OnShown(std::function<void(const Effect& effect)> show) { hands_.show = std::move(show); }

  // Steps the car and does what it says.
  void Step(const Input& input, const Now& now);

  // An event of this car's link. `random` spreads reconnects, but to another broker at once.
  void Handle(const tools::LinkEvent& event, const Now& now, uint64_t random);

  const Car& car() const { return car_; }

  // Why a file could not be written; the car does nothing from then on. Empty: it could.
  const std::string& failure() const { return failure_; }

 private:
  Car car_;
  Hands hands_;
  std::string failure_;
  std::unique_ptr<tools::Link> link_;
};

}  // namespace latchkey::car
