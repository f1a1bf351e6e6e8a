// latchkey phone cancel, commands: take a command back, and what this phone has sent.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proto/crypto.h"
#include "proto/reason.h"
#include "proto/state.h"
#include "tools/latchkey/exit_codes.h"
#include "tools/latchkey/phone_commands.h"
#include "tools/latchkey/phone_outcome.h"
#include "tools/latchkey/receipts.h"
#include "tools/latchkey/sent_file.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr size_t kIdRandomBytes = 10;

struct CancelOptions {
  std::string name;
  std::string car;
  std::string id;
  std::string timeout;
  std::string mqtt = "5";
};

struct CommandsOptions {
  std::string name;
  std::string car;
};

bool IsOf(const SentCommand& command, const std::string& car) {
  return command.ref.car.str() == car || command.ref.ToText() == car;
}

bool IsOver(const SentCommand& command, Timestamp now) {
  return command.ended() || (command.expires_at && now >= *command.expires_at);
}

// How it stands, for people.
std::string StandText(const SentCommand& command, Timestamp now) {
  std::string text = command.state == v1::RECEIPT_STATE_UNSPECIFIED
                         ? "nobody has answered"
                         : std::string(ToText(command.state));
  if (command.reason != v1::REASON_UNSPECIFIED) {
    text += " " + std::string(FactsOf(command.reason).word);
  }
  if (command.state != v1::RECEIPT_STATE_UNSPECIFIED) {
    text += ", heard " + AgeText(AgeOf(command.state_at, now)) + " ago";
  }
  if (!command.ended() && IsOver(command, now)) {
    text += "; its time is over, what became of it is not known";
  }
  return text;
}

// The command that is meant. Errors: REASON_MALFORMED (the id), REASON_ENDED (there is nothing to
// take back). Its wire is empty when this phone does not know it.
Result<SentCommand> Meant(const CancelOptions& options, const CarRef& ref,
                          const std::vector<SentCommand>& sent, Timestamp now) {
  if (options.id.empty()) {
    const auto last = std::find_if(sent.rbegin(), sent.rend(), [&](const SentCommand& command) {
      return command.ref == ref && !IsOver(command, now);
    });
    if (last != sent.rend()) {
      return *last;
    }
    return Fail(v1::REASON_ENDED, "phone " + options.name + " has sent nothing to car " +
                                      ref.ToText() +
                                      " that may still act; `latchkey phone commands " +
                                      options.name + "` lists what it has sent");
  }
  Result<SentCommand> found = FindSent(sent, options.id);
  if (found && found->ref != ref) {
    return Fail(v1::REASON_WRONG_CAR, "that command was for car " + found->ref.ToText());
  }
  if (found && IsOver(*found, now)) {
    return Fail(v1::REASON_ENDED, "there is nothing to take back: " + found->action + " to " +
                                      ref.ToText() + " is over: " + StandText(*found, now));
  }
  const std::optional<CommandId> id = CommandId::FromText(options.id);
  if (found || !id) {
    return found;
  }
  // Another device with this key has sent it.
  SentCommand unknown;
  unknown.id = *id;
  unknown.ref = ref;
  unknown.action = "a command";
  return unknown;
}

void SayEnd(Context& context, const SentCommand& command, const Outcome& outcome) {
  context.exit_code = CancelExitCode(outcome);
  if (context.json) {
    Say(nlohmann::ordered_json{{"event", "cancelled"},
                               {"command_id", command.id.ToText()},
                               {"state", ToText(outcome.state)},
                               {"taken_back", context.exit_code == kExitDone},
                               {"may_have_acted", outcome.may_have_acted}}
            .dump());
  } else if (context.exit_code == kExitDone) {
    Say("taken back: " + command.action + " will not act any more" +
        (outcome.may_have_acted ? "; the server cannot rule out that the car had it before it went"
                                : " and has not acted"));
  } else if (context.exit_code == kExitRefused) {
    Say("too late: " + command.action + " had begun or was over already");
  } else {
    Say("whether " + command.action + " has acted is not known: look at the car's state");
  }
}

