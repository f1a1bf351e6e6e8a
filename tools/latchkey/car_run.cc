// latchkey car run: the reference car on the broker, and the person in it at the keyboard.
#include <algorithm>
#include <array>
#include <csignal>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>
#include <poll.h>
#include <unistd.h>

#include "proto/crypto.h"
#include "tools/fleet/file.h"
#include "tools/latchkey/car.h"
#include "tools/latchkey/qr.h"
#include "tools/latchkey/show.h"
#include "tools/latchkey/sms_inbox.h"

namespace latchkey::cli {

namespace {

constexpr Duration kPauseMax = std::chrono::milliseconds(200);
constexpr Duration kRunEvery = std::chrono::milliseconds(10);
constexpr size_t kLineBytesMax = 1024;
constexpr Duration kSmsEvery = std::chrono::milliseconds(500);

volatile std::sig_atomic_t& StopAsked() {
  static volatile std::sig_atomic_t asked = 0;
  return asked;
}

void AskToStop(int /*signal*/) {
  StopAsked() = 1;
}

// Lines typed at stdin, without ever waiting for one.
class Typed {
 public:
  // A whole line without its end; nullopt: none just now.
  std::optional<std::string> Next() {
    Read();
    const size_t end = text_.find('\n');
    if (end == std::string::npos) {
      return std::nullopt;
    }
    std::string line = text_.substr(0, end);
    text_.erase(0, end + 1);
    if (!line.empty() && line.back() == '\r') {
      line.pop_back();
    }
    return line;
  }

  // Nobody can type any more.
  bool closed() const { return closed_ && text_.find('\n') == std::string::npos; }

 private:
  void Read() {
    // A process in the background that reads from its terminal is stopped by it.
    const bool background = ::isatty(STDIN_FILENO) == 1 && ::tcgetpgrp(STDIN_FILENO) != ::getpgrp();
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (closed_ || background || ::poll(&input, 1, 0) <= 0) {
      return;
    }
    std::array<char, 256> bytes{};
    const ssize_t count = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    closed_ = count <= 0;
    if (count > 0) {
      text_.append(bytes.data(), static_cast<size_t>(count));
    }
    if (text_.size() > kLineBytesMax && text_.find('\n') == std::string::npos) {
      text_.clear();
    }
  }

  std::string text_;
  bool closed_ = false;
};

uint64_t SeedOf(const std::string& bytes) {
  uint64_t seed = 0;
  for (const char c : bytes) {
    seed = seed << 8 | static_cast<uint8_t>(c);
  }
  return seed;
}

class CarRun {
 public:
  CarRun(Context& context, CarRunOptions options)
      : context_(context), options_(std::move(options)) {}

  Result<void> Run() {
    const Folder folder(context_.data);
    LK_TRY(const CarRef ref, ParseCar(options_.fleet, options_.car));
    std::optional<Duration> length;
    if (!options_.length.empty()) {
      LK_TRY(length, ParseDuration(options_.length));
    }
    LK_TRY(std::unique_ptr<car::CarClient> client,
           OpenCar(folder, ref, 0, inbox_, options_.utc_offset_minutes, options_.brokers));
    if (!options_.sms_inbox.empty()) {
      LK_CHECK(SmsInbox::Check(options_.sms_inbox));
      sms_.emplace(options_.sms_inbox);
    }
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
    cars_.Add(std::move(client), std::move(replay),
              options_.asleep ? fleet::Fleet::At::kAsleep : fleet::Fleet::At::kAwake);
    if (options_.asleep) {
      Tell("asleep: an SMS wakes it");
    }
    Loop loop(cars_, inbox_);
    loop.OnPause([this] { Pause(); });
    if (!loop.Run(length)) {
      return Fail(v1::REASON_STORE_UNAVAILABLE, cars_.failure());
    }
    return {};
  }

 private:
  void SayDrive() const {
    for (const auto& [key, count] : drive_.refused) {
      Event(ReadClocks().wall, "replay refuses " + std::to_string(count) + " values of " +
                                   std::string(key.first) + ": " +
                                   std::string(fleet::ToText(key.second)));
    }
  }

