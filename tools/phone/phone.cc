// The reference phone's rules. A PUBACK tells it nothing except a refusal; only receipts count, and
// only the car's signature makes DELIVERED, DONE and FAILED.
#include "tools/phone/phone.h"

#include <algorithm>
#include <utility>

#include "proto/reason.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "proto/wire.h"

namespace latchkey::tools {

namespace {

constexpr int kFirstRefusal = 0x80;
constexpr int kQuotaExceeded = 0x97;
constexpr Duration kShortLife = std::chrono::seconds(30);
constexpr size_t kPresenceBytesMax = 256;

Instant Soonest(std::optional<Instant> a, Instant b) {
  return a ? std::min(*a, b) : b;
}

// Seconds until `expires_at`, rounded up: MQTT's own expiry must not come before the command's.
uint32_t ExpirySeconds(std::optional<Timestamp> expires_at, Timestamp now) {
  if (!expires_at || *expires_at <= now) {
    return 0;
  }
  return static_cast<uint32_t>(((*expires_at - now).count() + 999) / 1000);
}

// The broker's own restart makes what an earlier run said stale. Of words of two brokers that are
// joined the last one heard holds.
bool Newer(const v1::Presence& a, const v1::Presence& b) {
  return a.broker() != b.broker() || std::pair(a.broker_started_at_ms(), a.since_ms()) >=
                                         std::pair(b.broker_started_at_ms(), b.since_ms());
}

Phone::Receipt OwnWord(const CarRef& ref, const CommandId& id, v1::ReceiptState state,
                       Reason reason, const Now& now) {
  Phone::Receipt receipt;
  receipt.outcome = MakeOutcome(ref, id, state, reason, now.wall, v1::RECEIPT_SOURCE_UNSPECIFIED);
  receipt.final = true;
  return receipt;
}

CarRef RefOf(std::string_view fleet, std::string_view car) {
  return {FleetId::Parse(fleet).value_or(FleetId()), CarId::Parse(car).value_or(CarId())};
}

}  // namespace

Phone::Phone(PrivateKey key, std::string label, std::vector<Pairing> pairings,
             const PhoneLimits& limits)
    : key_(std::move(key)), id_(key_.Public().Id()), label_(std::move(label)), limits_(limits) {
  LK_ASSERT(label_.size() <= kLabelBytesMax);
  for (Pairing& pairing : pairings) {
    const CarRef ref = pairing.ref;
    cars_.insert_or_assign(ref, CarView{std::move(pairing), {}, {}, {}});
    listening_[ref].watched = limits_.watch_all;
  }
}

void Phone::Step(const Input& input, const Now& now, Effects& out) {
  std::visit([&](const auto& event) { On(event, now, out); }, input);
}

std::optional<Instant> Phone::NextDeadline() const {
  std::optional<Instant> next;
  for (const auto& [id, open] : open_) {
    next = Soonest(next, open.next);
  }
  if (claiming_) {
    next = Soonest(next, claiming_->subscribed ? std::min(claiming_->next, claiming_->until)
                                               : claiming_->until);
  }
  for (const auto& [ref, listening] : listening_) {
    if (connected_ && listening.again_at) {
      next = Soonest(next, *listening.again_at);
    }
  }
  return next;
}

const CarView* Phone::Find(const CarRef& ref) const {
  const auto found = cars_.find(ref);
  return found == cars_.end() ? nullptr : &found->second;
}

std::optional<Duration> Phone::DefaultLifetime(const ActionFacts& action) {
  if (action.lifetime_max.count() == 0) {
    return std::nullopt;
  }
  const bool brief = action.command_class == v1::COMMAND_CLASS_OPEN ||
                     action.command_class == v1::COMMAND_CLASS_SIGNAL;
  return brief ? std::min(action.lifetime_max, kShortLife) : action.lifetime_max;
}

void Phone::On(const Published& input, const Now& now, Effects& out) {
  const bool refused = input.reason_code >= kFirstRefusal && input.reason_code != kQuotaExceeded;
  if (claiming_ && refused && input.topic == PairingTopic(claiming_->offer.ref, id_)) {
    const CarRef ref = claiming_->offer.ref;
    claiming_.reset();
    out.emplace_back(Failed{
        ref,
        {v1::REASON_NOT_ALLOWED, "the broker refuses the claim to pair with car " + ref.ToText()},
        input.reason_code,
        {}});
    return;
  }
  const auto lane = unanswered_.find(input.topic);
  if (lane == unanswered_.end() || lane->second.empty()) {
    return;
  }
  const CommandId id = lane->second.front();
  lane->second.pop_front();
  const auto found = open_.find(id);
  // What has a receipt was not refused; a resend that the broker no longer takes changes nothing.
  if (!refused || found == open_.end() || found->second.last != v1::RECEIPT_STATE_UNSPECIFIED) {
    return;
  }
  const Open& open = found->second;
  const bool late = open.expires_at && now.wall >= *open.expires_at;
  if (late && open.sends > 1) {
    return;  // says nothing of what was sent before; its end is at hand
  }
  Receipt receipt =
      OwnWord(open.ref, id, late ? v1::RECEIPT_STATE_EXPIRED : v1::RECEIPT_STATE_REFUSED,
              late ? v1::REASON_EXPIRED : v1::REASON_NOT_ALLOWED, now);
  receipt.outcome.may_have_acted = open.sends > 1;
  receipt.broker_reason = input.reason_code;
  receipt.elapsed = now.mono - open.started;
  Close(id, std::move(receipt), now, out);
}

void Phone::On(const Arrived& input, const Now& now, Effects& out) {
  const std::optional<Topic> topic = ParseTopic(input.publish.topic);
  if (!topic) {
    out.emplace_back(Ignored{input.publish.topic, {v1::REASON_UNKNOWN_TOPIC, "no such topic"}});
    return;
  }
  const auto found = cars_.find(RefOf(topic->fleet, topic->car));
  if (topic->kind == TopicKind::kPairingAnswer && topic->lane == id_.str()) {
    OnAnswer(input.publish, out);
    return;
  }
  if (found == cars_.end()) {
    return;
  }
  const auto listening = listening_.find(found->first);
  const bool watched = listening != listening_.end() && listening->second.watched;
  switch (topic->kind) {
    case TopicKind::kState:
      if (watched) {
        OnState(found->second, input.publish, topic->group, now, out);
      }
      break;
    case TopicKind::kPresence:
      if (watched) {
        OnPresence(found->second, input.publish, out);
      }
      break;
    case TopicKind::kKeyRing:
      OnRing(found->second, input.publish.topic, input.publish.payload, out);
      break;
    case TopicKind::kReceipt:
      OnReceipt(found->second, input.publish, now, out);
      break;
    case TopicKind::kPairingClaim:
    case TopicKind::kPairingAnswer:
    case TopicKind::kCommand:
    case TopicKind::kCertificate:
    case TopicKind::kCertificateRequest:
      break;
  }
}

void Phone::On(const Send& input, const Now& now, Effects& out) {
  const ActionFacts* action = FindAction(static_cast<int>(input.action.action_case()));
  if (action == nullptr) {
    out.emplace_back(
        Failed{input.ref, {v1::REASON_UNKNOWN_ACTION, "the command has no action"}, 0, {}});
    return;
  }
  if (!HasRoom(input.ref, out)) {
    return;
  }
  CommandRequest request;
  request.ref = input.ref;
  request.id = CommandId::Make(now.wall.ms, input.random);
  request.issued_at = now.wall;
  const std::optional<Duration> lifetime =
      input.lifetime ? input.lifetime : DefaultLifetime(*action);
  if (lifetime) {
    request.expires_at = now.wall + *lifetime;
  }
  request.action = input.action;
  Begin(std::move(request), std::nullopt, now, out);
}

// May one more command to this car be open?
bool Phone::HasRoom(const CarRef& ref, Effects& out) const {
  if (Find(ref) == nullptr) {
    out.emplace_back(Failed{ref,
                            {v1::REASON_NOT_ON_RING,
                             "this phone is not paired with car " + ref.ToText() + ": pair first"},
                            0,
                            {}});
    return false;
  }
  if (open_.size() >= limits_.open_commands_max) {
    out.emplace_back(
        Failed{ref,
               {v1::REASON_FULL, "too many commands wait for their receipts: wait for some to end"},
               0,
               {}});
    return false;
  }
  return true;
}

// Seals it and sends it as soon as its receipts can be heard.
void Phone::Begin(CommandRequest request, std::optional<CommandId> cancels, const Now& now,
                  Effects& out) {
  Result<std::string> wire = SealCommand(request, key_);
  if (!wire) {
    out.emplace_back(Failed{request.ref, std::move(wire.error()), 0, {}});
    return;
  }
  Open open{request.ref, CommandTopic(request.ref, id_),  std::move(*wire),    request.expires_at,
            now.mono,    now.mono + limits_.resend_first, limits_.resend_first};
  open.cancels = cancels;
  out.emplace_back(Began{request.ref, request.id, request.expires_at, open.wire, cancels});
  Open& kept = open_.insert_or_assign(request.id, std::move(open)).first->second;
  Listen(request.ref, false, out);
  if (connected_ && !WaitsForLane(request.ref)) {
    SendCommand(request.id, kept, now, out);
  }
}

void Phone::On(const Tick& /*input*/, const Now& now, Effects& out) {
  if (claiming_ && now.mono >= claiming_->until) {
    const CarRef ref = claiming_->offer.ref;
    claiming_.reset();
    out.emplace_back(Failed{ref,
                            {v1::REASON_NO_OFFER, "car " + ref.ToText() +
                                                      " did not answer while its code was valid: "
                                                      "show a new code and scan it"},
                            0,
                            {}});
  } else if (claiming_ && claiming_->subscribed && now.mono >= claiming_->next) {
    SendClaim(now, out);
  }
  if (connected_) {
    ListenAgain(now, out);
  }
  CloseOverdue(now, out);
}

// Sends again what is due, and ends what nobody has answered.
void Phone::CloseOverdue(const Now& now, Effects& out) {
  std::vector<CommandId> over;
  for (auto& [id, open] : open_) {
    if (now.mono < open.next) {
      continue;
    }
    if (open.settled) {
      over.push_back(id);
    } else if (!open.expires_at || now.wall < *open.expires_at) {
      SendCommand(id, open, now, out);
    } else {
      // The server gives the car ten seconds to answer for what it may have.
      const Timestamp end =
          *open.expires_at +
          (open.last == v1::RECEIPT_STATE_HELD ? limits_.last_word_held : limits_.last_word);
      if (now.wall >= end) {
        over.push_back(id);
      } else {
        open.next = now.mono + (end - now.wall);
      }
    }
  }
  for (const CommandId& id : over) {
    CloseUnanswered(id, now, out);
  }
}

void Phone::CloseUnanswered(const CommandId& id, const Now& now, Effects& out) {
  const auto found = open_.find(id);
  if (found == open_.end()) {
    return;  // ended with the one before
  }
  const Open& open = found->second;
  const auto [state, reason] =
      open.settled.value_or(std::pair(v1::RECEIPT_STATE_EXPIRED, v1::REASON_EXPIRED));
  Receipt receipt = OwnWord(open.ref, id, state, reason, now);
  receipt.elapsed = now.mono - open.started;
  Outcome& outcome = receipt.outcome;
  if (reason == v1::REASON_OUTCOME_UNKNOWN) {
    outcome.text =
        "It has ended or its time is over, and how it ended is not known to this phone: look at "
        "the car's state.";
  } else if (!open.settled && open.earlier) {
    outcome.reason = v1::REASON_OUTCOME_UNKNOWN;
    outcome.may_have_acted = true;
    outcome.text =
        "Its time ran out while this phone did not listen. It cannot act any more; whether it has "
        "acted is not known: look at the car's state.";
  } else if (!open.settled && open.last != v1::RECEIPT_STATE_UNSPECIFIED) {
    outcome.reason = v1::REASON_OUTCOME_UNKNOWN;
    outcome.may_have_acted = true;
    outcome.text = open.last == v1::RECEIPT_STATE_DELIVERED
                       ? "The car took the command and did not say how it ended: look."
                       : "The service held the command and did not say how it ended. It cannot "
                         "act any more: look at the car's state.";
  } else if (!open.settled && open.sends > 0) {
    outcome.may_have_acted = true;
    outcome.text =
        "Nobody answered before the command expired. It cannot act any more; whether it has "
        "acted is not known.";
  }
  Close(id, std::move(receipt), now, out);
}

void Phone::SendCommand(const CommandId& id, Open& open, const Now& now, Effects& out) {
  if (open.quiet) {
    open.next = now.mono + (open.expires_at ? std::max(*open.expires_at - now.wall, Duration(0))
                                            : limits_.ask_again_max);
    return;
  }
  if (connected_) {
    out.emplace_back(
        Publish{open.topic, open.wire, 1, Retain::kNo, ExpirySeconds(open.expires_at, now.wall)});
    unanswered_[open.topic].push_back(id);
    ++open.sends;
  }
  open.next = now.mono + open.step;
  if (open.expires_at && *open.expires_at > now.wall) {
    open.next = std::min(open.next, now.mono + (*open.expires_at - now.wall));
  }
  const bool answered = open.last != v1::RECEIPT_STATE_UNSPECIFIED;
  open.step = std::min(open.step * 2, answered ? limits_.ask_again_max : limits_.resend_max);
}

// What ends here ends its Cancel, too; a Cancel that ends says something of what it takes back.
void Phone::Close(const CommandId& id, Receipt receipt, const Now& now, Effects& out) {
  const auto found = open_.find(id);
  LK_ASSERT(found != open_.end());
  const std::optional<CommandId> cancels = found->second.cancels;
  open_.erase(found);
  receipt.cancels = cancels;
  const Outcome outcome = receipt.outcome;
  out.emplace_back(std::move(receipt));
  if (cancels) {
    CancelEnded(*cancels, outcome, now);
  } else {
    std::erase_if(open_, [&](const auto& each) { return each.second.cancels == id; });
  }
}

void Phone::OnState(CarView& car, const Publish& publish, Group group, const Now& now,
                    Effects& out) {
  Result<v1::StateGroup> state = ParseState(publish.payload, group);
  if (!state) {
    out.emplace_back(Ignored{publish.topic, std::move(state.error())});
    return;
  }
  std::optional<v1::StateGroup>& shown = car.groups[static_cast<size_t>(group)];
  HeldState& held = car.held[static_cast<size_t>(group)];
  if (shown && !Replaces(group, *state, held)) {
    return;  // a repeat, or late
  }
  held = TakenAt(now.wall, *state, shown ? &held : nullptr);
  shown = std::move(*state);
  out.emplace_back(StateChanged{car.pairing.ref, group, publish.retain == Retain::kYes});
}

void Phone::OnPresence(CarView& car, const Publish& publish, Effects& out) {
  std::optional<v1::Presence> presence = FromWire<v1::Presence>(publish.payload, kPresenceBytesMax);
  if (!presence || !TimeFromWire(presence->since_ms())) {
    out.emplace_back(Ignored{publish.topic, {v1::REASON_MALFORMED, "presence does not parse"}});
    return;
  }
  if (car.presence && !Newer(*presence, *car.presence)) {
    return;
  }
  car.presence = std::move(*presence);
  out.emplace_back(PresenceChanged{car.pairing.ref, publish.retain == Retain::kYes});
}

void Phone::OnReceipt(CarView& car, const Publish& publish, const Now& now, Effects& out) {
  Result<Outcome> outcome = OpenReceipt(publish.payload, car.pairing.ref, car.pairing.car_key);
  if (!outcome) {
    out.emplace_back(Ignored{publish.topic, std::move(outcome.error())});
    return;
  }
  const auto found = open_.find(outcome->command_id);
  if (found == open_.end()) {
    return;  // closed already, or of another program that uses this key
  }
  Open& open = found->second;
  Receipt receipt{std::move(*outcome), now.mono - open.started, 0, false, open.cancels};
  receipt.final = IsFinal(receipt.outcome.state);
  if (receipt.final) {
    const CommandId id = found->first;
    Close(id, std::move(receipt), now, out);
    return;
  }
  const bool repeat = open.last == receipt.outcome.state;
  const bool backwards = open.last == v1::RECEIPT_STATE_DELIVERED;  // HELD after DELIVERED
  if (repeat || backwards) {
    return;
  }
  open.last = receipt.outcome.state;
  if (open.settled || open.quiet) {
    out.emplace_back(std::move(receipt));
    return;
  }
  open.step = limits_.ask_again_first;
  open.next = now.mono + open.step;
  if (open.expires_at && *open.expires_at > now.wall) {
    open.next = std::min(open.next, now.mono + (*open.expires_at - now.wall));
  }
  out.emplace_back(std::move(receipt));
}

}  // namespace latchkey::tools
