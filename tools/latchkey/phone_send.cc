// latchkey phone send: one command, every receipt with its time; or on with one that an earlier run
// sent.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "proto/command.h"
#include "proto/crypto.h"
#include "tools/latchkey/args.h"
#include "tools/latchkey/exit_codes.h"
#include "tools/latchkey/phone_commands.h"
#include "tools/latchkey/phone_outcome.h"
#include "tools/latchkey/receipts.h"
#include "tools/latchkey/sent_file.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr int kUsage = 2;
constexpr size_t kIdRandomBytes = 10;

struct SendOptions {
  std::string name;
  std::string car;
  std::string action;
  std::vector<std::string> args;
  std::vector<std::string> departures;
  std::vector<std::string> windows;
  std::vector<std::string> legs;
  std::string lives;
  std::string timeout;
  std::string resume;
  std::string mqtt = "5";
  bool wait = false;
};

// Nothing for an empty text.
Result<std::optional<Duration>> Optional(const std::string& text) {
  if (text.empty()) {
    return std::optional<Duration>();
  }
  LK_TRY(const Duration length, ParseDuration(text));
  return std::optional<Duration>(length);
}

std::vector<std::string> AllArgs(const SendOptions& options) {
  std::vector<std::string> args = options.args;
  for (const auto& [name, values] :
       {std::pair("departure=", &options.departures), std::pair("window=", &options.windows),
        std::pair("leg=", &options.legs)}) {
    for (const std::string& value : *values) {
      args.push_back(name + value);
    }
  }
  return args;
}

void Finish(Context& context, const Followed& followed) {
  if (followed.end == Followed::End::kOutcome) {
    context.exit_code = ExitCode(followed.outcome);
  }
}

void Resume(Context& context, const SendOptions& options, std::optional<Duration> timeout) {
  const Result<std::vector<SentCommand>> sent =
      SentFile(Folder(context.data), options.name).Read(ReadClocks().wall);
  const Result<SentCommand> command =
      sent ? FindSent(*sent, options.resume)
           : Result<SentCommand>(tl::unexpected<Error>(sent.error()));
  if (!command) {
    Complain(context, command.error());
    return;
  }
  if (command->ended()) {
    // Nobody needs to be asked. What it means is the same as when it was heard.
    Outcome outcome = MakeOutcome(command->ref, command->id, command->state, command->reason,
                                  command->state_at, v1::RECEIPT_SOURCE_UNSPECIFIED);
    outcome.may_have_acted = command->may_have_acted;
    Say(command->action + " to " + command->ref.ToText() + " is over: " +
        std::string(ToText(outcome.state)) + (outcome.text.empty() ? "" : ": " + outcome.text));
    context.exit_code = ExitCode(outcome);
    return;
  }
  Result<std::unique_ptr<Talk>> talk =
      OpenTalk(context, options.name, command->ref.ToText(), "send");
  if (!talk) {
    Complain(context, talk.error());
    return;
  }
  const FollowOptions follow{options.name, command->action, Follow::kOutcome, timeout,
                             options.mqtt};
  Finish(context, FollowCommand(context, **talk, follow,
                                tools::Phone::Resume{command->ref, command->wire, command->state}));
}

