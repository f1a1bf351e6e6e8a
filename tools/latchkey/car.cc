// latchkey car add, car run: a car's files, and the reference car on the broker.
#include "tools/latchkey/car.h"

#include <algorithm>
#include <csignal>
#include <iostream>
#include <system_error>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <unistd.h>

#include "proto/crypto.h"
#include "tools/ca/ca.h"
#include "tools/fleet/file.h"
#include "tools/latchkey/cell.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/qr.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr int kCarDays = 3650;
constexpr Duration kPauseMax = std::chrono::milliseconds(200);
constexpr Duration kRunEvery = std::chrono::milliseconds(10);

volatile std::sig_atomic_t stop_asked = 0;

void AskToStop(int /*signal*/) {
  stop_asked = 1;
}

struct RunOptions {
  std::string car;
  std::string fleet;
  std::string replay;
  double speed = 1;
  bool loop = false;
  bool offer = false;
  std::string role = "owner";
  std::string confirm = "ask";
  std::string length;
};

// `car run`: one car, its offer and the person in it.
class CarRun {
 public:
  CarRun(Context& context, RunOptions options) : context_(context), options_(std::move(options)) {}

  void Run() {
    const Result<void> ran = Try();
    if (!ran) {
      Complain(context_, ran.error());
    }
  }

 private:
  Result<void> Try() {
    const Folder folder(context_.data);
    LK_TRY(const CarRef ref, ParseCar(options_.fleet, options_.car));
    std::optional<Duration> length;
    if (!options_.length.empty()) {
      LK_TRY(length, ParseDuration(options_.length));
    }
    LK_TRY(std::unique_ptr<car::CarClient> client, OpenCar(folder, ref, 0, inbox_));
    std::optional<fleet::Replay> replay;
    if (!options_.replay.empty()) {
      LK_TRY(drive_, fleet::LoadDrive(options_.replay));
      replay.emplace(drive_,
                     fleet::ReplayOptions{options_.speed,
                                          options_.loop ? fleet::AtEnd::kLoop : fleet::AtEnd::kStop,
                                          0, Duration(0)},
                     ReadClocks());
      SayDrive();
    }
    cars_.Add(std::move(client), std::move(replay));
    Loop loop(cars_, inbox_, [this](const fleet::Said& said, const Now& now) { On(said, now); });
    loop_ = &loop;
    loop.OnPause([this](const Now& now) { Pause(now); });
    if (!loop.Run(length)) {
      return Fail(v1::REASON_STORE_UNAVAILABLE, cars_.client(0).failure());
    }
    return {};
  }

  void SayDrive() const {
    for (const auto& [key, count] : drive_.refused) {
      Event(ReadClocks().wall, "replay refuses " + std::to_string(count) + " values of " +
                                   std::string(key.first) + ": " +
                                   std::string(fleet::ToText(key.second)));
    }
  }

  void Event(Timestamp at, const std::string& text) const {
    if (context_.json) {
      Say(nlohmann::ordered_json{{"at_ms", at.ms}, {"car", options_.car}, {"event", text}}.dump());
    } else {
      Say(DateText(at) + " " + text);
    }
  }

  void On(const fleet::Said& said, const Now& now) {
    if (const auto* shown = std::get_if<car::OfferShown>(&said.effect)) {
      ShowCode(shown->qr_text);
    }
    const std::string text = EventText(said.effect);
    if (!text.empty()) {
      Event(now.wall, text);
    }
    if (std::holds_alternative<car::OfferOver>(said.effect)) {
      offered_ = false;
      asking_ = false;
    }
    if (std::holds_alternative<car::AskPerson>(said.effect)) {
      asking_ = true;
    }
  }

  void ShowCode(const std::string& qr_text) const {
    if (!context_.json) {
      const Result<std::string> code = QrCode(qr_text);
      Say(code ? *code : code.error().text);
    }
    Say(context_.json ? nlohmann::json{{"pairing", qr_text}}.dump() : "pairing: " + qr_text);
  }

  // What is done between events: a new offer, and the person's word.
  void Pause(const Now& /*now*/) {
    if (options_.offer && !offered_) {
      offered_ = true;
      loop_->Step(0, car::ShowOffer{RandomBytes(kPairingSecretBytes), RoleAsked()});
    }
    if (asking_ && options_.confirm != "ask") {
      asking_ = false;
      loop_->Step(0, car::Confirm{options_.confirm == "yes" ? car::Confirm::Word::kYes
                                                            : car::Confirm::Word::kNo});
    } else if (asking_) {
      ReadWord();
    }
  }

