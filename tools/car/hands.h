// Doing what a car says, in its order: the one loop between the car's effects and the world.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/message.h"
#include "proto/result.h"
#include "tools/car/car.h"

namespace latchkey::car {

// What is at hand for a car, a function per kind of effect. None may be empty.
struct Hands {
  std::function<Result<void>(std::string_view bytes)> persist;         // lasting when it returns
  std::function<Result<void>(std::string_view der)> keep_certificate;  // likewise
  std::function<void()> connect;
  std::function<void(const std::vector<std::string>& filters)> subscribe;
  std::function<void()> hang_up;
  std::function<Result<void>(const Send& send)> send;
  // The body acts, or people see something: Act, OfferShown, OfferOver, AskPerson, Note.
  std::function<void(const Effect& effect)> show;
};

// Does `effects` one after the other. What shows an action returns before the car's next word is
// written or sent. A message that cannot be sent is a Note and no more: whoever waits for it asks
// again. Error: the first write that failed; nothing after it was done.
Result<void> Do(const Effects& effects, const Hands& hands);

}  // namespace latchkey::car
