// latchkey car add, car reset, car run: a car's files, and the reference car on the broker.
#include "tools/latchkey/car.h"

#include <iostream>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/latchkey/ca_inventory.h"
#include "tools/latchkey/kept.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr int kDaysMax = 36500;

void AddOne(Context& context, const std::string& fleet, const std::string& name, int days) {
  const Folder folder(context.data);
  const Result<CarRef> ref = ParseCar(fleet, name);
  if (!ref) {
    Complain(context, ref.error());
    return;
  }
  const Result<void> added = AddCarFiles(folder, *ref, days);
  if (!added) {
    Complain(context, added.error());
    return;
  }
  Say("car " + ref->ToText() + ": " + folder.Car(*ref).string());
  Say("next: latchkey car run " + name + " --fleet " + fleet + " --offer");
}

// At the keyboard; a script says --yes.
bool PersonSaysYes(const CarRef& ref, size_t keys) {
  std::cout << "factory reset of car " << ref.ToText() << " takes away all keys (" << keys
            << ") and all settings. Type yes to do it: " << std::flush;
  std::string line;
  std::getline(std::cin, line);
  return line == "yes";
}

Result<void> Reset(const Context& context, const std::string& fleet, const std::string& name,
                   bool sure) {
  LK_TRY(const CarRef ref, ParseCar(fleet, name));
  LK_TRY(ParkedCar car, ParkedCar::Open(Folder(context.data), ref));
  const size_t keys = car.memory().ring.keys.size();
  if (!sure && !PersonSaysYes(ref, keys)) {
    return Fail(v1::REASON_DECLINED, "car " + ref.ToText() + " is not reset: nobody typed yes");
  }
  LK_CHECK(car.Reset(ReadClocks().wall));
  const uint64_t version = car.memory().ring.version;
  if (context.json) {
    Say(nlohmann::ordered_json{
        {"fleet", fleet}, {"car", name}, {"keys_removed", keys}, {"ring_version", version}}
            .dump());
  } else {
    Say("car " + ref.ToText() + ": " + std::to_string(keys) +
        " keys and all settings are gone, ring version " + std::to_string(version) +
        "; the broker hears of it when the car connects");
    Say("next: latchkey car run " + name + " --fleet " + fleet + " --offer");
  }
  return {};
}

void AddAddAndReset(CLI::App& car, Context& context) {
  struct Options {
    std::string car;
    std::string fleet;
    int days = kCarDays;
    bool sure = false;
  };

  const auto options = std::make_shared<Options>();
  CLI::App* add = car.add_subcommand("add", "Issue a car's certificate and its key ring");
  add->add_option("CAR", options->car, "Name: letters, digits, '-', '_'")->required();
  add->add_option("--fleet", options->fleet, "Its fleet")->required();
  add->add_option("--days", options->days,
                  "How long the certificate lives (default 730); the car renews it in time")
      ->check(CLI::Range(1, kDaysMax));
  add->callback(
      [&context, options] { AddOne(context, options->fleet, options->car, options->days); });

  CLI::App* reset = car.add_subcommand(
      "reset",
      "Factory reset of a car that is not running: no key, no settings; a running one is "
      "reset by typing reset into its `car run`");
  reset->add_option("CAR", options->car, "A car that `car add` made")->required();
  reset->add_option("--fleet", options->fleet, "Its fleet")->required();
  reset->add_flag("--yes", options->sure, "Do not ask");
  reset->callback([&context, options] {
    const Result<void> done = Reset(context, options->fleet, options->car, options->sure);
    if (!done) {
      Complain(context, done.error());
    }
  });
}

}  // namespace

void AddCar(CLI::App& app, Context& context) {
  CLI::App* car = app.add_subcommand("car", "Cars: add one, run the reference car, reset it");
  car->require_subcommand(1);
  AddAddAndReset(*car, context);
  AddCarSms(*car, context);
  AddCarExport(*car, context);
  AddCarErase(*car, context);
  AddCarHistory(*car, context);
  const auto options = std::make_shared<CarRunOptions>();
  CLI::App* run = car->add_subcommand(
      "run", "Run the reference car until Ctrl-C: parked, or replaying a recorded drive");
  run->add_option("CAR", options->car, "A car that `car add` made")->required();
  run->add_option("--fleet", options->fleet, "Its fleet")->required();
  run->add_option("--replay", options->replay, "Recorded drive (BMW i3, Twizy, LeafSpy, e-scooter)")
      ->check(CLI::ExistingFile);
  run->add_option("--speed", options->speed, "Replay this many times as fast (default 1)")
      ->check(CLI::Range(0.01, 1000.0));
  run->add_flag("--loop", options->loop, "Begin the drive again when it is over");
  run->add_flag("--offer", options->offer, "Show a pairing code; a new one when it is over");
  run->add_option("--role", options->role, "What pairing gives: owner (default), driver or guest")
      ->check(CLI::IsMember({"owner", "driver", "guest"}));
  run->add_option("--confirm", options->confirm,
                  "What the person in the car says to a phone that proved itself: ask (default, on "
                  "stdin), yes or no")
      ->check(CLI::IsMember({"ask", "yes", "no"}));
  CLI::Option* inbox = run->add_option(
      "--sms-inbox", options->sms_inbox,
      "Inbox folder of the gammu-smsd at the car's modem: its .bin files are what the "
      "server sends to a sleeping car; read, then deleted");
  run->add_flag("--asleep", options->asleep, "Do not connect until an SMS wakes the car")
      ->needs(inbox);
  run->add_option(
         "--utc-offset", options->utc_offset_minutes,
         "Minutes by which the car's local time, in which schedules are meant, is ahead of "
         "UTC (default 0)")
      ->check(CLI::Range(-840, 840));
  run->add_option(
         "--broker", options->brokers,
         "HOST:PORT of a broker's port for cars, repeated: tried in this order before those "
         "that the cell lists; kept for later runs")
      ->take_all()
      ->allow_extra_args(false);
  run->add_option("--for", options->length, "End after this time, for example 30s or 5m");
  run->callback([&context, options] { RunCar(context, *options); });
}

}  // namespace latchkey::cli