void Cancel(Context& context, const CancelOptions& options) {
  std::optional<Duration> timeout;
  if (!options.timeout.empty()) {
    const Result<Duration> read = ParseDuration(options.timeout);
    if (!read) {
      Complain(context, read.error(), 2);
      return;
    }
    timeout = *read;
  }
  Result<std::unique_ptr<Talk>> talk = OpenTalk(context, options.name, options.car, "cancel");
  if (!talk) {
    Complain(context, talk.error());
    return;
  }
  const CarRef ref = (*talk)->phone.cars().begin()->first;
  const Timestamp now = ReadClocks().wall;
  const Result<std::vector<SentCommand>> sent =
      SentFile(Folder(context.data), options.name).Read(now);
  const Result<SentCommand> command =
      sent ? Meant(options, ref, *sent, now)
           : Result<SentCommand>(tl::unexpected<Error>(sent.error()));
  if (!command) {
    Complain(context, command.error());
    return;
  }
  const FollowOptions follow{options.name, command->action, Follow::kOutcome, timeout,
                             options.mqtt};
  const Followed followed = FollowCommand(
      context, **talk, follow,
      tools::Phone::Cancel{ref, command->id, command->wire, RandomBytes(kIdRandomBytes)});
  if (followed.end == Followed::End::kOutcome) {
    SayEnd(context, *command, followed.outcome);
  } else if (followed.end == Followed::End::kCancelRefused) {
    Complain(context,
             {followed.outcome.reason, "not taken back: " + Printable(followed.outcome.text) +
                                           " The command may still act."},
             kExitRefused);
  }
}

void SayCommand(const Context& context, const SentCommand& command, Timestamp now) {
  if (context.json) {
    nlohmann::ordered_json json = {{"command_id", command.id.ToText()},
                                   {"car", command.ref.ToText()},
                                   {"action", command.action},
                                   {"sent_at_ms", command.sent_at.ms},
                                   {"age_ms", AgeOf(command.sent_at, now).count()}};
    if (command.expires_at) {
      json["expires_at_ms"] = command.expires_at->ms;
    }
    json["over"] = IsOver(command, now);
    if (command.state != v1::RECEIPT_STATE_UNSPECIFIED) {
      json["state"] = ToText(command.state);
      json["state_age_ms"] = AgeOf(command.state_at, now).count();
      json["reason"] = FactsOf(command.reason).word;
    }
    Say(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  std::string expiry =
      command.expires_at ? "expires " + DateText(*command.expires_at) : "never expires";
  if (command.expires_at && now >= *command.expires_at) {
    expiry = "expired " + AgeText(AgeOf(*command.expires_at, now)) + " ago";
  }
  Say(command.id.ToText() + "  " + Printable(command.action) + " to " + command.ref.ToText() +
      "  sent " + DateText(command.sent_at) + " (" + AgeText(AgeOf(command.sent_at, now)) +
      " ago), " + expiry + "  " + StandText(command, now));
}

void Commands(Context& context, const CommandsOptions& options) {
  const Folder folder(context.data);
  const Timestamp now = ReadClocks().wall;
  const Result<SavedPhone> phone = LoadPhone(folder, options.name);
  const Result<std::vector<SentCommand>> sent = SentFile(folder, options.name).Read(now);
  if (!phone || !sent) {
    Complain(context, !phone ? phone.error() : sent.error());
    return;
  }
  size_t shown = 0;
  for (const SentCommand& command : *sent) {
    if (options.car.empty() || IsOf(command, options.car)) {
      SayCommand(context, command, now);
      ++shown;
    }
  }
  if (shown == 0 && !context.json) {
    Say("nothing sent lately");
  }
}

}  // namespace

void AddPhoneCancel(CLI::App& phone, Context& context) {
  CLI::App* cancel = phone.add_subcommand("cancel", "Take back a command that has not acted yet");
  const auto options = std::make_shared<CancelOptions>();
  cancel->add_option("NAME", options->name, "The phone that sent it")->required();
  cancel->add_option("CAR", options->car, "The car: demo-car, or demo/demo-car")->required();
  cancel->add_option("ID", options->id,
                     "The command, or the first characters of its id (default: the last one sent "
                     "to this car that may still act)");
  cancel->add_option("--timeout", options->timeout, "Stop waiting after this (exit code 3)");
  cancel->add_option("--mqtt", options->mqtt, "Protocol")
      ->check(CLI::IsMember({"5", "3.1.1"}))
      ->capture_default_str();
  cancel->footer(
      "Waits until it is known what became of the command: a car that sleeps never hears of it, a\n"
      "car that is awake says whether it came too late.\n"
      "Example:\n  latchkey phone cancel anna demo-car\n"
      "Exit codes: 0 taken back, 1 too late or refused, 3 timed out, 5 whether it has acted is not "
      "known.");
  cancel->callback([&context, options] { Cancel(context, *options); });

  CLI::App* commands = phone.add_subcommand(
      "commands", "What this phone has sent, and how each command stood when last heard of");
  const auto listing = std::make_shared<CommandsOptions>();
  commands->add_option("NAME", listing->name, "The phone")->required();
  commands->add_option("--car", listing->car, "Only to this car");
  commands->footer(
      "The last 64; a command is kept for an hour after it has expired. What the car has done "
      "since "
      "this\nphone listened last is not in it: `latchkey phone send NAME --resume ID` asks.\n"
      "Example:\n  latchkey phone commands anna --car demo-car\n");
  commands->callback([&context, listing] { Commands(context, *listing); });
}

}  // namespace latchkey::cli
