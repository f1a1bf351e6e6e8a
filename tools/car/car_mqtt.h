// A reference car on a real connection: turns link events into the car's inputs and does its
// effects in order. Decides nothing.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"
#include "tools/car/car.h"
#include "tools/mqtt/link.h"

namespace latchkey::car {

// One thread uses it, the one that reads the Inbox.
class CarClient {
 public:
  // Replaces the stored memory and syncs it.
  using Persistor = std::function<Result<void>(std::string_view bytes)>;

  // `index` names its events in `inbox`.
  CarClient(size_t index, Car car, tools::LinkOptions link, tools::Inbox& inbox, Persistor persist);

  // Steps the car and does what it says. Gives back what people should see: Act, OfferShown,
  // OfferOver, AskPerson, Note.
  Effects Step(const Input& input, const Now& now);

  // An event of this car's link. `random` spreads reconnects.
  Effects Handle(const tools::LinkEvent& event, const Now& now, uint64_t random);

  const Car& car() const { return car_; }

  // Why the memory could not be written; the car does nothing from then on. Empty: it could.
  const std::string& failure() const { return failure_; }

 private:
  void Do(const Effect& effect, Effects& shown);

  Car car_;
  Persistor persist_;
  std::string failure_;
  std::unique_ptr<tools::Link> link_;
};

}  // namespace latchkey::car
