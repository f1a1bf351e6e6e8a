// Commands that are taken back, and those that an earlier run of this phone sent. From the moment
// its person wants a command back the phone does not send it any more: a copy of it must not win
// against the Cancel.
#include <algorithm>
#include <utility>

#include "proto/topic.h"
#include "tools/phone/phone.h"

namespace latchkey::tools {

// An entry for what an earlier run sent; nullptr: said why not.
Phone::Open* Phone::Reopen(const CarRef& ref, const std::string& wire, const Now& now,
                           Effects& out) {
  Result<Command> command = ParseCommand(wire, ref, id_);
  if (!command) {
    out.emplace_back(Failed{ref, std::move(command.error()), 0, {}});
    return nullptr;
  }
  const auto held = open_.find(command->id);
  if (held != open_.end()) {
    return &held->second;
  }
  if (!HasRoom(ref, out)) {
    return nullptr;
  }
  Open open{ref,
            CommandTopic(ref, id_),
            wire,
            command->expires_at,
            now.mono,
            now.mono + limits_.resend_first,
            limits_.resend_first};
  open.sends = 1;
  open.earlier = true;
  return &open_.emplace(command->id, std::move(open)).first->second;
}

void Phone::On(const Resume& input, const Now& now, Effects& out) {
  const Result<Command> command = ParseCommand(input.wire, input.ref, id_);
  const bool open_already = command && open_.find(command->id) != open_.end();
  if (open_already) {
    return;
  }
  Open* open = Reopen(input.ref, input.wire, now, out);
  if (open == nullptr) {
    return;
  }
  open->last = input.last;
  out.emplace_back(Began{input.ref, command->id, command->expires_at, input.wire});
  Listen(input.ref, false, out);
  const bool over = open->expires_at && now.wall >= *open->expires_at;
  if (over) {
    open->next = now.mono;
  } else if (connected_ && !WaitsForLane(input.ref)) {
    SendCommand(command->id, *open, now, out);
  }
}

bool Phone::IsBeingCancelled(const CommandId& id) const {
  return std::any_of(open_.begin(), open_.end(),
                     [&](const auto& each) { return each.second.cancels == id; });
}

void Phone::On(const Cancel& input, const Now& now, Effects& out) {
  const auto fail = [&](Reason reason, std::string text) {
    out.emplace_back(Failed{input.ref, {reason, std::move(text)}, 0, {}});
  };
  if (IsBeingCancelled(input.id)) {
    return;
  }
  const ActionFacts* action = FindAction(static_cast<int>(v1::Command::kCancel));
  LK_ASSERT(action != nullptr);
  const Timestamp latest = now.wall + action->lifetime_max;
  auto found = open_.find(input.id);
  std::optional<Timestamp> expires_at;
  if (found != open_.end()) {
    expires_at = found->second.expires_at;
  } else if (!input.wire.empty()) {
    const Result<Command> command = ParseCommand(input.wire, input.ref, id_);
    if (!command || command->id != input.id) {
      fail(v1::REASON_MALFORMED, "the bytes are not those of this command");
      return;
    }
    expires_at = command->expires_at;
  }
  if (expires_at && now.wall >= *expires_at) {
    fail(v1::REASON_ENDED,
         "its time is over: it cannot act any more, and there is nothing to take back");
    return;
  }
  if (!HasRoom(input.ref, out)) {
    return;
  }
  if (found == open_.end() && input.wire.empty()) {
    Open open{input.ref, CommandTopic(input.ref, id_), {}, std::nullopt, now.mono, now.mono, {}};
    open.earlier = true;
    found = open_.emplace(input.id, std::move(open)).first;
  } else if (found == open_.end()) {
    Reopen(input.ref, input.wire, now, out);
    found = open_.find(input.id);
    LK_ASSERT(found != open_.end());
  }
  found->second.quiet = true;
  SendCommand(input.id, found->second, now, out);
  CommandRequest request;
  request.ref = input.ref;
  request.id = CommandId::Make(now.wall.ms, input.random);
  request.issued_at = now.wall;
  request.expires_at =
      expires_at ? std::min(*expires_at + limits_.cancel_lives_on, latest) : latest;
  request.action.mutable_cancel()->set_command_id(input.id.ToBytes());
  Begin(std::move(request), input.id, now, out);
}

// The Cancel of `target` has its own outcome. When the car has done it, or nothing was left to do,
// the target's receipt comes too; should it be lost, the phone knows it all the same.
void Phone::CancelEnded(const CommandId& target, const Outcome& outcome, const Now& now) {
  const auto found = open_.find(target);
  if (found == open_.end()) {
    return;
  }
  Open& open = found->second;
  const bool taken_back =
      outcome.state == v1::RECEIPT_STATE_DONE || outcome.state == v1::RECEIPT_STATE_CANCELLED;
  if (taken_back) {
    open.settled = {v1::RECEIPT_STATE_CANCELLED, v1::REASON_CANCELLED};
    open.next = now.mono + limits_.last_word;
  } else if (outcome.reason == v1::REASON_ENDED && !open.wire.empty()) {
    open.quiet = false;  // it has its outcome: a copy does nothing but ask for it
    open.step = limits_.resend_first;
    open.next = now.mono + open.step;
  } else if (outcome.reason == v1::REASON_ENDED || outcome.state == v1::RECEIPT_STATE_EXPIRED) {
    open.settled = {v1::RECEIPT_STATE_EXPIRED, v1::REASON_OUTCOME_UNKNOWN};
    open.next = now.mono + (outcome.reason == v1::REASON_ENDED ? limits_.last_word : Duration(0));
  } else if (open.earlier) {
    open_.erase(found);  // the person hears that the Cancel came to nothing
  } else {
    open.quiet = false;
    open.next = now.mono;
  }
}

}  // namespace latchkey::tools
