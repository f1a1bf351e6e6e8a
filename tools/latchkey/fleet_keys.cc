// latchkey fleet key, give, take: a fleet's own key, and with it one key given to or taken from
// many cars over one connection.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "proto/invite.h"
#include "proto/reason.h"
#include "tools/latchkey/cell.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/fleet_cars.h"
#include "tools/latchkey/hours.h"
#include "tools/latchkey/key_round.h"
#include "tools/latchkey/key_text.h"
#include "tools/latchkey/phone_file.h"
#include "tools/latchkey/rights.h"
#include "tools/latchkey/session.h"
#include "tools/latchkey/show.h"
#include "tools/mqtt/link.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int kUsage = 2;
constexpr int kTimedOut = 3;
constexpr Duration kRetryFirst = std::chrono::milliseconds(250);
constexpr Duration kRetryMax = std::chrono::seconds(5);
constexpr Duration kBarEvery = std::chrono::milliseconds(200);

struct RoundOptions {
  std::string fleet;
  std::string who;  // a key request link, or a key id
  std::string cars;
  RightsWish wish;
  std::string timeout = "30s";
};

std::string Dump(const ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void MakeKey(Context& context, const std::string& name) {
  const Folder folder(context.data);
  const auto made = [&]() -> Result<std::pair<PublicKey, bool>> {
    LK_TRY(const FleetId fleet, ParseFleet(name));
    std::error_code ignored;
    if (!fs::exists(folder.Fleet(fleet) / "ca.pem", ignored)) {
      return Fail(v1::REASON_MALFORMED, "no fleet " + name + " in " + folder.root().string() +
                                            ": make it with `latchkey fleet init " + name + "`");
    }
    LK_TRY(const std::optional<PublicKey> held, FindFleetKey(folder, fleet));
    if (held) {
      return std::pair(*held, false);
    }
    LK_TRY(const PublicKey key, MakePhone(folder, FleetPhoneName(fleet), "fleet " + name));
    return std::pair(key, true);
  }();
  if (!made) {
    Complain(context, made.error());
    return;
  }
  const std::string link = ToLink(KeyRequest{made->first, "fleet " + name});
  if (context.json) {
    Say(Dump({{"fleet", name},
              {"key_id", made->first.Id().str()},
              {"made", made->second},
              {"link", link}}));
    return;
  }
  Say("fleet " + name + (made->second ? ": made its key " : ": has its key already, ") +
      made->first.Id().str());
  Say("Cars that `latchkey car add` makes from this moment on have it on their rings. To a car "
      "that "
      "is there already its owner gives it:");
  Say("  latchkey phone share OWNER CAR '" + link + "' --role owner");
}

// What is to be done, read and checked before anything is sent.
struct Job {
  Cell cell;
  FleetId fleet;
  KeyRound::Order order;
  PrivateKey key;
  std::string label;
  Duration patience{0};
};

Result<RingKey> Subject(const RoundOptions& options, KeyRound::Deed deed) {
  const Now now = ReadClocks();
  if (deed == KeyRound::Deed::kGive) {
    LK_TRY(const KeyRequest request, ParseKeyRequest(options.who));
    return Apply(options.wish, NewGuest(request.key, request.label), now,
                 UtcOffsetMinutes(now.wall));
  }
  RingKey key;
  std::optional<KeyId> id = ParseKeyText(options.who);
  if (!id) {
    const Result<KeyRequest> request = ParseKeyRequest(options.who);
    if (!request) {
      return Fail(v1::REASON_MALFORMED, "\"" + options.who +
                                            "\" is neither a key id of 22 characters nor what "
                                            "`latchkey phone key` shows");
    }
    id = request->key.Id();
  }
  key.id = *id;
  return key;
}

Result<Job> MakeJob(const Context& context, const RoundOptions& options, const FleetId& fleet,
                    KeyRound::Deed deed, RingKey subject) {
  const Folder folder(context.data);
  LK_TRY(const Cell cell, folder.LoadCell());
  LK_TRY(const std::string pem, ReadFile(folder.Fleet(fleet) / "ca.pem"));
  LK_TRY(std::string ca, PemToDer(pem));
  LK_TRY(const std::optional<PublicKey> made, FindFleetKey(folder, fleet));
  if (!made) {
    return Fail(v1::REASON_NOT_ON_RING, "fleet " + fleet.str() +
                                            " has no key of its own: make it with `latchkey fleet "
                                            "key " +
                                            fleet.str() + "`, then add its cars");
  }
  LK_TRY(SavedPhone phone, LoadPhone(folder, FleetPhoneName(fleet)));
  LK_TRY(const Duration patience, ParseDuration(options.timeout));
  LK_TRY(const std::set<CarRef> cars, ChooseCars(folder, cell, fleet, options.cars));
  const std::string label = subject.label;
  return Job{cell,
             fleet,
             {deed, std::move(subject), std::move(ca), {cars.begin(), cars.end()}},
             std::move(phone.key),
             label,
             patience};
}

// Runs a round over one connection and tells what becomes of each car.
class Runner {
 public:
  Runner(Context& context, Job job)
      : context_(context),
        cell_(job.cell),
        deed_(job.order.deed),
        patience_(job.patience),
        round_(std::move(job.order), std::move(job.key), Limits(job.patience)),
        link_(0,
              PhoneLink(round_.key(), cell_.host, cell_.phone_port, cell_.name,
                        Folder(context.data).CellCa().string(), "fleet"),
              inbox_),
        bar_(!context.json && ::isatty(STDERR_FILENO) == 1) {}

  void Run() {
    begin_ = ReadClocks().mono;
    lost_at_ = begin_;
    connect_at_ = begin_;
    while (round_.over() < round_.total() && !failed_) {
      const Instant now = ReadClocks().mono;
      if (lost_at_ && now - *lost_at_ >= patience_) {
        failed_ = Error{v1::REASON_EXPIRED, "no connection to the broker at " + cell_.host + ":" +
                                                std::to_string(cell_.phone_port) + ": " + trouble_ +
                                                "; run this again to go on"};
        exit_code_ = kTimedOut;
        break;
      }
      if (connect_at_ && now >= *connect_at_) {
        connect_at_.reset();
        link_.Connect();
      }
      const std::optional<Instant> due = round_.NextDeadline();
      if (due && now >= *due && !lost_at_) {
        KeyRound::Effects effects;
        round_.Tick(ReadClocks(), effects);
        Do(effects);
        continue;
      }
      Duration wait = kBarEvery;
      wait = due && !lost_at_ ? std::min(wait, *due - now) : wait;
      wait = connect_at_ ? std::min(wait, *connect_at_ - now) : wait;
      const std::optional<tools::LinkEvent> event = inbox_.Wait(std::max(wait, Duration(0)));
      if (event) {
        On(*event);
      }
      DrawBar();
    }
    EraseBar();
    Summarize();
  }

 private:
  static RoundLimits Limits(Duration patience) {
    RoundLimits limits;
    limits.patience = patience;
    return limits;
  }

  void On(const tools::LinkEvent& event) {
    const Now now = ReadClocks();
    KeyRound::Effects effects;
    switch (event.kind) {
      case tools::LinkEvent::Kind::kConnected:
        lost_at_.reset();
        back_off_ = kRetryFirst;
        round_.Connected(now, effects);
        break;
      case tools::LinkEvent::Kind::kRefused:
        failed_ = Error{v1::REASON_NOT_ALLOWED,
                        "the broker refuses the fleet's key: " + ReasonCodeText(event.reason_code) +
                            "; is it blocked, or the clock wrong?"};
        exit_code_ = 1;
        break;
      case tools::LinkEvent::Kind::kDisconnected:
        trouble_ = event.text;
        lost_at_ = lost_at_.value_or(now.mono);
        round_.Disconnected();
        connect_at_ = now.mono + back_off_;
        back_off_ = std::min(back_off_ * 2, kRetryMax);
        break;
      case tools::LinkEvent::Kind::kSubscribed:
        round_.Subscribed(event.reason_codes, now, effects);
        break;
      case tools::LinkEvent::Kind::kPublished:
        round_.Published(event.message.topic, event.reason_code, now, effects);
        break;
      case tools::LinkEvent::Kind::kMessage:
        round_.Arrived(event.message, now, effects);
        break;
    }
    Do(effects);
  }

  void Do(const KeyRound::Effects& effects) {
    for (const KeyRound::Effect& effect : effects) {
      if (const auto* publish = std::get_if<Publish>(&effect)) {
        // What paho does not take is sent again: the round resends until it is answered.
        const Result<void> sent = link_.Send(*publish);
        if (!sent) {
          trouble_ = sent.error().text;
        }
      } else if (const auto* ask = std::get_if<KeyRound::Subscribe>(&effect)) {
        link_.Subscribe(ask->filters, 1);
      } else if (const auto* word = std::get_if<KeyRound::Word>(&effect)) {
        Tell(*word);
      }
    }
  }

  void Tell(const KeyRound::Word& word) {
    ++counts_[static_cast<size_t>(word.end)];
    if (context_.json) {
      ordered_json json = {{"car", word.ref.ToText()},
                           {"outcome", ToText(word.end)},
                           {"elapsed_ms", word.elapsed.count()}};
      if (!word.error.text.empty()) {
        json["reason"] = FactsOf(word.error.reason).word;
        json["text"] = word.error.text;
      }
      const bool has = word.end == KeyRound::End::kDone || word.end == KeyRound::End::kHad ||
                       word.end == KeyRound::End::kHeld;
      if (deed_ == KeyRound::Deed::kGive && has && word.car_key) {
        json["invitation"] =
            ToLink(Invitation{cell_.host, cell_.phone_port, cell_.name, word.ref, *word.car_key});
      }
      Say(Dump(json));
      return;
    }
    if (word.end == KeyRound::End::kRefused || word.end == KeyRound::End::kSilent) {
      EraseBar();
      Say("  " + word.ref.ToText() + "  " + std::string(ToText(word.end)) + "  " +
          std::string(FactsOf(word.error.reason).word) + ": " + Printable(word.error.text));
    }
  }

  // At most five times a second, on one line of the terminal.
  void DrawBar() {
    const Instant now = ReadClocks().mono;
    if (bar_ && (!drawn_at_ || now - *drawn_at_ >= kBarEvery)) {
      drawn_at_ = now;
      SayInPlace(ProgressText(round_.over(), round_.total(), now - begin_));
    }
  }

  void EraseBar() {
    if (bar_ && drawn_at_) {
      drawn_at_.reset();
      SayInPlace("");
    }
  }

  size_t Count(KeyRound::End end) const { return counts_[static_cast<size_t>(end)]; }

  void Summarize() {
    const bool give = deed_ == KeyRound::Deed::kGive;
    const size_t open = round_.total() - round_.over();
    const Duration elapsed = ReadClocks().mono - begin_;
    if (context_.json) {
      Say(Dump({{"event", "summary"},
                {"cars", round_.total()},
                {"done", Count(KeyRound::End::kDone)},
                {"had", Count(KeyRound::End::kHad)},
                {"held", Count(KeyRound::End::kHeld)},
                {"refused", Count(KeyRound::End::kRefused)},
                {"silent", Count(KeyRound::End::kSilent)},
                {"not_tried", open},
                {"elapsed_ms", elapsed.count()}}));
    } else {
      Say(std::to_string(round_.total()) + " cars in " + AgeText(elapsed) + ": " +
          std::to_string(Count(KeyRound::End::kDone)) + (give ? " given" : " taken") + ", " +
          std::to_string(Count(KeyRound::End::kHad)) +
          (give ? " had it already" : " did not have it") + ", " +
          std::to_string(Count(KeyRound::End::kHeld)) + " held for cars that sleep, " +
          std::to_string(Count(KeyRound::End::kRefused)) + " refused, " +
          std::to_string(Count(KeyRound::End::kSilent)) + " without answer" +
          (open == 0 ? "" : ", " + std::to_string(open) + " not tried"));
      if (give && Count(KeyRound::End::kDone) + Count(KeyRound::End::kHad) > 0) {
        Say("The guest needs an invitation for each car: --json prints them (run it again: what is "
            "given is not given twice).");
      }
      if (Count(KeyRound::End::kSilent) + open > 0) {
        Say("Run the same again to go on with what is missing.");
      }
    }
    if (failed_) {
      Complain(context_, *failed_, exit_code_);
    } else if (Count(KeyRound::End::kRefused) > 0) {
      context_.exit_code = 1;
    } else if (Count(KeyRound::End::kSilent) > 0) {
      context_.exit_code = kTimedOut;
    }
  }

  Context& context_;
  Cell cell_;
  KeyRound::Deed deed_;
  Duration patience_;
  KeyRound round_;
  tools::Inbox inbox_;
  tools::Link link_;
  bool bar_;
  std::optional<Instant> drawn_at_;
  Instant begin_;
  std::optional<Instant> lost_at_;
  std::optional<Instant> connect_at_;
  Duration back_off_ = kRetryFirst;
  std::string trouble_ = "no answer";
  std::array<size_t, 5> counts_{};
  std::optional<Error> failed_;
  int exit_code_ = 1;
};

void Round(Context& context, const RoundOptions& options, KeyRound::Deed deed) {
  const Result<FleetId> fleet = ParseFleet(options.fleet);
  Result<RingKey> subject =
      fleet ? Subject(options, deed) : Result<RingKey>(tl::unexpected<Error>(fleet.error()));
  if (!subject) {
    Complain(context, subject.error(), kUsage);
    return;
  }
  const bool give = deed == KeyRound::Deed::kGive;
  Result<Job> job = MakeJob(context, options, *fleet, deed, *subject);
  if (!job) {
    Complain(context, job.error(), job.error().reason == v1::REASON_MALFORMED ? kUsage : 1);
    return;
  }
  if (!context.json) {
    const int offset = UtcOffsetMinutes(ReadClocks().wall);
    const std::string times = TimesText(*subject, offset);
    Say(give ? "giving key " + subject->id.str() + " of " + Printable(subject->label) + " to " +
                   std::to_string(job->order.cars.size()) + " cars of fleet " + options.fleet +
                   " as " + RoleText(subject->role) + ": " + RightsText(subject->permissions) +
                   (times.empty() ? "; at any time" : "; " + times)
             : "taking key " + subject->id.str() + " from " +
                   std::to_string(job->order.cars.size()) + " cars of fleet " + options.fleet);
  }
  Runner(context, std::move(*job)).Run();
}

void AddRoundOptions(CLI::App& command, RoundOptions& options) {
  command.add_option("--cars", options.cars, "all, @FILE (a name a line) or A,B,C")->required();
  command.add_option("--timeout", options.timeout, "Wait at most this long for one car")
      ->capture_default_str();
}

}  // namespace