void Send(Context& context, const SendOptions& options) {
  const Result<std::optional<Duration>> lifetime = Optional(options.lives);
  const Result<std::optional<Duration>> timeout = Optional(options.timeout);
  if (!lifetime || !timeout) {
    Complain(context, !lifetime ? lifetime.error() : timeout.error(), kUsage);
    return;
  }
  if (!options.resume.empty()) {
    Resume(context, options, *timeout);
    return;
  }
  if (options.car.empty() || options.action.empty()) {
    Complain(context,
             {v1::REASON_MALFORMED, "write phone, car and action, or phone and --resume ID"},
             kUsage);
    return;
  }
  Result<v1::Command> action = MakeAction(options.action, AllArgs(options), ReadClocks().wall);
  if (!action) {
    Complain(context, action.error(), kUsage);
    return;
  }
  Result<std::unique_ptr<Talk>> talk = OpenTalk(context, options.name, options.car, "send");
  if (!talk) {
    Complain(context, talk.error());
    return;
  }
  const CarRef ref = (*talk)->phone.cars().begin()->first;
  const FollowOptions follow{options.name, ActionName(options.action),
                             options.wait ? Follow::kOutcome : Follow::kFirst, *timeout,
                             options.mqtt};
  Finish(context, FollowCommand(context, **talk, follow,
                                tools::Phone::Send{ref, std::move(*action), *lifetime,
                                                   RandomBytes(kIdRandomBytes)}));
}

void AddActionOptions(CLI::App& send, SendOptions& options) {
  send.add_option("--arg", options.args, "key=value, repeated; see below")
      ->take_all()
      ->allow_extra_args(false);
  send.add_option("--departure", options.departures,
                  "Of departure-schedule, repeated: \"07:30 mon-fri 21C\"; without days once, at "
                  "the next such time; by the car's clock")
      ->take_all()
      ->allow_extra_args(false);
  send.add_option("--window", options.windows,
                  "Of charge-schedule, repeated: \"22:00-06:00 daily\", \"10:00-12:00 sat+sun\"")
      ->take_all()
      ->allow_extra_args(false);
  send.add_option("--leg", options.legs,
                  "Of send-destination, repeated, in order of travel: \"LAT,LON,NAME,MODE\"; mode "
                  "drive, walk, transit or cycle")
      ->take_all()
      ->allow_extra_args(false);
}

}  // namespace

void AddPhoneSend(CLI::App& phone, Context& context) {
  CLI::App* send = phone.add_subcommand("send", "Send a command and print its receipts");
  const auto options = std::make_shared<SendOptions>();
  send->add_option("NAME", options->name, "The phone")->required();
  send->add_option("CAR", options->car, "The car: demo-car, or demo/demo-car");
  send->add_option("ACTION", options->action, "What to do; see below");
  AddActionOptions(*send, *options);
  send->add_option("--lives", options->lives,
                   "The command expires after this (default: the longest its class may, 30s for "
                   "what opens or signals)");
  send->add_flag("--wait,!--no-wait", options->wait,
                 "Wait for the outcome, not only for the first receipt (default: --no-wait)");
  send->add_option("--timeout", options->timeout, "Stop waiting after this (exit code 3)");
  send->add_option("--resume", options->resume,
                   "Instead of car and action: go on with the command that has this id, as "
                   "`latchkey phone commands` lists it, until its outcome");
  send->add_option("--mqtt", options->mqtt, "Protocol")
      ->check(CLI::IsMember({"5", "3.1.1"}))
      ->capture_default_str();
  send->footer(
      "Examples:\n  latchkey phone send anna demo-car lock --wait\n"
      "  latchkey phone send anna demo-car climate-on --arg target_temperature=21\n"
      "  latchkey phone send anna demo-car departure-schedule --departure \"07:30 mon-fri 21C\"\n"
      "  latchkey phone send anna demo-car charge-schedule --window \"22:00-06:00 daily\"\n"
      "  latchkey phone send anna demo-car send-destination --leg \"48.14,11.56,Station,drive\" "
      "--leg \"48.1,11.6,Museum,walk\"\n"
      "  latchkey phone send anna --resume 01a1fe6f\n\n" +
      ActionsText() +
      "\nExit codes: 0 done, or received with --no-wait; 1 refused or failed; 2 usage; 3 stopped "
      "waiting, it\nmay still act; 4 it has not acted and will not: expired, superseded or taken "
      "back; 5 whether it has\nacted is not known: look at the car.");
  send->callback([&context, options] { Send(context, *options); });
}

}  // namespace latchkey::cli
