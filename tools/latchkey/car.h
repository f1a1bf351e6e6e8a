// What `car run` and `fleet simulate` share: a car's files, and the loop that runs cars until a
// signal or a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"
#include "tools/fleet/fleet.h"
#include "tools/latchkey/folder.h"

namespace latchkey::cli {

// Both names checked. Error REASON_MALFORMED.
Result<CarRef> ParseCar(const std::string& fleet, const std::string& car);

// Issues a certificate and an empty memory. Errors REASON_FULL (it is there already),
// REASON_MALFORMED (no such fleet), REASON_STORE_UNAVAILABLE.
Result<void> AddCarFiles(const Folder& folder, const CarRef& ref);
bool HasCarFiles(const Folder& folder, const CarRef& ref);

// The car of these files, not yet started, as link `index` of `inbox`. Errors: as above, and those
// of LoadMemory.
Result<std::unique_ptr<car::CarClient>> OpenCar(const Folder& folder, const CarRef& ref,
                                                size_t index, tools::Inbox& inbox);

// What a car said, as a line of a log; empty: nothing to print.
std::string EventText(const car::Effect& effect);

class Loop {
 public:
  // Sees what cars say, in order.
  using Listener = std::function<void(const fleet::Said& said, const Now& now)>;

  Loop(fleet::Fleet& cars, tools::Inbox& inbox, Listener listener)
      : cars_(cars), inbox_(inbox), listener_(std::move(listener)) {}

  // Called a few times a second.
  void OnPause(std::function<void(const Now& now)> pause) { pause_ = std::move(pause); }

  // Steps a car outside of its events.
  void Step(size_t car, const car::Input& input);

  // Until SIGINT, SIGTERM, `length`, or a car whose memory cannot be written. False: the last.
  bool Run(std::optional<Duration> length);

 private:
  void Tell(const std::vector<fleet::Said>& said, const Now& now);

  fleet::Fleet& cars_;
  tools::Inbox& inbox_;
  Listener listener_;
  std::function<void(const Now& now)> pause_;
  bool failed_ = false;
};

}  // namespace latchkey::cli