void AddFleetKeys(CLI::App& app, Context& context) {
  CLI::App* fleet = app.get_subcommand("fleet");
  CLI::App* key = fleet->add_subcommand(
      "key", "Make the fleet's own key, which `car add` puts on the rings of its cars");
  const auto name = std::make_shared<std::string>();
  key->add_option("FLEET", *name, "The fleet")->required();
  key->footer("Example:\n  latchkey fleet key demo\n");
  key->callback([&context, name] { MakeKey(context, *name); });

  CLI::App* give = fleet->add_subcommand(
      "give", "Give a key to many cars with the fleet's key; run again to go on");
  const auto giving = std::make_shared<RoundOptions>();
  give->add_option("FLEET", giving->fleet, "The fleet")->required();
  give->add_option("LINK", giving->who, "What `latchkey phone key` shows on the guest's phone")
      ->required();
  AddRoundOptions(*give, *giving);
  AddRightsOptions(*give, giving->wish);
  give->footer(
      "Examples:\n"
      "  latchkey fleet give demo 'latchkey://key?...' --cars all --until 2026-12-01T12:00\n"
      "  latchkey fleet give demo 'latchkey://key?...' --cars demo-01,demo-02 --may open,close\n"
      "A car whose ring has exactly this key is left alone; 2h counts anew with each run, a date "
      "does not.\nExit codes: 0 every car has it or it is held, 1 some refused, 3 some gave no "
      "answer.");
  give->callback([&context, giving] { Round(context, *giving, KeyRound::Deed::kGive); });

  CLI::App* take = fleet->add_subcommand(
      "take", "Take a key from many cars with the fleet's key; run again to go on");
  const auto taking = std::make_shared<RoundOptions>();
  take->add_option("FLEET", taking->fleet, "The fleet")->required();
  take->add_option("KEYID", taking->who, "The key: its id, or the link it was given by")
      ->required();
  AddRoundOptions(*take, *taking);
  take->footer(
      "Example:\n  latchkey fleet take demo NgGqe5PX3xHX4b6YhG4RFZ --cars all\n"
      "A sleeping car's key is blocked at the server at once and removed when the car wakes.");
  take->callback([&context, taking] { Round(context, *taking, KeyRound::Deed::kTake); });
}

}  // namespace latchkey::cli