  void Event(Timestamp at, const std::string& text) const {
    if (context_.json) {
      Say(nlohmann::ordered_json{{"at_ms", at.ms}, {"car", options_.car}, {"event", text}}.dump(
          -1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
      Say(DateText(at) + " " + text);
    }
  }

  void Tell(const std::string& text) const { Event(ReadClocks().wall, text); }

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

  void Step(const car::Input& input) { cars_.Step(0, input, ReadClocks()); }

  // What is done between events: a new offer, and the person's words.
  void Pause() {
    if (options_.offer && !offered_) {
      Offer();
    }
    ReadSms();
    while (const std::optional<std::string> line = typed_.Next()) {
      OnLine(*line);
    }
    if (options_.confirm != "ask") {
      Answer(options_.confirm == "yes");
    } else if (typed_.closed()) {
      Answer(false);
    }
  }

  void ReadSms() {
    const Now now = ReadClocks();
    if (!sms_ || now.mono < read_sms_at_) {
      return;
    }
    read_sms_at_ = now.mono + kSmsEvery;
    for (const SmsFile& file : sms_->Poll()) {
      Step(car::SmsArrived{file.bytes});
      const Result<void> removed = SmsInbox::Remove(file);
      if (!removed && !sms_stuck_) {
        sms_stuck_ = true;
        Tell(removed.error().text);
      }
    }
  }

  void Offer() {
    offered_ = true;
    Step(car::ShowOffer{RandomBytes(kPairingSecretBytes), RoleAsked()});
  }

  void OnLine(const std::string& line) {
    if (line == "y" || line == "Y" || line == "yes") {
      Answer(true);
    } else if (line == "n" || line == "N" || line == "no" || line.empty()) {
      Answer(false);
    } else if (line == "offer") {
      Offer();
    } else if (line == "reset") {
      resetting_ = true;
      Tell("factory reset takes away all keys (" +
           std::to_string(cars_.client(0).car().ring().keys.size()) +
           ") and all settings: do it? [y/N]");
    } else {
      Tell("type yes or no to answer, offer for a new pairing code, reset for a factory reset");
    }
  }

  // To the last question; nothing when there is none.
  void Answer(bool yes) {
    if (resetting_) {
      resetting_ = false;
      if (yes) {
        Step(car::FactoryReset{});
      } else {
        Tell("not reset");
      }
    } else if (asking_) {
      asking_ = false;
      Step(car::Confirm{yes ? car::Confirm::Word::kYes : car::Confirm::Word::kNo});
    }
  }

  v1::Role RoleAsked() const {
    if (options_.role == "driver") {
      return v1::ROLE_DRIVER;
    }
    return options_.role == "guest" ? v1::ROLE_GUEST : v1::ROLE_OWNER;
  }

  Context& context_;
  CarRunOptions options_;
  fleet::Drive drive_;
  tools::Inbox inbox_;
  fleet::Fleet cars_{SeedOf(RandomBytes(8)),
                     [this](const fleet::Said& said, const Now& now) { On(said, now); }};
  Typed typed_;
  std::optional<SmsInbox> sms_;
  Instant read_sms_at_;
  bool sms_stuck_ = false;  // a message that was read cannot be removed; said once
  bool offered_ = false;
  bool asking_ = false;
  bool resetting_ = false;
};

std::string_view RoleText(v1::Role role) {
  if (role == v1::ROLE_OWNER) {
    return "owner";
  }
  return role == v1::ROLE_DRIVER ? "driver" : "guest";
}

}  // namespace

void RunCar(Context& context, const CarRunOptions& options) {
  CarRun run(context, options);
  const Result<void> ran = run.Run();
  if (!ran) {
    Complain(context, ran.error());
  }
}

std::string EventText(const car::Effect& effect) {
  if (const auto* act = std::get_if<car::Act>(&effect)) {
    return "act " + act->text;
  }
  if (const auto* over = std::get_if<car::OfferOver>(&effect)) {
    return "pairing offer over: " + over->why;
  }
  if (const auto* ask = std::get_if<car::AskPerson>(&effect)) {
    return "phone \"" + Printable(ask->label) + "\" (" + ask->key.str() + ") " +
           (ask->known ? "has a key already and wants a new one" : "wants a key") + " as " +
           std::string(RoleText(ask->role)) + (ask->invited ? " by invitation" : "") +
           ": let it in? [y/N]";
  }
  if (const auto* note = std::get_if<car::Note>(&effect)) {
    return note->text;
  }
  return "";
}

bool Loop::Run(std::optional<Duration> length) {
  // These two signals always can be caught.
  static_cast<void>(std::signal(SIGINT, AskToStop));
  static_cast<void>(std::signal(SIGTERM, AskToStop));
  Now now = ReadClocks();
  const Instant begun = now.mono;
  Instant run_at = now.mono;
  cars_.Start(now);
  while (StopAsked() == 0 && cars_.failure().empty() && (!length || now.mono - begun < *length)) {
    const Duration wait = std::clamp(run_at - now.mono, Duration(0), kPauseMax);
    const auto event = inbox_.Wait(wait);
    now = ReadClocks();
    if (event) {
      cars_.Handle(*event, now);
    }
    if (now.mono >= run_at) {
      cars_.Run(now);
      run_at = std::max(cars_.NextAt(now), now.mono + kRunEvery);
    } else if (event) {
      run_at = std::min(run_at, std::max(cars_.NextAt(now), now.mono + kRunEvery));
    }
    if (pause_) {
      pause_();
    }
  }
  return cars_.failure().empty();
}

}  // namespace latchkey::cli
