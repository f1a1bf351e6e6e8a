// The car and a command: parse, repeat if known, time, authority, slot; then write, do, write, say.
// What takes another back is written once, for nothing is done.
#include <algorithm>
#include <utility>

#include "proto/reason.h"
#include "proto/topic.h"
#include "proto/wire.h"
#include "tools/car/car.h"

namespace latchkey::car {
namespace {

constexpr Duration kRestartAfter{1000};  // lets the receipt leave first
constexpr size_t kRefusedDigestBytes = 16;
constexpr int kRefusedByBroker = 0x80;  // MQTT 5.0 section 2.4: from here on
constexpr size_t kUnsaidMax = 64;
// What was said so shortly before a connection is said again in it.
constexpr Duration kSaidAgainFor{60000};
// And what was said at its beginning, so often: after the first wait, then after the next, which is
// longer by the factor. What the broker refuses is, too, as long as it does.
constexpr int kSaidAgainTimes = 2;
constexpr Duration kSaidAgainFirst{10000};
constexpr int kSaidAgainFactor = 5;
constexpr Duration kSaidAgainMost = std::chrono::hours(1);
constexpr Duration kRefusedRememberedMax = std::chrono::hours(24) + kClockSkewMax;

// What the phone signed, whoever wrapped it anew.
std::string DigestOf(const Command& command) {
  const auto outer = FromWire<v1::SignedCommand>(command.wire, kCommandBytesMax);
  LK_ASSERT(outer.has_value());
  return Sha256(outer->command()).substr(0, kRefusedDigestBytes);
}

Remembered RefusalOf(const RefusedCommand& refused) {
  return {refused.key, refused.id, {}, {}, v1::RECEIPT_STATE_REFUSED, refused.reason, refused.at};
}

// What a cancel takes back.
CommandId TargetOf(const Command& cancel) {
  const auto target = CommandId::FromBytes(cancel.body.cancel().command_id());
  LK_ASSERT(target.has_value());
  return *target;
}

}  // namespace

bool Car::TimeKnown() const {
  return now_.wall >= kClockEpoch && now_.wall + kClockSkewMax >= memory_.time_floor;
}

Remembered* Car::FindRemembered(const KeyId& key, const CommandId& id) {
  const auto found = std::find_if(
      memory_.commands.begin(), memory_.commands.end(),
      [&](const Remembered& command) { return command.id == id && command.key == key; });
  return found == memory_.commands.end() ? nullptr : &*found;
}

void Car::TakeCommand(const Publish& message, const KeyId& lane, Effects& out) {
  const Result<Command> command = ParseCommand(message.payload, options_.ref, lane);
  if (!command) {
    AnswerUnparsed(message, lane, command.error().reason, out);
    return;
  }
  const RefusedCommand* refused = FindRefused(*command);
  const Remembered* known = FindRemembered(lane, command->id);
  if (refused != nullptr || known != nullptr) {
    ++counters_.refused[v1::REASON_DUPLICATE];
    out.push_back(Note{"duplicate " + std::string(command->action->name) +
                       " command=" + command->id.ToText() + ": receipt repeated"});
    SendReceipt(refused != nullptr ? RefusalOf(*refused) : *known, out);
    RepeatTarget(*command, out);
    return;
  }
  const Verdict verdict = Judge(*command);
  if (!verdict.allowed()) {
    Refuse(*command, verdict.reason, out);
    return;
  }
  if (command->body.has_cancel()) {
    TakeBack(*command, out);
  } else {
    Execute(*command, out);
  }
}

// A command the phone can be told about although it cannot be done: it parses as one of ours.
void Car::AnswerUnparsed(const Publish& message, const KeyId& lane, Reason reason, Effects& out) {
  ++counters_.refused[reason];
  out.push_back(
      Note{"command refused key=" + lane.str() + " reason=" + std::string(FactsOf(reason).word)});
  if (reason != v1::REASON_UNKNOWN_ACTION && reason != v1::REASON_IMPOSSIBLE_VALUE) {
    return;
  }
  const auto outer = FromWire<v1::SignedCommand>(message.payload, kCommandBytesMax);
  const auto body =
      outer ? FromWire<v1::Command>(outer->command(), kCommandBytesMax) : std::nullopt;
  const auto id = body ? CommandId::FromBytes(body->command_id()) : std::nullopt;
  if (!id || body->fleet() != options_.ref.fleet.str() || body->car() != options_.ref.car.str()) {
    return;
  }
  SendReceipt({lane, *id, {}, {}, v1::RECEIPT_STATE_REFUSED, reason, time_}, out);
}

Verdict Car::Judge(const Command& command) const {
  const bool time_known = TimeKnown();
  // Without a clock, nothing says that a command is not from the future; the floor still says that
  // it is not from the past.
  const Timestamp now = time_known ? time_ : std::max(memory_.time_floor, command.issued_at);
  const Timestamp not_before =
      time_known ? time_ : memory_.time_floor;  // the latest moment that is surely past
  const Verdict time = CheckTime(command, now);
  if (!time.allowed()) {
    return time;
  }
  if (command.expires_at && *command.expires_at <= not_before) {
    return Verdict::Refuse(v1::REASON_EXPIRED);
  }
  const Verdict authority = CheckAuthority(command, memory_.ring, now);
  if (!authority.allowed()) {
    return authority;
  }
  if (!time_known && command.action->command_class != v1::COMMAND_CLASS_CLOSE) {
    return Verdict::Refuse(v1::REASON_TIME_UNKNOWN);
  }
  const auto slot = memory_.slots.find(static_cast<int>(command.action->slot));
  const bool older = slot != memory_.slots.end() && command.issued_at < slot->second;
  const bool forgotten = !command.expires_at && command.issued_at <= memory_.unlimited_floor;
  if (older || forgotten) {
    return Verdict::Refuse(v1::REASON_SUPERSEDED);
  }
  const auto alive = std::count_if(
      memory_.commands.begin(), memory_.commands.end(), [this](const Remembered& remembered) {
        return remembered.expires_at && *remembered.expires_at > memory_.time_floor;
      });
  const size_t more = command.body.has_cancel() ? 2 : 1;
  if (static_cast<size_t>(alive) + more > options_.limits.remembered_max) {
    return Verdict::Refuse(v1::REASON_FULL);
  }
  return CheckAction(command, memory_, now);
}

const RefusedCommand* Car::FindRefused(const Command& command) const {
  const auto found =
      std::find_if(memory_.refused.begin(), memory_.refused.end(), [&](const RefusedCommand& each) {
        return each.id == command.id && each.key == command.key_id;
      });
  return found != memory_.refused.end() && found->digest == DigestOf(command) ? &*found : nullptr;
}

// A refusal is final: the phone was told so. Expired and superseded commands stay so by the time
// floor and the slots, and bytes without a right signature never get one; all others are remembered
// until their expiry, a command without one for a day.
void Car::RememberRefusal(const Command& command, Reason reason, Effects& out) {
  if (reason == v1::REASON_EXPIRED || reason == v1::REASON_SUPERSEDED ||
      reason == v1::REASON_BAD_SIGNATURE) {
    return;
  }
  const Timestamp longest = std::max(time_, memory_.time_floor) + kRefusedRememberedMax;
  const Timestamp forget_at = command.expires_at ? std::min(*command.expires_at, longest) : longest;
  std::vector<RefusedCommand>& refused = memory_.refused;
  refused.push_back({command.key_id, command.id, DigestOf(command), forget_at, reason, time_});
  while (refused.size() > options_.limits.refused_max) {
    refused.erase(std::min_element(refused.begin(), refused.end(),
                                   [](const RefusedCommand& a, const RefusedCommand& b) {
                                     return a.forget_at < b.forget_at;
                                   }));
  }
  Save(out);
}

void Car::Refuse(const Command& command, Reason reason, Effects& out) {
  ++counters_.refused[reason];
  v1::ReceiptState state = v1::RECEIPT_STATE_REFUSED;
  if (reason == v1::REASON_EXPIRED) {
    state = v1::RECEIPT_STATE_EXPIRED;
  } else if (reason == v1::REASON_SUPERSEDED) {
    state = v1::RECEIPT_STATE_SUPERSEDED;
  }
  out.push_back(Note{"refused " + std::string(command.action->name) + " command=" +
                     command.id.ToText() + " reason=" + std::string(FactsOf(reason).word)});
  RememberRefusal(command, reason, out);
  SendReceipt({command.key_id, command.id, {}, {}, state, reason, time_}, out);
}

void Car::Execute(const Command& command, Effects& out) {
  memory_.commands.push_back({command.key_id, command.id, command.issued_at, command.expires_at,
                              v1::RECEIPT_STATE_DELIVERED, v1::REASON_UNSPECIFIED, time_});
  if (command.action->slot != v1::SLOT_NONE) {
    memory_.slots[static_cast<int>(command.action->slot)] = command.issued_at;
  }
  Save(out);
  SendReceipt(memory_.commands.back(), out);
  const ActionResult result = Perform(command, memory_, board_, time_);
  ReadSchedules();
  memory_.to_tell.insert(result.keys_changed.begin(), result.keys_changed.end());
  const bool done = result.reason == v1::REASON_UNSPECIFIED;
  if (done) {
    ++counters_.acted;
    out.push_back(Act{result.text});
  } else {
    out.push_back(Note{"failed " + result.text});
  }
  Remembered* remembered = FindRemembered(command.key_id, command.id);
  LK_ASSERT(remembered != nullptr);
  remembered->state = done ? v1::RECEIPT_STATE_DONE : v1::RECEIPT_STATE_FAILED;
  remembered->reason = result.reason;
  remembered->at = time_;
  remembered->told = false;
  const Remembered outcome = *remembered;
  Save(out);
  AfterAction(result, out);
  SendReceipt(outcome, out);
}

void Car::AfterAction(const ActionResult& result, Effects& out) {
  if (result.ring_changed) {
    PublishRingAndTell(out);
  }
  if (result.publish_all) {
    board_.Reobserve(now_.wall);
  }
  if (result.publish_all && subscribed_) {
    PublishAll(out);
  } else if (result.publish_location && subscribed_) {
    PublishGroup(Group::kLocation, out);
  }
  if (result.hide_location) {
    HideLocation(out);
  }
  for (const Group group : kGroups) {  // what a command changed is told at once
    if (subscribed_ && board_.Changed(group)) {
      PublishGroup(group, out);
    }
  }
  if (result.restart) {
    restart_at_ = now_.mono + kRestartAfter;
  }
}

// Nothing of the target will happen any more, or it has an outcome, which then is said again. What
// was refused was so by its bytes: others with its id are taken back all the same.
void Car::TakeBack(const Command& cancel, Effects& out) {
  const CommandId target = TargetOf(cancel);
  const auto is_cancelled = [&cancel](const Remembered& each) {
    return each.key == cancel.key_id && each.state == v1::RECEIPT_STATE_CANCELLED;
  };
  if (FindRemembered(cancel.key_id, target) != nullptr) {
    Refuse(cancel, v1::REASON_ENDED, out);
    RepeatTarget(cancel, out);
    return;
  }
  const auto cancelled =
      std::count_if(memory_.commands.begin(), memory_.commands.end(), is_cancelled);
  if (static_cast<size_t>(cancelled) >= options_.limits.cancelled_max) {
    Refuse(cancel, v1::REASON_FULL, out);
    return;
  }
  const bool refused = std::any_of(
      memory_.refused.begin(), memory_.refused.end(),
      [&](const RefusedCommand& each) { return each.id == target && each.key == cancel.key_id; });
  Remembered taken{cancel.key_id,
                   target,
                   cancel.issued_at,
                   cancel.expires_at,
                   v1::RECEIPT_STATE_CANCELLED,
                   v1::REASON_CANCELLED,
                   time_};
  memory_.commands.push_back(taken);
  if (refused) {
    Refuse(cancel, v1::REASON_ENDED, out);
    RepeatTarget(cancel, out);
    return;
  }
  ++counters_.taken_back;
  taken.id = cancel.id;
  taken.state = v1::RECEIPT_STATE_DONE;
  taken.reason = v1::REASON_UNSPECIFIED;
  memory_.commands.push_back(taken);
  Save(out);
  out.push_back(Note{"taken back command=" + target.ToText()});
  RepeatTarget(cancel, out);
  SendReceipt(taken, out);
}

// Who takes a command back waits for what became of that one.
void Car::RepeatTarget(const Command& command, Effects& out) {
  if (!command.body.has_cancel()) {
    return;
  }
  const CommandId target = TargetOf(command);
  const auto refused = std::find_if(
      memory_.refused.begin(), memory_.refused.end(),
      [&](const RefusedCommand& each) { return each.id == target && each.key == command.key_id; });
  const Remembered* known = FindRemembered(command.key_id, target);
  if (refused != memory_.refused.end()) {
    SendReceipt(RefusalOf(*refused), out);
  } else if (known != nullptr) {
    SendReceipt(*known, out);
  }
}

// What cannot be said now is said when the car is subscribed; should it boot before, who resends
// the command is told.
void Car::SendReceipt(const Remembered& command, Effects& out) {
  if (!subscribed_) {
    std::erase_if(unsaid_, [&command](const Remembered& each) {
      return each.id == command.id && each.key == command.key;
    });
    unsaid_.push_back(command);
    if (unsaid_.size() > kUnsaidMax) {
      unsaid_.erase(unsaid_.begin());
    }
    return;
  }
  const Outcome outcome = MakeOutcome(options_.ref, command.id, command.state, command.reason,
                                      command.at, v1::RECEIPT_SOURCE_CAR);
  uint64_t tag = 0;
  if (IsFinal(command.state)) {
    tag = ++last_tag_;
    telling_.insert_or_assign(tag, Telling{command.key, command.id});
  }
  out.push_back(Send{
      {ReceiptTopic(options_.ref, command.key), SealCarReceipt(outcome, key_), 1, Retain::kNo, 0},
      tag});
}

// What the broker refuses stays untold, until SayAgain.
void Car::On(const Published& input, Effects& out) {
  const auto sent = telling_.find(input.tag);
  if (sent == telling_.end()) {
    return;
  }
  if (input.reason_code >= kRefusedByBroker) {
    sent->second.refused = true;
    say_again_at_ = say_again_at_.value_or(now_.mono + say_again_wait_);
    return;
  }
  Remembered* command = FindRemembered(sent->second.key, sent->second.id);
  telling_.erase(sent);
  if (command != nullptr && IsFinal(command->state)) {
    command->told = true;  // lasting with the next memory; until then it is only said once more
  }
  if (telling_.empty()) {
    SayUntold(out);
  }
}

// What was said in the minute before a connection broke counts as not told: the broker may have
// lost its memory with it before anybody had read it, and once a command has expired nobody can ask
// for its outcome any more.
void Car::TellAgain(Timestamp broke_at) {
  for (Remembered& command : memory_.commands) {
    if (IsFinal(command.state) && broke_at - command.at < kSaidAgainFor) {
      command.told = false;
    }
  }
}

// A connection begins: what is not told is what SayAgain repeats, and what comes after it.
void Car::BeginTelling() {
  TellAgain(time_);  // also when nobody said that the one before broke
  telling_.clear();
  said_since_ = time_;
  for (const Remembered& command : memory_.commands) {
    if (IsFinal(command.state) && !command.told) {
      said_since_ = std::min(said_since_, command.at);
    }
  }
  said_again_ = 0;
  say_again_wait_ = kSaidAgainFirst;
  say_again_at_.reset();
}

// A broker that lost its memory has no session of the bridge either, which may connect to it later
// than the car: what was said meanwhile reached nobody, although the broker took it.
void Car::SayAgain(Effects& out) {
  if (!say_again_at_ || now_.mono < *say_again_at_ || !subscribed_) {
    return;
  }
  if (++said_again_ <= kSaidAgainTimes) {
    for (Remembered& command : memory_.commands) {
      command.told = command.told && !(IsFinal(command.state) && command.at >= said_since_);
    }
  }
  const size_t refused =
      std::erase_if(telling_, [](const auto& each) { return each.second.refused; });
  SayUntold(out);
  say_again_wait_ = std::min(say_again_wait_ * kSaidAgainFactor, kSaidAgainMost);
  const bool goes_on = said_again_ < kSaidAgainTimes || refused > 0;
  say_again_at_ = goes_on ? std::optional(now_.mono + say_again_wait_) : std::nullopt;
}

void Car::SayUnsaid(Effects& out) {
  for (const Remembered& command : std::exchange(unsaid_, {})) {
    SendReceipt(command, out);
  }
  SayUntold(out);
  say_again_at_ = now_.mono + say_again_wait_;
}

// Some at a time: the next when the broker has these.
void Car::SayUntold(Effects& out) {
  for (const Remembered& command : memory_.commands) {
    const bool telling = std::any_of(telling_.begin(), telling_.end(), [&](const auto& each) {
      return each.second.id == command.id && each.second.key == command.key;
    });
    if (telling_.size() < kUnsaidMax && IsFinal(command.state) && !command.told && !telling) {
      SendReceipt(command, out);
    }
  }
}

}  // namespace latchkey::car
