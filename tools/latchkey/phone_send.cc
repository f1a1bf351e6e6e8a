// latchkey phone send: one command, every receipt with its time.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "proto/command.h"
#include "proto/crypto.h"
#include "tools/latchkey/args.h"
#include "tools/latchkey/hours.h"
#include "tools/latchkey/phone_commands.h"
#include "tools/latchkey/receipts.h"
#include "tools/latchkey/rights.h"
#include "tools/latchkey/session.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr int kTimedOut = 3;
constexpr size_t kIdRandomBytes = 10;

struct SendOptions {
  std::string name;
  std::string car;
  std::string action;
  std::vector<std::string> args;
  std::string lives;
  std::string timeout;
  bool wait = false;
};

// What Run waits for, seen effect by effect.
class Watcher {
 public:
  Watcher(const Context& context, const tools::Phone& phone, Report& report, bool wait)
      : context_(context), phone_(phone), report_(report), wait_(wait) {}

  bool operator()(const tools::Phone::Effect& effect) {
    if (const auto* began = std::get_if<tools::Phone::Began>(&effect)) {
      report_.Began(*began);
    } else if (const auto* receipt = std::get_if<tools::Phone::Receipt>(&effect)) {
      report_.Receipt(*receipt);
      return receipt->final || !wait_;
    } else if (const auto* failure = std::get_if<tools::Phone::Failed>(&effect)) {
      // Only the lane of receipts is needed to send; other refused filters do not matter here.
      if (!failed &&
          (failure->filter.empty() || failure->filter.find("/receipt/") != std::string::npos)) {
        failed = *failure;
      }
      return failed.has_value();
    } else if (std::holds_alternative<tools::Phone::Learned>(effect)) {
      learned = true;
    } else if (const auto* change = std::get_if<tools::Phone::RingChanged>(&effect)) {
      SayRingChange(context_, *change, phone_.id());
    }
    return false;
  }

  std::optional<tools::Phone::Failed> failed;
  bool learned = false;

 private:
  const Context& context_;
  const tools::Phone& phone_;
  Report& report_;
  bool wait_;
};

// Why the key does not work at this moment by the ring this phone knows; empty: it should.
std::string ClosedText(const tools::Phone& phone) {
  const Timestamp now = ReadClocks().wall;
  const tools::Pairing& pairing = phone.cars().begin()->second.pairing;
  const RingKey* mine = pairing.ring.Find(phone.id());
  return mine == nullptr || CheckWindow(*mine, now).allowed()
             ? ""
             : "this phone's key to car " + pairing.ref.ToText() + " is valid only " +
                   TimesText(*mine, UtcOffsetMinutes(now)) + ": wait, or ask an owner to change it";
}

// What the sending came to.
struct Ending {
  const Report& report;
  const Watcher& watcher;
  const Session& session;
  Session::End end;
};

void Finish(Context& context, const SendOptions& options, const tools::Phone& phone,
            const Ending& ending) {
  const auto& [report, watcher, session, end] = ending;
  if (end == Session::End::kRefused) {
    Complain(context, session.error());
  } else if (end == Session::End::kTimeout) {
    Complain(context,
             {v1::REASON_EXPIRED,
              "no " + std::string(options.wait ? "final " : "") + "receipt within " +
                  options.timeout + "; the command may still act until it expires" +
                  (session.trouble().empty() ? "" : " (last trouble: " + session.trouble() + ")")},
             kTimedOut);
  } else if (report.state() != v1::RECEIPT_STATE_UNSPECIFIED) {
    context.exit_code = ExitCode(report.state());
  } else if (watcher.failed) {
    const int code = watcher.failed->broker_reason;
    const std::string closed = ClosedText(phone);
    Complain(context, {watcher.failed->error.reason,
                       "not sent: " + (closed.empty() ? watcher.failed->error.text : closed) +
                           (code != 0 ? " (the broker says " + ReasonCodeText(code) + ")" : "")});
  }
}

void Send(Context& context, const SendOptions& options) {
  Result<v1::Command> action = MakeAction(options.action, options.args, ReadClocks().wall);
  if (!action) {
    Complain(context, action.error(), 2);
    return;
  }
  std::optional<Duration> lifetime;
  std::optional<Duration> timeout;
  for (const auto& [text, into] :
       {std::pair(&options.lives, &lifetime), std::pair(&options.timeout, &timeout)}) {
    if (!text->empty()) {
      const Result<Duration> read = ParseDuration(*text);
      if (!read) {
        Complain(context, read.error(), 2);
        return;
      }
      *into = *read;
    }
  }
  Result<std::unique_ptr<Talk>> talk = OpenTalk(context, options.name, options.car, "send");
  if (!talk) {
    Complain(context, talk.error());
    return;
  }
  tools::Phone& phone = (*talk)->phone;
  Report report(context, ActionName(options.action));
  Watcher watcher(context, phone, report, options.wait);
  Session session(phone, (*talk)->link,
                  [&watcher](const tools::Phone::Effect& effect) { return watcher(effect); });
  const CarRef ref = phone.cars().begin()->first;
  session.Do(tools::Phone::Send{ref, std::move(*action), lifetime, RandomBytes(kIdRandomBytes)});
  const Session::End end = session.Run(timeout);
  if (watcher.learned) {
    const Result<void> saved = SaveTalk(context, **talk);
    if (!saved) {
      Complain(context, saved.error());
    }
  }
  Finish(context, options, phone, {report, watcher, session, end});
}

}  // namespace

void AddPhoneSend(CLI::App& phone, Context& context) {
  CLI::App* send = phone.add_subcommand("send", "Send a command and print its receipts");
  const auto options = std::make_shared<SendOptions>();
  send->add_option("NAME", options->name, "The phone")->required();
  send->add_option("CAR", options->car, "The car: demo-car, or demo/demo-car")->required();
  send->add_option("ACTION", options->action, "What to do; see below")->required();
  send->add_option("--arg", options->args, "key=value, repeated; see below")
      ->take_all()
      ->allow_extra_args(false);
  send->add_option("--lives", options->lives,
                   "The command expires after this (default: the longest its class may, 30s for "
                   "what opens or signals)");
  send->add_flag("--wait", options->wait, "Wait for the final receipt, not only the first");
  send->add_option("--timeout", options->timeout, "Stop waiting after this (exit code 3)");
  send->footer(
      "Examples:\n  latchkey phone send anna demo-car lock --wait\n"
      "  latchkey phone send anna demo-car climate-on --arg target_temperature=21\n\n" +
      ActionsText() + "\nExit codes: 0 done (or received), 1 anything else, 3 timed out.");
  send->callback([&context, options] { Send(context, *options); });
}

}  // namespace latchkey::cli
