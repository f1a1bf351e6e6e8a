// One session around one command. What is sent is on disk before it goes out.
#include "tools/latchkey/phone_outcome.h"

#include <csignal>
#include <utility>

#include "tools/latchkey/exit_codes.h"
#include "tools/latchkey/hours.h"
#include "tools/latchkey/rights.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

volatile std::sig_atomic_t interrupted = 0;

void Interrupt(int /*signal*/) {
  interrupted = 1;
}

// What Run waits for, seen effect by effect.
class Watcher {
 public:
  Watcher(Context& context, const Talk& talk, const FollowOptions& options)
      : context_(context),
        phone_(talk.phone),
        until_(options.until),
        action_(options.action),
        file_(Folder(context.data), options.name),
        report_(context, options.action) {}

  bool operator()(const tools::Phone::Effect& effect) {
    if (const auto* begins = std::get_if<tools::Phone::Began>(&effect)) {
      Begin(*begins);
    } else if (const auto* receipt = std::get_if<tools::Phone::Receipt>(&effect)) {
      return OnReceipt(*receipt);
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
  std::optional<tools::Phone::Began> began;  // the command itself, not a Cancel of it
  std::optional<tools::Phone::Receipt> last;
  std::optional<Outcome> cancel_refused;
  bool learned = false;

 private:
  void Begin(const tools::Phone::Began& what) {
    report_.Began(what);
    if (what.cancels) {
      return;
    }
    began = what;
    const Timestamp now = ReadClocks().wall;
    const Result<std::vector<SentCommand>> known = file_.Read(now);
    const bool resumed = known && FindSent(*known, what.id.ToText()).has_value();
    if (!resumed) {
      SentCommand sent;
      sent.id = what.id;
      sent.ref = what.ref;
      sent.action = action_;
      sent.sent_at = now;
      sent.expires_at = what.expires_at;
      sent.wire = what.wire;
      Warn(file_.Put(sent, now));
    }
  }

  bool OnReceipt(const tools::Phone::Receipt& receipt) {
    report_.Receipt(receipt);
    if (receipt.cancels) {
      const bool taken_back = receipt.outcome.state == v1::RECEIPT_STATE_DONE ||
                              receipt.outcome.state == v1::RECEIPT_STATE_CANCELLED;
      if (receipt.final && !taken_back && receipt.outcome.reason != v1::REASON_ENDED) {
        cancel_refused = receipt.outcome;
      }
      return cancel_refused.has_value();
    }
    last = receipt;
    Warn(file_.Note(receipt.outcome, ReadClocks().wall));
    return receipt.final || until_ == Follow::kFirst;
  }

  // The command counts more than the note of it.
  void Warn(const Result<void>& written) {
    if (!written && !warned_) {
      warned_ = true;
      Complain(context_,
               {written.error().reason,
                "cannot keep what was sent, so it cannot be resumed: " + written.error().text});
      context_.exit_code = 0;
    }
  }

  Context& context_;
  const tools::Phone& phone_;
  Follow until_;
  std::string action_;
  SentFile file_;
  Report report_;
  bool warned_ = false;
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

// What a person can do about a command that is still on its way.
std::string GoOnText(const FollowOptions& options, const Watcher& watcher) {
  if (!watcher.began) {
    return "";
  }
  const std::string id = watcher.began->id.ToText();
  return "; to go on waiting: latchkey phone send " + options.name + " --resume " + id +
         "; to take it back: latchkey phone cancel " + options.name + " " +
         watcher.began->ref.ToText() + " " + id;
}

void SayUnfinished(Context& context, const FollowOptions& options, const Watcher& watcher,
                   const Session& session, bool stopped) {
  const bool cancel = !watcher.began;
  std::string text =
      stopped ? "stopped waiting"
              : "no " + std::string(options.until == Follow::kOutcome ? "outcome" : "receipt") +
                    " in time";
  text += cancel ? "; whether it could be taken back is not known: run this again to go on"
                 : "; the command may still act until it expires";
  if (!session.trouble().empty()) {
    text += " (last trouble: " + session.trouble() + ")";
  }
  Complain(context, {v1::REASON_EXPIRED, text + GoOnText(options, watcher)}, kExitTimedOut);
}

void SayNotSent(Context& context, const tools::Phone& phone, const tools::Phone::Failed& failed) {
  const int code = failed.broker_reason;
  const std::string closed = ClosedText(phone);
  Complain(context, {failed.error.reason,
                     "not sent: " + (closed.empty() ? failed.error.text : closed) +
                         (code != 0 ? " (the broker says " + ReasonCodeText(code) + ")" : "")});
}

}  // namespace

Followed FollowCommand(Context& context, Talk& talk, const FollowOptions& options,
                       const tools::Phone::Input& input) {
  talk.link.mqtt_version = options.mqtt == "5" ? 5 : 4;
  Watcher watcher(context, talk, options);
  Session session(talk.phone, talk.link,
                  [&watcher](const tools::Phone::Effect& effect) { return watcher(effect); });
  static_cast<void>(std::signal(SIGINT, Interrupt));
  static_cast<void>(std::signal(SIGTERM, Interrupt));
  session.StopWhen([] { return interrupted != 0; });
  session.Do(input);
  const Session::End end = session.Run(options.timeout);
  if (watcher.learned) {
    const Result<void> saved = SaveTalk(context, talk);
    if (!saved) {
      Complain(context, saved.error());
    }
  }
  if (end == Session::End::kRefused) {
    Complain(context, session.error());
    return {};
  }
  if (end == Session::End::kTimeout || end == Session::End::kStopped) {
    SayUnfinished(context, options, watcher, session, end == Session::End::kStopped);
    return {Followed::End::kTimedOut, {}};
  }
  if (watcher.cancel_refused) {
    return {Followed::End::kCancelRefused, *watcher.cancel_refused};
  }
  if (watcher.last) {
    return {Followed::End::kOutcome, watcher.last->outcome};
  }
  if (watcher.failed) {
    SayNotSent(context, talk.phone, *watcher.failed);
  }
  return {};
}

}  // namespace latchkey::cli
