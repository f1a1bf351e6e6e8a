// The car and a command: parse, repeat if known, time, authority, slot; then write, do, write, say.
#include <algorithm>
#include <utility>

#include "proto/reason.h"
#include "proto/topic.h"
#include "proto/wire.h"
#include "tools/car/car.h"

namespace latchkey::car {
namespace {

constexpr Duration kRestartAfter{1000};          // lets the receipt leave first
constexpr Timestamp kClockEpoch{1577836800000};  // 2020: a clock before it has lost its battery

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
  const Remembered* known = FindRemembered(lane, command->id);
  if (known != nullptr) {
    ++counters_.refused[v1::REASON_DUPLICATE];
    out.push_back(Note{"duplicate " + std::string(command->action->name) +
                       " command=" + command->id.ToText() + ": receipt repeated"});
    SendReceipt(*known, out);
    return;
  }
  const Verdict verdict = Judge(*command);
  if (!verdict.allowed()) {
    Refuse(*command, verdict.reason, out);
    return;
  }
  Execute(*command, out);
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
  if (static_cast<size_t>(alive) >= options_.limits.remembered_max) {
    return Verdict::Refuse(v1::REASON_FULL);
  }
  return CheckAction(command, memory_, now);
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
  const Remembered outcome = *remembered;
  Save(out);
  AfterAction(result, out);
  SendReceipt(outcome, out);
}

void Car::AfterAction(const ActionResult& result, Effects& out) {
  if (result.ring_changed) {
    PublishRing(out);
  }
  if (result.publish_all) {
    board_.Reobserve(now_.wall);
    PublishAll(out);
  } else if (result.publish_location) {
    PublishGroup(Group::kLocation, out);
  }
  for (const Group group : kGroups) {  // what a command changed is told at once
    if (subscribed_ && board_.Changed(group)) {
      PublishGroup(group, out);
    }
  }
  if (result.restart) {
    restart_at_ = now_.mono + kRestartAfter;
  }
  if (result.climate_ends_at) {
    climate_ends_at_ = result.climate_ends_at;
  }
}

void Car::SendReceipt(const Remembered& command, Effects& out) {
  const Outcome outcome = MakeOutcome(options_.ref, command.id, command.state, command.reason,
                                      command.at, v1::RECEIPT_SOURCE_CAR);
  out.push_back(Send{
      {ReceiptTopic(options_.ref, command.key), SealCarReceipt(outcome, key_), 1, Retain::kNo, 0}});
}

}  // namespace latchkey::car
