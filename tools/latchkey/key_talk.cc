// One session for both steps: the connection of the first stays for the second.
#include "tools/latchkey/key_talk.h"

#include <utility>
#include <variant>

#include "proto/crypto.h"
#include "proto/topic.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr size_t kIdRandomBytes = 10;

std::string SecondsText(Duration patience) {
  return std::to_string(patience.count() / 1000) + " s";
}

}  // namespace

KeyTalk::KeyTalk(Context& context, std::unique_ptr<Talk> talk)
    : context_(context),
      talk_(std::move(talk)),
      ref_(talk_->phone.cars().begin()->first),
      session_(talk_->phone, talk_->link,
               [this](const tools::Phone::Effect& effect) { return On(effect); }) {}

Result<std::unique_ptr<KeyTalk>> KeyTalk::Open(Context& context, const std::string& name,
                                               const std::string& car, const std::string& purpose) {
  LK_TRY(std::unique_ptr<Talk> talk, OpenTalk(context, name, car, purpose));
  return std::unique_ptr<KeyTalk>(new KeyTalk(context, std::move(talk)));
}

bool KeyTalk::On(const tools::Phone::Effect& effect) {
  if (const auto* began = std::get_if<tools::Phone::Began>(&effect)) {
    expires_at_ = began->expires_at;
    report_->Began(*began);
  } else if (const auto* receipt = std::get_if<tools::Phone::Receipt>(&effect)) {
    report_->Receipt(*receipt);
    return receipt->final ||
           (until_ == Until::kHeldOrFinal && receipt->outcome.state == v1::RECEIPT_STATE_HELD);
  } else if (const auto* change = std::get_if<tools::Phone::RingChanged>(&effect)) {
    // What Meet learns is news of before; it is shown as the ring, not as changes.
    if (report_ != nullptr) {
      SayRingChange(context_, *change, me());
    }
  } else if (const auto* failure = std::get_if<tools::Phone::Failed>(&effect)) {
    // Only the lane of receipts matters: a key may well not see every state group.
    if (failure->filter.empty() || failure->filter.find("/receipt/") != std::string::npos) {
      failed_ =
          Error{failure->error.reason,
                failure->error.text +
                    (failure->broker_reason == 0
                         ? ""
                         : " (the broker says " + ReasonCodeText(failure->broker_reason) + ")")};
      return true;
    }
  } else if (std::holds_alternative<tools::Phone::Learned>(effect)) {
    learned_ = true;
  }
  return false;
}

Result<void> KeyTalk::Run(Duration patience, const std::string& awaited) {
  failed_.reset();
  const Session::End end = session_.Run(patience);
  if (std::exchange(learned_, false)) {
    LK_CHECK(SaveTalk(context_, *talk_));
  }
  if (end == Session::End::kRefused) {
    return tl::unexpected<Error>(session_.error());
  }
  if (end == Session::End::kTimeout) {
    return Fail(
        v1::REASON_EXPIRED,
        awaited + " within " + SecondsText(patience) +
            (session_.trouble().empty() ? "" : " (last trouble: " + session_.trouble() + ")"));
  }
  if (failed_) {
    return tl::unexpected<Error>(*failed_);
  }
  return {};
}

Result<void> KeyTalk::Meet(Duration patience) {
  session_.FenceWith(ReceiptTopic(ref_, me()));
  const Result<void> met = Run(patience, "no answer from the broker at " + pairing().host + ":" +
                                             std::to_string(pairing().port));
  session_.FenceWith("");
  return met;
}

Result<Outcome> KeyTalk::Send(v1::Command action, const std::string& action_name, Until until,
                              Duration patience) {
  Report report(context_, action_name);
  report_ = &report;
  until_ = until;
  session_.Do(
      tools::Phone::Send{ref_, std::move(action), std::nullopt, RandomBytes(kIdRandomBytes)});
  const Result<void> ran =
      Run(patience, "no " + std::string(until == Until::kFinal ? "final " : "") +
                        "receipt; the command may still act until it expires, and what came of it "
                        "is seen with `latchkey phone keys`: nobody answered");
  report_ = nullptr;
  if (!ran) {
    return tl::unexpected<Error>(ran.error());
  }
  return report.outcome();
}

Result<RingKey> KeyTalk::MyKey() const {
  const RingKey* mine = pairing().ring.Find(me());
  if (mine == nullptr) {
    return Fail(v1::REASON_NOT_ON_RING,
                "this phone's key is not on the ring of car " + ref_.ToText() +
                    (pairing().ring.version == 0
                         ? ": it was invited, and the car has not said yes yet"
                         : ": ask an owner to share one, or pair again in the car"));
  }
  return *mine;
}

std::string HeldText(const CarRef& ref) {
  return "HELD: car " + ref.ToText() +
         " is away or asleep; the server keeps the signed command and hands it over when the car "
         "wakes";
}

}  // namespace latchkey::cli
