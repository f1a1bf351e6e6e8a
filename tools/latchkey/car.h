// What `car add`, `car reset`, `car run` and `fleet simulate` share: a car's files, and the loop
// that runs cars until a signal or a time.
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
#include "tools/latchkey/commands.h"
#include "tools/latchkey/folder.h"

namespace latchkey::cli {

// Both names checked, and that the car's client ids are nobody else's. Errors REASON_MALFORMED,
// REASON_NOT_ALLOWED (a car "operator" or "registrar", a fleet "bridge" or "administrator").
Result<CarRef> ParseCar(const std::string& fleet, const std::string& car);

// Issues a certificate for `days` and an empty memory; the fleet's own key is on the ring when
// there is one. The car holds the invitation from the beginning when there is one. Errors
// REASON_FULL (it is there already), REASON_MALFORMED (no such fleet), REASON_STORE_UNAVAILABLE.
Result<void> AddCarFiles(const Folder& folder, const CarRef& ref, int days,
                         std::optional<car::Invitation> invitation = std::nullopt);
// What the car has in memory, without taking it from who runs it. Errors as OpenCar.
Result<car::Memory> LookIntoCar(const Folder& folder, const CarRef& ref);
bool HasCarFiles(const Folder& folder, const CarRef& ref);

// The car of these files, not yet started, as link `index` of `inbox`. No other process opens it
// while this one has it. `utc_offset_minutes` is what its schedules mean by local time, `brokers`
// what UseBrokers is given. Errors: as above, those of LoadMemory and UseBrokers,
// REASON_NOT_ALLOWED (another process has it).
Result<std::unique_ptr<car::CarClient>> OpenCar(const Folder& folder, const CarRef& ref,
                                                size_t index, tools::Inbox& inbox,
                                                int utc_offset_minutes = 0,
                                                const std::vector<std::string>& brokers = {});

// A car's memory, for who changes it while the car does not run. Nobody else can until it is gone.
class ParkedCar {
 public:
  // Errors as OpenCar.
  static Result<ParkedCar> Open(const Folder& folder, const CarRef& ref);

  const car::Memory& memory() const { return memory_; }

  // As somebody at the head unit would. Error REASON_STORE_UNAVAILABLE: nothing was changed.
  Result<void> Reset(Timestamp now);

 private:
  ParkedCar(std::shared_ptr<FileLock> lock, std::filesystem::path file, car::Memory memory)
      : lock_(std::move(lock)), file_(std::move(file)), memory_(std::move(memory)) {}

  std::shared_ptr<FileLock> lock_;
  std::filesystem::path file_;
  car::Memory memory_;
};

// `car sms`, car_sms.cc: adds it to the `car` subcommand.
void AddCarSms(CLI::App& car, Context& context);

// `car history`, car_history.cc: likewise.
void AddCarHistory(CLI::App& car, Context& context);

// What a car said, as a line of a log; empty: nothing to print.
std::string EventText(const car::Effect& effect);

// `car run`: one car, its offer, and the person in it, who types at stdin. car_run.cc.
struct CarRunOptions {
  std::string car;
  std::string fleet;
  std::string replay;
  double speed = 1;
  bool loop = false;
  bool offer = false;
  std::string role = "owner";
  std::string confirm = "ask";
  std::string length;
  bool asleep = false;         // connects when an SMS wakes it
  std::string sms_inbox;       // folder of the car's own gammu-smsd; empty: none
  int utc_offset_minutes = 0;  // of the car's local time
  std::vector<std::string> brokers;
};

void RunCar(Context& context, const CarRunOptions& options);

// Runs cars: their events, and what is due.
class Loop {
 public:
  Loop(fleet::Fleet& cars, tools::Inbox& inbox) : cars_(cars), inbox_(inbox) {}

  // Called a few times a second.
  void OnPause(std::function<void()> pause) { pause_ = std::move(pause); }

  // Until SIGINT, SIGTERM, `length`, or a car whose file cannot be written. False: the last.
  bool Run(std::optional<Duration> length);

 private:
  fleet::Fleet& cars_;
  tools::Inbox& inbox_;
  std::function<void()> pause_;
};

}  // namespace latchkey::cli