  v1::Role RoleAsked() const {
    if (options_.role == "driver") {
      return v1::ROLE_DRIVER;
    }
    return options_.role == "guest" ? v1::ROLE_GUEST : v1::ROLE_OWNER;
  }

  // A line on stdin, if there is one: "y" or "yes" lets the phone in. Closed stdin says no.
  void ReadWord() {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, 0) <= 0) {
      return;
    }
    std::string line;
    std::getline(std::cin, line);
    asking_ = false;
    const bool yes = line == "y" || line == "Y" || line == "yes";
    loop_->Step(0, car::Confirm{yes ? car::Confirm::Word::kYes : car::Confirm::Word::kNo});
  }

  Context& context_;
  RunOptions options_;
  fleet::Drive drive_;
  tools::Inbox inbox_;
  fleet::Fleet cars_{SeedOf(RandomBytes(8))};
  Loop* loop_ = nullptr;
  bool offered_ = false;
  bool asking_ = false;

  static uint64_t SeedOf(const std::string& bytes) {
    uint64_t seed = 0;
    for (const char c : bytes) {
      seed = seed << 8 | static_cast<uint8_t>(c);
    }
    return seed;
  }
};

void AddOne(Context& context, const std::string& fleet, const std::string& name) {
  const Folder folder(context.data);
  const Result<CarRef> ref = ParseCar(fleet, name);
  if (!ref) {
    Complain(context, ref.error());
    return;
  }
  const Result<void> added = AddCarFiles(folder, *ref);
  if (!added) {
    Complain(context, added.error());
    return;
  }
  Say("car " + ref->ToText() + ": " + folder.Car(*ref).string());
  Say("next: latchkey car run " + name + " --fleet " + fleet + " --offer");
}

}  // namespace

Result<CarRef> ParseCar(const std::string& fleet, const std::string& car) {
  const auto fleet_id = FleetId::Parse(fleet);
  const auto car_id = CarId::Parse(car);
  if (!fleet_id) {
    return Fail(v1::REASON_MALFORMED, "fleet \"" + fleet + "\" is not 1 to 32 of a-z, 0-9 and '-'");
  }
  if (!car_id) {
    return Fail(v1::REASON_MALFORMED,
                "car \"" + car + "\" is not 1 to 32 of letters, digits, '-' and '_'");
  }
  if (car_id->str() == "operator") {
    return Fail(v1::REASON_NOT_ALLOWED,
                "car \"operator\" would share client ids with operators: choose another name");
  }
  return CarRef{*fleet_id, *car_id};
}

bool HasCarFiles(const Folder& folder, const CarRef& ref) {
  std::error_code ignored;
  return std::filesystem::exists(folder.Car(ref) / "memory.bin", ignored);
}

Result<void> AddCarFiles(const Folder& folder, const CarRef& ref) {
  if (HasCarFiles(folder, ref)) {
    return Fail(v1::REASON_FULL, "car " + ref.ToText() + " is there already, in " +
                                     folder.Car(ref).string() + ": run it, or choose another name");
  }
  const Result<tools::Issued> ca = LoadIssued(folder.Fleet(ref.fleet), "ca");
  if (!ca) {
    return Fail(v1::REASON_MALFORMED, "no fleet " + ref.fleet.str() + " here (" + ca.error().text +
                                          "): make it with `latchkey fleet init " +
                                          ref.fleet.str() + "`");
  }
  const Timestamp now = ReadClocks().wall;
  LK_TRY(const tools::Issued issued, tools::IssueClient(CarIdentity{ref}, *ca, now, kCarDays));
  LK_CHECK(SaveIssued(folder.Car(ref), "car", issued));
  return WriteFile(folder.Car(ref) / "memory.bin", car::SerializeMemory(car::NewMemory(ref, now)),
                   Secrecy::kSecret);
}

