// The car and SMS: a wake makes it connect; a command that came whole is judged like any other, and
// makes it connect to say what became of it. Nothing is answered by SMS.
#include <string>
#include <utility>

#include "proto/reason.h"
#include "proto/sms.h"
#include "proto/topic.h"
#include "tools/car/car.h"

namespace latchkey::car {

void Car::On(const SmsArrived& input, Effects& out) {
  if (options_.relay_key.empty()) {
    RefuseSms(v1::REASON_NOT_ALLOWED, "the car has no relay key", out);
    return;
  }
  const auto opened = OpenSms(input.bytes, options_.ref, memory_.ring, options_.relay_key);
  if (!opened) {
    RefuseSms(opened.error().reason, opened.error().text, out);
    return;
  }
  if (const auto* wake = std::get_if<WakeSms>(&*opened)) {
    const Verdict verdict = TakeWake(wake->at, out);
    if (!verdict.allowed()) {
      RefuseSms(verdict.reason, "it is no new wake", out);
    }
    return;
  }
  const auto& inside = std::get<CommandSms>(*opened);
  const Result<Command> command = ParseCommand(inside.wire, options_.ref, inside.lane);
  const bool alive = command && (!command->expires_at || *command->expires_at > time_);
  const bool fresh = alive && FindRefused(*command) == nullptr &&
                     FindRemembered(inside.lane, command->id) == nullptr;
  ++counters_.sms_taken;
  TakeCommand({CommandTopic(options_.ref, inside.lane), inside.wire, 1, Retain::kNo, 0},
              inside.lane, out);
  if (fresh) {
    Wake(out);
  }
}

// A car that does not know the time takes any wake that is newer than the last: all it does is to
// connect.
Verdict Car::TakeWake(Timestamp at, Effects& out) {
  if (at <= memory_.last_wake) {
    return Verdict::Refuse(v1::REASON_DUPLICATE);
  }
  if (time_ - at > kWakeAgeMax) {
    return Verdict::Refuse(v1::REASON_EXPIRED);
  }
  if (TimeKnown() && at - time_ > kClockSkewMax) {
    return Verdict::Refuse(v1::REASON_CLOCK_AHEAD);
  }
  memory_.last_wake = at;
  ++counters_.sms_taken;
  Save(out);
  out.push_back(Note{"woken by SMS"});
  Wake(out);
  return Verdict::Allow();
}

void Car::RefuseSms(Reason reason, std::string_view why, Effects& out) {
  ++counters_.refused[reason];
  out.push_back(
      Note{"SMS refused reason=" + std::string(FactsOf(reason).word) + ": " + std::string(why)});
}

// Connects at once, whatever it was waiting for.
void Car::Wake(Effects& out) {
  if (!started_) {
    On(Start{}, out);
  } else if (!subscribed_ && !connecting_) {
    retry_at_.reset();
    tries_ = 0;
    Dial(out);
  }
}

}  // namespace latchkey::car
