// latchkey phone send: one command, every receipt with its time.
#include <array>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proto/command.h"
#include "proto/crypto.h"
#include "proto/reason.h"
#include "tools/latchkey/args.h"
#include "tools/latchkey/phone_commands.h"
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

// Prints what happens to one command and remembers how it stands.
class Report {
 public:
  Report(Context& context, std::string action) : context_(context), action_(std::move(action)) {}

  void Began(const tools::Phone::Began& began) {
    const Timestamp now = ReadClocks().wall;
    if (context_.json) {
      nlohmann::ordered_json json = {{"event", "sent"},
                                     {"car", began.ref.ToText()},
                                     {"action", action_},
                                     {"command_id", began.id.ToText()},
                                     {"at_ms", now.ms}};
      if (began.expires_at) {
        json["expires_at_ms"] = began.expires_at->ms;
      }
      Say(json.dump());
      return;
    }
    Say(ClockText(now) + "            " + action_ + " to " + began.ref.ToText() + ", id " +
        began.id.ToText() +
        (began.expires_at ? ", expires " + ClockText(*began.expires_at) : ", never expires"));
  }

  void Receipt(const tools::Phone::Receipt& receipt) {
    const Outcome& outcome = receipt.outcome;
    const Timestamp now = ReadClocks().wall;
    state = outcome.state;
    const char* by = outcome.source == v1::RECEIPT_SOURCE_CAR      ? "car"
                     : outcome.source == v1::RECEIPT_SOURCE_BRIDGE ? "bridge"
                                                                   : "phone";
    if (context_.json) {
      nlohmann::ordered_json json = {{"event", "receipt"},
                                     {"command_id", outcome.command_id.ToText()},
                                     {"state", ToText(outcome.state)},
                                     {"by", by},
                                     {"elapsed_ms", receipt.elapsed.count()},
                                     {"at_ms", now.ms},
                                     {"said_at_ms", outcome.at.ms},
                                     {"final", receipt.final}};
      if (outcome.reason != v1::REASON_UNSPECIFIED) {
        json["reason"] = FactsOf(outcome.reason).word;
        json["text"] = outcome.text;
        json["may_have_acted"] = outcome.may_have_acted;
        json["retry_can_help"] = outcome.retry_can_help;
      }
      if (receipt.broker_reason != 0) {
        json["broker_reason_code"] = receipt.broker_reason;
      }
      Say(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      return;
    }
    std::array<char, 32> elapsed{};
    std::snprintf(elapsed.data(), elapsed.size(), "%+8lld ms",
                  static_cast<long long>(receipt.elapsed.count()));
    std::string line = ClockText(now) + elapsed.data() + "  " + std::string(ToText(outcome.state)) +
                       "  (" + by + ")";
    if (outcome.reason != v1::REASON_UNSPECIFIED) {
      line += "  " + std::string(FactsOf(outcome.reason).word) + ": " + outcome.text;
    }
    if (receipt.broker_reason != 0) {
      line += " [the broker's PUBACK says " + ReasonCodeText(receipt.broker_reason) + "]";
    }
    Say(line);
  }

  v1::ReceiptState state = v1::RECEIPT_STATE_UNSPECIFIED;

 private:
  Context& context_;
  std::string action_;
};

// What Run waits for, seen effect by effect.
class Watcher {
 public:
  Watcher(Report& report, bool wait) : report_(report), wait_(wait) {}

  bool operator()(const tools::Phone::Effect& effect) {
    if (const auto* began = std::get_if<tools::Phone::Began>(&effect)) {
      report_.Began(*began);
    } else if (const auto* receipt = std::get_if<tools::Phone::Receipt>(&effect)) {
      report_.Receipt(*receipt);
      return receipt->final || !wait_;
    } else if (const auto* failure = std::get_if<tools::Phone::Failed>(&effect)) {
      failed = *failure;
      // Only the lane of receipts is needed to send; other refused filters do not matter here.
      return failure->filter.empty() || failure->filter.find("/receipt/") != std::string::npos;
    } else if (std::holds_alternative<tools::Phone::Learned>(effect)) {
      learned = true;
    }
    return false;
  }

  std::optional<tools::Phone::Failed> failed;
  bool learned = false;

 private:
  Report& report_;
  bool wait_;
};

int ExitCode(v1::ReceiptState state) {
  const bool good = state == v1::RECEIPT_STATE_DONE || state == v1::RECEIPT_STATE_HELD ||
                    state == v1::RECEIPT_STATE_DELIVERED;
  return good ? 0 : 1;
}

void Finish(Context& context, const SendOptions& options, const Report& report,
            const Watcher& watcher, const Session& session, Session::End end) {
  if (end == Session::End::kRefused) {
    Complain(context, session.error());
  } else if (end == Session::End::kTimeout) {
    Complain(context,
             {v1::REASON_EXPIRED,
              "no " + std::string(options.wait ? "final " : "") + "receipt within " +
                  options.timeout + "; the command may still act until it expires" +
                  (session.trouble().empty() ? "" : " (last trouble: " + session.trouble() + ")")},
             kTimedOut);
  } else if (report.state != v1::RECEIPT_STATE_UNSPECIFIED) {
    context.exit_code = ExitCode(report.state);
  } else if (watcher.failed) {
    const int code = watcher.failed->broker_reason;
    Complain(context, {watcher.failed->error.reason,
                       "not sent: " + watcher.failed->error.text +
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
  Watcher watcher(report, options.wait);
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
  Finish(context, options, report, watcher, session, end);
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
  send->footer(ActionsText() + "\nExit codes: 0 done (or received), 1 anything else, 3 timed out.");
  send->callback([&context, options] { Send(context, *options); });
}

}  // namespace latchkey::cli