Result<std::unique_ptr<car::CarClient>> OpenCar(const Folder& folder, const CarRef& ref,
                                                size_t index, tools::Inbox& inbox) {
  LK_TRY(const Cell cell, folder.LoadCell());
  const std::filesystem::path path = folder.Car(ref);
  const Result<std::string> stored = ReadFile(path / "memory.bin");
  if (!stored) {
    return Fail(v1::REASON_MALFORMED, "car " + ref.ToText() + " has no memory (" +
                                          stored.error().text +
                                          "): add it with `latchkey car add " + ref.car.str() +
                                          " --fleet " + ref.fleet.str() + "`");
  }
  LK_TRY(car::Memory memory, car::LoadMemory(*stored, ref));
  LK_TRY(const tools::Issued issued, LoadIssued(path, "car"));
  LK_TRY(PrivateKey key, PrivateKey::FromPem(issued.private_key_pem));
  LK_TRY(std::string certificate_der, PemToDer(issued.certificate_pem));
  car::Options options{.ref = ref,
                       .certificate_der = std::move(certificate_der),
                       .host = cell.host,
                       .phone_port = cell.phone_port,
                       .cell = cell.name};
  tools::LinkOptions link;
  link.host = cell.host;
  link.port = cell.car_port;
  link.client_id = ref.ToText();
  link.ca_file = folder.CellCa().string();
  link.certificate_file = (path / "car.pem").string();
  link.private_key_file = (path / "car.key").string();
  return std::make_unique<car::CarClient>(
      index, car::Car(std::move(options), std::move(key), std::move(memory)), std::move(link),
      inbox, [file = path / "memory.bin"](std::string_view bytes) {
        return WriteFile(file, bytes, Secrecy::kSecret);
      });
}

std::string EventText(const car::Effect& effect) {
  if (const auto* act = std::get_if<car::Act>(&effect)) {
    return "act " + act->text;
  }
  if (const auto* over = std::get_if<car::OfferOver>(&effect)) {
    return "pairing offer over: " + over->why;
  }
  if (const auto* ask = std::get_if<car::AskPerson>(&effect)) {
    return "phone \"" + ask->label + "\" (" + ask->key.str() + ") wants a key: let it in? [y/N]";
  }
  if (const auto* note = std::get_if<car::Note>(&effect)) {
    return note->text;
  }
  return "";
}

void Loop::Tell(const std::vector<fleet::Said>& said, const Now& now) {
  for (const fleet::Said& each : said) {
    listener_(each, now);
    failed_ = failed_ || !cars_.client(each.car).failure().empty();
  }
}

void Loop::Step(size_t car, const car::Input& input) {
  const Now now = ReadClocks();
  Tell(cars_.Step(car, input, now), now);
}

bool Loop::Run(std::optional<Duration> length) {
  std::signal(SIGINT, AskToStop);
  std::signal(SIGTERM, AskToStop);
  Now now = ReadClocks();
  const Instant begun = now.mono;
  Instant run_at = now.mono;
  Tell(cars_.Start(now), now);
  while (stop_asked == 0 && !failed_ && (!length || now.mono - begun < *length)) {
    const Duration wait = std::clamp(run_at - now.mono, Duration(0), kPauseMax);
    const auto event = inbox_.Wait(wait);
    now = ReadClocks();
    if (event) {
      Tell(cars_.Handle(*event, now), now);
    }
    if (now.mono >= run_at) {
      Tell(cars_.Run(now), now);
      run_at = std::max(cars_.NextAt(now), now.mono + kRunEvery);
    } else if (event) {
      run_at = std::min(run_at, std::max(cars_.NextAt(now), now.mono + kRunEvery));
    }
    if (pause_) {
      pause_(now);
    }
  }
  return !failed_;
}

void AddCar(CLI::App& app, Context& context) {
  CLI::App* car = app.add_subcommand("car", "Cars: add one, run the reference car");
  car->require_subcommand(1);
  CLI::App* add = car->add_subcommand("add", "Issue a car's certificate and its empty key ring");
  const auto options = std::make_shared<RunOptions>();
  add->add_option("CAR", options->car, "Name: letters, digits, '-', '_'")->required();
  add->add_option("--fleet", options->fleet, "Its fleet")->required();
  add->callback([&context, options] { AddOne(context, options->fleet, options->car); });

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
  run->add_option("--for", options->length, "End after this time, for example 30s or 5m");
  run->callback([&context, options] { CarRun(context, *options).Run(); });
}

}  // namespace latchkey::cli
